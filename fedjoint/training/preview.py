"""What a run will cost, before anything is spent: bytes, seconds measured on this machine, epsilon at the end."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedjoint.agreement.terms import Terms
from fedjoint.encryption.binding import Binding
from fedjoint.encryption.ciphertext import add
from fedjoint.encryption.decryption import decrypt_sum
from fedjoint.encryption.frames import frame_bytes
from fedjoint.encryption.parameters import Parameters, agreed_parameters
from fedjoint.encryption.precision import Precision
from fedjoint.encryption.scheme import make_encryptor, make_key
from fedjoint.encryption.tags import Contributors
from fedjoint.privacy.accounting import epsilon_of, rounds_affordable
from fedjoint.privacy.events import costs
from fedjoint.privacy.releases import Cost, epsilon_if_opened, itemised, once_released, round_release, worst_case
from fedjoint.privacy.update_noise import least_local_noise_sd
from fedjoint.strict import strict

__all__ = ["CostPreview", "preview_costs"]

#: Larger models are measured at this size and scaled, so that a preview takes about a second.
MEASURED_PARAMETERS = 1_000_000
_REPEATS = 3


@strict
@dataclass(frozen=True, kw_only=True)
class CostPreview:
    """What a run under given terms will cost.

    Args:
        num_parameters: D of the model.
        num_holders: All of the agreement.
        rounds: As agreed.
        bytes_up: Encrypted update of one holder in one round.
        bytes_down: Encrypted sum to one holder in one round.
        bytes_contribution: All masked contributions to one of the holders that open them, once.
        encrypt_s: Seconds of a holder to encrypt one update.
        add_s: Seconds of the coordinator to add the updates of all holders in one round.
        decrypt_s: Seconds of a holder to decrypt one sum.
        measured_parameters: Model size at which the seconds were measured; scaled from there if smaller than D.
        epsilon: What all rounds would cost each holder at ``delta`` (add-or-remove adjacency, per unit); None
            without privacy.
        unit: What is protected as a whole, and added or removed: ``record`` or ``patient``.
        delta: As agreed.
        epsilon_limit: The holders' budget for the run.
        epsilon_if_opened: What they would cost if a holder's own ciphertexts were opened; mode ``joint`` only.
        colluders: Holders whose noise ``epsilon`` does not count on; mode ``joint`` only.
        precision: How fine the encryption's fixed point is.
        rounds_within_budget: After how many rounds that budget ends, at most ``rounds``.
        account: What each purpose costs by itself; ``epsilon`` is that of all together, which is less than their sum.
    """

    num_parameters: int
    num_holders: int
    rounds: int
    bytes_up: int
    bytes_down: int
    bytes_contribution: int
    encrypt_s: float
    add_s: float
    decrypt_s: float
    measured_parameters: int
    epsilon: float | None
    unit: str
    delta: float | None
    epsilon_limit: float | None
    epsilon_if_opened: float | None
    colluders: int | None
    rounds_within_budget: int
    precision: Precision
    account: tuple[Cost, ...]
    adjacency: Literal["add-or-remove"] = "add-or-remove"


def preview_costs(terms: Terms) -> CostPreview:
    """Work out what a run will cost; keys and updates used to measure are made up and thrown away.

    Args:
        terms: Signed or not.

    Raises:
        FedjointError: the terms could not be run.
    """
    parameters, holders = agreed_parameters(terms), len(terms.holders)
    encrypt_s, add_s, decrypt_s, measured = _measure(parameters)
    epsilon, within, lines = _privacy(terms)
    measured_contributions = terms.valuation.method != "none"
    return CostPreview(
        num_parameters=terms.num_parameters,
        num_holders=holders,
        rounds=terms.training.rounds,
        bytes_up=frame_bytes(parameters, kind="update"),
        bytes_down=frame_bytes(parameters, kind="sum", count=holders),
        bytes_contribution=holders * frame_bytes(parameters, kind="sample") if measured_contributions else 0,
        encrypt_s=encrypt_s,
        add_s=add_s * holders,
        decrypt_s=decrypt_s,
        measured_parameters=measured,
        epsilon=epsilon,
        unit=terms.privacy.unit,
        delta=terms.privacy.delta,
        epsilon_limit=terms.privacy.epsilon,
        epsilon_if_opened=epsilon_if_opened(terms, terms.training.rounds),
        colluders=terms.privacy.colluders,
        rounds_within_budget=within,
        precision=Precision.of(parameters, least_local_noise_sd(terms)),
        account=lines,
    )


def _measure(parameters: Parameters) -> tuple[float, float, float, int]:
    """Median CPU seconds to encrypt an update, to add one to a sum, to decrypt a sum; and at which size."""
    measured = min(parameters.num_parameters, MEASURED_PARAMETERS)
    small = dataclasses.replace(parameters, num_parameters=measured, rounds=max(_REPEATS, parameters.rounds))
    scale = parameters.num_parameters / measured
    binding = Binding(agreement_sha256="0" * 64, run_id="0" * 32)
    key = make_key(small, binding)
    levels = np.random.default_rng(0).integers(small.levels, size=measured, dtype=np.uint64)
    encryptor, seconds = make_encryptor(key), np.empty((_REPEATS, 3))
    for number in range(_REPEATS):
        marks = [time.process_time()]
        update = encryptor.encrypt(levels, round_number=number, place=0)
        marks.append(time.process_time())
        total = add([update])
        marks.append(time.process_time())
        decrypt_sum(key, total, of=Contributors(round_number=number, places=(0,)), minimum_holders=1)
        marks.append(time.process_time())
        seconds[number] = np.diff(marks)
    key.close()
    encrypt_s, add_s, decrypt_s = (float(median) * scale for median in np.median(seconds, axis=0))
    return encrypt_s, add_s, decrypt_s, measured


def _privacy(terms: Terms) -> tuple[float | None, int, tuple[Cost, ...]]:
    """Epsilon after all rounds, the rounds that fit the budget, and the account."""
    delta, limit, training = terms.privacy.accounted_delta, terms.privacy.epsilon, terms.training
    release = round_release(terms)
    if release is None or delta is None or limit is None:
        return None, training.rounds, ()
    everything = worst_case(terms)
    affordable = rounds_affordable(release.event, epsilon=limit, delta=delta, spent=costs(once_released(terms)))
    return epsilon_of(costs(everything), delta), min(affordable, training.rounds), itemised(terms, everything)
