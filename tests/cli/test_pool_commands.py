"""The pool from the command line: rules to payout, a claim, a statement that verifies; every refusal in words."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fedjoint.cli.main import cli
from fedjoint.errors import FedjointError
from fedjoint.identity.keys import Identity
from fedjoint.strict import plain
from tests.pool.consortium import ROLES, dataset, party


class Desk:
    """Runs commands on one pool."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.runner = folder, CliRunner()
        self.people = {name: Identity.create(name, name.upper()) for name in ROLES}
        for name, one in self.people.items():
            one.save(folder / f"{name}.key")

    def run(self, *words: str, answer: str | None = None, code: int = 0) -> str:
        where = [] if words[0] == "verify" else ["--pool", str(self.folder / "pool")]
        return self.offline(*words, *where, answer=answer, code=code)

    def offline(self, *words: str, answer: str | None = None, code: int = 0) -> str:
        done = self.runner.invoke(cli, list(words), input=answer)
        if isinstance(done.exception, FedjointError):
            raise done.exception
        assert done.exit_code == code, done.output
        return done.output

    def file(self, name: str, value: object) -> str:
        path = self.folder / name
        path.write_text(json.dumps(value))
        return str(path)

    def key(self, *names: str) -> list[str]:
        return [word for name in names for word in ("--key", str(self.folder / f"{name}.key"))]


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    found = Desk(tmp_path_factory.mktemp("desk"))
    rules = {"pool_id": "demo", "tranche_minor": 5_000, "money": {"reserve_target_bp": 2_000}}
    found.run("pool", "open", found.file("rules.json", rules), *found.key("exchange"), "--yes")
    for name in ("a", "b", "buyer", "owner", "p1", "p2", "p3"):
        facts = plain(party(name)) | {"identity": plain(found.people[name].public), "valid_until": "2099-12-31"}
        found.run("registry", "party", "add", found.file("party.json", facts))
    for name in ("a", "b"):
        facts = plain(dataset(f"scans-{name}", name))
        facts["rights"] |= {"processing": name, "operation": name}
        found.run("registry", "dataset", "add", found.file("dataset.json", facts))
    return found


@pytest.mark.parametrize(
    "words", [("pool", "balance"), ("pool", "suspense"), ("claim", "show", "c1"), ("registry", "party", "show", "a")]
)
def test_a_folder_without_a_pool_is_named_and_stays_as_it_was(tmp_path, words):
    with pytest.raises(FedjointError, match="there is no pool in"):
        Desk(tmp_path).run(*words)
    assert not (tmp_path / "pool").exists()


def test_a_dry_run_of_the_first_step_begins_no_pool(tmp_path):
    found = Desk(tmp_path)
    rules = found.file("rules.json", {"pool_id": "demo", "money": {}})
    told = found.run("pool", "open", rules, *found.key("exchange"), "--dry-run")
    assert "nothing was changed (dry run)" in told and not (tmp_path / "pool").exists()


def settle(desk: Desk, number: int) -> None:
    desk.run("pool", "deposit", f"d{number}", "buyer", "1,000.00", "--yes")
    shares = {"contributions": {"a": 2.0, "b": 1.0}, "datasets": {"a": "scans-a", "b": "scans-b"}}
    desk.run("pool", "settle", f"s{number}", "1000.00", "--by", desk.file("by.json", shares), "--yes")


def balances(desk: Desk) -> dict[str, int]:
    rows = json.loads(desk.run("pool", "balance", "--json"))
    return {row["account"]: row["posted_minor"] for row in rows if row["currency"] == "CNY"}


