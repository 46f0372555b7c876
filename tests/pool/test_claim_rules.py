import dataclasses

import pytest

from fedjoint.errors import PoolError
from fedjoint.pool.claim import STATES, Claim, Debt, Decision, Filing, Held
from fedjoint.pool.claim_rules import advance
from fedjoint.pool.claim_step import STEPS, VERBS, SignedStep, Step, may_follow, sign_step
from fedjoint.strict import plain
from tests.pool.docket import DISMISSED, DOCKET, FILING, PEOPLE, UPHELD, at, signed

#: Verb to its signers and content, as they are right for a claim in each state it may be done in.
RIGHT = {
    "file": (("owner",), plain(FILING)),
    "admit": (("exchange",), {}),
    "reject": (("exchange",), {"reasons": "no amount is proven"}),
    "evidence": (("a",), {"sha256": ["ab" * 32]}),
    "convene": (("exchange",), {"panel": ["p1", "p2", "p3"]}),
    "decide": (("p1", "p3"), UPHELD),
    "serve": (("exchange",), {}),
    "appeal": (("a",), {"reasons": "the panel erred"}),
    "hear": (("exchange",), {"panel": ["q1", "q2", "q3"]}),
    "decide_final": (("q1", "q2", "q3"), UPHELD),
    "conclude": (("exchange",), {}),
    "pay": (("exchange",), {}),
    "recover": (("exchange",), {"amount_minor": 7}),
    "close": (("exchange",), {"reasons": "all is done"}),
    "withdraw": (("owner",), {"reasons": "we agreed"}),
    "settle": (("owner", "a"), {"amount_minor": 9}),
}


def claim_in(state: str) -> Claim | None:
    """A claim that stands in a state and has all it needs there."""
    if state == "draft":
        return None
    dismissed = state in ("rejected_formal", "withdrawn", "closed")
    return Claim(
        filing=FILING,
        state=state,
        head="cd" * 32,
        count=5,
        filed_at=at(0),
        moved_at=at(0),
        panel=() if state in ("filed", "admitted", "evidence") else ("p1", "p2", "p3"),
        appeal_panel=("q1", "q2", "q3"),
        decision=Decision(**(DISMISSED if dismissed else UPHELD)),
        window_ends="2026-01-31",
        held=Held(holdback_minor=100),
        debts=(Debt(rank=0, account="reserve", amount_minor=10),),
    )


def day_for(verb: str, state: str) -> int:
    return 60 if verb in ("conclude", "close") and state == "appeal_window" else 3


ALLOWED = [(state, verb) for state in STATES for verb in VERBS if state in STEPS[verb][0]]
FORBIDDEN = [(state, verb) for state in STATES for verb in VERBS if state not in STEPS[verb][0]]


@pytest.mark.parametrize(("state", "verb"), FORBIDDEN)
def test_every_step_that_does_not_follow_from_a_state_is_refused(state, verb):
    signers, body = RIGHT[verb]
    claim = claim_in(state)
    with pytest.raises(PoolError, match=rf"'{verb}' of claim 't-1', which is {state}"):
        advance(claim, signed(claim, verb, *signers, day=60, body=body), DOCKET)


@pytest.mark.parametrize(("state", "verb"), ALLOWED)
def test_every_step_that_follows_leads_where_it_must(state, verb):
    if (state, verb) == ("draft", "withdraw"):
        pytest.skip("a draft that is withdrawn was never recorded")
    signers, body = RIGHT[verb]
    claim = claim_in(state)
    if verb == "close":
        decision = Decision(**(UPHELD if state in ("paid", "recovery") else DISMISSED))
        claim = dataclasses.replace(claim, decision=decision, debts=() if state == "paid" else claim.debts)
    if verb == "hear":
        claim = dataclasses.replace(claim, appeal_panel=())
    step = signed(claim, verb, *signers, day=day_for(verb, state), body=body)
    after = advance(claim, step, DOCKET)
    assert after.state == STEPS[verb][1]
    assert after.head == step.sha256
    assert after.count == (claim.count if claim else 0) + 1


def test_there_are_as_many_forbidden_steps_as_there_should_be():
    assert len(ALLOWED) == 29
    assert len(FORBIDDEN) == len(STATES) * len(VERBS) - 29


def test_nothing_follows_on_an_end():
    for state in ("rejected_formal", "closed", "withdrawn", "settled"):
        assert may_follow(state) == ()


def test_a_draft_is_recorded_by_filing_it_and_by_nothing_else():
    with pytest.raises(PoolError, match="'withdraw' of claim 't-1', which was never filed"):
        advance(None, signed(None, "withdraw", "owner", body={"reasons": "never mind"}), DOCKET)


