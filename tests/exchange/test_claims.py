"""Claims over the network: parties and panels sign on their own nodes, the exchange keeps docket and money."""

import json
from datetime import timedelta

import click
import pytest
from click.testing import CliRunner

from fedjoint.agreement.canonical import canonical_bytes
from fedjoint.cli.main import cli
from fedjoint.errors import PoolError
from fedjoint.exchange.claims import ClaimDesk
from fedjoint.exchange.pool import open_pool
from fedjoint.identity.keys import Identity
from fedjoint.pool.claim_step import SignedStep, Step, sign_step
from fedjoint.pool.exported import export_pool, verify_pool
from fedjoint.strict import build, plain
from tests.exchange.conftest import Exchange, now
from tests.node.conftest import fedjoint, join
from tests.pool.consortium import dataset, party

ROLES = {"north": "holder", "owner": "claimant", "ann": "expert", "ben": "expert", "cai": "expert", "dot": "expert"}


def run(*line, code=0, answer=None):
    done = CliRunner().invoke(cli, [str(word) for word in line], standalone_mode=False, input=answer)
    if done.exception is not None:
        raise done.exception
    assert (done.return_value or 0) == code, done.output
    return done.output


class Town:
    """An exchange with a pool, and six members of both; commands by whoever gives them."""

    def __init__(self, folder):
        self.folder = folder
        self.exchange = Exchange(folder / "exchange", pool="pool")
        self.home = self.exchange.home
        rules = {"pool_id": "demo", "tranche_minor": 5_000, "money": {"reserve_target_bp": 2_000}}
        where = ["--pool", self.home.folder / "pool"]
        run("pool", "open", self.file("rules.json", rules), "--key", self.home.identity, "--yes", *where)
        text = self.home.settings_file.read_text()
        self.home.settings_file.write_text(text.replace("pool: null", "pool: pool"))
        self.pool = where

    def file(self, name, value):
        path = self.folder / name
        path.write_text(json.dumps(value))
        return path

    def enrol(self):
        for name, role in ROLES.items():
            home = self.folder / name
            fedjoint("init", home, "--id", name, "--name", name.title())
            join(open_holder(home), self.exchange)
            told = self.operator("register", name, "--legal-id", f"CN/{name}", "--role", role, "--until", "2099-12-31")
            assert f"Registered '{name}' (CN/{name}) as {role} until 2099-12-31" in told
        facts = plain(dataset("scans", "north"))
        facts["rights"] |= {"processing": "north", "operation": "north"}
        run("registry", "dataset", "add", self.file("dataset.json", facts), *self.pool)
        buyer = plain(party("buyer")) | {"valid_until": "2099-12-31"}
        run("registry", "party", "add", self.file("party.json", buyer), *self.pool)
        run("pool", "deposit", "d", "buyer", "1,000.00", "--yes", *self.pool)
        by = {"contributions": {"north": 2.0}, "datasets": {"north": "scans"}}
        run("pool", "settle", "s", "1000.00", "--by", self.file("by.json", by), "--yes", *self.pool)

    def operator(self, *line, **how):
        return run("exchange", *line, "--home", self.home.folder, **how)

    def claim(self, name, verb, *line, **how):
        yes = [] if verb == "show" or "answer" in how else ["--yes"]
        return run("holder", "claim", verb, *line, "--home", self.folder / name, *yes, **how)

    def show(self, name, claim="c-1"):
        (found,) = json.loads(self.claim(name, "show", claim, "--json"))
        return found

    def filed(self, claim="c-1", by="owner", **other):
        return self.claim(by, "file", self.file("claim.json", {**CLAIM, "id": claim, **other}))


CLAIM = {
    "kind": "quality misrepresentation",
    "claimant": "owner",
    "respondent": "north",
    "currency": "CNY",
    "amount_minor": 4_000,
    "statement": "labels are wrong",
}


def open_holder(folder):
    from fedjoint.node.home import Home

    return Home(folder)


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    found = Town(tmp_path_factory.mktemp("town"))
    with found.exchange.serving():
        found.enrol()
        yield found
    found.exchange.store.close()


