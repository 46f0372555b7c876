import pytest

from fedjoint.errors import InvalidValue
from fedjoint.privacy.local_plan import LocalPlan

GOOD = {
    "clip_norm": 0.5,
    "noise_multiplier": 2.0,
    "sampling_rate": 32 / 300,
    "learning_rate": 0.5,
    "local_steps": 4,
    "expected_batch_size": 32.0,
}


def test_the_event_states_the_sampling_rate_that_is_used_to_the_last_bit():
    event = LocalPlan(**GOOD).event
    assert (event.sampling_rate, event.noise_multiplier, event.count) == (32 / 300, 2.0, 4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("clip_norm", 0.0),
        ("clip_norm", float("inf")),
        ("noise_multiplier", 0.0),
        ("noise_multiplier", float("nan")),
        ("sampling_rate", 0.0),
        ("sampling_rate", 1.5),
        ("learning_rate", -1.0),
        ("learning_rate", float("nan")),
        ("local_steps", 0),
        ("proximal", -0.1),
        ("proximal", 2.1),
        ("expected_batch_size", 0.0),
        ("expected_batch_size", float("inf")),
    ],
)
def test_a_plan_out_of_range_is_refused_by_name(name, value):
    with pytest.raises(InvalidValue, match=name):
        LocalPlan(**{**GOOD, name: value})
