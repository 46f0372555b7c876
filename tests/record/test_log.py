from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical, sha256_hex
from fedjoint.errors import AgreementError, RecordError
from fedjoint.identity.keys import Identity
from fedjoint.record import log
from fedjoint.record.log import CLOSED, Event, RunRecord, read_record

EXCHANGE = Identity.create("exchange", "Exchange")
AGREEMENT = "ab" * 32
FACTS = [("run.opened", {"run_id": "r"}), ("round.closed", {"auc": 0.75, "holders": ["a", "b"]}), (CLOSED, {})]
BODIES = st.dictionaries(
    st.text(max_size=4),
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    max_size=3,
)


def clock() -> Callable[[], str]:
    """A clock that is one second later each time."""
    seconds = itertools.count()
    return lambda: f"2026-11-03T09:00:{next(seconds):02d}+00:00"


def write(path: Path, facts=FACTS, *, agreement: str = AGREEMENT, signer: Identity = EXCHANGE) -> list[bytes]:
    """Write a record and give its lines."""
    with RunRecord(path, agreement, signer, now=clock()) as record:
        for kind, body in facts:
            record.append(kind, body)
    return path.read_bytes().splitlines(keepends=True)


def read(path: Path, *, agreement: str = AGREEMENT, signer: Identity = EXCHANGE) -> list[Event]:
    return list(read_record(path, agreement, signer.public))


def refused(path: Path, lines: Sequence[bytes] | bytes, words: str) -> None:
    """A record of these lines is refused with these words."""
    path.write_bytes(lines if isinstance(lines, bytes) else b"".join(lines))
    with pytest.raises(RecordError, match=words):
        read(path)


def signed_line(place: int, kind: str, previous: str, *, signer: Identity = EXCHANGE, purpose: str = "record") -> bytes:
    """A line as the format says, made without the writer."""
    facts = {"seq": place, "type": kind, "at": "2026-11-03T09:00:00+00:00", "body": {}, "previous": previous}
    signature = signer.sign(purpose, canonical_bytes(facts))
    return canonical_bytes(facts | {"signature": signature}) + b"\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "record.jsonl"


def test_what_was_written_is_read_back_in_order(path):
    write(path)
    events = read(path)
    assert [(event.type, event.body) for event in events] == FACTS
    assert [event.seq for event in events] == [0, 1, 2]
    assert events[1].at == "2026-11-03T09:00:01+00:00"


@given(st.lists(st.tuples(st.text(min_size=1, max_size=4), BODIES), max_size=4))
def test_any_facts_survive_being_written_and_read(facts):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.jsonl"
        write(path, [*facts, (CLOSED, {})])
        assert [(event.type, event.body) for event in read(path)] == [*facts, (CLOSED, {})]


def test_lines_are_chained_from_the_agreement_and_the_head_commits_to_the_last(path):
    with RunRecord(path, AGREEMENT, EXCHANGE, now=clock()) as record:
        heads = [record.head]
        for kind, body in FACTS:
            record.append(kind, body)
            heads.append(record.head)
    hashes = [sha256_hex(line.rstrip(b"\n")) for line in path.read_bytes().splitlines(keepends=True)]
    assert heads == [AGREEMENT, *hashes]
    assert [event.previous for event in read(path)] == heads[:-1]


def test_a_line_written_by_hand_from_the_format_is_accepted(path):
    first = signed_line(0, "run.opened", AGREEMENT)
    path.write_bytes(first + signed_line(1, CLOSED, sha256_hex(first[:-1])))
    assert [event.type for event in read(path)] == ["run.opened", CLOSED]


def test_an_event_is_on_disk_before_the_next_is_made(path):
    with RunRecord(path, AGREEMENT, EXCHANGE, now=clock()) as record:
        event = record.append("run.opened", {})
        assert path.read_bytes() == canonical_bytes(event) + b"\n"


def test_the_writer_takes_no_event_after_the_end(path):
    with RunRecord(path, AGREEMENT, EXCHANGE, now=clock()) as record:
        record.append(CLOSED, {})
        for kind in ("round.closed", CLOSED):
            with pytest.raises(RecordError, match=f"the record is closed and '{kind}' came after"):
                record.append(kind, {})
    assert len(read(path)) == 1


def test_a_record_is_never_overwritten(path):
    lines = write(path)
    with pytest.raises(RecordError, match="A record is never overwritten"):
        RunRecord(path, AGREEMENT, EXCHANGE, now=clock())
    assert path.read_bytes() == b"".join(lines)


@pytest.mark.parametrize("body", [{"a": float("nan")}, {"a": {1}}, {"a": 2**60}])
def test_facts_without_canonical_form_are_not_written_and_break_nothing(path, body):
    with RunRecord(path, AGREEMENT, EXCHANGE, now=clock()) as record:
        with pytest.raises(AgreementError, match="no canonical JSON"):
            record.append("round.closed", body)
        record.append(CLOSED, {})
    assert [event.type for event in read(path)] == [CLOSED]


def test_an_event_too_long_to_be_read_is_not_written(path, monkeypatch):
    with RunRecord(path, AGREEMENT, EXCHANGE, now=clock()) as record:
        line = canonical_bytes(record.append("run.opened", {"a": "x" * 50}))
        monkeypatch.setattr(log, "MAX_LINE_BYTES", len(line) + 1)
        record.append("run.opened", {"a": "x" * 50})  # just fits
        with pytest.raises(RecordError, match=r"an event .* bytes; expected less than"):
            record.append("run.opened", {"a": "x" * 51})
        record.append(CLOSED, {})
    assert len(read(path)) == 3


