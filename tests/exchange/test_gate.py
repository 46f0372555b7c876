"""No agreement and no run without the registry of the exchange's pool: validity, purpose and keys, on the very day."""

import dataclasses
import json
from datetime import timedelta

import pytest
from click.testing import CliRunner

from fedjoint.agreement.claim_terms import ClaimTerms
from fedjoint.agreement.terms import MoneyTerms
from fedjoint.cli.main import cli
from fedjoint.errors import ConfigError, DataError, PoolError
from fedjoint.exchange.certification import timestamp
from fedjoint.exchange.gate import gate_of
from fedjoint.identity.keys import Identity
from fedjoint.node.metering import metered_by
from fedjoint.pool import desk, receipts
from fedjoint.pool.compute_costs import SignedCosts
from fedjoint.pool.facts import Deposited, Opened
from fedjoint.pool.record_store_sql import PoolStore
from fedjoint.pool.registered import DatasetEvent, Party, Policy
from fedjoint.runs.verify import verify_run
from fedjoint.strict import build, plain
from tests.exchange.conftest import Exchange, nodes, now
from tests.exchange.test_exchange import command, propose, signed, start_run
from tests.exchange.test_operating import afar
from tests.fakes import SIZES, examples, make_terms
from tests.node.conftest import fedjoint
from tests.pool.consortium import dataset, digest, party

PURPOSE = "Train one model together and share what it earns"  # the default of `propose`
REGISTERED = [text for holder in SIZES for text in ("--registered", f"{holder}=study-{holder}")]


def day(days):
    return (now().date() + timedelta(days=days)).isoformat()


def certified(name, holder):
    """A dataset that is valid today, for the purpose of the tests."""
    found = dataset(name, holder)
    valid = dataclasses.replace(
        found.certificate, announced=day(-10), valid_until=day(10), agreement_until=day(10), number=name
    )
    policy = Policy(purposes=(PURPOSE,), not_before=day(-10), not_after=day(10))
    return dataclasses.replace(found, certificate=valid, policy=policy)


@pytest.fixture
def exchange(tmp_path):
    """An exchange that keeps a pool."""
    found = Exchange(tmp_path / "exchange", pool="pool")
    (found.home.folder / "pool").mkdir()
    with PoolStore.open(found.home.pool_url(found.settings)) as store:
        keeper = found.home.load_identity().public
        add(
            store,
            desk.open_pool,
            Opened(pool_id="p", exchange=keeper, money=MoneyTerms(cpu_hour_minor=3_600), claims=ClaimTerms()),
        )
    with found.serving():
        yield found
    found.store.close()


@pytest.fixture
def pool(exchange, homes):
    """Its pool, with every holder and its dataset."""
    people = {"exchange": exchange.home.load_identity(), **{home.folder.name: home.load_identity() for home in homes}}
    with PoolStore.open(exchange.home.pool_url(exchange.settings)) as store:
        for name, identity in people.items():
            facts = {
                "identity": identity.public,
                "role": "exchange" if name == "exchange" else "holder",
                "legal_id": name,
                "certificate_sha256": digest(name),
                "valid_from": day(-10),
                "valid_until": day(10),
            }
            add(store, desk.add_party, Party(**facts))
        for home in homes:
            made = certified(f"study-{home.folder.name}", home.folder.name)
            add(store, desk.add_dataset, made)
            card = home.folder.with_suffix(".registered.json")
            card.write_text(json.dumps(plain(made)))
            fedjoint("data", "register", "study", card, "--home", home.folder)
        yield store


def add(store, decide, facts):
    store.act(lambda inside: decide(inside.state(), facts, at=now().isoformat().replace("+00:00", "Z")))


def name_pool(exchange, place):
    """As an operator does; the commands read the file."""
    path = exchange.home.settings_file
    path.write_text(path.read_text().replace("pool: null", f"pool: {place}"))


