from dataclasses import replace

import numpy as np
import pytest

from fedjoint.conduct.reference import ReferenceSet, Yardstick
from fedjoint.data.standardise import Standardisation
from fedjoint.encryption.scratch import Scratch, mapped
from fedjoint.errors import InvalidValue
from fedjoint.models.utilities import utility_of
from fedjoint.valuation.record_groups import RecordGroups
from tests.fakes import WIDTH, examples, make_consortium, schema

RECORDS = 50
GROUPS = RecordGroups.drawn(RECORDS, error_numbers=8, seed=[1, 3])
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def terms():
    return make_consortium(hidden=(5,)).terms


@pytest.fixture
def reference(terms):
    return ReferenceSet.of(examples(RECORDS, seed=5), terms)


@pytest.mark.parametrize("utility", ["negative_loss", "soft_auc"])
def test_contrasts_of_the_agreed_utility_are_multiplied_influences_in_single_precision(reference, terms, utility):
    measured = replace(reference, utility=utility_of(utility, reference.task))
    model, directions = RNG.normal(size=terms.num_parameters), RNG.normal(size=(2, terms.num_parameters))
    found = measured.contrast_gradients(model, GROUPS)
    multipliers = 3 * GROUPS.contrasts[:, GROUPS.groups]
    assert found.dtype == np.float32 and found.shape == (8, terms.num_parameters)
    assert found @ directions.T == pytest.approx(multipliers @ measured.influences(model, directions).T, abs=1e-6)


def test_large_ones_are_kept_in_a_file(reference, terms, tmp_path):
    model = RNG.normal(size=terms.num_parameters)
    found = reference.contrast_gradients(model, GROUPS, scratch=Scratch(folder=tmp_path, small_bytes=0))
    assert mapped([found])
    assert (found == reference.contrast_gradients(model, GROUPS)).all()


def test_groups_of_another_number_of_records_are_refused(reference, terms):
    with pytest.raises(InvalidValue, match="groups of shape"):
        reference.contrast_gradients(
            np.zeros(terms.num_parameters), RecordGroups.drawn(RECORDS + 1, error_numbers=8, seed=0)
        )


def test_a_yardstick_contrasts_records_as_they_are_standardised(reference, terms):
    model, yardstick = RNG.normal(size=terms.num_parameters), Yardstick(reference, schema())
    before = yardstick.contrast_gradients(model, GROUPS)
    assert (before == reference.contrast_gradients(model, GROUPS)).all()
    standardisation = Standardisation(center=(0.5,) * WIDTH, scale=(2.0,) * WIDTH, columns=())
    yardstick.standardise(standardisation)
    scaled = replace(reference, examples=standardisation.apply(reference.examples, schema()))
    after = yardstick.contrast_gradients(model, GROUPS)
    assert (after == scaled.contrast_gradients(model, GROUPS)).all() and (after != before).any()