@pytest.mark.parametrize(("state", "verb"), [pair for pair in ALLOWED if pair != ("draft", "withdraw")])
def test_every_step_signed_by_anybody_else_is_refused(state, verb):
    signers, body = RIGHT[verb]
    claim = claim_in(state)
    if verb == "close":
        claim = dataclasses.replace(claim, decision=Decision(**DISMISSED), debts=())
    if verb == "hear":
        claim = dataclasses.replace(claim, appeal_panel=())
    wrong = ["b"], [], [*signers, "b"]
    for others in wrong:
        with pytest.raises(PoolError, match=rf"'{verb}' of claim 't-1' is signed by"):
            advance(claim, signed(claim, verb, *others, day=day_for(verb, state), body=body), DOCKET)


@pytest.mark.parametrize("verb", ["decide", "decide_final"])
def test_one_member_of_a_panel_decides_nothing(verb):
    claim = claim_in("adjudication" if verb == "decide" else "appealed")
    member = "p1" if verb == "decide" else "q1"
    with pytest.raises(PoolError, match="expected 2 or more of"):
        advance(claim, signed(claim, verb, member, body=UPHELD), DOCKET)


def test_a_settlement_needs_both_sides():
    claim = claim_in("evidence")
    with pytest.raises(PoolError, match="expected 2 or more of: a, owner"):
        advance(claim, signed(claim, "settle", "owner", body={"amount_minor": 9}), DOCKET)


def test_a_forged_signature_is_refused():
    claim = claim_in("filed")
    good = signed(claim, "admit", "exchange")
    forged = dataclasses.replace(good, signatures={"exchange": sign_step(good.step, PEOPLE["b"])})
    with pytest.raises(PoolError, match="is not that of 'exchange'"):
        advance(claim, forged, DOCKET)


def test_a_step_fits_one_place_of_one_claim():
    claim = claim_in("filed")
    replayed = signed(dataclasses.replace(claim, head="00" * 32), "admit", "exchange")
    elsewhere = signed(claim, "admit", "exchange", claim_id="t-2")
    for step in (replayed, elsewhere):
        with pytest.raises(PoolError, match="was signed for another place"):
            advance(claim, step, DOCKET)


def test_time_does_not_run_backwards():
    claim = dataclasses.replace(claim_in("filed"), moved_at=at(5))
    with pytest.raises(PoolError, match="expected after the step before"):
        advance(claim, signed(claim, "admit", "exchange", day=4), DOCKET)