def settle(exchange, store, run, costs):
    """Divide a revenue by a run that the exchange conducted; what was settled."""
    buyer = dataclasses.replace(party("buyer"), valid_from=day(-10), valid_until=day(10))
    add(store, desk.add_party, buyer)
    paid = Deposited(id="d", party="buyer", amount_minor=10_000, currency="CNY")
    at = timestamp(now())
    store.act(lambda inside: receipts.deposit(inside.state(), paid, books=inside, at=at))
    where = ["--pool", str(exchange.home.folder / "pool"), "--yes", "--json"]
    line = ["pool", "settle", "s", "100.00", "--run", str(exchange.home.runs / run), "--costs", str(costs), *where]
    result = CliRunner().invoke(cli, line, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return json.loads(result.output)["events"][0]["body"]


def end(store, holder, effective):
    event = DatasetEvent(dataset=f"study-{holder}", kind="revocation", effective=effective, reason="consent withdrawn")
    add(store, desk.note_dataset, event)


def test_a_run_is_proposed_queued_and_conducted_as_the_registry_allows_it(exchange, homes, pool):
    name_pool(exchange, "pool")
    folder = homes[0].folder.parent
    with pytest.raises(PoolError, match=r"no dataset of 'ahus' is named.*no dataset of 'cork' is named"):
        propose(exchange, folder)
    with pytest.raises(PoolError, match="does not permit the purpose 'marketing'"):
        propose(exchange, folder, "purpose=marketing", *REGISTERED)
    with pytest.raises(DataError, match="'dole' is said to bring"):
        propose(exchange, folder, "--registered", "dole=study-dole")
    with pytest.raises(ConfigError, match="HOLDER=ID"):
        propose(exchange, folder, "--registered", "dole")
    sha256 = signed(exchange, homes, "training.rounds=1", *REGISTERED)
    later = signed(exchange, homes, "training.rounds=2", *REGISTERED)
    end(pool, "bern", day(1))  # tomorrow
    with nodes(exchange, homes, at=timestamp(now())):
        start_run(exchange, sha256)
        run = exchange.ended()
    assert run.state == "finished", run.words
    assert {check.outcome for check in verify_run(exchange.home.runs / run.name)} == {"passed"}
    out = homes[0].folder.with_suffix(".costs.json")
    fedjoint("costs", sha256[:12], "--out", out, "--home", homes[0].folder)
    costs = build(SignedCosts, json.loads(out.read_bytes()))
    assert metered_by(homes[0], sha256[:12]).cpu_ms[run.run_id] // 1_000 == costs.costs.cpu_seconds
    settled = settle(exchange, pool, run.name, out)
    assert settled["compute_minor"] == {homes[0].folder.name: costs.costs.cpu_seconds}
    assert set(settled["payouts_minor"]) == set(SIZES)
    end(pool, "cork", day(0))
    with pytest.raises(PoolError, match=f"no run on dataset 'study-cork' on .*its revocation took effect on {day(0)}"):
        command(exchange, "run", later[:12], "--revenue", "1000.00")
    # one that was queued before the registry said so does not start either
    entry = {"run_id": "ab" * 16, "agreement": later, "name": "queued", "gross_minor": 1, "buyer": "b", "rounds": 1}
    exchange.store.runs.queue(entry, at=day(0))
    run = exchange.until(lambda: next((one for one in exchange.store.runs.all() if one.state == "failed"), None))
    assert "its revocation took effect" in run.words
    assert not (exchange.home.runs / "queued").exists()


def test_the_registry_is_asked_of_what_an_operator_proposes_from_afar(exchange, homes, pool, tmp_path):
    name_pool(exchange, "pool")
    here = propose(exchange, tmp_path, *REGISTERED)
    command(exchange, "operator", "anna", "--name", "Anna Berg", "--out", tmp_path / "anna")
    wanted = ["privacy=none", "training.rounds=3", "--dataset", "study", "--reference", tmp_path / "reference.csv"]
    there = afar(exchange, tmp_path / "anna", "propose", *wanted, *REGISTERED, "--json")
    assert json.loads(there)["sha256"] == here
    with pytest.raises(PoolError, match="no dataset of 'ahus' is named"):
        afar(exchange, tmp_path / "anna", "propose", *wanted)


def test_nobody_signs_with_keys_that_are_not_registered(exchange, homes, pool):
    others = {holder: Identity.create(holder, holder.title()) for holder in SIZES}
    made = make_terms(exchange.home.load_identity(), others, SIZES, examples(10, seed=1))
    holders = tuple(dataclasses.replace(one, dataset=f"study-{one.identity.id}") for one in made.holders)
    terms = dataclasses.replace(made, holders=holders, purpose=PURPOSE)
    with pytest.raises(PoolError, match="'bern' signs with keys that it is not registered with"):
        gate_of(exchange.home, exchange.settings)(terms, now().date())


def test_without_a_pool_nothing_that_is_registered_is_proposed(exchange, homes):
    with pytest.raises(PoolError, match="no registry that could be asked"):
        propose(exchange, homes[0].folder.parent, *REGISTERED)


def test_a_pool_that_is_not_there_lets_nothing_through(exchange, homes):
    name_pool(exchange, "elsewhere")
    with pytest.raises(PoolError, match=r"there is no pool in .*elsewhere"):
        propose(exchange, homes[0].folder.parent, *REGISTERED)
