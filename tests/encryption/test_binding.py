import pytest

from fedjoint.encryption.binding import Binding
from fedjoint.errors import InvalidValue


@pytest.mark.parametrize(
    ("agreement", "run", "name"),
    [
        ("ab" * 31, "cd" * 16, "agreement_sha256"),
        ("AB" * 32, "cd" * 16, "agreement_sha256"),
        ("ab" * 32, "cd" * 15, "run_id"),
        ("ab" * 32, "cd" * 16 + "\n", "run_id"),
    ],
)
def test_a_malformed_agreement_or_run_is_refused_by_name(agreement, run, name):
    with pytest.raises(InvalidValue, match=name):
        Binding(agreement_sha256=agreement, run_id=run)
