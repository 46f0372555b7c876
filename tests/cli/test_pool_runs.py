"""A run of a pool's agreement: the registry lets it start, its contributions divide revenue, revocation stops both."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner

from fedjoint.agreement.claim_terms import ClaimTerms
from fedjoint.agreement.signing import read_agreement
from fedjoint.agreement.terms import MoneyTerms
from fedjoint.cli.main import cli
from fedjoint.config import load_config
from fedjoint.errors import ConfigError, IdentityError, PoolError, RecordError
from fedjoint.identity.keys import Identity
from fedjoint.pool import desk
from fedjoint.pool.facts import Opened
from fedjoint.pool.record_store_sql import PoolStore
from fedjoint.pool.registered import DataCertificate, DatasetEvent, Policy, Rights
from fedjoint.simulation.simulate import prepare, simulate
from tests.pool.consortium import PEOPLE, dataset, party

SETTINGS = ["data=breast_cancer", "privacy=none", "training.rounds=1", "purpose=research"]
HOLDERS = ("holder-a", "holder-b", "holder-c", "holder-d")
TODAY = datetime.now(UTC).date()
AT = f"{TODAY}T00:00:00Z"
DATASETS = {holder: f"d-{holder}" for holder in HOLDERS}


def settings(tmp_path, datasets=None, **more):
    named = ", ".join(f"{holder}: {name}" for holder, name in (datasets or DATASETS).items())
    pool = [f"run.registry={tmp_path / 'pool'}", f"run.datasets={{{named}}}"]
    return load_config([*SETTINGS, f"run.folder={tmp_path}", "run.name=r", *pool])


def registered(tmp_path, identities):
    """A pool that knows these holders, each with a dataset that may be used from today on."""
    (tmp_path / "pool").mkdir()
    until = (TODAY + timedelta(days=300)).isoformat()
    with PoolStore.open(f"sqlite:///{tmp_path}/pool/pool.sqlite") as store:

        def act(function, facts):
            store.act(lambda inside: function(inside.state(), facts, at=AT))

        money = MoneyTerms(materiality="equal")
        exchange = PEOPLE["exchange"].public
        act(desk.open_pool, Opened(pool_id="runs", exchange=exchange, money=money, claims=ClaimTerms()))
        for name, identity in {**identities, "buyer": PEOPLE["buyer"].public}.items():
            role = "holder" if name in HOLDERS else "buyer" if name == "buyer" else "exchange"
            facts = {"identity": identity, "legal_id": name, "role": role, "certificate_sha256": name.encode().hex()}
            facts["certificate_sha256"] = facts["certificate_sha256"].ljust(64, "0")
            act(desk.add_party, dataclasses.replace(party("a"), **facts, valid_from=str(TODAY), valid_until=until))
        for holder in HOLDERS:
            certificate = DataCertificate(
                number=holder, registrar="R", announced=str(TODAY), valid_until=until, agreement_until=until
            )
            made = dataclasses.replace(
                dataset("x", "a"),
                id=DATASETS[holder],
                holder=holder,
                certificate=certificate,
                rights=Rights(holding=holder, processing=holder, operation=holder),
                policy=Policy(purposes=("research",), not_before=str(TODAY), not_after=until),
            )
            act(desk.add_dataset, made)


def revoke(tmp_path, name):
    event = DatasetEvent(dataset=name, kind="revocation", effective=str(TODAY), reason="consent withdrawn")
    with PoolStore.open(f"sqlite:///{tmp_path}/pool/pool.sqlite") as store:
        store.act(lambda inside: desk.note_dataset(inside.state(), event, at=AT))


def told_run(run):
    return json.loads((run / "statements" / "holder-a.json").read_bytes())["statement"]["run_id"]


def fedjoint(tmp_path, *words):
    done = CliRunner().invoke(cli, [*words, "--pool", str(tmp_path / "pool")])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def test_a_revoked_dataset_stops_a_run_before_anything_is_trained(tmp_path):
    made_up = {holder: Identity.create(holder, holder).public for holder in HOLDERS}
    registered(tmp_path, made_up)
    terms = prepare(settings(tmp_path)).terms
    assert {holder.identity.id: holder.dataset for holder in terms.holders} == DATASETS
    revoke(tmp_path, "d-holder-b")
    with pytest.raises(PoolError, match=r"no run on dataset 'd-holder-b' on .* its revocation took effect"):
        simulate(settings(tmp_path))
    assert not (tmp_path / "r").exists()
    with pytest.raises(PoolError, match="'d-holder-a' is not that of 'holder-b'"):
        prepare(settings(tmp_path, {**DATASETS, "holder-b": "d-holder-a", "holder-a": "d-holder-b"}))
    with pytest.raises(ConfigError, match=r"run\.datasets names 'stranger'"):
        prepare(settings(tmp_path, {**DATASETS, "stranger": "x"}))


def test_datasets_without_a_pool_and_a_pool_that_is_not_there_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"run\.registry without run\.datasets"):
        load_config(["run.registry=somewhere"])
    with pytest.raises(PoolError, match="there is no pool"):
        prepare(settings(tmp_path))


def test_a_runs_folder_divides_revenue_once_everybodys_keys_are_registered(tmp_path):
    first = tmp_path / "before"
    first.mkdir()
    registered(first, {holder: Identity.create(holder, holder).public for holder in HOLDERS})
    run = simulate(settings(first)).folder
    agreed = read_agreement((run / "agreement.json").read_bytes()).terms
    strangers = ["pool", "settle", "s1", "100.00", "--run", str(run), "--yes"]
    with pytest.raises(PoolError, match="signs with keys that it is not registered with"):
        fedjoint(first, *strangers)
    signers = {holder.identity.id: holder.identity for holder in agreed.holders}
    registered(tmp_path, {**signers, agreed.coordinator.id: agreed.coordinator})
    fedjoint(tmp_path, "pool", "deposit", "d1", "buyer", "100.00", "--yes")
    thief = Identity.create("holder-a", "Holder A")
    thief.save(tmp_path / "thief.key")
    out, agreement = str(tmp_path / "costs.json"), read_agreement((run / "agreement.json").read_bytes()).sha256
    metered = ["pool", "costs", told_run(run), agreement, "--cpu-seconds", "60", "--out", out]
    assert CliRunner().invoke(cli, [*metered, "--key", str(tmp_path / "thief.key")]).exit_code == 0
    with pytest.raises(IdentityError, match="holder-a"):
        fedjoint(tmp_path, *strangers, "--costs", out)
    told = json.loads(fedjoint(tmp_path, *strangers, "--json"))["events"][0]["body"]
    report = json.loads((run / "report.json").read_bytes())
    assert told["contributions"] == {holder["id"]: holder["contribution"] for holder in report["holders"]}
    assert (told["datasets"], told["method"][:14]) == (DATASETS, "Aumann-Shapley")
    assert set(told["errors"]) == set(HOLDERS)
    with pytest.raises(ConfigError, match="by nothing, or by two things"):
        fedjoint(tmp_path, "pool", "settle", "s2", "1.00")
    sums = run / "sums.bin"
    data = sums.read_bytes()
    sums.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(RecordError, match="does not verify"):
        fedjoint(tmp_path, "pool", "settle", "s2", "1.00", "--run", str(run), "--yes")