def test_a_claim_goes_its_way_by_signatures_from_six_machines(town, tmp_path):
    told = town.filed()
    assert "file: quality misrepresentation against north, 40.00 CNY: labels are wrong" in told
    assert "c-1: quality misrepresentation, owner against north, 40.00 CNY: filed" in told
    assert "claim.moved: done" in town.operator("claim", "admit", "c-1", "--yes")
    town.claim("north", "evidence", "c-1", town.file("deed.json", {}))
    town.operator("claim", "convene", "c-1", "ann", "ben", "cai")
    assert town.claim("dot", "show").strip() == "no claim names you"
    said = town.claim("ann", "decide", "c-1", "--upheld", "30.00", "--reasons", "it says so")
    assert "Signed. 1 more must sign it: fedjoint holder claim sign c-1" in said
    assert "waits: decide: upheld: 30.00 CNY: it says so; signed by ann, 1 more must sign it" in town.claim(
        "ben", "show"
    )
    assert town.show("owner")["claim"]["state"] == "adjudication"
    status = town.operator("status")
    assert "Claim c-1 (quality misrepresentation): adjudication; decide waits for 1 more" in status
    assert "Taken." in town.claim("cai", "sign", "c-1")
    town.operator("claim", "serve", "c-1")
    appealed = json.loads(town.claim("north", "appeal", "c-1", "--reasons", "not so", "--json"))
    assert (appealed["taken"], appealed["missing"], appealed["claim"]["claim"]["state"]) == (True, 0, "appealed")
    shown = town.show("owner")
    assert [one["step"]["verb"] for one in shown["steps"]] == [
        "file", "admit", "evidence", "convene", "decide", "serve", "appeal",
    ]  # fmt: skip
    assert set(shown["steps"][4]["signatures"]) == {"ann", "cai"}
    assert shown == json.loads(town.operator("claim", "show", "c-1", "--json"))[0]
    with open_pool(town.home, town.exchange.settings) as pool:
        export_pool(pool, tmp_path / "books", town.home.load_identity())
    state = verify_pool(tmp_path / "books", town.home.load_identity().public)
    assert state.claims["c-1"].state == "appealed"


def test_both_sides_sign_a_settlement_and_a_member_may_change_its_mind(town):
    town.filed("c-2")
    assert "1 more must sign it" in town.claim("north", "settle", "c-2", "10.00")
    assert "settle: 10.00 CNY; signed by north" in town.claim("owner", "show", "c-2")
    town.claim("north", "settle", "c-2", "12.00")
    assert len(town.show("owner", "c-2")["waiting"]) == 1
    assert "c-2: quality misrepresentation, owner against north, 40.00 CNY: settled" in town.claim(
        "owner", "sign", "c-2"
    )
    with pytest.raises(PoolError, match="0 steps of claim 'c-2' wait for signatures"):
        town.claim("owner", "sign", "c-2")


def test_a_holder_fetches_its_statements_of_the_pool_and_nobody_elses(town):
    for dataset_options in ([], ["--dataset", "scans"]):
        told = town.operator("statement", "north", "2020-01-01", "2099-12-31", *dataset_options)
        assert "Issued to 'north' from 2020-01-01 until 2099-12-31" in told
    town.operator("statement", "north", "2020-01-01", "2099-12-31")  # again: it is one statement, with a later proof
    said = run("holder", "statements", "--home", town.folder / "north")
    assert "2020-01-01 to 2099-12-31: " in said and "dataset 'scans' earned 870.00 CNY" in said
    assert "two statements, each signed by Test exchange" in said
    kept = sorted(path.name[:5] for path in (town.folder / "north" / "statements").iterdir())
    assert kept == ["pool-", "pool-"]
    assert "No statement yet" in run("holder", "statements", "--home", town.folder / "ann")
    with pytest.raises(PoolError, match="dataset 'scans' is not that of 'ann'"):
        town.operator("statement", "ann", "2020-01-01", "2099-12-31", "--dataset", "scans")
    with pytest.raises(PoolError, match="'oslo' is no registered party"):
        town.operator("statement", "oslo", "2020-01-01", "2099-12-31")


def test_nothing_is_signed_without_a_yes_to_the_very_words(town):
    with pytest.raises(click.Abort):
        town.claim("owner", "file", town.file("no.json", {**CLAIM, "id": "no"}), answer="n\n")
    with pytest.raises(PoolError, match="there is no claim 'no'"):
        town.claim("owner", "show", "no")


def test_what_does_not_follow_is_refused_with_a_reason(town):
    town.filed("c-3")
    for name, line, reason in (
        ("owner", ("admit", "c-3"), "'admit' of claim 'c-3' is not for 'owner' to sign"),
        ("north", ("appeal", "c-3", "--reasons", "so"), "'appeal' of claim 'c-3', which is filed"),
        ("ann", ("show", "c-3"), "there is no claim 'c-3' that names 'ann'"),
        ("dot", ("withdraw", "c-3", "--reasons", "so"), "there is no claim 'c-3' that names 'dot'"),
        ("north", ("settle", "c-3", "9,000.00"), "'settle' of 900000 minor units"),
    ):
        with pytest.raises(PoolError, match=reason):
            town.claim(name, *line)
    with pytest.raises(PoolError, match="the claim id 'c-3' is taken"):
        town.filed("c-3", by="dot", claimant="dot")
    with pytest.raises(PoolError, match="'file' of claim 'c-9' is not for 'dot' to sign"):
        town.filed("c-9", by="dot")


