"""scikit-learn's breast cancer data over four made-up holders: what runs where the heart data are not installed."""

from __future__ import annotations

import numpy as np

from fedjoint.agreement.schema import Column, Schema, Target
from fedjoint.data.datasets.dataset import Dataset
from fedjoint.data.records import Cells, Table

__all__ = ["BREAST_CANCER_SCHEMA", "load_breast_cancer"]

#: Made-up holders and their fractions of the 569 records.
_HOLDERS = {"Holder A": 0.4, "Holder B": 0.3, "Holder C": 0.2, "Holder D": 0.1}
_HOLDER_SEED = 569

#: Measure of the cell nuclei: (centre, scale) of its mean, its standard error and its worst value.
_MEASURES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "radius": ((14.0, 3.5), (0.4, 0.28), (16.0, 4.8)),
    "texture": ((19.0, 4.3), (1.2, 0.55), (26.0, 6.1)),
    "perimeter": ((92.0, 24.0), (2.9, 2.0), (107.0, 34.0)),
    "area": ((650.0, 350.0), (40.0, 45.0), (880.0, 570.0)),
    "smoothness": ((0.096, 0.014), (0.007, 0.003), (0.13, 0.023)),
    "compactness": ((0.1, 0.053), (0.025, 0.018), (0.25, 0.16)),
    "concavity": ((0.09, 0.08), (0.032, 0.03), (0.27, 0.21)),
    "concave points": ((0.05, 0.039), (0.012, 0.0062), (0.11, 0.066)),
    "symmetry": ((0.18, 0.027), (0.021, 0.0083), (0.29, 0.062)),
    "fractal dimension": ((0.063, 0.0071), (0.0038, 0.0026), (0.084, 0.018)),
}


def _columns() -> tuple[Column, ...]:
    names = [f"mean {m}" for m in _MEASURES] + [f"{m} error" for m in _MEASURES] + [f"worst {m}" for m in _MEASURES]
    constants = [triple[kind] for kind in range(3) for triple in _MEASURES.values()]
    return tuple(
        Column(name=name, kind="number", center=center, scale=scale, low=0.0, high=center + 20 * scale)
        for name, (center, scale) in zip(names, constants, strict=True)
    )


BREAST_CANCER_SCHEMA = Schema(
    columns=_columns(),
    target=Target(name="diagnosis", task="binary", classes=("benign", "malignant")),
    origin="published",
    notes=(
        "Centres and scales are rounded figures of the data set as published since 1995; they are constants of the "
        "program, not computed from the holders' records.",
    ),
)


def load_breast_cancer() -> Dataset:
    """Read the 569 records and give each to a made-up holder, at random by a fixed seed.

    Returns:
        Holders of 228, 171, 114 and 56 records; ``malignant`` is the positive class.
    """
    from sklearn.datasets import load_breast_cancer as load

    bunch = load()
    columns = {str(name): _text(bunch.data[:, number]) for number, name in enumerate(bunch.feature_names)}
    columns["diagnosis"] = np.array(["malignant", "benign"], dtype=object)[bunch.target]
    return Dataset(
        name="breast_cancer",
        title="Breast Cancer Wisconsin (Diagnostic), four made-up holders",
        table=Table(columns=columns),
        holder_of=_holders(len(bunch.target)),
        schema=BREAST_CANCER_SCHEMA,
        licence="Data: CC BY 4.0 (UCI); shipped with scikit-learn (BSD-3-Clause).",
        citation=(
            "Wolberg, W., Mangasarian, O., Street, N., Street, W. (1995). Breast Cancer Wisconsin (Diagnostic). "
            "UCI Machine Learning Repository."
        ),
        notes=(
            "Breast Cancer Wisconsin (Diagnostic), 569 records, from scikit-learn.",
            "The four holders are made up: records were given to them at random, so they differ in size only.",
        ),
    )


def _text(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Cells:
    cells = np.empty(len(values), dtype=object)
    cells[:] = [repr(float(value)) for value in values]
    return cells


def _holders(count: int) -> Cells:
    bounds = np.round(np.cumsum(list(_HOLDERS.values())) * count).astype(np.int64)
    holder_of = np.empty(count, dtype=object)
    order = np.random.default_rng(_HOLDER_SEED).permutation(count)
    for name, index in zip(_HOLDERS, np.split(order, bounds[:-1]), strict=True):
        holder_of[index] = name
    return holder_of
