"""A holder's way from its first folder to a trained model, by its commands, against an exchange in this process."""

import json
import logging
from contextlib import ExitStack
from dataclasses import replace

import pytest

from fedjoint.conduct.reference import ReferenceSet
from fedjoint.conduct.reference_file import write_reference
from fedjoint.errors import AgreementError, ConfigError, DataError, FedjointError, IdentityError
from fedjoint.flower.client_app import make_client_app
from fedjoint.flower.server_app import make_server_app
from fedjoint.node.credentials import credentials_of
from fedjoint.node.datasets import dataset, datasets, registration
from fedjoint.node.serving import NodeHolders
from fedjoint.node.settings import NodeSettings
from fedjoint.training.local_update import agreed_module, agreed_task
from fedjoint.training.session import Session
from fedjoint.transport.grpc_grid import serve_app
from fedjoint.transport.holder_grid import run_server_app
from tests.fakes import (
    LOCAL_PRIVACY,
    Consortium,
    complete,
    examples,
    make_consortium,
    make_terms,
    open_contributions,
    train,
)
from tests.network import node
from tests.node.conftest import add_data, allow, fedjoint, join, make_home, propose


@pytest.fixture
def homes(tmp_path, exchange):
    """Three holders that have joined and added their data."""
    found = [make_home(tmp_path, holder) for holder in ("ahus", "bern", "cork")]
    for home in found:
        join(home, exchange)
        add_data(home)
        allow(home, "modes: [local, joint]", "modes: [none]")
    return found


def sign(home, sha256, **how):
    return fedjoint("sign", sha256[:12], "--yes", "--home", home.folder, **how)


def run(exchange, homes, agreement, *, run_id="ab" * 16):
    """Coordinate a run with the nodes' tasks done in this process; what the coordinator saw of it."""
    terms = agreement.terms
    reference = ReferenceSet(examples=examples(60, seed=99), module=agreed_module(terms), task=agreed_task(terms))
    consortium = Consortium(
        coordinator=exchange.identity,
        identities={},
        records={},
        holders={},
        terms=terms,
        session=Session(agreement=agreement, run_id=run_id),
        reference=reference,
        updates=None,
    )
    done = []

    def coordinate(channel):
        found = train(consortium, channel)
        open_contributions(consortium, found, channel)
        done.append(found)

    with ExitStack() as stack:
        for home in homes:
            holders = NodeHolders(home, now=lambda: "2026-01-01T00:00:00Z")
            stack.callback(holders.close)
            answer = serve_app(make_client_app(lambda _, holders=holders: holders), home.folder.name)
            credentials = credentials_of(home, home.load_membership(), NodeSettings())
            stack.enter_context(node(exchange.port, credentials, answer))
        run_server_app(make_server_app(coordinate, lambda grid: grid.nodes, timeout_s=60), exchange.grid)
    return done[0]


def test_three_holders_join_add_review_sign_and_train_as_in_one_process(exchange, homes):
    sha256, _ = propose(exchange, homes)
    for home in homes:
        page = fedjoint("review", "--pending", "--home", home.folder)
        assert "Within your policy" in page
        assert "Signed." in sign(home, sha256)
    agreement = exchange.documents[sha256]
    assert agreement.unsigned == ()
    found = run(exchange, homes, agreement)
    alone = complete(make_consortium())
    assert [model.tobytes() for model in found.models] == [model.tobytes() for model in alone.models]
    assert found.contributions.by_holder == pytest.approx(alone.contributions.by_holder, rel=1e-9)
    shown = {home: own_contribution_of(home, "--reference", reference_file(home)) for home in homes}
    for home, own in shown.items():
        assert sum(own["by_round"]) == pytest.approx(found.contributions.by_holder[home.folder.name], rel=1e-3)
        assert own["stated"] is None and own["num_reference"] == 60


def reference_file(home):
    path = home.folder / "reference.safetensors"
    write_reference(path, examples(60, seed=99))
    return path


