import pytest

from fedjoint.errors import IdentityError, InvalidValue
from fedjoint.training.session import Session
from tests.fakes import make_consortium

CONSORTIUM = make_consortium()
FACTS = {"round": 1, "values": ("1", "2")}


def test_a_signature_is_accepted_for_the_same_facts():
    signature = CONSORTIUM.session.sign(CONSORTIUM.identities["ahus"], "opened", FACTS)
    CONSORTIUM.session.check("ahus", "opened", {"values": ["1", "2"], "round": 1}, signature)


@pytest.mark.parametrize(
    ("session", "holder", "purpose", "facts"),
    [
        (CONSORTIUM.next_run(), "ahus", "opened", FACTS),
        (CONSORTIUM.session, "bern", "opened", FACTS),
        (CONSORTIUM.session, "ahus", "receipt", FACTS),
        (CONSORTIUM.session, "ahus", "opened", FACTS | {"round": 2}),
        (make_consortium().session, "ahus", "opened", FACTS),
    ],
    ids=["another run", "another holder", "another purpose", "other facts", "another agreement"],
)
def test_a_signature_is_worth_nothing_elsewhere(session, holder, purpose, facts):
    signature = CONSORTIUM.session.sign(CONSORTIUM.identities["ahus"], "opened", FACTS)
    with pytest.raises(IdentityError):
        session.check(holder, purpose, facts, signature)


def test_somebody_who_is_no_holder_cannot_have_signed():
    with pytest.raises(InvalidValue, match="no holder of this agreement"):
        CONSORTIUM.session.check("exchange", "opened", FACTS, "0" * 128)


@pytest.mark.parametrize("run_id", ["", "ab" * 15, "AB" * 16, "ab" * 17, "../../../../etc/passwd/..........."])
def test_a_malformed_run_id_is_refused(run_id):
    with pytest.raises(InvalidValue, match="run_id"):
        Session(agreement=CONSORTIUM.agreement, run_id=run_id)


def test_frames_of_a_session_name_its_agreement_and_run():
    header = CONSORTIUM.session.frame("sum", 3, "ab" * 32)
    assert (header.kind, header.round_number, header.key_id) == ("sum", 3, "ab" * 32)
    assert header.binding.run_id == CONSORTIUM.session.run_id
    assert header.binding.agreement_sha256 == CONSORTIUM.agreement.sha256
