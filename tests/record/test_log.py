from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedjoint.agreement.canonical import canonical_bytes, parse_canonical
from fedjoint.errors import AgreementError, RecordError
from fedjoint.identity.keys import Identity
from fedjoint.record import log
from fedjoint.record.log import CLOSED, Event, RunRecord, origin_of, read_record
from fedjoint.record.merkle import MerkleTree, leaf_hash
from fedjoint.record.witness import Witness

EXCHANGE = Identity.create("exchange", "Exchange")
AGREEMENT = "ab" * 32
ORIGIN = origin_of(AGREEMENT, "r")
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


def write(path: Path, facts=FACTS, *, origin: str = ORIGIN, signer: Identity = EXCHANGE, batch: int = 1) -> list[bytes]:
    """Write a record and give its lines."""
    with RunRecord(path, origin, signer, now=clock(), batch_events=batch) as record:
        for kind, body in facts:
            record.append(kind, body)
    return path.read_bytes().splitlines(keepends=True)


def read(path: Path, *, agreement: str = AGREEMENT, signer: Identity = EXCHANGE) -> list[Event]:
    return list(read_record(path, agreement, signer.public).events)


def refused(path: Path, lines: Sequence[bytes] | bytes, words: str) -> None:
    """A record of these lines is refused with these words."""
    path.write_bytes(lines if isinstance(lines, bytes) else b"".join(lines))
    with pytest.raises(RecordError, match=words):
        read(path)


def event_line(seq: int, kind: str, body: object = None) -> bytes:
    """A line as the format says, made without the writer."""
    return canonical_bytes({"seq": seq, "type": kind, "at": "2026-11-03T09:00:00+00:00", "body": body or {}}) + b"\n"


def checkpoint_line(events: Sequence[bytes], *, signer: Identity = EXCHANGE, purpose: str = "checkpoint") -> bytes:
    root = MerkleTree(leaf_hash(line[:-1]) for line in events).root(len(events)).hex()
    facts = {"format": "fedjoint-checkpoint-1", "origin": ORIGIN, "size": len(events), "root": root}
    facts |= {"at": "2026-11-03T09:00:00+00:00"}
    signature = signer.sign(purpose, canonical_bytes(facts))
    return canonical_bytes({"type": "checkpoint", "checkpoint": facts, "signature": signature, "witnesses": {}}) + b"\n"


OPENED = event_line(0, "run.opened", {"run_id": "r"})
ENDED = event_line(1, CLOSED)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "record.jsonl"


def test_what_was_written_is_read_back_in_order(path):
    write(path)
    events = read(path)
    assert [(event.type, event.body) for event in events] == FACTS
    assert [event.seq for event in events] == [0, 1, 2]
    assert events[1].at == "2026-11-03T09:00:01+00:00"


@given(st.lists(st.tuples(st.text(min_size=1, max_size=4), BODIES), max_size=4), st.integers(1, 3))
def test_any_facts_survive_being_written_and_read(facts, batch):
    facts = [FACTS[0], *facts, (CLOSED, {})]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.jsonl"
        write(path, facts, batch=batch)
        assert [(event.type, event.body) for event in read(path)] == facts


def test_a_record_written_by_hand_from_the_format_is_accepted(path):
    path.write_bytes(OPENED + ENDED + checkpoint_line([OPENED, ENDED]))
    assert [event.type for event in read(path)] == ["run.opened", CLOSED]


def test_an_event_is_on_disk_before_the_next_is_made(path):
    with RunRecord(path, ORIGIN, EXCHANGE, now=clock(), batch_events=9) as record:
        event = record.append("run.opened", {})
        assert path.read_bytes() == canonical_bytes(event) + b"\n"


@pytest.mark.parametrize(("batch", "kinds"), [(1, "ecece" + "c"), (2, "eecec"), (9, "eeec")])
def test_a_checkpoint_ends_each_batch_and_the_record(path, batch, kinds):
    lines = write(path, batch=batch)
    assert "".join("c" if b'"checkpoint"' in line else "e" for line in lines) == kinds
    assert len(read(path)) == 3


def test_the_writer_takes_no_event_after_the_end(path):
    with RunRecord(path, ORIGIN, EXCHANGE, now=clock()) as record:
        record.append(*FACTS[0])
        record.append(CLOSED, {})
        for kind in ("round.closed", CLOSED):
            with pytest.raises(RecordError, match=f"the record is closed and '{kind}' came after"):
                record.append(kind, {})
    assert len(read(path)) == 2


def test_a_record_is_never_overwritten(path):
    lines = write(path)
    with pytest.raises(RecordError, match="A record is never overwritten"):
        RunRecord(path, ORIGIN, EXCHANGE, now=clock())
    assert path.read_bytes() == b"".join(lines)


@pytest.mark.parametrize("body", [{"a": float("nan")}, {"a": {1}}, {"a": 2**60}])
def test_facts_without_canonical_form_are_not_written_and_break_nothing(path, body):
    with RunRecord(path, ORIGIN, EXCHANGE, now=clock()) as record:
        record.append(*FACTS[0])
        with pytest.raises(AgreementError, match="no canonical JSON"):
            record.append("round.closed", body)
        record.append(CLOSED, {})
    assert [event.type for event in read(path)] == ["run.opened", CLOSED]


