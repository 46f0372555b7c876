"""Three holders' folders with made-up records, and the exchange that they join."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from fedjoint.cli.main import cli
from fedjoint.data.schema_file import write_schema
from fedjoint.identity.invitation import write_invitation
from fedjoint.node.home import Home
from tests.exchange_double import ExchangeDouble
from tests.fakes import SIZES, examples, make_terms, schema


@pytest.fixture
def exchange():
    double = ExchangeDouble()
    with double.serving(list(SIZES)) as grid:
        double.grid = grid
        yield double


def fedjoint(*arguments, code=0, **how):
    """The command line in this process; its output."""
    result = CliRunner().invoke(cli, ["holder", *map(str, arguments)], standalone_mode=False, **how)
    if result.exception is not None:
        raise result.exception
    assert (result.return_value or 0) == code, result.output
    return result.stdout


def write_csv(path: Path, holder: str) -> None:
    number = list(SIZES).index(holder) + 1
    records = examples(SIZES[holder], seed=number)
    lines = ["mrn,x0,x1,x2,ill"]
    for place, (row, target) in enumerate(zip(records.features, records.targets, strict=True)):
        lines.append(f"p{place // 2}," + ",".join(map(repr, map(float, row))) + f",{['no', 'yes'][int(target)]}")
    path.write_text("\n".join(lines) + "\n")


def make_home(tmp_path: Path, holder: str) -> Home:
    """A folder with keys, and beside it a table and its schema."""
    fedjoint("init", tmp_path / holder, "--id", holder, "--name", holder.title())
    write_csv(tmp_path / f"{holder}.csv", holder)
    if not (tmp_path / "schema.yaml").exists():
        write_schema(schema(), tmp_path / "schema.yaml")
    return Home(tmp_path / holder)


def join(home: Home, exchange: ExchangeDouble, *, invited: str | None = None, **changed) -> str:
    invitation = home.folder.with_suffix(".invitation")
    invitation.unlink(missing_ok=True)
    write_invitation(exchange.invite(invited or home.folder.name, **changed), invitation)
    return fedjoint("join", f"localhost:{exchange.port}", "--invite", invitation, "--home", home.folder)


def add_data(home: Home, *more, code=0) -> str:
    folder = home.folder.parent
    table = folder / f"{home.folder.name}.csv"
    return fedjoint("data", "add", table, "--schema", folder / "schema.yaml", "--home", home.folder, *more, code=code)


def propose(exchange: ExchangeDouble, homes, **agreed):
    """Terms that name these holders and every record of theirs."""
    identities = {home.folder.name: home.load_identity() for home in homes}
    sizes = {holder: SIZES[holder] for holder in identities}
    terms = make_terms(exchange.identity, identities, sizes, examples(60, seed=99), **agreed)
    return exchange.propose(terms), terms


def allow(home: Home, old: str, new: str) -> None:
    """Change a line of the holder's policy."""
    text = home.policy.read_text()
    assert old in text
    home.policy.write_text(text.replace(old, new))
