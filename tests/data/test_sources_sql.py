"""SQL tables as text, read by connections that cannot write."""

import sqlite3

import pytest

from fedjoint.data.sources_sql import _connected, read_sql_table, read_url
from fedjoint.errors import DataError, IdentityError


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "clinic.db"
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE patients (age INTEGER, chol REAL, sex TEXT, scan BLOB)")
        base.execute("CREATE TABLE nobody (age INTEGER)")
        base.execute("CREATE VIEW adults AS SELECT age, chol, sex FROM patients WHERE age >= 18")
        base.executemany(
            "INSERT INTO patients VALUES (?, ?, ?, ?)",
            [(61, 233.5, " Male ", None), (45, None, "", None), (7, 150.0, "Female", None)],
        )
    base.close()
    return f"sqlite:///{path}"


def columns(table):
    return {name: table.column(name).tolist() for name in table.names}


def test_a_table_or_a_view_is_read_as_text_with_empty_cells_for_null(database):
    assert columns(read_sql_table(database, "adults")) == {
        "age": ["61", "45"],
        "chol": ["233.5", ""],
        "sex": ["Male", ""],
    }
    assert read_sql_table(database, "patients").num_rows == 3


def test_the_connection_cannot_write(database):
    import sqlalchemy as sa

    with _connected(database) as connection, pytest.raises(sa.exc.OperationalError, match="readonly"):
        connection.execute(sa.text("DELETE FROM patients"))


def test_a_file_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_sql_table(f"sqlite:///{tmp_path}/none.db", "patients")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("patient", "no table 'patient'"),
        ("patients; DROP TABLE patients", "no table"),
        ("nobody", "has no record"),
    ],
)
def test_what_is_no_table_of_records_is_refused(database, table, words):
    with pytest.raises(DataError, match=words):
        read_sql_table(database, table)


def test_a_column_of_bytes_is_refused_by_name(database, tmp_path):
    with sqlite3.connect(tmp_path / "clinic.db") as base:
        base.execute("UPDATE patients SET scan = x'00ff'")
    base.close()
    with pytest.raises(DataError, match="column 'scan' of 'patients' holds bytes"):
        read_sql_table(database, "patients")


def test_no_message_repeats_the_url():
    with pytest.raises(DataError) as problem:
        read_sql_table("nosuchbase://admin:hunter2@host/db", "patients")
    assert "hunter2" not in str(problem.value) and "host" not in str(problem.value)


def test_a_url_comes_from_a_file_that_only_its_owner_can_read(tmp_path, database):
    path = tmp_path / "url"
    path.write_text(database + "\n")
    path.chmod(0o644)
    with pytest.raises(IdentityError, match="chmod 600"):
        read_url(path)
    path.chmod(0o600)
    assert read_url(path) == database
    path.write_text("\n")
    with pytest.raises(DataError, match="holds no database URL"):
        read_url(path)
