from dataclasses import replace

import pytest

from fedjoint.errors import PrivacyError
from fedjoint.privacy.accounting import epsilon_of
from fedjoint.privacy.events import GaussianEvent, Release, costs
from fedjoint.privacy.receipts import RoundReceipt, check_releases
from tests.fakes import LOCAL_PRIVACY, make_consortium

NOISY = make_consortium(privacy=LOCAL_PRIVACY, local_steps=2).terms
PLAIN = make_consortium().terms


def training(count=2, *, noise=2.0, rate=1.0):
    event = GaussianEvent(sampling_rate=rate, noise_multiplier=noise, count=count)
    return Release(purpose="training", event=event, if_opened=event)


STEPS = training()


def receipt(*releases, epsilon=None):
    cost = epsilon if epsilon is not None or not releases else epsilon_of(costs(releases), 1e-3)
    said = {"run_id": "cd" * 16, "holder": "ahus", "round": 1, "frame_sha256": "ab" * 32}
    return RoundReceipt(**said, releases=releases, epsilon=cost)


def test_a_receipt_that_grows_by_the_agreed_steps_is_accepted():
    assert check_releases(receipt(STEPS), NOISY, steps_before=0) == 2
    assert check_releases(receipt(training(4)), NOISY, steps_before=2) == 4


def test_a_round_that_was_charged_and_lost_may_show_in_the_next_receipt():
    assert check_releases(receipt(training(6)), NOISY, steps_before=2) == 6


@pytest.mark.parametrize(
    ("releases", "before"),
    [
        ((), 0),
        ((training(noise=3.0),), 0),
        ((training(rate=0.5),), 0),
        ((training(1),), 0),
        ((STEPS,), 2),
        ((STEPS, STEPS), 0),
        ((replace(STEPS, purpose="metrics"),), 0),
        ((replace(STEPS, if_opened=None),), 0),
    ],
    ids=["none", "more noise", "less sampling", "too few", "not grown", "not merged", "other name", "free if opened"],
)
def test_other_releases_than_were_agreed_are_refused(releases, before):
    with pytest.raises(PrivacyError, match="states other releases than were agreed"):
        check_releases(receipt(*releases), NOISY, steps_before=before)


def test_a_cost_other_than_that_of_the_releases_is_refused():
    with pytest.raises(PrivacyError, match=r"states epsilon 0\.1"):
        check_releases(receipt(STEPS, epsilon=0.1), NOISY, steps_before=0)
    with pytest.raises(PrivacyError, match="states epsilon None"):
        check_releases(replace(receipt(STEPS), epsilon=None), NOISY, steps_before=0)


def test_a_cost_beyond_the_agreed_epsilon_is_refused():
    frugal = make_consortium(privacy=replace(LOCAL_PRIVACY, epsilon=1.0)).terms
    with pytest.raises(PrivacyError, match="at most 1"):
        check_releases(receipt(training(9)), frugal, steps_before=0)


def test_without_privacy_a_receipt_states_no_releases():
    assert check_releases(receipt(), PLAIN, steps_before=0) == 0
    for false in (receipt(STEPS), receipt(epsilon=0.5)):
        with pytest.raises(PrivacyError, match="none, as agreed"):
            check_releases(false, PLAIN, steps_before=0)
