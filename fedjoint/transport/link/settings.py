"""Limits and times of a link. Both sides have defaults that work; an exchange says how often it wants a beat."""

from __future__ import annotations

from dataclasses import dataclass

from fedjoint.errors import InvalidValue
from fedjoint.strict import strict

__all__ = ["MAX_DOCUMENT_BYTES", "NEWEST_VERSION", "OLDEST_VERSION", "LinkSettings", "channel_options"]

#: Versions of the link's protocol that this release speaks.
OLDEST_VERSION, NEWEST_VERSION = 1, 1
#: The largest reply of an exchange: an agreement, and what frames it.
MAX_DOCUMENT_BYTES = (32 << 20) + (64 << 10)


@strict
@dataclass(frozen=True, kw_only=True)
class LinkSettings:
    """Limits and times of a link.

    Args:
        chunk_bytes: Bytes of a message that travel in one frame, 4 KiB to 4 MiB.
        max_message_bytes: A larger message is refused before its first byte is taken.
        beat_s: A holder is heard at least so often, 0.05 to 600.
        beats_lost: After so many times that without a frame the connection counts as broken.
        hello_s: A connection that has not said hello by then is closed.
        backoff_s: Longest wait before connecting again; each wait is drawn between 0 and its bound, which doubles.
    """

    chunk_bytes: int = 1 << 20
    max_message_bytes: int = 8 << 30
    beat_s: float = 10.0
    beats_lost: int = 3
    hello_s: float = 10.0
    backoff_s: float = 30.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("chunk_bytes", 4 << 10, 4 << 20),
            ("max_message_bytes", 1 << 10, 1 << 40),
            ("beat_s", 0.05, 600),
            ("beats_lost", 2, 100),
            ("hello_s", 0.1, 120),
            ("backoff_s", 0.05, 3_600),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InvalidValue(f"link.{name} = {value}", expected=f"a number from {low:g} to {high:g}")

    @property
    def silence_s(self) -> float:
        """A connection that is silent for so long is broken."""
        return self.beat_s * self.beats_lost


def channel_options(settings: LinkSettings) -> list[tuple[str, int]]:
    """GRPC's own limits, for frames the same on both sides: none may be larger than a chunk and what frames it."""
    limit = settings.chunk_bytes + (64 << 10)
    return [
        ("grpc.max_receive_message_length", limit),
        ("grpc.max_send_message_length", limit),
        ("grpc.max_metadata_size", 16 << 10),
        ("grpc.http2.max_frame_size", min(max(limit, 16_384), (1 << 24) - 1)),
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", max(1_000, int(settings.backoff_s * 1000))),
    ]
