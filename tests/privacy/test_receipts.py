from dataclasses import replace

import pytest

from fedjoint.errors import PrivacyError
from fedjoint.privacy.accounting import epsilon_of
from fedjoint.privacy.events import GaussianEvent
from fedjoint.privacy.receipts import RoundReceipt, check_releases
from tests.fakes import LOCAL_PRIVACY, make_consortium

NOISY = make_consortium(privacy=LOCAL_PRIVACY, local_steps=2).terms
PLAIN = make_consortium().terms
EVENT = GaussianEvent(sampling_rate=1.0, noise_multiplier=2.0, count=2)


def receipt(*events, epsilon=None):
    cost = epsilon if epsilon is not None or not events else epsilon_of(events, 1e-3)
    return RoundReceipt(run_id="cd" * 16, holder="ahus", round=1, frame_sha256="ab" * 32, events=events, epsilon=cost)


def test_a_receipt_that_grows_by_the_agreed_steps_is_accepted():
    assert check_releases(receipt(EVENT), NOISY, steps_before=0) == 2
    assert check_releases(receipt(replace(EVENT, count=4)), NOISY, steps_before=2) == 4


def test_a_round_that_was_charged_and_lost_may_show_in_the_next_receipt():
    assert check_releases(receipt(replace(EVENT, count=6)), NOISY, steps_before=2) == 6


@pytest.mark.parametrize(
    ("events", "before"),
    [
        ((), 0),
        ((replace(EVENT, noise_multiplier=3.0),), 0),
        ((replace(EVENT, sampling_rate=0.5),), 0),
        ((replace(EVENT, count=1),), 0),
        ((EVENT,), 2),
        ((EVENT, EVENT), 0),
    ],
    ids=["none", "more noise", "less sampling", "too few steps", "not grown", "not merged"],
)
def test_other_releases_than_were_agreed_are_refused(events, before):
    with pytest.raises(PrivacyError, match="states other releases than were agreed"):
        check_releases(receipt(*events), NOISY, steps_before=before)


def test_a_cost_other_than_that_of_the_releases_is_refused():
    with pytest.raises(PrivacyError, match=r"states epsilon 0\.1"):
        check_releases(receipt(EVENT, epsilon=0.1), NOISY, steps_before=0)
    with pytest.raises(PrivacyError, match="states epsilon None"):
        check_releases(replace(receipt(EVENT), epsilon=None), NOISY, steps_before=0)


def test_a_cost_beyond_the_agreed_epsilon_is_refused():
    frugal = make_consortium(privacy=replace(LOCAL_PRIVACY, epsilon=1.0)).terms
    with pytest.raises(PrivacyError, match="at most 1"):
        check_releases(receipt(replace(EVENT, count=9)), frugal, steps_before=0)


def test_without_privacy_a_receipt_states_no_releases():
    assert check_releases(receipt(), PLAIN, steps_before=0) == 0
    for false in (receipt(EVENT), receipt(epsilon=0.5)):
        with pytest.raises(PrivacyError, match="none, as agreed"):
            check_releases(false, PLAIN, steps_before=0)