def test_a_year_from_the_command_line(desk):
    settle(desk, 1)
    assert balances(desk)["payable:a"] == 52_200
    assert "payable:a" in desk.run("pool", "payout", "p", "--dry-run")
    assert balances(desk)["payable:a"] == 52_200
    claim = {
        "id": "c-1",
        "kind": "quality misrepresentation",
        "claimant": "owner",
        "respondent": "a",
        "currency": "CNY",
        "amount_minor": 4_000,
        "statement": "labels are wrong",
    }
    desk.run("claim", "file", desk.file("claim.json", claim), *desk.key("owner"), "--yes")
    desk.run("claim", "admit", "c-1", *desk.key("exchange"))
    desk.run("claim", "evidence", "c-1", str(desk.folder / "claim.json"), *desk.key("owner"))
    desk.run("claim", "convene", "c-1", "p1", "p2", "p3", *desk.key("exchange"))
    said = ["--upheld", "30.00", "--reasons", "so"]
    desk.run("claim", "decide", "c-1", *said, *desk.key("p1", "p2"))
    desk.run("claim", "serve", "c-1", *desk.key("exchange"))
    shown = json.loads(desk.run("claim", "show", "c-1", "--json"))[0]
    assert (shown["state"], shown["held"]["holdback_minor"]) == ("appeal_window", 4_000)
    assert "40.00 CNY     0 days  frozen for a claim" in desk.run("pool", "suspense")
    with pytest.raises(FedjointError, match="the last day for an appeal"):
        desk.run("claim", "conclude", "c-1", *desk.key("exchange"), "--yes")
    desk.run("pool", "payout", "p", "--yes")
    assert balances(desk)["payable:a"] == 0
    assert "next: appeal, conclude, close" in desk.run("claim", "show")


def test_money_moves_only_after_yes_to_the_amounts(desk):
    before = balances(desk)
    refused = desk.run("pool", "deposit", "no", "buyer", "7.00", answer="n\n", code=1)
    assert "7.00 CNY" in refused and "Nothing was changed." in refused
    assert balances(desk) == before
    desk.run("pool", "deposit", "yes", "buyer", "7.00", answer="y\n")
    assert balances(desk)["escrow"] == before.get("escrow", 0) + 700


def test_the_export_and_a_statement_verify_with_public_keys_alone(desk):
    exchange = desk.file("exchange.json", plain(desk.people["exchange"].public))
    out, books = str(desk.folder / "a.json"), str(desk.folder / "books")
    desk.run("pool", "statement", "a", "2020-01-01", "2099-12-31", "--out", out, *desk.key("exchange"))
    desk.run("pool", "export", books, *desk.key("exchange"), "--beancount")
    assert (Path(books) / "ledger.beancount").read_text().startswith("1970-01-01 open")
    assert "ok   statement: of 'a'" in desk.run("verify", out, "--exchange", exchange)
    assert "ok   pool:" in desk.run("verify", books, "--exchange", exchange)
    assert json.loads(desk.run("verify", books, "--json"))[0]["outcome"] == "passed"
    with pytest.raises(FedjointError, match="a statement without its signer"):
        desk.run("verify", out)
    ledger = Path(books) / "ledger.jsonl"
    ledger.write_bytes(ledger.read_bytes().replace(b"52200", b"52201", 1))
    with pytest.raises(FedjointError, match=r"ledger\.jsonl line \d+ is not entry"):
        desk.run("verify", books)


def test_a_payout_is_written_for_the_bank(desk):
    settle(desk, 9)
    desk.run("pool", "payout", "bank-1", "--yes")
    with pytest.raises(FedjointError, match="'a' has no IBAN"):
        desk.run("pool", "payments", "bank-1")
    with pytest.raises(FedjointError, match="payout 'nothing' paid nobody"):
        desk.run("pool", "payments", "nothing")


def test_money_comes_in_and_goes_back_by_commands(desk):
    before = balances(desk)
    for _ in range(2):
        desk.run("pool", "subscribe", "sub-1", "buyer", "120.00", "--months", "12", "--yes")
        desk.run("pool", "earn", "sub-1", "1", "--yes")
        desk.run("pool", "meter", "api", "buyer", "--first", "0", "--count", "2000", "--price", "1.50", "--yes")
    desk.run("pool", "deposit", "usd", "buyer", "100.00", "--currency", "USD", "--yes")
    fx = ["pool", "convert", "fx-1", "100.00", "--of", "USD", "--rate", "7.1", "--source", "a bank, today"]
    assert "710.00 CNY" in desk.run(*fx, "--dry-run")
    desk.run(*fx, "--yes")
    lines = [{"id": f"l{n}", "buyer": "buyer", "amount_minor": 100} for n in range(3)]
    revenues = desk.folder / "revenues.jsonl"
    revenues.write_text("\n".join(map(json.dumps, lines)))
    assert "3 revenues of 3.00 CNY in all" in desk.run("pool", "import", str(revenues), "--dry-run")
    assert "posted 3" in desk.run("pool", "import", str(revenues), "--yes")
    assert json.loads(desk.run("pool", "import", str(revenues), "--yes", "--json"))["posted"] == 0
    assert balances(desk)["escrow"] - before["escrow"] == 1_000 + 300 + 71_000 + 300
    assert "nothing was changed: it was done before" in desk.run("pool", "earn", "sub-1", "1", "--yes")
    expiry = ["--expires", "2099-01-01T00:00:00Z"]
    desk.run("pool", "voucher", "fund", "green", "buyer", "50.00", *expiry, "--yes")
    desk.run("pool", "voucher", "spend", "green", "run-1", "a", "20.00", "--yes")
    with pytest.raises(FedjointError, match="is good until"):
        desk.run("pool", "voucher", "expire", "green", "--yes")
    assert balances(desk)["voucher:green"] == 3_000


