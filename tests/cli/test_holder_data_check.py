"""A holder looks at its own records, exactly, and shares of that only what is noisy and charged."""

import json

import pytest
from click.testing import CliRunner

from fedjoint.agreement.schema import Column, Schema, Target
from fedjoint.cli.main import cli
from fedjoint.data.schema_file import write_schema
from fedjoint.errors import BudgetExhausted, ConfigError, PrivacyError

SCHEMA = Schema(
    columns=(
        Column(name="age", kind="number", low=0.0, high=120.0),
        Column(name="sex", kind="category", categories=("f", "m"), missing_flag=True),
    ),
    target=Target(name="ill", task="binary", classes=("no", "yes")),
)


def check(*arguments, code=0):
    result = CliRunner().invoke(cli, ["holder", "data", "check", *map(str, arguments)], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    assert (result.return_value or 0) == code, result.output
    return result.output


@pytest.fixture
def records(tmp_path):
    path = tmp_path / "patients.csv"
    rows = [f"{20 + n % 60},{'fm'[n % 2]},{['no', 'yes'][n % 3 == 0]}" for n in range(200)] + ["44,,no"] * 4
    path.write_text("\n".join(["age,sex,ill", *rows]) + "\n")
    write_schema(SCHEMA, tmp_path / "schema.yaml")
    return path


def schema_of(records):
    return ["--schema", records.with_name("schema.yaml")]


def ledger(records, epsilon=8.0):
    path = records.with_name("patients.ledger")
    arguments = ["budget", path, "--create", "--epsilon", epsilon, "--delta", "1e-5", "--cohort", "c", "--json"]
    done = CliRunner().invoke(cli, ["holder", *map(str, arguments)], standalone_mode=False)
    assert done.exception is None
    return path


def spent(path):
    done = CliRunner().invoke(cli, ["holder", "budget", str(path), "--json"], standalone_mode=False)
    return json.loads(done.output)["spent"]["releases"]


def test_records_that_fit_are_shown_exactly_with_how_many_counts_are_small(records):
    shown = check(records, *schema_of(records))
    assert "204 records: fit the schema" in shown and "20 to 79" in shown and "f 100, m 100" in shown
    report = json.loads(check(records, *schema_of(records), "--json"))
    assert report["fits"] and report["columns"][1]["missing"] == 4
    (row,) = [line for line in shown.splitlines() if line.startswith("sex")]
    assert row.split()[-1] == "1"  # four values are missing


def test_records_that_do_not_fit_end_with_one(records):
    records.write_text(records.read_text().replace("44,,no", "444,,perhaps", 1))
    assert "do not fit the schema" in check(records, *schema_of(records), code=1)


def test_without_a_schema_it_is_inferred_for_a_target(records):
    assert "fit the schema" in check(records, "--target", "ill")
    for which, options in (("neither", []), ("both", [*schema_of(records), "--target", "ill"])):
        with pytest.raises(ConfigError, match=f"{which} of --schema and --target"):
            check(records, *options)


def test_what_leaves_is_noisy_withholds_small_counts_and_is_charged(records):
    book, out = ledger(records), records.with_name("out.json")
    check(records, *schema_of(records), "--share", out, "--noise", 2, "--budget", book)
    shared = json.loads(out.read_text())
    assert set(shared["counts"]) == {"age missing", "sex missing", "sex=f", "sex=m"}
    assert all(count is None or count == 0 or count >= 10 for count in shared["counts"].values())
    assert "20" not in shared and spent(book) == 1
    check(records, *schema_of(records), "--share", out, "--noise", 2, "--budget", book)
    assert spent(book) == 2


def test_nothing_leaves_that_is_not_charged(records):
    book, out = ledger(records, epsilon=0.01), records.with_name("out.json")
    with pytest.raises(BudgetExhausted):
        check(records, *schema_of(records), "--share", out, "--noise", 2, "--budget", book)
    assert not out.exists()
    with pytest.raises(ConfigError, match="go together"):
        check(records, *schema_of(records), "--share", out)


def test_a_place_that_cannot_be_written_is_named(records):
    book = ledger(records)
    with pytest.raises(PrivacyError, match="cannot be written"):
        check(records, *schema_of(records), "--share", records / "out.json", "--noise", 2, "--budget", book)