def test_an_event_too_long_to_be_read_is_not_written(path, monkeypatch):
    with RunRecord(path, ORIGIN, EXCHANGE, now=clock()) as record:
        line = canonical_bytes(record.append("run.opened", {"run_id": "r", "a": "x" * 500}))
        monkeypatch.setattr(log, "MAX_LINE_BYTES", len(line) + 1)
        record.append("run.opened", {"run_id": "r", "a": "x" * 500})  # just fits
        with pytest.raises(RecordError, match=r"an event .* bytes; expected less than"):
            record.append("run.opened", {"run_id": "r", "a": "x" * 501})
        record.append(CLOSED, {})
    assert len(read(path)) == 3


@pytest.mark.parametrize("mask", [0x01, 0x20], ids=["neighbour", "case"])
def test_every_byte_of_a_record_that_is_flipped_is_refused(path, mask):
    data = b"".join(write(path, batch=9))
    for place in range(len(data)):
        altered = data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]
        refused(path, altered, r"record\.jsonl (line|ends)")


@pytest.mark.parametrize("batch", [1, 9])
def test_a_truncated_record_is_refused(path, batch):
    data = b"".join(write(path, batch=batch))
    for length in range(0, len(data), 3):
        refused(path, data[:length], r"is cut off|without 'run\.closed'")


def test_a_removed_or_doubled_byte_of_a_record_is_refused(path):
    data = b"".join(write(path, batch=2))
    for place in range(0, len(data), 7):
        refused(path, data[:place] + data[place + 1 :], r"record\.jsonl line")
        refused(path, data[: place + 1] + data[place:], r"record\.jsonl line")


@pytest.mark.parametrize("batch", [1, 2, 9])
def test_a_removed_moved_or_doubled_line_is_refused(path, batch):
    lines = write(path, batch=batch)
    final = len(lines) - 1
    for place in range(len(lines)):
        if (
            place == final or b'"checkpoint"' not in lines[place]
        ):  # an inner checkpoint says nothing that the last does not
            refused(path, lines[:place] + lines[place + 1 :], r"record\.jsonl (line|ends)")
        refused(path, [*lines[: place + 1], *lines[place:]], r"record\.jsonl line")
    for order in itertools.permutations(range(len(lines)), 2):
        moved = list(lines)
        moved[order[0]], moved[order[1]] = moved[order[1]], moved[order[0]]
        refused(path, moved, r"record\.jsonl (line|ends)")


def test_an_empty_record_is_refused(path):
    refused(path, b"", r"ends after line 0 without 'run\.closed'")


def test_a_line_of_another_record_of_the_same_signer_is_refused(path, tmp_path):
    lines = write(path)
    other = write(tmp_path / "other.jsonl", [("run.opened", {"run_id": "other"}), *FACTS[1:]])
    refused(path, [lines[0], *other[1:]], "line 2: the checkpoint is of other events")
    refused(path, other, "line 2: the checkpoint is of log")


def test_what_the_signer_itself_appends_after_the_end_is_refused(path):
    lines = write(path)
    events = [line for line in lines if b'"checkpoint"' not in line]
    more = event_line(3, "round.closed")
    refused(path, [*lines, more, checkpoint_line([*events, more])], "line 7 comes after the record's end")
    refused(path, [*events, more, checkpoint_line([*events, more])], "line 4 comes after the record's end")


def test_a_line_that_skips_a_number_is_refused_though_signed(path):
    lines = [OPENED, event_line(2, CLOSED)]
    refused(path, [*lines, checkpoint_line(lines)], "line 2 does not follow")


@pytest.mark.parametrize("purpose", ["agreement", "checkpoint-witness", ""])
def test_a_checkpoint_signed_for_another_purpose_is_refused(path, purpose):
    lines = [OPENED, ENDED]
    refused(path, [*lines, checkpoint_line(lines, purpose=purpose)], "line 3: .* the signature for 'checkpoint' is not")


def test_a_checkpoint_that_somebody_else_signed_is_refused(path):
    other, lines = Identity.create("exchange", "Exchange"), [OPENED, ENDED]
    refused(path, [*lines, checkpoint_line(lines, signer=other)], "line 3: .* is not that of 'exchange'")


def test_an_event_changed_and_written_canonically_again_is_refused_at_the_checkpoint_below(path):
    lines = write(path)
    facts = parse_canonical(lines[2][:-1], error=RecordError, where="line")
    facts["body"]["auc"] = 0.99
    lines[2] = canonical_bytes(facts) + b"\n"
    refused(path, lines, "line 4: the checkpoint is of other events than those above it")


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
    facts = parse_canonical(OPENED[:-1], error=RecordError, where="line")
    refused(path, canonical_bytes(facts | change) + b"\n", words)


def test_a_line_that_is_no_object_is_refused(path):
    refused(path, b"[]\n", "line 1 is neither an event nor a checkpoint")


