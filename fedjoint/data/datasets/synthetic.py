"""Made-up records of an agreed schema: what a run would learn from is tried out on them, and no real record is read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedjoint.agreement.schema import Column, Schema
from fedjoint.data.datasets.dataset import Dataset
from fedjoint.data.division import Division, HolderRecords
from fedjoint.data.encode import encode
from fedjoint.data.records import Cells, Table
from fedjoint.errors import DataError

__all__ = ["divide_synthetic", "synthetic_dataset"]

#: Records to measure on: so many that the measure's own error, near .01 of AUC, does not hide what noise does.
_NUM_REFERENCE = 2_000
_MOST_RECORDS = 1_000_000
#: Standard deviation of the made-up truth's logits: the best possible AUC is then near .86, as of many clinical scores.
_SIGNAL = 2.0
#: Part of made-up times that are censored.
_CENSORED = 0.3


def synthetic_dataset(schema: Schema, sizes: Sequence[int], *, seed: int) -> Dataset:
    """Draw records from a schema's public constants, and targets from a made-up linear truth.

    Numbers are normal around the column's centre with its scale, cut off at its range; categories are equally likely;
    columns are independent and nothing is missing. A binary target is logistic in a random direction, a multi-class one
    softmax in several, a number linear with noise. Real records are correlated and differ between holders: what is
    measured here compares settings, and is no forecast of the result.

    Args:
        schema: As agreed.
        sizes: Records of each holder, at least 2 holders and 1 record each; 1,000,000 in all at most.
        seed: At least 0: of the truth and the records.

    Returns:
        ``sum(sizes)`` records of the holders in order, then 2,000 of ``Reference``.

    Raises:
        DataError: the sizes are out of range.
    """
    if len(sizes) < 2 or min(sizes) < 1 or sum(sizes) > _MOST_RECORDS:
        raise DataError(
            f"holders of {', '.join(map(str, sizes)) or 'no'} records",
            expected=f"at least 2 holders, each of at least 1 record, {_MOST_RECORDS:,} in all at most",
        )
    random, count = np.random.default_rng([seed, len(sizes)]), sum(sizes) + _NUM_REFERENCE
    columns = {column.name: _cells(column, count, random) for column in schema.columns}
    target = schema.target
    placeholder = np.full(count, target.classes[0] if target.classes else "0", dtype=object)
    features = encode(Table(columns={**columns, target.name: placeholder}), schema).features.astype(np.float64)
    names = np.repeat(
        [*(f"Holder {place:04d}" for place in range(1, len(sizes) + 1)), "Reference"], [*sizes, _NUM_REFERENCE]
    )
    return Dataset(
        name="synthetic",
        title="made-up records",
        table=Table(columns={**columns, target.name: _targets(features, schema, random)}),
        holder_of=names.astype(object),
        schema=schema,
    )


def divide_synthetic(dataset: Dataset, sizes: Sequence[int]) -> Division:
    """Give each made-up holder exactly its number of records; the rest is for measuring.

    Args:
        dataset: From :func:`synthetic_dataset`, of the same sizes.
        sizes: Records of each holder.
    """
    examples, ends = encode(dataset.table, dataset.schema), np.cumsum(sizes)
    parts = np.split(np.arange(len(examples)), ends)
    return Division(
        holders=tuple(
            HolderRecords(id=f"holder-{place:04d}", name=f"Holder {place:04d}", examples=examples.take(part))
            for place, part in enumerate(parts[:-1], 1)
        ),
        reference=examples.take(parts[-1]),
        reference_holder_of=dataset.holder_of[parts[-1]],
        left_out=(),
        one_class=(),
    )


def _cells(column: Column, count: int, random: np.random.Generator) -> Cells:
    if column.kind == "category":
        return np.array(column.categories, dtype=object)[random.integers(len(column.categories), size=count)]
    low = -np.inf if column.low is None else column.low
    high = np.inf if column.high is None else column.high
    values = np.clip(random.normal(column.center, column.scale, count), low, high)
    return np.array([repr(float(value)) for value in values], dtype=object)


def _targets(features: NDArray[np.float64], schema: Schema, random: np.random.Generator) -> Cells:
    target = schema.target
    centred = features - features.mean(axis=0)
    scores = centred @ random.normal(size=(features.shape[1], target.outputs))
    scores *= _SIGNAL / max(float(scores.std()), 1e-12)
    if target.task == "survival":
        times = target.scale * random.exponential(np.exp(-scores[:, 0]))
        signs = np.where(random.random(len(times)) < _CENSORED, -1.0, 1.0)
        return np.array([repr(float(value)) for value in np.maximum(times, 1e-9) * signs], dtype=object)
    if target.task == "number":
        values = target.center + target.scale * (scores[:, 0] + random.normal(size=len(scores))) / np.hypot(_SIGNAL, 1)
        return np.array([repr(float(value)) for value in values], dtype=object)
    if target.task == "binary":
        classes = (random.logistic(size=len(scores)) < scores[:, 0]).astype(np.int64)
    else:
        classes = (scores + random.gumbel(size=scores.shape)).argmax(axis=1)  # a softmax sample, by the Gumbel trick
    cells: Cells = np.array(target.classes, dtype=object)[classes]
    return cells
