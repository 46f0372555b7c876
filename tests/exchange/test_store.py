"""The exchange's database: what is kept in one step, what is refused, on SQLite and PostgreSQL."""

import dataclasses

import pytest

from fedjoint.agreement.canonical import sha256_hex
from fedjoint.agreement.signing import SignedAgreement, sign_terms, terms_sha256
from fedjoint.errors import AgreementError, DataError, IdentityError, PoolError, TrainingError
from fedjoint.exchange.members_store_sql import DatasetEntry, Invited, Issued, Operator
from fedjoint.exchange.store_sql import ExchangeStore
from fedjoint.exchange.tables_store_sql import AGREEMENTS
from fedjoint.identity.keys import Identity
from tests.fakes import SIZES, examples, make_terms
from tests.pool.conftest import postgres, postgres_url, url  # noqa: F401

AT, LATER = "2026-01-01T00:00:00.000Z", "2026-02-01T00:00:00.000Z"
TOKEN = "t" * 43
DATASET = DatasetEntry(
    party="ahus",
    name="study",
    schema="{}",
    num_examples=5,
    unit="record",
    fits=True,
    columns=1,
    present=1,
    registered_at=AT,
)


@pytest.fixture
def store(tmp_path):
    with ExchangeStore.open(f"sqlite:///{tmp_path}/exchange.sqlite") as found:
        yield found


@pytest.fixture(scope="module")
def ahus():
    return Identity.create("ahus", "Ahus")


def invite(store, *, serial="a1", party="ahus", expires_at=LATER):
    invited = Invited(
        serial=serial, party=party, name="Ahus", token_sha256=sha256_hex(TOKEN.encode()), expires_at=expires_at
    )
    store.members.invite(invited, at=AT)


def enrol(store, identity, *, serial="a1", token=TOKEN, key="k1", certificate="c1", at=AT):
    issued = Issued(serial=certificate, pem=f"PEM {certificate}", expires_at=LATER)
    public = identity.public
    return store.members.enrol(serial, public, token=token, key_sha256=key, issue=lambda: issued, at=at)


def test_an_invitation_makes_a_member_once_and_the_same_again_changes_nothing(store, ahus):
    invite(store)
    assert store.members.all()[0].state == "invited"
    assert enrol(store, ahus) == "PEM c1"
    assert enrol(store, ahus, certificate="c2") == "PEM c1"
    assert store.members.get("ahus").identity == ahus.public
    store.members.require_valid("c1")
    with pytest.raises(IdentityError, match="no registered node"):
        store.members.require_valid("c2")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"key": "k2"}, "a replayed join token"),
        ({"token": "x" * 43}, "not that of this invitation"),
        ({"serial": "a2"}, "was withdrawn"),
        ({"at": "2026-03-01T00:00:00.000Z"}, "expired at 2026-02-01"),
    ],
)
def test_another_use_of_an_invitation_is_refused_by_name(store, ahus, how, words):
    invite(store)
    enrol(store, ahus)
    with pytest.raises(IdentityError, match=words):
        enrol(store, ahus, **how)


def test_an_invitation_is_for_the_party_it_names(store):
    invite(store)
    with pytest.raises(IdentityError, match="an invitation of 'ahus' used by 'bern'"):
        enrol(store, Identity.create("bern", "Bern"))


def test_a_later_invitation_withdraws_an_earlier_one(store, ahus):
    invite(store)
    invite(store, serial="a2")
    with pytest.raises(IdentityError, match="was withdrawn"):
        store.members.require_invited("a1", at=AT)
    store.members.require_invited("a2", at=AT)


def test_a_renewal_gives_a_second_certificate_and_asked_again_the_same(store, ahus):
    invite(store)
    enrol(store, ahus)
    second = Issued(serial="c2", pem="PEM c2", expires_at=LATER)
    for _ in range(2):
        assert store.members.renew("ahus", "k2", issue=lambda: second, at=AT) == "PEM c2"
    store.members.require_valid("c1")
    store.members.require_valid("c2")


def test_a_revocation_ends_every_certificate_and_membership(store, ahus):
    invite(store)
    enrol(store, ahus)
    assert store.members.revoke("ahus", state="revoked", reason="lost", at=LATER) == 1
    with pytest.raises(IdentityError, match=r"the certificate of 'ahus' was revoked at 2026-02"):
        store.members.require_valid("c1")
    for refused in (
        lambda: store.members.renew("ahus", "k3", issue=None, at=AT),
        lambda: store.members.register(DATASET),
        lambda: store.members.get("ahus"),
        lambda: store.members.all()[0].identity,
        lambda: store.members.revoke("bern", state="revoked", reason="", at=AT),
    ):
        with pytest.raises(IdentityError):
            refused()