def own_contribution_of(home, *arguments):
    page = home.folder / "own.html"
    said = fedjoint("contributions", *arguments, "--json", "--page", page, "--home", home.folder)
    (kept,) = home.statements.glob("*.contributions.json")
    for secret in (kept, page, *next(home.runs.glob("*/diaries/*")).iterdir()):
        assert secret.stat().st_mode & 0o777 == 0o600
    assert "Round by round" in page.read_text()
    return json.loads(said)


def test_what_a_holder_added_is_not_told_without_the_very_reference_records(exchange, homes, tmp_path):
    sha256, _ = propose(exchange, homes)
    for home in homes:
        sign(home, sha256)
    run(exchange, homes, exchange.documents[sha256])
    write_reference(tmp_path / "other", examples(60, seed=98))
    for arguments, words in (
        ((), "hash is in the agreement"),
        (("--reference", tmp_path / "other"), "not the reference set"),
        (("ffff",), "runs that begin with 'ffff': 0"),
    ):
        with pytest.raises(FedjointError, match=words):
            fedjoint("contributions", *arguments, "--home", homes[0].folder)


def test_two_holders_search_for_common_records_by_three_files(exchange, homes, tmp_path):
    sha256, _ = propose(exchange, homes)
    for home in homes:
        sign(home, sha256)
    asking, asked = homes[0], homes[1]
    files = question, reply, rows = [tmp_path / name for name in ("question", "answer", "rows")]
    fedjoint("duplicates", "ask", sha256[:12], "--of", asked.folder.name, "--out", question, "--home", asking.folder)
    with pytest.raises(AgreementError, match="allow_duplicate_search"):
        fedjoint("duplicates", "answer", sha256[:12], question, "--out", reply, "--home", asked.folder)
    allow(asked, "allow_duplicate_search: false", "allow_duplicate_search: true")
    fedjoint("duplicates", "answer", sha256[:12], question, "--out", reply, "--home", asked.folder)
    said = fedjoint("duplicates", "compare", sha256[:12], reply, "--rows", rows, "--home", asking.folder)
    assert "0 of your" in said and all(file.exists() for file in files)


def test_joining_shows_fingerprints_to_compare_and_keeps_every_secret_to_itself(tmp_path, exchange):
    home = make_home(tmp_path, "bern")
    said = join(home, exchange)
    for fingerprint in (home.load_identity().public.fingerprint, exchange.identity.public.fingerprint):
        assert fingerprint in said
    assert exchange.parties["bern"] == home.load_identity().public
    assert home.folder.stat().st_mode & 0o777 == 0o700
    for secret in (home.identity, home.tls):
        assert secret.stat().st_mode & 0o777 == 0o600


def test_the_exchange_learns_of_data_their_schema_and_size_and_no_count_of_any_column(tmp_path, exchange):
    home = make_home(tmp_path, "bern")
    said = add_data(home, "--patient", "mrn", "--size-noise", "0")
    assert "hears of it when you join" in said
    join(home, exchange)
    told = exchange.datasets["bern"]
    assert (told.name, told.num_examples, told.num_patients, told.unit) == ("bern", 15, 15, "patient")
    assert (told.quality.fits, told.quality.columns, told.quality.present) == (True, 4, 4)
    assert {field.name for field, _ in told.quality.ListFields()} == {"fits", "columns", "present"}


def test_the_exchange_is_told_one_noisy_number_of_records_that_is_charged_once(tmp_path, exchange):
    home = make_home(tmp_path, "bern")
    add_data(home, "--epsilon", "8", "--delta", "1e-5")
    join(home, exchange)
    told = exchange.datasets["bern"].num_examples
    assert told >= 10 and (home.data / "bern.size.json").exists()
    figures = json.loads(fedjoint("budget", home.data / "bern.ledger", "--json"))
    assert set(figures["agreements"][0]["purposes"]) == {"sizes"} and figures["spent"]["releases"] == 1
    note = dataset(home, "bern")
    for _ in range(3):
        assert registration(home, note, now=lambda: "2026-01-01T00:00:00Z").num_examples == told
    assert [note.name for note in datasets(home)] == ["bern"]
    assert json.loads(fedjoint("budget", home.data / "bern.ledger", "--json"))["spent"]["releases"] == 1


