import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.errors import InvalidValue
from fedjoint.privacy.events import MAX_STEPS, GaussianEvent, append, num_steps
from fedjoint.strict import build, plain

EVENTS = st.builds(
    GaussianEvent,
    sampling_rate=st.sampled_from([0.1, 0.5, 1.0]),
    noise_multiplier=st.sampled_from([1.0, 2.0]),
    count=st.integers(1, 5),
)


@given(st.lists(EVENTS, max_size=12))
def test_a_ledger_never_loses_a_step_and_never_holds_two_equal_neighbours(events):
    ledger = ()
    for event in events:
        ledger = append(ledger, event)
    assert num_steps(ledger) == sum(event.count for event in events)
    kinds = [(event.sampling_rate, event.noise_multiplier) for event in ledger]
    assert all(left != right for left, right in itertools.pairwise(kinds))


def test_appending_leaves_the_old_ledger_as_it_was():
    step = GaussianEvent(sampling_rate=1.0, noise_multiplier=2.0)
    old = append((), step)
    assert append(old, step)[0].count == 2
    assert old == (step,)


def test_steps_of_another_kind_in_between_are_kept_in_order():
    first = GaussianEvent(sampling_rate=1.0, noise_multiplier=2.0)
    other = GaussianEvent(sampling_rate=0.5, noise_multiplier=2.0)
    assert append(append(append((), first), other), first) == (first, other, first)


def test_an_event_survives_json():
    event = GaussianEvent(sampling_rate=0.25, noise_multiplier=3.5, count=4)
    assert build(GaussianEvent, plain(event)) == event


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.01, float("nan")])
def test_a_sampling_rate_that_is_no_probability_is_refused(rate):
    with pytest.raises(InvalidValue, match="sampling_rate"):
        GaussianEvent(sampling_rate=rate, noise_multiplier=1.0)


@pytest.mark.parametrize("noise", [0.0, -1.0, 1e-7, 1e7, float("inf"), float("nan")])
def test_a_release_without_real_noise_is_no_event(noise):
    with pytest.raises(InvalidValue, match="noise_multiplier"):
        GaussianEvent(sampling_rate=1.0, noise_multiplier=noise)


@pytest.mark.parametrize("count", [0, -1, MAX_STEPS + 1])
def test_a_count_out_of_range_is_refused(count):
    with pytest.raises(InvalidValue, match="count"):
        GaussianEvent(sampling_rate=1.0, noise_multiplier=1.0, count=count)


def test_counts_that_merge_beyond_the_limit_are_refused():
    most = GaussianEvent(sampling_rate=1.0, noise_multiplier=1.0, count=MAX_STEPS)
    with pytest.raises(InvalidValue, match="count"):
        append((most,), most)