def test_who_enrols_anew_has_no_earlier_certificate(store, ahus):
    invite(store)
    enrol(store, ahus)
    assert store.members.revocations() == {}
    invite(store, serial="a2")
    assert enrol(store, ahus, serial="a2", key="k2", certificate="c2", at=LATER) == "PEM c2"
    assert store.members.revocations() == {"ahus": LATER}
    with pytest.raises(IdentityError, match="was revoked"):
        store.members.require_valid("c1")
    store.members.require_valid("c2")


def test_a_dataset_is_replaced_by_one_of_the_same_name(store, ahus):
    invite(store)
    enrol(store, ahus)
    store.members.register(DATASET)
    store.members.register(dataclasses.replace(DATASET, num_examples=6))
    assert [entry.num_examples for entry in store.members.datasets()] == [6]
    assert store.members.dataset("ahus", "study").num_examples == 6
    with pytest.raises(DataError, match="registered no dataset"):
        store.members.dataset("ahus", "other")


@pytest.fixture(scope="module")
def parties():
    return Identity.create("exchange", "E"), {holder: Identity.create(holder, holder.title()) for holder in SIZES}


def propose(store, parties, **agreed):
    coordinator, holders = parties
    terms = make_terms(coordinator, holders, SIZES, examples(60, seed=99), **agreed)
    signatures = {"exchange": sign_terms(terms, coordinator)}
    agreement = SignedAgreement(terms=terms, sha256=terms_sha256(terms), signatures=signatures)
    store.agreements.propose(agreement, at=AT)
    store.agreements.propose(agreement, at=LATER)  # the same again
    return agreement


def sign(store, parties, agreement, holder):
    return store.agreements.sign(agreement.sha256, holder, sign_terms(agreement.terms, parties[1][holder]), at=AT)


def test_an_agreement_is_signed_holder_by_holder(store, parties):
    agreement = propose(store, parties)
    assert sign(store, parties, agreement, "ahus") == ("bern", "cork")
    assert sign(store, parties, agreement, "ahus") == ("bern", "cork")
    assert store.agreements.get(agreement.sha256[:8]).state == "proposed"
    assert sign(store, parties, agreement, "bern") == ("cork",)
    assert sign(store, parties, agreement, "cork") == ()
    found = store.agreements.get(agreement.sha256, party="ahus")
    assert (found.state, found.proposed_at) == ("signed", AT)
    found.agreement.require_all_signatures()


def test_a_false_signature_and_a_strangers_are_refused(store, parties):
    agreement = propose(store, parties)
    signature = sign_terms(agreement.terms, parties[1]["ahus"])
    with pytest.raises(AgreementError, match="not that of 'bern'"):
        store.agreements.sign(agreement.sha256, "bern", signature, at=AT)
    with pytest.raises(AgreementError, match=r"there is no agreement .* of 'zug'"):
        store.agreements.sign(agreement.sha256, "zug", signature, at=AT)


def test_who_declines_ends_a_proposal_and_who_signed_cannot_decline(store, parties):
    agreement = propose(store, parties)
    sign(store, parties, agreement, "ahus")
    with pytest.raises(AgreementError, match="cannot be taken back"):
        store.agreements.decline(agreement.sha256, "ahus", "changed my mind", at=AT)
    store.agreements.decline(agreement.sha256, "bern", "", at=AT)
    assert store.agreements.get(agreement.sha256).declined == {"bern": "no reason given"}
    with pytest.raises(AgreementError, match="was declined by bern"):
        sign(store, parties, agreement, "cork")


def test_agreements_are_listed_in_their_order_and_by_party(store, parties):
    two = [propose(store, parties), propose(store, parties, rounds=7)]
    assert [found.agreement.sha256 for found in store.agreements.all()] == [one.sha256 for one in two]
    assert len(store.agreements.all(party="ahus")) == 2
    assert store.agreements.all(party="zug") == ()
    for wrong in ("", "%", "0" * 8):
        with pytest.raises(AgreementError):
            store.agreements.get(wrong)