def test_a_private_agreement_states_what_was_told_and_no_other_number(exchange, homes):
    told = {home.folder.name: exchange.datasets[home.folder.name].num_examples for home in homes}
    identities = {home.folder.name: home.load_identity() for home in homes}
    for sizes, code in ((told | {"bern": told["bern"] + 1}, 1), (told, 0)):
        terms = make_terms(exchange.identity, identities, sizes, examples(60, seed=99), privacy=LOCAL_PRIVACY)
        allow(homes[1], "modes: [none]" if code else "modes: [local]", "modes: [local]")
        terms = replace(
            terms,
            privacy=replace(terms.privacy, epsilon=8.0),
            releases=replace(terms.releases, sizes_noise_multiplier=14.0),
        )
        sha256 = exchange.propose(terms)
        if code:
            with pytest.raises(AgreementError, match="what that holder released"):
                sign(homes[1], sha256)
        else:
            assert "Signed." in sign(homes[1], sha256)


def test_data_that_do_not_fit_their_schema_are_shown_and_not_added(tmp_path, exchange):
    home = make_home(tmp_path, "bern")
    table = tmp_path / "bern.csv"
    table.write_text(table.read_text().replace(",yes", ",perhaps", 1))
    assert "do not fit the schema" in add_data(home, code=1)
    assert fedjoint("data", "list", "--json", "--home", home.folder).strip() == "[]"


def test_a_lifetime_budget_is_made_with_the_data(tmp_path):
    home = make_home(tmp_path, "bern")
    add_data(home, "--epsilon", "8", "--delta", "1e-5")
    figures = json.loads(fedjoint("budget", home.data / "bern.ledger", "--json"))
    assert (figures["cohort"], figures["epsilon"], figures["delta"]) == ("bern of bern", 8.0, 1e-5)
    with pytest.raises(ConfigError, match="both --epsilon and --delta"):
        add_data(home, "--name", "again", "--epsilon", "8")
    assert "'bern' was added before." in add_data(home)  # as after an exchange that could not be reached
    with pytest.raises(DataError, match="there is a data set 'bern' already, of other records or with other options"):
        add_data(home, "--patient", "mrn")


def test_privacy_none_is_red_and_unsigned_unless_the_policy_says_so(exchange, homes):
    allow(homes[0], "modes: [none]", "modes: [local, joint]")
    sha256, _ = propose(exchange, homes)
    page = fedjoint("review", sha256[:12], "--home", homes[0].folder, code=1)
    assert "privacy.mode = none where the policy allows 'local' or 'joint'" in page
    with pytest.raises(AgreementError, match="beyond your policy"):
        sign(homes[0], sha256)
    assert exchange.documents[sha256].unsigned == ("ahus", "bern", "cork")
    fedjoint("decline", sha256[:12], "--reason", "no noise", "--home", homes[0].folder)
    assert exchange.declined == {sha256: "no noise"}


def test_a_policy_that_became_stricter_after_signing_stops_the_run_at_this_holder(exchange, homes):
    sha256, _ = propose(exchange, homes)
    for home in homes:
        sign(home, sha256)
    allow(homes[2], "modes: [none]", "modes: [local]")
    found = run(exchange, homes, exchange.documents[sha256])
    assert found.contributors == [("ahus", "bern")] * 3


def test_records_that_changed_after_signing_are_not_trained_on(exchange, homes, caplog):
    sha256, _ = propose(exchange, homes)
    for home in homes:
        sign(home, sha256)
    table = homes[0].folder.parent / "ahus.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
    with caplog.at_level(logging.WARNING, "fedjoint.node"):
        found = run(exchange, homes, exchange.documents[sha256])
    assert found.contributors == [("bern", "cork")] * 3
    assert "are not those" in caplog.records[0].facts["why"]


def test_a_run_under_an_agreement_that_was_not_signed_here_is_refused(exchange, homes):
    sha256, _ = propose(exchange, homes)
    for home in homes:
        sign(home, sha256)
    other, _ = propose(exchange, homes, rounds=2)
    sign(homes[0], other)
    sign(homes[1], other)
    signature = homes[2].load_identity().sign("agreement", bytes.fromhex(other))  # by the key, not by its node
    agreement = exchange.documents[other].with_signatures({"cork": signature})
    found = run(exchange, homes, agreement)
    assert found.contributors == [("ahus", "bern")] * 2