@pytest.mark.parametrize("moment", ["yesterday", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01T00:00:00+08:00"])
def test_a_step_at_no_moment_is_refused(moment):
    with pytest.raises(PoolError, match="is no time"):
        Step(claim="t-1", verb="admit", at=moment, after="00" * 32)


def test_an_appeal_is_in_time_on_the_last_day_and_late_after_it():
    claim = claim_in("appeal_window")
    body = {"reasons": "the panel erred"}
    assert advance(claim, signed(claim, "appeal", "a", day=30, body=body), DOCKET).state == "appealed"
    with pytest.raises(PoolError, match="an appeal on 2026-02-01; expected one by 2026-01-31"):
        advance(claim, signed(claim, "appeal", "a", day=31, body=body), DOCKET)


def test_serving_a_decision_opens_the_agreed_days_for_an_appeal():
    claim = claim_in("decided")
    assert advance(claim, signed(claim, "serve", "exchange", day=10), DOCKET).window_ends == "2026-02-10"


@pytest.mark.parametrize("verb", ["conclude", "close"])
def test_nothing_is_concluded_before_the_last_day_for_an_appeal_is_over(verb):
    claim = claim_in("appeal_window")
    with pytest.raises(PoolError, match="after 2026-01-31, the last day for an appeal"):
        advance(claim, signed(claim, verb, "exchange", day=30, body=RIGHT[verb][1]), DOCKET)


@pytest.mark.parametrize("state", ["appeal_window", "decided_final"])
def test_an_upheld_claim_is_not_closed_unpaid_and_a_dismissed_one_not_paid(state):
    upheld = claim_in(state)
    dismissed = dataclasses.replace(upheld, decision=Decision(**DISMISSED))
    with pytest.raises(PoolError, match="was upheld; expected conclude"):
        advance(upheld, signed(upheld, "close", "exchange", day=60, body={"reasons": "no"}), DOCKET)
    with pytest.raises(PoolError, match="was dismissed; expected close"):
        advance(dismissed, signed(dismissed, "conclude", "exchange", day=60), DOCKET)


def test_a_paid_claim_with_debts_goes_through_recovery():
    claim = claim_in("paid")
    with pytest.raises(PoolError, match="10 are owed; expected recover first"):
        advance(claim, signed(claim, "close", "exchange", body={"reasons": "done"}), DOCKET)


@pytest.mark.parametrize("member", ["owner", "a", "exchange", "b"])
def test_interested_parties_are_recused(member):
    rules = dataclasses.replace(DOCKET, interested=frozenset({"b"}))
    claim = claim_in("evidence")
    with pytest.raises(PoolError, match=f"'{member}' has an interest in claim"):
        advance(
            claim,
            signed(claim, "convene", "exchange", body={"panel": ["p1", member, "p3"]}),
            rules,
        )


def test_an_appeal_is_heard_by_nobody_who_decided_before():
    claim = dataclasses.replace(claim_in("appealed"), appeal_panel=())
    with pytest.raises(PoolError, match="'p2' decided this claim already"):
        advance(claim, signed(claim, "hear", "exchange", body={"panel": ["q1", "p2", "q3"]}), DOCKET)


@pytest.mark.parametrize("panel", [["p1", "p2"], ["p1", "p1", "p2"], ["p1", "p2", "p3", "q1"]])
def test_a_panel_has_three_members(panel):
    claim = claim_in("evidence")
    with pytest.raises(PoolError, match="expected three different parties"):
        advance(claim, signed(claim, "convene", "exchange", body={"panel": panel}), DOCKET)


def test_nobody_unregistered_takes_part():
    claim = claim_in("evidence")
    with pytest.raises(PoolError, match="'stranger' is no registered party"):
        advance(claim, signed(claim, "convene", "exchange", body={"panel": ["p1", "p2", "stranger"]}), DOCKET)
    filing = dataclasses.replace(FILING, respondent="stranger")
    with pytest.raises(PoolError, match="'stranger' is no registered party"):
        advance(None, signed(None, "file", "owner", body=plain(filing)), DOCKET)


def test_more_than_was_claimed_is_never_decided():
    claim = claim_in("adjudication")
    with pytest.raises(PoolError, match="at most 1000, what was claimed"):
        advance(claim, signed(claim, "decide", "p1", "p2", body=UPHELD | {"amount_minor": 1_001}), DOCKET)


@pytest.mark.parametrize(("verb", "state", "most"), [("recover", "paid", 10), ("settle", "evidence", 100)])
def test_no_more_is_recovered_than_is_owed_or_settled_than_is_frozen(verb, state, most):
    claim = claim_in(state)
    with pytest.raises(PoolError, match=f"at most {most}"):
        advance(claim, signed(claim, verb, *RIGHT[verb][0], body={"amount_minor": most + 1}), DOCKET)


def test_the_exchange_answers_for_its_own_failure_and_does_not_keep_that_docket():
    filing = dataclasses.replace(FILING, kind="coordinator failure", respondent="exchange")
    claim = advance(None, signed(None, "file", "owner", body=plain(filing)), DOCKET)
    with pytest.raises(PoolError, match="'admit' of claim 't-1' is signed by exchange"):
        advance(claim, signed(claim, "admit", "exchange"), DOCKET)
    assert advance(claim, signed(claim, "admit", "c"), DOCKET).state == "admitted"
    for kind, respondent in (("coordinator failure", "a"), ("privacy breach", "exchange")):
        wrong = plain(dataclasses.replace(FILING, kind=kind, respondent=respondent))
        with pytest.raises(PoolError, match="expected coordinator failure against the exchange"):
            advance(None, signed(None, "file", "owner", body=wrong), DOCKET)


def test_evidence_adds_up_as_hashes_and_evidence_of_nothing_is_refused():
    claim = claim_in("admitted")
    one = advance(claim, signed(claim, "evidence", "owner", body={"sha256": ["ab" * 32]}), DOCKET)
    two = advance(one, signed(one, "evidence", "a", day=1, body={"sha256": ["cd" * 32]}), DOCKET)
    assert two.filing.evidence == ("ab" * 32, "cd" * 32)
    for wrong in ([], ["no hash"], ["ab" * 32] * 101):
        with pytest.raises(PoolError, match=r"document|malformed"):
            advance(claim, signed(claim, "evidence", "owner", body={"sha256": wrong}), DOCKET)


def test_a_body_of_another_shape_is_refused():
    claim = claim_in("filed")
    with pytest.raises(PoolError, match=r"unknown key 'admit\.note'"):
        advance(claim, signed(claim, "admit", "exchange", body={"note": "x"}), DOCKET)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "T 1"},
        {"claimant": "a"},
        {"amount_minor": 0},
        {"currency": "XAU"},
        {"statement": ""},
        {"statement": "x" * 2_001},
        {"evidence": ("x",)},
        {"settlements": ("s", "s")},
        {"kind": "title failure"},
        {"kind": "title failure", "dataset": "d", "share_bp": 0},
        {"dataset": "d", "share_bp": 5},
        {"respondent": "A B"},
    ],
)
def test_a_malformed_filing_is_refused(change):
    with pytest.raises(PoolError):
        dataclasses.replace(FILING, **change)


@pytest.mark.parametrize("change", [{"upheld": True, "amount_minor": 0}, {"upheld": False, "amount_minor": 1}])
def test_a_decision_that_contradicts_itself_is_refused(change):
    with pytest.raises(PoolError, match="an amount above 0 if upheld, 0 if dismissed"):
        Decision(reasons="so", **change)


def test_a_title_claim_names_dataset_and_share():
    title = dataclasses.replace(FILING, kind="title failure", dataset="ct-scans", share_bp=10_000)
    assert isinstance(title, Filing)


def test_a_signed_step_has_one_hash():
    step = signed(None, "file", "owner", body=plain(FILING))
    assert step.sha256 == SignedStep(step=step.step, signatures=dict(step.signatures)).sha256
    assert len(step.sha256) == 64