def queue(store, agreement, run_id):
    row = {"run_id": run_id, "agreement": agreement.sha256, "name": run_id, "gross_minor": 5, "buyer": "b", "rounds": 3}
    store.runs.queue(row, at=AT)


def test_an_agreement_of_another_release_is_named_and_hides_no_other(store, parties):
    good = propose(store, parties)
    other = dataclasses.replace(good.terms, purpose="Another purpose, agreed under an earlier release")
    document = SignedAgreement(terms=other, sha256=terms_sha256(other), signatures={}).to_bytes().decode()
    foreign = document.replace("an earlier release", "other terms, hashed")  # so that the hash is not that of the terms
    row = {"sha256": terms_sha256(other), "document": foreign, "proposed_at": AT}
    store.database.write(lambda connection: connection.execute(AGREEMENTS.insert().values(**row)))
    assert [found.agreement.sha256 for found in store.agreements.all()] == [good.sha256]
    assert store.agreements.unreadable() == (terms_sha256(other),)


def test_runs_are_taken_in_order_an_interrupted_one_first(store, parties):
    first, second = propose(store, parties), propose(store, parties, rounds=7)
    assert store.runs.next() is None
    queue(store, first, "1" * 32)
    queue(store, second, "2" * 32)
    with pytest.raises(TrainingError, match="has a run already"):
        queue(store, first, "3" * 32)
    assert store.runs.next().run_id == "1" * 32
    store.runs.begin("2" * 32, at=AT)
    assert store.runs.next().run_id == "2" * 32
    store.runs.progress("2" * 32, round_number=2, stragglers={"bern": {"missed": 1}})
    assert store.runs.all(agreement=second.sha256)[0].round == 2
    store.runs.fail("2" * 32, words="why", at=LATER)
    assert store.runs.next().run_id == "1" * 32
    store.runs.finish("1" * 32, words="done", model_sha256="0" * 64, statements={"ahus": "{}"}, at=LATER)
    assert store.runs.next() is None
    assert [one.document for one in store.runs.statements("ahus")] == ["{}"]
    assert store.runs.statements("bern") == ()
    queue(store, second, "4" * 32)  # after a failure another may be tried
    assert store.agreements.get(first.sha256).state == "finished"


def test_a_wish_is_taken_once(store):
    assert not store.wishes.take("stop")
    store.wishes.make("stop", at=AT)
    store.wishes.make("stop", at=LATER)
    assert store.wishes.take("stop")
    assert not store.wishes.take("stop")


def test_every_kind_of_database_keeps_all_of_it(url, parties, ahus):  # noqa: F811
    with ExchangeStore.open(url) as store:
        invite(store)
        enrol(store, ahus)
        staff = Issued(serial="o1", pem="PEM o1", expires_at=LATER)
        store.members.appoint("anna", "Anna Berg", "k2", issue=lambda: staff, at=AT)
        store.members.register(DATASET)
        agreement = propose(store, parties)
        sign(store, parties, agreement, "ahus")
        queue(store, agreement, "1" * 32)
        store.runs.finish("1" * 32, words="done", model_sha256="0" * 64, statements={"ahus": "{}"}, at=LATER)
    with ExchangeStore.open(url) as again:
        assert again.members.datasets() == (DATASET,)
        assert again.members.operators() == (Operator(id="anna", name="Anna Berg", good_until=LATER),)
        assert again.agreements.get(agreement.sha256).agreement.signatures.keys() == {"exchange", "ahus"}
        assert again.runs.all()[0].state == "finished"
        with pytest.raises(IdentityError, match="replayed"):
            enrol(again, ahus, key="k9")


def test_the_tables_are_those_that_the_migrations_make(store):
    import sqlalchemy as sa

    from fedjoint.exchange.tables_store_sql import METADATA

    inspector = sa.inspect(store.database.engine)
    for table in METADATA.sorted_tables:
        made = {column["name"]: column["nullable"] for column in inspector.get_columns(table.name)}
        assert made == {column.name: bool(column.nullable) for column in table.columns}, table.name


def test_a_database_of_a_later_version_is_refused(store, tmp_path):
    store.database.write(
        lambda connection: connection.exec_driver_sql("UPDATE exchange_version SET version_num = 'exchange_9999'")
    )
    with pytest.raises(PoolError, match="the exchange's database is of a version"):
        ExchangeStore.open(f"sqlite:///{tmp_path}/exchange.sqlite")
