import csv
import datetime
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.data import sources
from fedjoint.data.sources import parse_csv, read_table
from fedjoint.errors import DataError


def test_white_space_quotes_byte_order_mark_crlf_and_blank_lines_are_read_as_meant():
    data = b'\xef\xbb\xbfage,"chest, pain"\r\n 61 ,"a ""b"""\r\n\r\n,x\r\n'
    table = parse_csv(data, "p.csv")
    assert table.names == ("age", "chest, pain")
    assert table.column("age").tolist() == ["61", ""]
    assert table.column("chest, pain").tolist() == ['a "b"', "x"]


_WORD = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8)


@given(st.lists(st.tuples(_WORD, st.just("") | _WORD), min_size=1, max_size=20))
def test_what_a_csv_writer_writes_is_read_back(rows):
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("a", "b"), *rows])
    table = parse_csv(text.getvalue().encode(), "p.csv")
    assert list(zip(table.column("a"), table.column("b"), strict=True)) == rows


def test_tabs_separate_a_tsv_file(tmp_path):
    path = tmp_path / "P.TSV"
    path.write_text("a\tb\n1,5\t2\n")
    assert read_table(path).column("a").tolist() == ["1,5"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a,b\n1,2\n3\n", "line 3 of 'p.csv' has 1 fields; expected 2"),
        (b'a,b\n"x\ny",2\n1,2,3\n', "line 4 of 'p.csv' has 3 fields"),
        (b"a,b,a\n1,2,3\n", "two columns named 'a'"),
        (b"a, a\n1,2\n", "two columns named 'a'"),
        (b"a,,b\n1,2,3\n", "column 2 of 'p.csv' has no name"),
        (b"a;b\n1;2\n", "single column; expected commas"),
        (b"a,b\n", "no record"),
        (b"\n\n", "no name|no record"),
        (b'a,b\n"1,2\n', "line 2 of 'p.csv' is no CSV"),
        (b"a,b\n1,2\n3,\xff\n", "line 3 of 'p.csv' is not UTF-8"),
    ],
)
def test_what_is_no_plain_table_is_refused_with_file_and_line(data, words):
    with pytest.raises(DataError, match=words):
        parse_csv(data, "p.csv")


def test_a_refusal_does_not_repeat_what_stands_in_the_line():
    with pytest.raises(DataError) as refused:
        parse_csv(b"a,b\nsecret-patient\n", "p.csv")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(("make", "words"), [("missing", "no file"), ("folder", "is a folder"), ("empty", "is empty")])
def test_a_path_without_a_table_is_refused(tmp_path, make, words):
    path = tmp_path / "p.csv"
    if make == "folder":
        path.mkdir()
    if make == "empty":
        path.touch()
    with pytest.raises(DataError, match=words):
        read_table(path)


def test_a_file_of_another_kind_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"unknown kind; expected a file ending in \.csv"):
        read_table(tmp_path / "p.xlsx")


def test_a_file_or_table_beyond_the_limits_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "p.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    pq.write_table(pa.table({"a": [1, 2], "b": [3, 4]}), tmp_path / "p.parquet")
    monkeypatch.setattr(sources, "MAX_CELLS", 3)
    for file in (path, tmp_path / "p.parquet"):
        with pytest.raises(DataError, match="more than 3 cells"):
            read_table(file)
    monkeypatch.setattr(sources, "MAX_FILE_BYTES", 5)
    with pytest.raises(DataError, match="12 bytes; expected at most 5"):
        read_table(path)


def test_parquet_numbers_booleans_dates_categories_and_nulls_become_text(tmp_path):
    table = pa.table(
        {
            "int": pa.array([1, None], pa.int64()),
            "float": pa.array([1.5, None], pa.float64()),
            "bool": pa.array([True, None]),
            "date": pa.array([datetime.date(2026, 1, 2), None]),
            "text": pa.array([" x ", None]),
            "category": pa.array(["y", None]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "p.parquet")
    read = read_table(tmp_path / "p.parquet")
    assert [read.column(name)[0] for name in read.names] == ["1", "1.5", "true", "2026-01-02", "x", "y"]
    assert [read.column(name)[1] for name in read.names] == [""] * 6


def test_parquet_floats_are_read_back_exactly(tmp_path):
    values = np.random.default_rng(0).normal(size=100) * 10.0 ** np.arange(-50, 50)
    pq.write_table(pa.table({"x": values}), tmp_path / "p.parquet")
    assert [float(cell) for cell in read_table(tmp_path / "p.parquet").column("x")] == values.tolist()


def test_a_parquet_column_of_lists_is_refused_by_name(tmp_path):
    pq.write_table(pa.table({"a": [1], "b": [[1, 2]]}), tmp_path / "p.parquet")
    with pytest.raises(DataError, match=r"column 'b' of .* is of type list"):
        read_table(tmp_path / "p.parquet")


def test_a_parquet_file_that_is_broken_or_has_no_record_or_doubled_names_is_refused(tmp_path):
    path = tmp_path / "p.parquet"
    path.write_bytes(b"PAR1 this is not it")
    with pytest.raises(DataError, match="no Parquet file"):
        read_table(path)
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), path)
    with pytest.raises(DataError, match="no record"):
        read_table(path)
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), path)
    with pytest.raises(DataError, match="two columns named 'a'"):
        read_table(path)
