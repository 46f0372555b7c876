"""Sums over records on a grid with noise: how much, and that nothing is cut off."""

import math

import numpy as np
import pytest

from fedjoint.errors import PrivacyError
from fedjoint.privacy.noise import NoiseSource
from fedjoint.privacy.noisy_sums import noisy_sums
from fedjoint.privacy.sum_plan import SumPlan, finest_plan, metrics_plan
from tests.fakes import LOCAL_PRIVACY, make_consortium

PLAN = {"noise_multiplier": 3.0, "largest": 300.0, "offset": 32767, "deviations": 12.3}


@pytest.mark.parametrize("whole", [True, False])
def test_the_noise_is_the_multiplier_times_what_one_record_can_change(whole):
    plan = SumPlan(length=9, sensitivity=2.0, noise_multiplier=3.0, steps=50, whole=whole)
    of_one_record = 2.0 * 50 + (0 if whole else 3.0)  # rounding adds at most a step a number
    assert plan.share_sd >= 3.0 * of_one_record and plan.share_sd == pytest.approx(3.0 * of_one_record, rel=0.01)
    sums = np.linspace(-4, 4, 9)
    drawn = np.array([plan.read(noisy_sums(sums, plan, NoiseSource.secure())) for _ in range(400)])
    assert drawn.mean(axis=0) == pytest.approx(sums, abs=6.5 * plan.sd(1) / 20 + 0.5 / 50)
    assert drawn.std() == pytest.approx(math.hypot(plan.sd(1), sums.std()), rel=6.5 / math.sqrt(2 * drawn.size) + 0.02)
    assert plan.sd(4) == 2 * plan.sd(1)


def test_the_finest_grid_is_taken_on_which_noise_and_sums_still_fit():
    plan = finest_plan(20, 1.0, whole=True, **PLAN)
    finer = SumPlan(length=20, sensitivity=1.0, noise_multiplier=3.0, steps=2 * plan.steps, whole=True)
    assert 300 * plan.steps + 12.3 * plan.share_sd < 32767 <= 300 * finer.steps + 12.3 * finer.share_sd


def test_sums_too_large_for_the_encryption_are_refused_with_what_to_do():
    with pytest.raises(PrivacyError, match=r"encryption\.value_bits"):
        finest_plan(20, 1.0, whole=True, **PLAN | {"largest": 40_000.0})


def test_metrics_that_were_not_agreed_have_no_plan():
    with pytest.raises(PrivacyError, match="no metrics were agreed"):
        metrics_plan(make_consortium(privacy=LOCAL_PRIVACY).terms)