def test_an_agreement_that_is_another_than_asked_for_is_refused(exchange, homes, monkeypatch):
    sha256, _ = propose(exchange, homes)
    other, _ = propose(exchange, homes, rounds=2)
    exchange.documents[sha256] = exchange.documents[other]
    with pytest.raises(AgreementError, match="the exchange gave agreement"):
        fedjoint("review", sha256[:12], "--home", homes[0].folder)


def test_an_agreement_with_another_coordinator_is_refused(exchange, homes):
    from fedjoint.identity.keys import Identity

    stranger = Identity.create("exchange", "Stranger")
    _, terms = propose(exchange, homes)
    exchange.identity, own = stranger, exchange.identity
    forged = exchange.propose(replace(terms, coordinator=stranger.public))
    exchange.identity = own
    with pytest.raises(AgreementError, match="another coordinator"):
        sign(homes[0], forged)


def test_an_invitation_of_somebody_else_or_used_before_lets_nobody_in(tmp_path, exchange):
    home = make_home(tmp_path, "bern")
    with pytest.raises(IdentityError, match="the invitation is for 'cork'"):
        join(home, exchange, invited="cork")
    with pytest.raises(IdentityError, match="expired"):
        join(home, exchange, expires_at="2020-01-01T00:00:00+00:00")
    join(home, exchange)
    stolen = (tmp_path / "bern.invitation").read_text()
    fedjoint("leave", "--yes", "--home", home.folder)
    with pytest.raises(IdentityError, match="was revoked"):
        fedjoint("join", f"localhost:{exchange.port}", "--invite", "-", "--home", home.folder, input=stolen)
    exchange.network.revoked.clear()
    with pytest.raises(IdentityError, match="was used"):
        fedjoint("join", f"localhost:{exchange.port}", "--invite", "-", "--home", home.folder, input=stolen)


def test_status_and_statements_say_where_a_holder_stands(exchange, homes):
    sha256, _ = propose(exchange, homes)
    status = json.loads(fedjoint("status", "--json", "--home", homes[0].folder))
    assert status["agreements"] == [{"sha256": sha256, "state": "proposed", "unsigned_by": ["ahus", "bern", "cork"]}]
    assert status["runs"][0]["round"] == 2
    assert "round 2 of 3" in fedjoint("status", "--home", homes[0].folder)
    assert "No statement yet" in fedjoint("statements", "--home", homes[0].folder)


def test_the_budgets_of_all_data_sets_are_shown_and_which_has_none(tmp_path):
    home = make_home(tmp_path, "bern")
    assert "There is no data set" in fedjoint("budget", "--home", home.folder)
    add_data(home, "--epsilon", "8", "--delta", "1e-5")
    add_data(home, "--name", "other")
    said = fedjoint("budget", "--home", home.folder)
    assert "Data set 'bern'" in said and "fedjoint holder budget" in said.split("Data set 'other'")[1]
    ours, others = json.loads(fedjoint("budget", "--json", "--home", home.folder))
    assert (ours["data"], ours["budget"]["epsilon"], others) == ("bern", 8.0, {"data": "other", "budget": None})
    with pytest.raises(ConfigError, match="a ledger that is not named"):
        fedjoint("budget", "--create", "--epsilon", "1", "--delta", "1e-5", "--cohort", "c", "--home", home.folder)


def test_all_added_data_is_checked_by_the_folder_alone(tmp_path):
    home = make_home(tmp_path, "bern")
    with pytest.raises(ConfigError, match="has no data set"):
        fedjoint("data", "check", "--home", home.folder)
    add_data(home)
    assert "bern: " in fedjoint("data", "check", "--home", home.folder)
    (found,) = json.loads(fedjoint("data", "check", "--json", "--home", home.folder))
    assert (found["name"], found["fits"]) == ("bern", True)
    table = tmp_path / "bern.csv"
    table.write_text(table.read_text().replace(",yes", ",perhaps", 1))
    fedjoint("data", "check", "--home", home.folder, code=1)
