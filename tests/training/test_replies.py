"""Losses, norms of gradients, fractions clipped and metrics of one site are as private as its records: none is said."""

from dataclasses import replace

import pytest

from fedjoint.strict import plain
from tests.fakes import JOINT_ENCRYPTION, JOINT_PRIVACY, LOCAL_PRIVACY, complete, make_consortium
from tests.training.test_size_release import leaves

MODES = {"local": {"privacy": LOCAL_PRIVACY}, "joint": {"privacy": JOINT_PRIVACY, "encryption": JOINT_ENCRYPTION}}


def numbers_said(flipped, agreed):
    """Every number in every reply of a run, in order; what is encrypted or opened travels as bytes and text."""
    heard = []
    parties = make_consortium(flipped=flipped, sampling_rate=0.5, **agreed)
    run = complete(parties, meddle=lambda kind, holder, reply: heard.append(plain(reply.body)) or reply)
    return [leaf for leaf in leaves(heard) if isinstance(leaf, int | float)], run.models[-1]


@pytest.mark.parametrize("mode", MODES)
def test_no_number_in_any_reply_depends_on_the_records(mode):
    agreed = MODES[mode] | {"privacy": replace(MODES[mode]["privacy"], insecure_seed=2)}
    said, model = numbers_said(None, agreed)
    others, other_model = numbers_said(dict.fromkeys(("ahus", "bern", "cork"), 0.5), agreed)
    assert said == others and any(isinstance(number, float) for number in said)
    assert model.tobytes() != other_model.tobytes()
