"""Frames of any size in files: the same writer, parser and block loops as in memory, on arrays mapped from the files.

Of each file only one block stays in memory, and a result takes its name only once it is whole: a process that is
killed leaves what was there before.

A holder encrypts into a file, and decrypts into one, by composition:

    with new_frame_file(path, header=header, sender=identity, parameters=agreed) as frame:
        frame.finish(encryptor.encrypt(update, round_number=3, place=0, into=frame.body))

    with new_array_file(path, dtype="<f8", size=agreed.num_parameters) as sums:
        decrypt_sum(key, read_frame_file(...), of=contributors, minimum_holders=2, into=sums)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fedjoint.encryption.ciphertext import Ciphertext, add
from fedjoint.encryption.files import new_array_file, read_array_file
from fedjoint.encryption.frames import FrameHeader, FrameWriter, frame_bytes, parse_frame
from fedjoint.encryption.packing import Progress
from fedjoint.encryption.parameters import Parameters
from fedjoint.errors import EncryptionError, FrameRefused
from fedjoint.identity.keys import Identity, PublicIdentity

__all__ = ["new_frame_file", "read_frame_file", "write_sum_file"]


@contextmanager
def new_frame_file(
    path: Path, *, header: FrameHeader, sender: Identity, parameters: Parameters, count: int = 1
) -> Iterator[FrameWriter]:
    """Make a frame in a file, which takes its name when the block is left with the frame finished.

    Args:
        path: The name; a file that has it is replaced, in one step.
        header: What the frame belongs to.
        sender: Who signs.
        parameters: The run's.
        count: Number of updates in it.

    Raises:
        EncryptionError: the file cannot be written, or the frame was not finished.
    """
    size = frame_bytes(parameters, kind=header.kind, count=count)
    with new_array_file(path, dtype="u1", size=size) as room:
        frame = FrameWriter(header, sender=sender, parameters=parameters, count=count, room=room)
        yield frame
        if not frame.finished:
            raise EncryptionError(f"the frame for {path} was not finished", remedy="Call finish with its content.")


def read_frame_file(path: Path, *, expected: FrameHeader, sender: PublicIdentity, parameters: Parameters) -> Ciphertext:
    """Read an update or a sum from a file, or refuse it: :func:`fedjoint.encryption.frames.parse_frame`.

    The file must stay as it is for as long as the ciphertext is used.

    Raises:
        FrameRefused: there is no such file, or whatever is wrong with the frame.
    """
    try:
        data = read_array_file(path, dtype="u1")
    except EncryptionError as problem:
        raise FrameRefused(problem.problem, expected="a frame") from None
    return parse_frame(data, expected=expected, sender=sender, parameters=parameters)


def write_sum_file(
    path: Path,
    ciphertexts: Sequence[Ciphertext],
    *,
    header: FrameHeader,
    sender: Identity,
    progress: Progress | None = None,
) -> None:
    """Add updates, or a sum and more updates, into a frame of kind ``sum``.

    A running sum is added to by naming it among the ciphertexts and giving its own name: it is replaced once the new
    one is whole.

    Args:
        path: The name of the result.
        ciphertexts: From :func:`read_frame_file`, at least one.
        header: Of kind ``sum``.
        sender: The coordinator.
        progress: Called after each block of each ciphertext.

    Raises:
        EncryptionError: there are none, one does not fit the others, or the file cannot be written.
    """
    if not ciphertexts:
        raise EncryptionError("the sum of no updates", expected="at least one")
    parameters, count = ciphertexts[0].parameters, sum(ciphertext.count for ciphertext in ciphertexts)
    with new_frame_file(path, header=header, sender=sender, parameters=parameters, count=count) as frame:
        frame.finish(add(ciphertexts, into=frame.body, progress=progress))
