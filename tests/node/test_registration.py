"""A holder's own gate: nothing is signed or trained that its data set's registration does not allow that day."""

import dataclasses
import json

import pytest

from fedjoint.errors import FedjointError, PoolError
from fedjoint.identity.keys import Identity
from fedjoint.node.datasets import datasets
from fedjoint.node.registration import registration_of
from fedjoint.node.serving import NodeHolders
from fedjoint.pool.registered import DatasetEvent, Registered
from fedjoint.strict import plain
from fedjoint.training.plan import Parcel, Task
from tests.fakes import SIZES, examples, make_terms
from tests.node.conftest import add_data, allow, fedjoint, join, make_home
from tests.pool.consortium import dataset as registered_dataset

PURPOSE = "underwriting research"


@pytest.fixture
def home(tmp_path, exchange):
    """A holder that has joined, with data."""
    found = make_home(tmp_path, "bern")
    join(found, exchange)
    add_data(found, "--name", "study")
    allow(found, "modes: [local, joint]", "modes: [none]")
    return found


def ours(**changed):
    """Valid whenever these tests are run."""
    made = registered_dataset("scans-bern", "bern")
    long = dataclasses.replace(made.policy, not_before="2020-01-01", not_after="2099-12-31", **changed)
    certificate = dataclasses.replace(
        made.certificate, announced="2026-01-15", valid_until="2029-01-15", agreement_until="2030-01-01"
    )
    return dataclasses.replace(made, policy=long, certificate=certificate)


def keep(home, found):
    path = home.folder.parent / "registered.json"
    path.write_text(json.dumps(plain(found)))
    return fedjoint("data", "register", "study", path, "--home", home.folder)


def agreed(exchange, home, *, registered="scans-bern", purpose=PURPOSE):
    """An agreement that names a registered dataset for the holder."""
    ahus = Identity.create("ahus", "Ahus")
    people = {"ahus": ahus, "bern": home.load_identity()}
    made = make_terms(exchange.identity, people, SIZES, examples(60, seed=99))
    names = {"ahus": registered and "scans-ahus", "bern": registered}
    holders = tuple(dataclasses.replace(one, dataset=names[one.identity.id]) for one in made.holders)
    return exchange.propose(dataclasses.replace(made, holders=holders, purpose=purpose))


def sign(home, sha256):
    return fedjoint("sign", sha256[:12], "--yes", "--home", home.folder)


def test_what_is_registered_is_kept_and_listed(home):
    assert PURPOSE in keep(home, ours())
    assert registration_of(home, "study") == Registered(dataset=ours())
    assert [note.name for note in datasets(home)] == ["study"]  # a registration is no data set
    (row,) = json.loads(fedjoint("data", "list", "--home", home.folder, "--json"))
    assert row["registered"] == "scans-bern"
    shown = [plain(Registered(dataset=ours()))]  # as `registry dataset show ID --json` prints it
    assert "registered as 'scans-bern'" in keep(home, shown)


def test_an_agreement_is_signed_only_for_what_is_registered_and_its_purpose(exchange, home):
    with pytest.raises(PoolError, match="names 'scans-bern' and data set 'study' is registered as nothing"):
        sign(home, agreed(exchange, home))
    keep(home, ours())
    with pytest.raises(PoolError, match="names nothing and data set 'study' is registered as 'scans-bern'"):
        sign(home, agreed(exchange, home, registered=None))
    with pytest.raises(PoolError, match="does not permit the purpose 'marketing'"):
        sign(home, agreed(exchange, home, purpose="marketing"))
    assert not list(home.agreements.iterdir())
    assert "Signed." in sign(home, agreed(exchange, home))


def test_from_the_day_of_a_revocation_on_no_task_is_done(exchange, home):
    keep(home, ours())
    sha256 = agreed(exchange, home)
    sign(home, sha256)
    task = Parcel(body=Task(agreement_sha256=sha256, run_id="ab" * 16))
    said = fedjoint("data", "revoke", "study", "--effective", "2028-01-01", "--reason", "so", "--home", home.folder)
    assert "From 2028-01-01: revocation" in said
    days = iter(["2027-12-31", "2028-01-01", "2029-01-16", "2026-01-14"])
    holders = NodeHolders(home, now=lambda: f"{next(days)}T00:00:00Z")
    with pytest.raises(FedjointError, match="has not joined this run"):
        holders.answer("train", task)  # the gate opens: there is only no such run
    for words in (
        "revocation took effect on 2028-01-01",
        "certificate is valid .* until 2029-01-15",
        "from 2026-01-15",
    ):
        with pytest.raises(PoolError, match=words):
            holders.answer("train", task)
    holders.close()


def test_what_was_kept_is_never_taken_back(home):
    ended = Registered(
        dataset=ours(),
        events=(DatasetEvent(dataset="scans-bern", kind="revocation", effective="2026-06-01", reason="so"),),
    )
    keep(home, ours())
    keep(home, ended)
    for wrong in (
        ours(),
        ours(purposes=("marketing",)),
        Registered(dataset=dataclasses.replace(ours(), title="Other")),
    ):
        with pytest.raises(PoolError, match="other facts or events"):
            keep(home, wrong)
    with pytest.raises(PoolError, match="nothing follows it"):
        fedjoint("data", "revoke", "study", "--effective", "2026-07-01", "--reason", "so", "--home", home.folder)
    assert registration_of(home, "study") == ended


def test_another_holders_dataset_is_not_registered_here(home):
    with pytest.raises(PoolError, match="'scans-a' is that of 'a'"):
        keep(home, registered_dataset("scans-a", "a"))
    with pytest.raises(PoolError, match="is not registered"):
        fedjoint("data", "revoke", "study", "--effective", "2026-07-01", "--reason", "so", "--home", home.folder)
    assert registration_of(home, "study") is None
