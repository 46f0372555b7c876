"""How the holders' gradients on records kept out of training are counted and blurred: public constants only."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedjoint.agreement.canonical import sha256_hex
from fedjoint.agreement.terms import Terms
from fedjoint.encryption.parameters import agreed_parameters
from fedjoint.errors import PrivacyError
from fedjoint.privacy.sum_plan import SumPlan, deviations_kept, finest_plan, most_examples

__all__ = [
    "gradient_noise_sd",
    "gradient_sampling_sd",
    "gradient_sha256",
    "read_gradient",
    "validation_count",
    "validation_plan",
]

#: Without privacy a coordinate of a record's gradient counts up to this: far above any of a scaled table.
_PLAIN_GRADIENT = 4.0


def validation_plan(terms: Terms) -> SumPlan:
    """Of the holders' gradients along a round's path, each record's clipped: one number a parameter.

    Raises:
        PrivacyError: contributions are measured otherwise, or the gradients do not fit the encryption.
    """
    clip_norm, noise = terms.privacy.clip_norm, terms.releases.validation_noise_multiplier
    if not terms.validated_by_holders:
        raise PrivacyError("no gradients of the holders were agreed to be released", remedy="Agree on them first.")
    held_out = most_examples(terms)  # by a secret coin: all of them could be
    if clip_norm is None or noise is None:
        held_out, clip_norm = max(validation_count(terms, holder) for holder in terms.holder_ids), _PLAIN_GRADIENT
    return finest_plan(
        terms.num_parameters,
        clip_norm,
        noise_multiplier=noise or 0.0,
        whole=False,
        largest=held_out * clip_norm,
        offset=agreed_parameters(terms).offset,
        deviations=deviations_kept(terms.privacy, terms.num_parameters * len(terms.holders) * terms.training.rounds),
    )


def validation_count(terms: Terms, holder_id: str) -> int:
    """How many records a holder is counted with in the mean gradient: what is expected, and without privacy all there.

    Public, unlike the number that a secret coin really holds out.
    """
    return max(1, round(terms.releases.held_out * terms.holder(holder_id).num_examples))


def read_gradient(
    terms: Terms, values: Sequence[int] | NDArray[np.int64], contributors: Sequence[str]
) -> NDArray[np.float64]:
    """The path gradient that an opened sum stands for, the same at every party.

    Args:
        terms: The agreement.
        values: The opened sum in steps, [D].
        contributors: Whose sums are in it.

    Returns:
        ``g``, float64 [D]: the mean over the public number of held-out records.
    """
    count = sum(validation_count(terms, holder) for holder in contributors)
    return validation_plan(terms).read(np.asarray(values, dtype=np.int64)) / count


def gradient_noise_sd(terms: Terms, contributors: Sequence[str]) -> float:
    """Standard deviation of the noise in a coordinate of :func:`read_gradient`; 0 without privacy."""
    count = sum(validation_count(terms, holder) for holder in contributors)
    return validation_plan(terms).sd(len(contributors)) / count


def gradient_sampling_sd(terms: Terms, contributors: Sequence[str]) -> float:
    """Standard deviation of :func:`read_gradient` along any one direction by which records are held out, at most.

    A sum of clipped gradients that are each there by a coin of their own, or are drawn independently, has along a unit
    vector at most the variance of the expected number of records times the clip norm squared. Without a clip norm
    nothing bounds it: infinite.
    """
    if terms.privacy.clip_norm is None:
        return math.inf
    expected = terms.releases.held_out * sum(terms.holder(holder).num_examples for holder in contributors)
    count = sum(validation_count(terms, holder) for holder in contributors)
    return terms.privacy.clip_norm * math.sqrt(expected) / count


def gradient_sha256(values: Sequence[str]) -> str:
    """SHA-256 of an opened sum's whole numbers as they stand in a file: little-endian int64."""
    return sha256_hex(np.array([int(value) for value in values], dtype="<i8").tobytes())
