"""From a configuration and what holders certify to the terms of an agreement."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedjoint.agreement.release_terms import ReleaseTerms
from fedjoint.agreement.terms import (
    TAILS_OF_DELTA,
    DataTerms,
    EncryptionTerms,
    HolderTerms,
    ModelTerms,
    MoneyTerms,
    PrivacyTerms,
    Terms,
    TrainingTerms,
    ValuationTerms,
)
from fedjoint.agreement.weights import most_counted
from fedjoint.conduct.releasing import agreed_releases, honest_holders, spent_on
from fedjoint.config import PrivacyConfig, SimulationConfig
from fedjoint.data.records import Examples
from fedjoint.encryption.dot import require_room
from fedjoint.encryption.parameters import agreed_parameters
from fedjoint.encryption.precision import most_values_per_word
from fedjoint.errors import PrivacyError
from fedjoint.identity.keys import PublicIdentity
from fedjoint.models.code import approve, make_approved, read_code
from fedjoint.models.vector import num_parameters
from fedjoint.privacy.accounting import noise_multiplier_for
from fedjoint.privacy.events import GaussianEvent
from fedjoint.privacy.joint_plan import JointPlan, coarsest_step, noise_bound
from fedjoint.privacy.sum_plan import most_examples
from fedjoint.privacy.update_noise import least_local_noise_sd, local_noise_sd
from fedjoint.strict import build, plain

__all__ = ["agreed_model", "compose_terms"]

#: A coordinate of an update without privacy is clipped at so many times the learning rate and steps: far above any
#: gradient of a scaled table, and still 16 bits fine.
_PLAIN_GRADIENT_BOUND = 4.0
#: Noise beyond so many standard deviations is clipped: one coordinate in 10^15.
_NOISE_DEVIATIONS = 8.0
#: Mode ``joint``: the part of 1 / noise², summed over releases, that goes to the opened contributions.
_CONTRIBUTIONS_PART = 1 / 3
#: Of one value, as the agreement allows.
_MOST_BITS = 24


def compose_terms(
    config: SimulationConfig,
    *,
    coordinator: PublicIdentity,
    holders: Sequence[HolderTerms],
    data: DataTerms,
    reference: Examples,
) -> Terms:
    """Write the terms of an agreement.

    Args:
        config: What is wanted; missing noise, bounds and bits are found from it.
        coordinator: Who will conduct the run.
        holders: Who takes part, each with its number of examples, released or certified as configured.
        data: Which data, and their schema.
        reference: The records, encoded, on which the model will be measured; the terms commit to them.

    Raises:
        FedjointError: a value that no run could have, a privacy budget that no noise can meet, or words that leave no
            room for the inner products which measure contributions.
    """
    sizes = [holder.num_examples for holder in holders]
    training = _training(config, len(sizes))
    releases = agreed_releases(config, training)
    privacy = _privacy(config.privacy, training, releases)
    most = most_counted(sizes, training.maximum_weight)
    counted = [min(size, most) for size in sizes]
    terms = Terms(
        title=config.title,
        purpose=config.purpose,
        coordinator=coordinator,
        holders=tuple(holders),
        data=data,
        model=agreed_model(config, data),
        training=training,
        privacy=privacy,
        encryption=EncryptionTerms(
            scheme=config.encryption.scheme,
            bound=config.encryption.bound or _bound(training, privacy, counted, kept=1 - releases.held_out),
            value_bits=config.encryption.value_bits,
            values_per_word=config.encryption.values_per_word or 1,
        ),
        valuation=ValuationTerms(
            method=config.valuation.method,
            utility=config.valuation.utility,
            quadrature_points=config.valuation.quadrature_points,
            keep_updates=config.valuation.keep_updates,
            audit_blocks=_blocks([holder.identity.id for holder in holders], config.valuation.audit_blocks),
            error_numbers=config.valuation.error_numbers or 0,
            known_path=config.valuation.known_path,
            latest_start=config.valuation.latest_start,
            unmeasured=config.valuation.unmeasured,
            reference=config.valuation.reference,
            **_committed(config, reference),
        ),
        money=MoneyTerms(
            currency=config.money.currency,
            exchange_fee_bp=config.money.exchange_fee_bp,
            reserve_premium_bp=config.money.reserve_premium_bp,
            materiality=config.money.materiality,
            materiality_errors=config.money.materiality_errors,
            materiality_z=config.money.materiality_z,
        ),
        releases=releases,
    )
    if privacy.mode == "joint":
        terms = dataclasses.replace(terms, encryption=_joint_grid(terms, config.encryption.bound))
    elif terms.valuation.method == "none" and config.encryption.values_per_word is None:
        terms = dataclasses.replace(terms, encryption=_packed(terms))
    if terms.valuation.method != "none":
        require_room(agreed_parameters(terms))
    return terms


def agreed_model(config: SimulationConfig, data: DataTerms) -> ModelTerms:
    """The agreed model; who proposes code has approved it by naming the file."""
    model = config.model
    if model.code is None:
        return ModelTerms(kind=model.kind, hidden=model.hidden)
    sha256 = approve(read_code(Path(model.code).expanduser()))
    made = make_approved(sha256, data.schema.width, outputs=data.schema.target.outputs, seed=config.seed)
    return ModelTerms(kind="code", code_sha256=sha256, code_parameters=num_parameters(made))


def _training(config: SimulationConfig, num_holders: int) -> TrainingTerms:
    return TrainingTerms(
        rounds=config.training.rounds,
        local_steps=config.training.local_steps,
        sampling_rate=config.training.sampling_rate,
        learning_rate=config.training.learning_rate,
        server_learning_rate=config.training.server_learning_rate,
        server_optimizer=config.training.server_optimizer,
        server_momentum=config.training.server_momentum,
        server_beta2=config.training.server_beta2,
        server_tau=config.training.server_tau,
        minimum_holders=_minimum_holders(config, num_holders),
        maximum_weight=config.training.maximum_weight,
        maximum_update_norm=config.training.maximum_update_norm,
        proximal=config.training.proximal,
        holders_per_round=config.training.holders_per_round,
        seed=config.seed,
    )


def _committed(config: SimulationConfig, reference: Examples) -> dict[str, Any]:
    """What commits the exchange to its reference set, if contributions are measured on it."""
    if config.valuation.reference == "holders":
        return {}
    return {"reference_sha256": reference.sha256(), "reference_num_examples": len(reference)}


def _blocks(holders: Sequence[str], count: int) -> tuple[tuple[str, ...], ...]:
    """So many blocks of holders, as equal as can be."""
    names = sorted(holders)
    return tuple(
        tuple(names[place * len(names) // count : (place + 1) * len(names) // count]) for place in range(count)
    )


def _minimum_holders(config: SimulationConfig, num_holders: int) -> int:
    if config.training.minimum_holders is not None:
        return config.training.minimum_holders
    return max(2, math.ceil(0.75 * num_holders)) if config.privacy.mode == "joint" else 2


def _joint_privacy(config: PrivacyConfig, training: TrainingTerms, releases: ReleaseTerms) -> PrivacyTerms:
    """Shares of noise for the agreed epsilons; a third of what epsilon allows (in 1 / noise²) is for contributions."""
    if config.colluders is None:
        raise PrivacyError("privacy.colluders is missing", remedy="Set it, 1 say, or choose privacy=local.")
    epsilon, opened, delta = config.epsilon, config.epsilon_if_opened, config.delta
    if epsilon is None or opened is None or delta is None:
        raise PrivacyError(
            "privacy.epsilon, privacy.epsilon_if_opened or privacy.delta is missing", remedy="Set all three."
        )
    accounted, honest = delta * (1 - TAILS_OF_DELTA), honest_holders(config, training)
    blur = config.contributions_noise_multiplier
    if blur is None:
        blur = noise_multiplier_for(epsilon, accounted, sampling_rate=1.0, steps=1) * _CONTRIBUTIONS_PART**-0.5
    share = config.noise_multiplier
    if share is None:
        once = (GaussianEvent(sampling_rate=1.0, noise_multiplier=blur), *spent_on(releases, training.rounds, honest))
        rate, steps = training.sampling_rate, training.rounds
        of_sum = noise_multiplier_for(epsilon, accounted, sampling_rate=rate, steps=steps, spent=once)
        own = spent_on(releases, steps)
        if_opened = noise_multiplier_for(opened, accounted, sampling_rate=rate, steps=steps, spent=own)
        # a hair more: the root must not round below what the whole needs
        share = max(of_sum / math.sqrt(honest) * (1 + 1e-12), if_opened)
        if config.contributions_noise_multiplier is None:  # what a larger share leaves of epsilon is for contributions
            sums = GaussianEvent(sampling_rate=rate, noise_multiplier=share * math.sqrt(honest), count=steps)
            others = (sums, *spent_on(releases, steps, honest))
            left = noise_multiplier_for(epsilon, accounted, sampling_rate=1.0, steps=1, spent=others)
            blur = min(blur, left)
    return _agreed(config, noise_multiplier=share, contributions_noise_multiplier=blur)


def _packed(terms: Terms) -> EncryptionTerms:
    """The most values a word that the noise, or the configured bits, allow: nothing but sums is opened."""
    chosen = most_values_per_word(agreed_parameters(terms), noise_deviation=least_local_noise_sd(terms))
    return dataclasses.replace(terms.encryption, value_bits=chosen.value_bits, values_per_word=chosen.values_per_word)


def _joint_grid(terms: Terms, bound: float | None) -> EncryptionTerms:
    """The fewest bits, from the configured ones up, on which the noise is neither rounded off nor cut off."""
    privacy, largest = terms.privacy, most_examples(terms)
    clip_norm, share, blur = privacy.clip_norm, privacy.noise_multiplier, privacy.contributions_noise_multiplier
    assert clip_norm is not None and share is not None and blur is not None  # PrivacyTerms made sure
    step = coarsest_step(clip_norm, terms.num_parameters)
    plan = JointPlan(
        num_parameters=terms.num_parameters,
        num_holders=len(terms.holders),
        rounds=terms.training.rounds,
        sampling_rate=terms.training.sampling_rate,
        clip_norm=clip_norm,
        step=step,
        noise_multiplier=share,
        contributions_noise_multiplier=blur,
        error_numbers=terms.valuation.error_numbers,
    )
    # on the grid that comes out, deviations of 282 steps or more may be rounded up by two
    wide = bound or noise_bound(plan, privacy, largest_holder=largest) * 1.01
    bits = max(terms.encryption.value_bits, math.ceil(math.log2(wide / step + 2)) + 1)
    if bits > _MOST_BITS:
        raise PrivacyError(
            f"mode joint needs {bits} bits a value for {terms.num_parameters} parameters and {largest} examples",
            expected=f"at most {_MOST_BITS}",
            remedy="Take a smaller model, or choose privacy=local.",
        )
    return dataclasses.replace(terms.encryption, bound=wide, value_bits=bits)


def _privacy(config: PrivacyConfig, training: TrainingTerms, releases: ReleaseTerms) -> PrivacyTerms:
    if config.mode == "joint":
        return _joint_privacy(config, training, releases)
    noise = config.noise_multiplier
    if config.mode == "local" and noise is None:
        if config.epsilon is None or config.delta is None:
            raise PrivacyError(
                "privacy.epsilon or privacy.delta is missing", remedy="Set both, or choose privacy=none."
            )
        steps = training.rounds * training.local_steps
        rate = training.sampling_rate
        noise = noise_multiplier_for(
            config.epsilon, config.delta, sampling_rate=rate, steps=steps, spent=spent_on(releases, training.rounds)
        )
    return _agreed(config, noise_multiplier=noise)


def _agreed(config: PrivacyConfig, **found: float | None) -> PrivacyTerms:
    """The configured values, and in place of missing ones what was found for them."""
    names = {field.name for field in dataclasses.fields(PrivacyTerms)}
    configured = {name: value for name, value in plain(config).items() if name in names}
    return build(PrivacyTerms, configured | found)


def _bound(training: TrainingTerms, privacy: PrivacyTerms, sizes: Sequence[float], *, kept: float) -> float:
    """Largest coordinate of a weighted update that can happen, from public constants alone.

    A holder's weighted update moves by at most rate * steps * clip * weight, plus noise.
    """
    path = training.learning_rate * training.local_steps * max(sizes) / sum(sizes)
    if privacy.mode != "local" or privacy.clip_norm is None:
        # a coordinate is no longer than the whole update, a hair more for what rounding makes of it
        longest = math.inf if training.maximum_update_norm is None else training.maximum_update_norm * (1 + 1e-6)
        return min(path * _PLAIN_GRADIENT_BOUND, longest * max(sizes) / sum(sizes))
    noise = local_noise_sd(training, privacy, expected_batch_size=training.sampling_rate * kept * sum(sizes))
    # a Poisson sample can be larger than expected, up to all records
    return path * privacy.clip_norm / (training.sampling_rate * kept) + _NOISE_DEVIATIONS * noise
