"""Blobs too large for one message travel in parts, so that nobody ever has a whole one in memory.

The coordinator puts the parts of a task's blob at a holder before it sends the task, and gets those of a reply's blob
after it; the messages around them name each with its length. Each side keeps it as an array mapped from a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from fedjoint.encryption.frames import frame_bytes
from fedjoint.encryption.scratch import SMALL_BYTES, Bytes, forget
from fedjoint.errors import TrainingError
from fedjoint.training.plan import Blob, Channel, GetTask, Kind, Parcel, PartReply, PutTask, Refusal
from fedjoint.training.session import Session
from fedjoint.training.workplace import Workplace

__all__ = ["PART", "PartStore", "PartedChannel"]

#: Name of a part's blob.
PART = "part"
#: Holders whose parts are on their way at a time: what is in memory meanwhile.
_AT_ONCE = 4
#: A task has two large blobs: a sum, and a model for who missed a round.
_MAX_INCOMING = 2


def _largest(session: Session) -> int:
    """Bytes of the largest blob that a run has: the frame of a sum of all, or a state of the model and two moments."""
    frame = frame_bytes(session.parameters, kind="sum", count=session.parameters.max_holders)
    return max(frame, (4 + 2 * 8) * session.parameters.num_parameters)


@dataclass(kw_only=True)
class _Incoming:
    room: Bytes
    done: int = 0


class PartStore:
    """A holder's side: what was put here for its next task, and what is left to be got of its last reply.

    Args:
        session: The run; its agreement says how large a blob can be.
        workplace: Where large arrays are kept.
    """

    def __init__(self, session: Session, workplace: Workplace) -> None:
        self._workplace, self._limit = workplace, _largest(session)
        self._incoming: dict[str, _Incoming] = {}
        self._left: dict[str, Bytes] = {}

    def put(self, task: PutTask, part: Blob) -> Parcel:
        """Take the next part of a blob; the first one begins it anew.

        Raises:
            TrainingError: the blob is larger than any of this run, or the part does not go on where the last one ended.
        """
        if not 0 < task.size <= self._limit:
            raise TrainingError(f"a blob of {task.size} bytes", expected=f"1 to {self._limit}")
        if task.start == 0 and len(self._incoming.keys() | {task.blob}) <= _MAX_INCOMING:
            self._incoming[task.blob] = _Incoming(room=self._workplace.scratch.array("u1", task.size))
        incoming, stop = self._incoming.get(task.blob), task.start + len(part)
        goes_on = incoming is not None and (incoming.done, incoming.room.size) == (task.start, task.size)
        if incoming is None or not (goes_on and task.start < stop <= task.size):
            raise TrainingError(
                f"bytes {task.start} to {stop} of {task.size} of blob '{task.blob[:40]}'",
                expected="what comes next of a blob of this length",
                remedy="Put all of its parts again, in order.",
            )
        incoming.room[task.start : stop] = np.frombuffer(part, dtype=np.uint8)
        incoming.done = stop
        forget(incoming.room)
        return Parcel(body=PartReply(start=task.start))

    def whole(self, task: Parcel) -> Parcel:
        """A task with the blobs that were put here before it, each once.

        Raises:
            TrainingError: one is missing or not whole.
        """
        found: dict[str, Blob] = dict(task.blobs)
        for name, size in task.left.items():
            incoming = self._incoming.pop(name, None)
            if incoming is None or incoming.done != size or incoming.room.size != size:
                raise TrainingError(f"blob '{name[:40]}' was not put here in full", remedy="Put all of its parts.")
            found[name] = incoming.room
        return Parcel(body=task.body, blobs=found)

    def keep(self, reply: Parcel) -> Parcel:
        """A reply without its large blobs, which can be got from here until the next one is kept."""
        self._left = {}
        small: dict[str, Blob] = {}
        for name, blob in reply.blobs.items():
            if len(blob) <= self._workplace.small_bytes:
                small[name] = bytes(blob)
            else:
                self._left[name] = np.frombuffer(blob, dtype=np.uint8) if isinstance(blob, bytes) else blob
        return Parcel(body=reply.body, blobs=small, left={name: blob.size for name, blob in self._left.items()})

    def get(self, task: GetTask) -> Parcel:
        """A part of a blob of the last reply.

        Raises:
            TrainingError: there is no such blob or place.
        """
        blob = self._left.get(task.blob)
        if blob is None or not (0 <= task.start < blob.size and 0 < task.size <= SMALL_BYTES):
            raise TrainingError(
                f"{task.size} bytes at {task.start} of blob '{task.blob[:40]}' are to be got",
                expected=f"at most {SMALL_BYTES} bytes of a blob that the last reply left here",
            )
        part = blob[task.start : task.start + task.size].tobytes()
        forget(blob)
        return Parcel(body=PartReply(start=task.start), blobs={PART: part})


class PartedChannel:
    """The coordinator's side: a :class:`~fedjoint.training.plan.Channel` over which blobs of any size travel.

    Args:
        channel: Carries messages of bounded size.
        session: The run.
        workplace: Where large arrays are kept.
    """

    def __init__(self, channel: Channel, session: Session, workplace: Workplace) -> None:
        self._channel, self._session, self.workplace = channel, session, workplace
        self._limit, self._part_bytes = _largest(session), max(1, min(workplace.small_bytes, SMALL_BYTES))

    def exchange(self, kind: Kind, tasks: Mapping[str, Parcel]) -> Iterator[tuple[str, Parcel | Refusal]]:
        """Put what is large, send the tasks, and give out each reply once all of it is here."""
        refused: dict[str, Refusal] = {}
        # an agreement is small, and before it nobody has a store
        small = dict(tasks) if kind == "join" else self._put(tasks, refused)
        yield from refused.items()
        waiting: dict[str, Parcel] = {}
        for holder, reply in self._channel.exchange(kind, small):
            if isinstance(reply, Refusal) or not reply.left:
                yield holder, reply
            else:
                waiting[holder] = reply
        holders = list(waiting)
        for first in range(0, len(holders), _AT_ONCE):
            group = {holder: waiting.pop(holder) for holder in holders[first : first + _AT_ONCE]}
            yield from self._get(group)

    def _put(self, tasks: Mapping[str, Parcel], refused: dict[str, Refusal]) -> dict[str, Parcel]:
        """The tasks without their large blobs, which are at the holders then; who refuses one is asked no more."""
        small: dict[str, Parcel] = {}
        large: dict[tuple[str, int], tuple[Bytes, list[str]]] = {}  # holders are mostly sent the same
        for holder, task in tasks.items():
            left = {name: blob for name, blob in task.blobs.items() if self._is_large(blob)}
            if not left:
                small[holder] = task
                continue
            for name, blob in left.items():
                array = np.frombuffer(blob, dtype=np.uint8) if isinstance(blob, bytes) else blob
                large.setdefault((name, id(blob)), (array, []))[1].append(holder)
            rest = {name: blob for name, blob in task.blobs.items() if name not in left}
            small[holder] = Parcel(body=task.body, blobs=rest, left={name: len(blob) for name, blob in left.items()})
        for (name, _), (array, holders) in large.items():
            for start in range(0, array.size, self._part_bytes):
                part = array[start : start + self._part_bytes].tobytes()
                forget(array)
                body = PutTask(**self._session.address, blob=name, size=array.size, start=start)
                put = Parcel(body=body, blobs={PART: part})
                asked = {holder: put for holder in holders if holder not in refused}
                for holder, reply in self._channel.exchange("put", asked):
                    if isinstance(reply, Refusal):
                        refused[holder] = reply
        return {holder: task for holder, task in small.items() if holder not in refused}

    def _is_large(self, blob: Blob) -> bool:
        return len(blob) > self.workplace.small_bytes

    def _get(self, replies: Mapping[str, Parcel]) -> Iterator[tuple[str, Parcel | Refusal]]:
        """Fetch what a few holders have left, part by part."""
        rooms: dict[str, dict[str, Bytes]] = {holder: {} for holder in replies}
        refused: dict[str, Refusal] = {}
        for holder, reply in replies.items():
            if any(size > self._limit for size in reply.left.values()):
                refused[holder] = Refusal.because(TrainingError(f"'{holder}' has a blob of more than any of this run"))
                continue
            rooms[holder] = {name: self.workplace.scratch.array("u1", size) for name, size in reply.left.items()}
        for name in sorted({name for reply in replies.values() for name in reply.left}):
            longest = max(reply.left.get(name, 0) for holder, reply in replies.items() if holder not in refused)
            for start in range(0, longest, self._part_bytes):
                self._get_part(name, start, {h: room[name] for h, room in rooms.items() if name in room}, refused)
        for holder, reply in replies.items():
            yield holder, refused.get(holder) or Parcel(body=reply.body, blobs={**reply.blobs, **rooms[holder]})

    def _get_part(self, name: str, start: int, rooms: Mapping[str, Bytes], refused: dict[str, Refusal]) -> None:
        asked = [holder for holder, room in rooms.items() if holder not in refused and start < room.size]
        body = GetTask(**self._session.address, blob=name, start=start, size=self._part_bytes)
        task = Parcel(body=body)
        for holder, reply in self._channel.exchange("get", dict.fromkeys(asked, task)):
            room = rooms[holder][start : start + self._part_bytes]
            part = b"" if isinstance(reply, Refusal) else reply.blobs.get(PART, b"")
            if isinstance(reply, Refusal):
                refused[holder] = reply
            elif len(part) != room.size:
                refused[holder] = Refusal.because(TrainingError(f"'{holder}' sent a part of {len(part)} bytes"))
            else:
                room[:] = np.frombuffer(part, dtype=np.uint8)
                forget(room)
