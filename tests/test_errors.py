from __future__ import annotations

import pickle
import re

import pytest

from fedjoint import errors
from fedjoint.errors import DataError, FedjointError

#: Programs compare these: a changed code is a changed interface.
CODES = {
    "FedjointError": "fedjoint",
    "InvalidValue": "value.invalid",
    "ConfigError": "config.invalid",
    "AgreementError": "agreement.refused",
    "IdentityError": "identity.refused",
    "DataError": "data.refused",
    "PrivacyError": "privacy.refused",
    "BudgetExhausted": "privacy.budget_exhausted",
    "EncryptionError": "encryption.refused",
    "FrameRefused": "encryption.frame_refused",
    "Equivocation": "encryption.equivocation",
    "QuorumMissing": "encryption.quorum_missing",
    "TrainingError": "training.stopped",
    "TransportError": "transport.refused",
    "ValuationError": "valuation.refused",
    "PoolError": "pool.refused",
    "RecordError": "record.broken",
}


def test_every_error_has_its_stable_code():
    assert {name: getattr(errors, name).code for name in errors.__all__} == CODES


def test_codes_are_distinct_and_plain():
    assert len(set(CODES.values())) == len(CODES)
    assert all(re.fullmatch(r"[a-z_]+(\.[a-z_]+)?", code) for code in CODES.values())


@pytest.mark.parametrize("name", CODES)
def test_every_error_is_one_of_ours_and_is_at_most_two_below_the_root(name):
    kind = getattr(errors, name)
    assert issubclass(kind, FedjointError)
    assert len(kind.__mro__) - len(FedjointError.__mro__) <= 2


@pytest.mark.parametrize(
    ("expected", "remedy", "text"),
    [
        ("", "", "no column 'x'"),
        ("a, b", "", "no column 'x'; expected a, b"),
        ("", "Correct it.", "no column 'x'. Correct it."),
        ("a, b", "Correct it.", "no column 'x'; expected a, b. Correct it."),
    ],
)
def test_a_message_says_what_was_got_what_was_expected_and_what_to_do(expected, remedy, text):
    error = DataError("no column 'x'", expected=expected, remedy=remedy)
    assert str(error) == text
    assert (error.problem, error.expected, error.remedy) == ("no column 'x'", expected, remedy)


def test_a_problem_that_ends_with_a_full_stop_gets_no_second_one():
    assert str(DataError("It is late.", remedy="Go home.")) == "It is late. Go home."


def test_an_error_crosses_processes_whole():
    error = DataError("no column 'x'", expected="a, b", remedy="Correct it.")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.remedy) == (DataError, str(error), "Correct it.")