def test_a_refund_and_a_credit_note_repeat_their_amounts_before_they_are_made(desk):
    settle(desk, 20)
    asked = desk.run("pool", "refund", "s20", "buyer", "100.00", answer="n\n", code=1)
    assert "100.00 CNY" in asked
    assert "Post exactly this, 1 entry of 100.00 CNY?" in asked
    as_json = desk.run("pool", "refund", "s20", "buyer", "100.00", "--json", answer="n\n", code=1)
    assert "Post exactly this, 1 entry of 100.00 CNY?" in as_json
    assert "receivable:buyer" in as_json  # who reads JSON is shown the amounts before the question too
    done = json.loads(desk.run("pool", "refund", "s20", "buyer", "100.00", "--yes", "--json"))
    assert done["events"][0]["body"]["amount_minor"] == 10_000
    desk.run("pool", "credit-note", "s20", "buyer", "50.00", "--yes")
    assert balances(desk)["credit:buyer"] == 5_000
    desk.run("pool", "deposit", "spent", "buyer", "50.00", "--from-credit", "--yes")
    assert balances(desk)["credit:buyer"] == 0
    assert "nothing was changed" in desk.run("pool", "return-excess", "2026", "--yes")
    assert all(line.endswith("frozen for a claim") for line in desk.run("pool", "suspense").splitlines())


def test_a_panel_votes_on_machines_of_its_own(desk):
    claim = {
        "id": "c-2",
        "kind": "privacy breach",
        "claimant": "owner",
        "respondent": "b",
        "currency": "CNY",
        "amount_minor": 700,
        "statement": "records were shown",
    }
    desk.run("claim", "file", desk.file("claim-2.json", claim), *desk.key("owner"), "--yes")
    desk.run("claim", "admit", "c-2", *desk.key("exchange"))
    desk.run("claim", "evidence", "c-2", str(desk.folder / "claim-2.json"), *desk.key("owner"))
    desk.run("claim", "convene", "c-2", "p1", "p2", "p3", *desk.key("exchange"))
    shown = desk.file("c-2.json", json.loads(desk.run("claim", "show", "c-2", "--json")))
    votes = {name: str(desk.folder / f"vote-{name}.json") for name in ("p1", "p2", "p3")}

    def vote(member, *words, answer=None, code=0):
        return desk.offline(
            "claim", "vote", shown, *words, "--out", votes[member], *desk.key(member), answer=answer, code=code
        )

    own = ["--upheld", "5.00", "--reasons", "it is so"]
    assert "upheld, 5.00 CNY: it is so" in vote("p1", *own, answer="n\n", code=1)
    assert not Path(votes["p1"]).exists()
    vote("p1", *own, "--yes")
    joined = vote("p2", "--join", votes["p1"], "--yes", "--json")
    assert list(json.loads(joined[joined.index("{") :])["signatures"]) == ["p2"]
    vote("p3", *own, "--yes")
    with pytest.raises(FedjointError, match="are not the same decision"):
        desk.run("claim", "decide", "c-2", "--vote", votes["p1"], "--vote", votes["p3"])
    with pytest.raises(FedjointError, match="signed by p1"):
        desk.run("claim", "decide", "c-2", "--vote", votes["p1"])
    with pytest.raises(FedjointError, match="votes say it all"):
        desk.run("claim", "decide", "c-2", "--vote", votes["p1"], "--dismissed")
    with pytest.raises(FedjointError, match="votes on claim 'c-2'"):
        desk.run("claim", "decide", "c-1", "--vote", votes["p1"])
    desk.run("claim", "decide", "c-2", "--vote", votes["p1"], "--vote", votes["p2"])
    assert json.loads(desk.run("claim", "show", "c-2", "--json"))[0]["state"] == "decided"
    with pytest.raises(FedjointError, match="--reasons, or --join"):
        vote("p1")
    late = desk.file("c-2.json", json.loads(desk.run("claim", "show", "c-2", "--json")))
    with pytest.raises(FedjointError, match="an earlier state of it"):
        desk.offline("claim", "vote", late, "--join", votes["p1"], "--out", votes["p2"], *desk.key("p2"))
    with pytest.raises(FedjointError, match="is no claim"):
        desk.offline("claim", "vote", votes["p1"], *own, "--out", votes["p2"], *desk.key("p2"))