def test_a_claim_against_the_exchange_is_kept_by_a_holder_without_a_part_in_it(town):
    town.filed("c-4", kind="coordinator failure", respondent="exchange")
    with pytest.raises(PoolError, match="'admit' of claim 'c-4' is signed by exchange"):
        town.operator("claim", "admit", "c-4", "--yes")
    town.claim("dot", "admit", "c-4")
    town.operator("claim", "settle", "c-4", "5.00")
    assert "waits: settle: 5.00 CNY; signed by exchange" in town.operator("claim", "show", "c-4")
    assert town.show("owner", "c-4")["waiting"][0]["missing"] == 1
    assert "Taken." in town.claim("owner", "sign", "c-4", "--by", "exchange")


@pytest.fixture
def desk(town):
    with open_pool(town.home, town.exchange.settings) as pool:
        yield ClaimDesk(pool, town.exchange.store.claim_signatures, now=now)


def step_of(desk, claim, verb, at=None, **body):
    (found,) = desk.claims(None, claim)
    moment = (at or now()).isoformat()
    return build(Step, {"claim": claim, "verb": verb, "at": moment, "after": found.claim.head, "body": body})


def test_a_call_after_a_lost_reply_changes_nothing_and_says_the_same(town, desk):
    town.filed("c-5")
    owner = open_holder(town.folder / "owner").load_identity()
    step = step_of(desk, "c-5", "withdraw", reasons="settled outside")
    first = desk.sign("owner", step, sign_step(step, owner))
    assert desk.sign("owner", step, sign_step(step, owner)) == first
    assert [one.step.verb for one in first.claim.steps] == ["file", "withdraw"]


def test_a_step_of_another_time_or_by_other_keys_is_refused(town, desk):
    town.filed("c-6")
    owner = open_holder(town.folder / "owner").load_identity()
    early = step_of(desk, "c-6", "withdraw", at=now() + timedelta(hours=1), reasons="so")
    with pytest.raises(PoolError, match=r"was signed at .* and it is .* at the exchange"):
        desk.sign("owner", early, sign_step(early, owner))
    step = step_of(desk, "c-6", "withdraw", reasons="so")
    with pytest.raises(PoolError, match="not by the keys that the pool's registry has"):
        desk.sign("owner", step, sign_step(step, Identity.create("owner", "Owner")))


def test_a_holder_notices_an_exchange_that_shows_it_another_history(town, desk):
    town.filed("c-7")
    (found,) = desk.claims("owner", "c-7")
    forged = plain(found)
    forged["steps"][0]["step"]["body"]["amount_minor"] = 1
    with pytest.raises(PoolError, match="does not stand where its last step left it"):
        build(type(found), forged, error=PoolError)
    signed = SignedStep(step=step_of(desk, "c-7", "withdraw", reasons="so"), signatures={"owner": "0" * 128})
    forged = plain(found) | {"steps": [*forged["steps"], plain(signed)]}
    with pytest.raises(PoolError, match="does not"):
        build(type(found), forged, error=PoolError)
    assert canonical_bytes(found)


def test_an_exchange_without_a_pool_says_so_and_one_with_anothers_does_not_start(tmp_path, town):
    bare = Exchange(tmp_path / "bare")
    with bare.serving():
        home = tmp_path / "north"
        fedjoint("init", home, "--id", "north", "--name", "North")
        join(open_holder(home), bare)
        with pytest.raises(PoolError, match="this exchange keeps no pool, so it takes no claims"):
            run("holder", "claim", "show", "--home", home)
    with pytest.raises(PoolError, match="names no pool"):
        run("exchange", "claim", "show", "--home", bare.home.folder)
    bare.store.close()
    other = Exchange(tmp_path / "other", pool=str(town.home.folder / "pool"))
    with pytest.raises(PoolError, match="the pool is kept by 'exchange' with keys"), other.serving():
        pass
    missing = Exchange(tmp_path / "missing", pool="nowhere")
    with pytest.raises(PoolError, match="there is no pool in"), missing.serving():
        pass
    other.store.close(), missing.store.close()
