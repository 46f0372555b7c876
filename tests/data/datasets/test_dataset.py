import numpy as np
import pytest

from fedjoint.agreement.schema import Column, Schema, Target
from fedjoint.data.datasets.dataset import Dataset
from fedjoint.data.records import Table
from fedjoint.errors import DataError

SCHEMA = Schema(columns=(Column(name="x", kind="number"),), target=Target(name="y", task="number"))


@pytest.mark.parametrize(
    ("holders", "words"), [(["A"], "one holder for each of 2"), (["A", ""], "record 2 has no holder")]
)
def test_a_data_set_names_one_holder_per_record(holders, words):
    table = Table(columns={"x": np.array(["1", "2"], object), "y": np.array(["1", "2"], object)})
    with pytest.raises(DataError, match=words):
        Dataset(name="made up", table=table, holder_of=np.array(holders, object), schema=SCHEMA)


@pytest.mark.parametrize(
    ("patients", "words"),
    [
        (["p"], r"expected \(2,\)"),
        (["p", ""], "record 2 has no patient"),
        (["p", "p"], "the patient of record 2 has records at two holders"),
    ],
)
def test_a_data_set_with_patients_names_one_per_record_and_each_has_one_holder(patients, words):
    table = Table(columns={"x": np.array(["1", "2"], object), "y": np.array(["1", "2"], object)})
    with pytest.raises(DataError, match=words):
        Dataset(
            name="made up",
            table=table,
            holder_of=np.array(["A", "B"], object),
            patient_of=np.array(patients, object),
            schema=SCHEMA,
        )