@pytest.mark.parametrize("ending", [b"", b"\r\n", b"\n\n", b" \n"])
def test_a_line_with_another_ending_is_refused(path, ending):
    refused(path, OPENED[:-1] + ending, r"record\.jsonl line")


def test_a_line_above_the_limit_is_refused_without_reading_on(path, monkeypatch):
    monkeypatch.setattr(log, "MAX_LINE_BYTES", 100)
    refused(path, b"x" * 5_000 + b"\n", "line 1 is cut off or longer than 100 bytes")


def test_a_record_of_another_agreement_or_of_another_coordinator_is_refused(path):
    write(path)
    with pytest.raises(RecordError, match="line 2: the checkpoint is of log"):
        read(path, agreement="cd" * 32)
    with pytest.raises(RecordError, match=r"line 2: .* the signature"):
        read(path, signer=Identity.create("exchange", "Exchange"))


def test_a_missing_record_and_a_folder_are_refused_in_words(tmp_path):
    for place in (tmp_path / "record.jsonl", tmp_path):
        with pytest.raises(RecordError, match="there is no record"):
            read(place)


def test_witnesses_countersign_each_checkpoint_and_strangers_are_refused(path):
    holder = Identity.create("a", "A")
    witness = Witness(holder, coordinator=EXCHANGE.public, origin=ORIGIN)
    asked = lambda signed, prove: {"a": witness.countersign(signed, prove)}  # noqa: E731
    with RunRecord(path, ORIGIN, EXCHANGE, now=clock(), witnesses=asked) as record:
        for kind, body in FACTS:
            record.append(kind, body)
    found = read_record(path, AGREEMENT, EXCHANGE.public, witnesses={"a": holder.public})
    assert set(found.checkpoint.witnesses) == {"a"}
    assert witness.seen == found.checkpoint.checkpoint
    with pytest.raises(RecordError, match="'a' countersigned a checkpoint and is no witness"):
        read(path)


# taken up again after a kill


def resume(path: Path, facts=FACTS, *, batch: int = 1, **how) -> list[Event]:
    """Go on with a record as a process does that goes through everything again."""
    with RunRecord(path, ORIGIN, how.get("signer", EXCHANGE), now=clock(), batch_events=batch, resume=True) as record:
        return [record.append(kind, body) for kind, body in facts]


@given(cut=st.floats(0, 1), batch=st.integers(1, 4))
def test_a_record_cut_anywhere_goes_on_without_an_event_twice(cut, batch):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.jsonl"
        whole = b"".join(write(path, batch=batch))
        path.write_bytes(whole[: round(cut * len(whole))])
        events = resume(path, batch=batch)
        assert read(path) == events
        assert [(event.type, event.body) for event in events] == FACTS


def test_what_stands_there_keeps_its_time_and_can_be_found(tmp_path):
    write(tmp_path / "record", FACTS[:2])
    with RunRecord(
        tmp_path / "record", ORIGIN, EXCHANGE, now=lambda: "2027-01-01T00:00:00+00:00", resume=True
    ) as again:
        assert again.append(*FACTS[0]).at == "2026-11-03T09:00:00+00:00"
        assert again.find("round.closed").body == FACTS[1][1]
        assert again.find(CLOSED) is None
        assert again.append(*FACTS[2]).at == "2027-01-01T00:00:00+00:00"


def test_witnesses_go_on_countersigning_a_record_that_is_taken_up_again(tmp_path):
    holder = Identity.create("ahus", "Ahus")
    witness = Witness(holder, coordinator=EXCHANGE.public, origin=ORIGIN)

    def ask(signed, prove):
        return {"ahus": witness.countersign(signed, prove)}

    path = tmp_path / "record"
    for facts in (FACTS[:1], FACTS):
        with RunRecord(path, ORIGIN, EXCHANGE, now=clock(), witnesses=ask, resume=True) as record:
            for kind, body in facts:
                record.append(kind, body)
    found = read_record(path, AGREEMENT, EXCHANGE.public, witnesses={"ahus": holder.public})
    assert found.checkpoint.checkpoint.size == 3 and set(found.checkpoint.witnesses) == {"ahus"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: [lines[0].replace(b"opened", b"closed"), *lines[1:]], "of other events"),
        (lambda lines: [lines[2], *lines], "does not follow"),
        (lambda lines: [b"{}\n", *lines], "missing key"),
    ],
)
def test_a_record_that_was_altered_is_not_gone_on_with(tmp_path, change, words):
    lines = change(write(tmp_path / "record"))
    (tmp_path / "record").write_bytes(b"".join(lines))
    with pytest.raises(RecordError, match=words):
        resume(tmp_path / "record")


def test_another_coordinators_or_runs_record_is_not_gone_on_with(tmp_path):
    write(tmp_path / "theirs", signer=Identity.create("exchange", "Another"))
    with pytest.raises(RecordError, match="signature"):
        resume(tmp_path / "theirs")
    write(tmp_path / "other", [("run.opened", {"run_id": "s"})], origin=origin_of(AGREEMENT, "s"))
    with pytest.raises(RecordError, match="is of log"):
        resume(tmp_path / "other")