def test_holders_stand_by_an_export_and_verification_says_who(desk):
    exchange, books = desk.file("exchange.json", plain(desk.people["exchange"].public)), str(desk.folder / "watched")
    desk.run("pool", "export", books, *desk.key("exchange"))
    seen = ["--seen", str(desk.folder / "seen.json"), "--exchange", exchange]
    assert "'a' stands by" in desk.offline("pool", "witness", books, *seen, *desk.key("a"))
    assert "witnesses: a" in desk.run("verify", books, "--exchange", exchange)


def test_statements_are_issued_as_pages_too(desk):
    exchange = desk.file("exchange.json", plain(desk.people["exchange"].public))
    for kind in ("html", "pdf"):
        out = desk.folder / f"asset.{kind}"
        words = ["2020-01-01", "2099-12-31", "--dataset", "scans-a", "--format", kind, "--out", str(out)]
        desk.run("pool", "statement", "a", *words, *desk.key("exchange"))
        assert out.read_bytes()[:5] in (b"<!DOC", b"%PDF-")
    assert "ok   statement: of 'a'" in desk.run("verify", str(desk.folder / "asset.json"), "--exchange", exchange)
    with pytest.raises(FedjointError, match="dataset 'scans-b' is not that of 'a'"):
        words = ["2020-01-01", "2099-12-31", "--dataset", "scans-b", "--out", str(out)]
        desk.run("pool", "statement", "a", *words, *desk.key("exchange"))


def test_registry_answers_for_a_purpose_and_a_day(desk):
    shown = ["registry", "dataset", "show", "scans-b", "--day", "2026-06-01", "--purpose"]
    assert "scans-b" in desk.run(*shown, "underwriting research")
    with pytest.raises(FedjointError, match="does not permit the purpose 'marketing'"):
        desk.run(*shown, "marketing")
    assert json.loads(desk.run("registry", "dataset", "card", "scans-b", "--format", "dcat"))["@type"] == "dcat:Dataset"
    for kind in ("objection", "objection settled"):
        desk.run("registry", "dataset", "note", "scans-b", kind, "--effective", "2026-04-01", "--reason", "so")
    licence = ["--effective", "2026-04-02", "--reason", "so", "--to", "buyer"]
    noted = json.loads(desk.run("registry", "dataset", "note", "scans-b", "licence", *licence, "--json"))
    assert noted["events"][0]["body"]["to"] == "buyer"
    with pytest.raises(FedjointError, match="a party for a transfer or licence"):
        desk.run("registry", "dataset", "note", "scans-b", "transfer", "--effective", "2026-04-01", "--reason", "so")
    card = json.loads(desk.run("registry", "party", "card", "b"))
    assert (card["@type"], card["identifier"]) == ("org:Organization", "CN/b")
    desk.run("registry", "dataset", "revoke", "scans-b", "--effective", "2026-05-01", "--reason", "consent withdrawn")
    with pytest.raises(FedjointError, match="its revocation took effect on 2026-05-01"):
        desk.run(*shown, "underwriting research")
    desk.run("registry", "party", "revoke", "p3", "--effective", "2026-05-01", "--reason", "left")
    assert "revoked from 2026-05-01" in desk.run("registry", "party", "show", "p3")


@pytest.mark.parametrize("group", ["pool", "pool voucher", "claim", "registry party", "registry dataset"])
def test_every_command_helps_with_an_example(group):
    command = cli
    for word in group.split():
        command = command.get_command(None, word)
    for name, one in command.commands.items():
        assert "Example" in (one.help or ""), name