@pytest.mark.parametrize("mask", [0x01, 0x20], ids=["neighbour", "case"])
def test_every_byte_of_a_record_that_is_flipped_is_refused(path, mask):
    data = b"".join(write(path))
    for place in range(len(data)):
        altered = data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]
        refused(path, altered, r"record\.jsonl (line|ends)")


def test_a_truncated_record_is_refused(path):
    data = b"".join(write(path))
    for length in range(0, len(data), 3):
        refused(path, data[:length], r"is cut off|without 'run\.closed'")


def test_a_removed_or_doubled_byte_of_a_record_is_refused(path):
    data = b"".join(write(path))
    for place in range(0, len(data), 7):
        refused(path, data[:place] + data[place + 1 :], r"record\.jsonl line")
        refused(path, data[: place + 1] + data[place:], r"record\.jsonl line")


@pytest.mark.parametrize("place", [0, 1])
def test_a_removed_line_is_refused_where_it_is_missing(path, place):
    lines = write(path)
    refused(path, lines[:place] + lines[place + 1 :], f"line {place + 1} does not follow the line before")


def test_a_record_whose_end_was_removed_is_refused(path):
    refused(path, write(path)[:-1], r"ends after line 2 without 'run\.closed'")


def test_an_empty_record_is_refused(path):
    refused(path, b"", r"ends after line 0 without 'run\.closed'")


@pytest.mark.parametrize("order", [order for order in itertools.permutations(range(3)) if order != (0, 1, 2)])
def test_moved_lines_are_refused(path, order):
    lines = write(path)
    refused(path, [lines[place] for place in order], r"does not follow the line before|comes after the record's end")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_doubled_line_is_refused(path, place):
    lines = write(path)
    words = "line 4 comes after the record's end" if place == 2 else f"line {place + 2} does not follow"
    refused(path, [*lines[: place + 1], *lines[place:]], words)


def test_a_line_of_another_record_of_the_same_signer_is_refused(path, tmp_path):
    lines = write(path)
    other = write(tmp_path / "other.jsonl", [("run.opened", {"run_id": "other"}), *FACTS[1:]])
    refused(path, [lines[0], *other[1:]], "line 2 does not follow the line before")


def test_what_the_signer_itself_appends_after_the_end_is_refused(path):
    lines = write(path)
    last = sha256_hex(lines[-1][:-1])
    for kind in ("round.closed", CLOSED):
        refused(path, [*lines, signed_line(3, kind, last)], "line 4 comes after the record's end")


def test_a_line_that_skips_a_number_is_refused_though_signed_and_chained(path):
    first = signed_line(0, "run.opened", AGREEMENT)
    refused(path, first + signed_line(2, CLOSED, sha256_hex(first[:-1])), "line 2 does not follow")
    refused(path, signed_line(1, CLOSED, AGREEMENT), "line 1 does not follow")


def test_a_line_that_somebody_else_signed_is_refused(path):
    other = Identity.create("exchange", "Exchange")
    refused(path, signed_line(0, CLOSED, AGREEMENT, signer=other), "line 1: the signature for 'record' is not that of")


@pytest.mark.parametrize("purpose", ["agreement", "join", ""])
def test_a_line_signed_for_another_purpose_is_refused(path, purpose):
    refused(path, signed_line(0, CLOSED, AGREEMENT, purpose=purpose), "line 1: the signature for 'record' is not that")


def test_a_line_changed_and_written_canonically_again_is_refused(path):
    lines = write(path)
    facts = parse_canonical(lines[1][:-1], error=RecordError, where="line")
    facts["body"]["auc"] = 0.99
    refused(path, [lines[0], canonical_bytes(facts) + b"\n", lines[2]], "line 2: the signature for 'record'")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"extra": 1}, "unknown key 'record.jsonl line 1.extra'"),
        ({"seq": "0"}, "seq = .* does not fit"),
        ({"seq": True}, "seq = true does not fit"),
        ({"body": []}, "body = .* does not fit"),
    ],
)
def test_a_line_of_another_shape_is_refused(path, change, words):
    facts = parse_canonical(signed_line(0, CLOSED, AGREEMENT)[:-1], error=RecordError, where="line")
    refused(path, canonical_bytes(facts | change) + b"\n", words)


@pytest.mark.parametrize("ending", [b"", b"\r\n", b"\n\n", b" \n"])
def test_a_line_with_another_ending_is_refused(path, ending):
    refused(path, signed_line(0, CLOSED, AGREEMENT)[:-1] + ending, r"record\.jsonl line")


def test_a_line_above_the_limit_is_refused_without_reading_on(path, monkeypatch):
    monkeypatch.setattr(log, "MAX_LINE_BYTES", 100)
    refused(path, b"x" * 5_000 + b"\n", "line 1 is cut off or longer than 100 bytes")


def test_a_record_of_another_agreement_or_of_another_coordinator_is_refused(path):
    write(path)
    with pytest.raises(RecordError, match="line 1 does not follow"):
        read(path, agreement="cd" * 32)
    with pytest.raises(RecordError, match="line 1: the signature"):
        read(path, signer=Identity.create("exchange", "Exchange"))


def test_events_before_the_altered_line_are_given_out_and_none_after(path):
    lines = write(path)
    path.write_bytes(lines[0] + lines[1].replace(b"0.75", b"0.76") + lines[2])
    events = read_record(path, AGREEMENT, EXCHANGE.public)
    assert next(events).type == "run.opened"
    with pytest.raises(RecordError, match="line 2"):
        next(events)


def test_a_missing_record_and_a_folder_are_refused_in_words(tmp_path):
    for place in (tmp_path / "record.jsonl", tmp_path):
        with pytest.raises(RecordError, match="there is no record"):
            read(place)
