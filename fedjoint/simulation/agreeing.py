"""From a configuration and divided data to an agreement that every party has signed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedjoint.agreement.review import HolderPolicy
from fedjoint.agreement.signing import SignedAgreement, sign_terms, terms_sha256
from fedjoint.agreement.terms import (
    DataTerms,
    EncryptionTerms,
    HolderTerms,
    MoneyTerms,
    PrivacyTerms,
    Terms,
    TrainingTerms,
    ValuationTerms,
)
from fedjoint.config import PrivacyConfig, SimulationConfig
from fedjoint.data.datasets.dataset import Dataset
from fedjoint.data.division import Division
from fedjoint.errors import PrivacyError
from fedjoint.identity.keys import Identity
from fedjoint.privacy.accounting import noise_multiplier_for
from fedjoint.training.holder import Holder
from fedjoint.training.holder_run import Observer

__all__ = ["COORDINATOR", "Parties", "bring_together", "compose_terms", "sign_by_all"]

COORDINATOR = "exchange"
#: A coordinate of an update without privacy is clipped at so many times the learning rate and steps: far above any
#: gradient of a scaled table, and still 16 bits fine.
_PLAIN_GRADIENT_BOUND = 4.0
#: Noise beyond so many standard deviations is clipped: one coordinate in 10^15.
_NOISE_DEVIATIONS = 8.0


@dataclass(frozen=True, kw_only=True)
class Parties:
    """The coordinator's keys and the holders, as a simulation has them side by side."""

    coordinator: Identity
    holders: tuple[Holder, ...]
    identities: tuple[Identity, ...]


def bring_together(division: Division, *, observer: Observer) -> Parties:
    """Make fresh keys for everybody, and holders whose policies allow what a simulation may do."""
    identities = tuple(Identity.create(records.id, records.name) for records in division.holders)
    policy = HolderPolicy(
        maximum_epsilon=1e6,
        maximum_delta=1.0,
        allow_no_privacy=True,
        allow_insecure_noise=True,
    )
    holders = tuple(
        Holder(identity, records.examples, policy, observer=observer)
        for identity, records in zip(identities, division.holders, strict=True)
    )
    taken = {records.id for records in division.holders}
    coordinator = COORDINATOR if COORDINATOR not in taken else f"{COORDINATOR}-coordinator"
    return Parties(coordinator=Identity.create(coordinator, "Exchange"), holders=holders, identities=identities)


def compose_terms(config: SimulationConfig, dataset: Dataset, division: Division, parties: Parties) -> Terms:
    """Write the agreement of a simulation.

    Raises:
        FedjointError: a value that no run could have, or a privacy budget that no noise can meet.
    """
    training = TrainingTerms(
        rounds=config.training.rounds,
        local_steps=config.training.local_steps,
        sampling_rate=config.training.sampling_rate,
        learning_rate=config.training.learning_rate,
        server_learning_rate=config.training.server_learning_rate,
        minimum_holders=config.training.minimum_holders,
        seed=config.seed,
    )
    privacy = _privacy(config.privacy, training)
    sizes = [len(records.examples) for records in division.holders]
    bound = config.encryption.bound
    return Terms(
        title=config.title,
        purpose=config.purpose,
        coordinator=parties.coordinator.public,
        holders=tuple(
            HolderTerms(identity=identity.public, num_examples=size)
            for identity, size in zip(parties.identities, sizes, strict=True)
        ),
        data=DataTerms(name=dataset.name, schema=dataset.schema, licence=dataset.licence, citation=dataset.citation),
        model=config.model,
        training=training,
        privacy=privacy,
        encryption=EncryptionTerms(
            scheme=config.encryption.scheme,
            bound=_bound(training, privacy, sizes) if bound is None else bound,
            value_bits=config.encryption.value_bits,
        ),
        valuation=ValuationTerms(
            method=config.valuation.method,
            utility=config.valuation.utility,
            quadrature_points=config.valuation.quadrature_points,
            reference_sha256=division.reference.sha256(),
            reference_num_examples=len(division.reference),
        ),
        money=MoneyTerms(
            currency=config.money.currency,
            exchange_fee_bp=config.money.exchange_fee_bp,
            reserve_premium_bp=config.money.reserve_premium_bp,
        ),
    )


def sign_by_all(terms: Terms, parties: Parties) -> SignedAgreement:
    """Have every holder review and sign, then the coordinator.

    Raises:
        AgreementError: a holder's policy or records do not allow the terms.
    """
    signatures = {holder.id: holder.sign(terms) for holder in parties.holders}
    signatures[parties.coordinator.id] = sign_terms(terms, parties.coordinator)
    return SignedAgreement(terms=terms, sha256=terms_sha256(terms)).with_signatures(signatures)


def _privacy(config: PrivacyConfig, training: TrainingTerms) -> PrivacyTerms:
    noise = config.noise_multiplier
    if config.mode == "local" and noise is None:
        if config.epsilon is None or config.delta is None:
            raise PrivacyError(
                "privacy.epsilon or privacy.delta is missing", remedy="Set both, or choose privacy=none."
            )
        steps = training.rounds * training.local_steps
        noise = noise_multiplier_for(config.epsilon, config.delta, sampling_rate=training.sampling_rate, steps=steps)
    return PrivacyTerms(
        mode=config.mode,
        epsilon=config.epsilon,
        delta=config.delta,
        clip_norm=config.clip_norm,
        noise_multiplier=noise,
        insecure_seed=config.insecure_seed,
    )


def _bound(training: TrainingTerms, privacy: PrivacyTerms, sizes: Sequence[int]) -> float:
    """Largest coordinate of a weighted update that can happen, from public constants alone.

    A holder's weighted update moves by at most rate * steps * clip * weight, plus noise of standard deviation
    rate * sqrt(steps) * sigma * clip / (sampling rate * all examples), the same for every holder.
    """
    path = training.learning_rate * training.local_steps * max(sizes) / sum(sizes)
    if privacy.clip_norm is None or privacy.noise_multiplier is None:
        return path * _PLAIN_GRADIENT_BOUND
    spread = training.learning_rate * training.local_steps**0.5 * privacy.noise_multiplier * privacy.clip_norm
    # a Poisson sample can be larger than expected, up to all records
    return float(
        path * privacy.clip_norm / training.sampling_rate
        + _NOISE_DEVIATIONS * spread / (training.sampling_rate * sum(sizes))
    )
