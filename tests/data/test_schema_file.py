import json

import pytest

from fedjoint.agreement.schema import Column, Schema, Target
from fedjoint.data.datasets.breast_cancer import BREAST_CANCER_SCHEMA
from fedjoint.data.datasets.heart import HEART_SCHEMA
from fedjoint.data.schema_file import MAX_SCHEMA_BYTES, load_schema, write_schema
from fedjoint.errors import DataError, InvalidValue

TRICKY = Schema(
    columns=(
        Column(name="no", kind="category", categories=("yes", "off", "1", "null", "北京"), missing_values=("~", "0")),
        Column(name="x: y", kind="number", center=1e-12, scale=3.0e25, low=-1.0, fill=0.1),
    ),
    target=Target(name="1", task="number", center=2.0),
    origin="inferred",
    notes=("a: b",),
)
YAML = """
columns:
  - {name: age, kind: number, center: 50, scale: 10}
target: {name: died, task: binary, classes: ["no", "yes"]}
"""


@pytest.mark.parametrize("ending", ["yaml", "yml", "json"])
@pytest.mark.parametrize("schema", [TRICKY, HEART_SCHEMA, BREAST_CANCER_SCHEMA])
def test_a_schema_that_was_written_is_read_back_equal(tmp_path, schema, ending):
    path = tmp_path / f"schema.{ending}"
    write_schema(schema, path)
    assert load_schema(path) == schema


def test_what_equals_its_default_is_not_written(tmp_path):
    write_schema(Schema(columns=(Column(name="x", kind="number"),), target=TRICKY.target), tmp_path / "s.json")
    written = json.loads((tmp_path / "s.json").read_text())
    assert written["columns"] == [{"name": "x", "kind": "number"}]
    assert "origin" not in written


def test_a_schema_is_never_written_over_a_file_into_a_missing_folder_or_to_another_kind(tmp_path):
    write_schema(TRICKY, tmp_path / "s.yaml")
    with pytest.raises(DataError, match="exists"):
        write_schema(TRICKY, tmp_path / "s.yaml")
    with pytest.raises(DataError, match="cannot be written"):
        write_schema(TRICKY, tmp_path / "nowhere" / "s.yaml")
    with pytest.raises(DataError, match="unknown kind"):
        write_schema(TRICKY, tmp_path / "s.toml")


def test_a_hand_written_file_is_read(tmp_path):
    (tmp_path / "s.yaml").write_text(YAML)
    schema = load_schema(tmp_path / "s.yaml")
    assert (schema.columns[0].scale, schema.target.classes, schema.origin) == (10.0, ("no", "yes"), "declared")


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("center", "centre", r"unknown key 'schema.columns.0.centre'.*Did you mean"),
        ("scale: 10", "scale: ten", r"schema.columns.0.scale"),
        ("scale: 10", "scale: 0", "scale > 0"),
        ('["no", "yes"]', "[no, yes]", r"schema.target.classes"),
        ("task: binary, ", "", "missing key 'schema.target.task'"),
        ("center: 50", "center: 50, center: 51", "key 'center' stands twice"),
        ("{name: died", "&t {name: died", None),
        ("columns:", "notes: *t\ncolumns:", "is no YAML"),
        ("target:", "target: [", "is no YAML"),
    ],
)
def test_a_schema_file_that_does_not_fit_is_refused_with_the_key(tmp_path, before, after, words):
    path = tmp_path / "s.yaml"
    path.write_text(YAML.replace(before, after))
    if words is None:  # an anchor alone does no harm
        assert load_schema(path).target.name == "died"
        return
    with pytest.raises((DataError, InvalidValue), match=words):
        load_schema(path)


def test_aliases_python_objects_and_non_schemas_are_refused(tmp_path):
    path = tmp_path / "s.yaml"
    for text, words in (
        ("columns: [&a {name: x, kind: number}, *a]\ntarget: {name: y, task: number}", "alias"),
        ("columns: !!python/object/apply:os.getcwd []", "no YAML"),
        ("just text", "schema"),
        ("", "schema"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=words):
            load_schema(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [('{"columns": [], "columns": []}', "'columns' stands twice"), ("{", "no JSON"), ("[" * 100_000, "no JSON")],
    ids=["twice", "cut off", "deep"],
)
def test_broken_json_is_refused(tmp_path, text, words):
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(DataError, match=words):
        load_schema(tmp_path / "s.json")


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        load_schema(tmp_path / "none.yaml")
    with pytest.raises(DataError, match="unknown kind"):
        load_schema(tmp_path / "s.txt")
    (tmp_path / "s.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not UTF-8"):
        load_schema(tmp_path / "s.yaml")
    (tmp_path / "s.yaml").write_bytes(b" " * (MAX_SCHEMA_BYTES + 1))
    with pytest.raises(DataError, match="too large"):
        load_schema(tmp_path / "s.yaml")
