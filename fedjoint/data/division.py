"""Divide a data set: a reference set for the exchange first, then each holder's own records."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedjoint.agreement.schema import Schema
from fedjoint.data.datasets.dataset import Dataset
from fedjoint.data.encode import encode
from fedjoint.data.partition import holder_id, partition_by_holder, select_holders, split_reference
from fedjoint.data.records import Cells, Examples, Index
from fedjoint.data.standardise import Standardisation
from fedjoint.errors import DataError

__all__ = ["Division", "HolderRecords", "LeftOut", "divide", "standardised"]


@dataclass(frozen=True, kw_only=True, eq=False)
class HolderRecords:
    """One holder's training records, encoded; in a simulation only."""

    id: str
    name: str
    examples: Examples


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A holder that takes no part, with the reason in words."""

    id: str
    name: str
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Division:
    """A data set divided.

    Args:
        holders: Who trains, with its records, in alphabetical order of id.
        reference: The exchange's set: what the model is measured on. No record of it is any holder's.
        reference_holder_of: Id of the holder that each reference record comes from; kept holders only.
        left_out: Who does not take part, and why; its records are in no set.
        one_class: Ids of holders whose training records all have one class.
    """

    holders: tuple[HolderRecords, ...]
    reference: Examples
    reference_holder_of: Cells
    left_out: tuple[LeftOut, ...]
    one_class: tuple[str, ...]


def standardised(division: Division, standardisation: Standardisation, schema: Schema) -> Division:
    """The same division with every record standardised, as a run that agreed on private statistics sees it."""
    return dataclasses.replace(
        division,
        holders=tuple(
            dataclasses.replace(records, examples=standardisation.apply(records.examples, schema))
            for records in division.holders
        ),
        reference=standardisation.apply(division.reference, schema),
    )


def divide(dataset: Dataset, *, reference_fraction: float, minimum_examples: int, seed: int) -> Division:
    """Set the reference records aside, then give each holder its own.

    Args:
        dataset: Every record.
        reference_fraction: Of each holder's records, in (0, 0.9].
        minimum_examples: Training records below which a holder is left out, at least 1.
        seed: Of the choice of reference records.

    Raises:
        DataError: records do not fit the schema, two holders' names are alike, fewer than two holders are left, or the
            reference set is empty or of one class.

    Guarantees:
        The same data set and arguments give the same division; no record is in two sets, and no patient.
    """
    examples = encode(dataset.table, dataset.schema)
    if dataset.patient_of is not None:
        groups = np.unique(dataset.patient_of, return_inverse=True)[1].astype(np.int64)
        examples = dataclasses.replace(examples, groups=groups)
    classes = None if not dataset.schema.target.classes else examples.targets
    names = {holder_id(name): name for name in sorted(set(dataset.holder_of))}
    partition = partition_by_holder(dataset.holder_of)
    train, reference = _split(dataset.holder_of, classes, examples.groups, fraction=reference_fraction, seed=seed)
    is_train = np.zeros(len(examples), dtype=bool)
    is_train[train] = True
    parts = {holder: index[is_train[index]] for holder, index in partition.items()}
    selection = select_holders(parts, classes, minimum_examples=minimum_examples)
    id_of = np.empty(len(examples), dtype=object)
    for holder, index in partition.items():
        id_of[index] = holder
    reference = reference[np.isin(id_of[reference], selection.kept)]
    _check_reference(examples.take(reference), classes is not None)
    return Division(
        holders=tuple(
            HolderRecords(id=holder, name=names[holder], examples=examples.take(parts[holder]))
            for holder in selection.kept
        ),
        reference=examples.take(reference),
        reference_holder_of=id_of[reference],
        left_out=tuple(LeftOut(id=holder, name=names[holder], reason=reason) for holder, reason in selection.left_out),
        one_class=selection.one_class,
    )


def _split(
    holder_of: Cells, classes: NDArray[Any] | None, groups: Index | None, *, fraction: float, seed: int
) -> tuple[Index, Index]:
    """Records to train on and reference records; of a patient with several all on one side, by its greatest class."""
    if groups is None:
        return split_reference(holder_of, classes, fraction=fraction, seed=seed)
    _, first, unit_of = np.unique(groups, return_index=True, return_inverse=True)
    greatest = None
    if classes is not None:
        greatest = classes[first].copy()
        np.maximum.at(greatest, unit_of, classes)
    train, _ = split_reference(holder_of[first], greatest, fraction=fraction, seed=seed)
    is_train = np.isin(unit_of, train)
    return np.flatnonzero(is_train), np.flatnonzero(~is_train)


def _check_reference(reference: Examples, has_classes: bool) -> None:
    if len(reference) == 0:
        raise DataError("the reference set is empty", remedy="Raise data.reference_fraction.")
    if has_classes and len(np.unique(reference.targets)) == 1:
        raise DataError(
            "the reference set holds one class only, so nothing can be measured on it",
            remedy="Raise data.reference_fraction, or bring more records of the rarer class.",
        )
