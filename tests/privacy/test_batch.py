import numpy as np
import pytest

from fedjoint.errors import InvalidValue
from fedjoint.privacy.batch import Batch, poisson_sample
from fedjoint.privacy.noise import NoiseSource


def batch(groups=None, count=6):
    return Batch(features=np.arange(count * 2.0).reshape(count, 2), targets=np.zeros(count), groups=groups)


def test_taking_records_takes_their_targets_and_groups():
    some = batch(np.array([5, 5, 6, 7, 7, 7])).take(np.array([1, 2]))
    assert (len(some), some.features.tolist(), some.groups.tolist()) == (2, [[2.0, 3.0], [4.0, 5.0]], [5, 6])


def test_a_full_batch_takes_every_record_and_draws_no_coin():
    source, untouched = NoiseSource.insecure(0, "a"), NoiseSource.insecure(0, "a")
    assert poisson_sample(batch(), 1.0, source).all()
    assert (source.words(4) == untouched.words(4)).all()


def test_all_records_of_a_patient_are_drawn_together_at_the_agreed_rate():
    groups = np.repeat(np.arange(500), 3)
    drawn = poisson_sample(batch(groups, 1500), 0.2, NoiseSource.secure()).reshape(500, 3)
    assert (drawn.all(axis=1) == drawn.any(axis=1)).all()
    assert abs(drawn[:, 0].sum() - 100) < 6.5 * (500 * 0.2 * 0.8) ** 0.5  # a false alarm in 1e10 runs


@pytest.mark.parametrize("groups", [np.zeros(5, dtype=np.int64), np.zeros(6)])
def test_groups_that_do_not_fit_are_refused(groups):
    with pytest.raises(InvalidValue, match="groups do not fit"):
        batch(groups)


def test_targets_of_another_length_are_refused():
    with pytest.raises(InvalidValue, match="differ in length"):
        Batch(features=np.zeros((3, 2)), targets=np.zeros(2))
