"""The holder's own policy is enforced on its own machine, whatever the coordinator sends."""

from dataclasses import replace

import pytest

from fedjoint.agreement.review import HolderPolicy
from fedjoint.agreement.signing import SignedAgreement, sign_terms, terms_sha256
from fedjoint.errors import AgreementError, TrainingError
from fedjoint.flower.messages import from_record, to_record
from fedjoint.privacy.ledger_file import LifetimeLedger, create_ledger
from fedjoint.privacy.lifetime import lifetime_budget
from fedjoint.training.holder import Holder
from fedjoint.training.plan import TASKS, Parcel, RoundTask
from tests.fakes import LOCAL_PRIVACY, DirectChannel, begin, make_consortium

FAIR = HolderPolicy(maximum_epsilon=60.0, allow_exact_size=True)


def now():
    return "2026-01-01T00:00:00+00:00"


@pytest.fixture
def parties():
    return make_consortium(privacy=LOCAL_PRIVACY)


def holder_of(parties, policy, **options):
    return Holder(parties.identities["ahus"], parties.records["ahus"], policy, **options)


def join(parties, holder):
    blobs = {"agreement": parties.agreement.to_bytes()}
    return holder.answer("join", Parcel(body=parties.task(), blobs=blobs))


def test_a_policy_that_became_stricter_after_signing_ends_the_run_before_it_begins(parties):
    holder = holder_of(parties, FAIR)
    holder.sign(parties.terms)
    join(parties, holder)
    holder._policy = replace(FAIR, maximum_clip_norm=0.5)  # the file was changed and read again
    with pytest.raises(AgreementError, match=r"privacy\.clip_norm = 1 where the policy allows at most 0\.5"):
        join(parties, holder)


@pytest.mark.parametrize(
    "change", [{"noise_multiplier": 0.1}, {"clip_norm": 9.0}, {"epsilon": 60.0}], ids=["noise", "clip norm", "epsilon"]
)
def test_an_agreement_changed_after_the_holder_signed_is_not_joined(parties, change):
    weaker = replace(parties.terms, privacy=replace(LOCAL_PRIVACY, **change))
    changed = make_agreement(parties, weaker)
    task = Parcel(
        body=replace(parties.task(), agreement_sha256=changed.sha256), blobs={"agreement": changed.to_bytes()}
    )
    holder = holder_of(parties, FAIR)
    holder.sign(parties.terms)
    with pytest.raises(AgreementError, match="has not signed agreement"):
        holder.answer("join", task)


def make_agreement(parties, terms):
    """Signed by everybody, as if the others and this holder's key had been had; the holder itself knows of nothing."""
    signatures = {one.id: sign_terms(terms, one) for one in (*parties.identities.values(), parties.coordinator)}
    return SignedAgreement(terms=terms, sha256=terms_sha256(terms)).with_signatures(signatures)


@pytest.mark.parametrize("field", ["noise_multiplier", "clip_norm", "epsilon", "delta", "sampling_rate", "privacy"])
@pytest.mark.parametrize("kind", TASKS)
def test_no_message_has_room_for_another_noise_clip_norm_or_budget(parties, kind, field):
    record = to_record(Parcel(body={"agreement_sha256": "a", "run_id": "b", field: 0.1}))
    with pytest.raises(TrainingError, match=f"unknown key 'message.{field}'"):
        from_record(record, TASKS[kind])


def test_what_is_charged_and_added_is_what_was_signed_whatever_the_rounds_task_looks_like(parties):
    begin(parties, DirectChannel(holders=parties.holders)).coordinator.prepare()
    reply = parties.holders["ahus"].answer("train", Parcel(body=RoundTask(**parties.session.address, round=1)))
    (release,) = reply.body.receipt.releases
    assert release.event.noise_multiplier == LOCAL_PRIVACY.noise_multiplier


def test_a_policy_may_ask_for_a_lifetime_budget_and_cap_it(parties, tmp_path):
    strict = replace(FAIR, maximum_lifetime_epsilon=8.0)
    with pytest.raises(AgreementError, match="has no lifetime budget"):
        holder_of(parties, strict).sign(parties.terms)
    for epsilon in (9.0, 8.0):
        path, limit = tmp_path / f"{epsilon}.ledger", lifetime_budget(epsilon, 1e-5)
        create_ledger(path, limit, if_opened=limit, cohort="c", unit="record", now=now)
        holder = holder_of(parties, strict, lifetime=LifetimeLedger(path, now=now))
        if epsilon > 8:
            with pytest.raises(AgreementError, match="allows epsilon 9; expected at most 8"):
                holder.sign(parties.terms)
        else:
            assert holder.sign(parties.terms)
