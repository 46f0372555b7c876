"""A process's log: one JSON object a line, of our own words and public facts, and no value of a record."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

__all__ = ["JsonLines", "log_to"]


class JsonLines(logging.Formatter):
    """Writes an event as a JSON object: when, how bad, where in the code, what, and its facts.

    Of an exception only its kind and place are written: its text can carry a record.

    Example:
        >>> record = logging.LogRecord("fedjoint.node", logging.INFO, "", 0, "done", (), None)
        >>> record.facts = {"round": 3}
        >>> json.loads(JsonLines().format(record))["round"]
        3
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        event: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        event |= getattr(record, "facts", {})
        if record.exc_info and record.exc_info[0] is not None:
            event["exception"] = record.exc_info[0].__name__
        return json.dumps({name: value for name, value in event.items() if value is not None}, ensure_ascii=False)


def log_to(stream: TextIO = sys.stderr, *, level: str) -> None:
    """Have this process log to a stream: our own events from a level on, and other packages' warnings.

    Args:
        stream: Standard error, say, which systemd keeps.
        level: ``debug``, ``info``, ``warning`` or ``error``.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("fedjoint").setLevel(level.upper())
    flower = logging.getLogger("flwr")  # it brings a handler and colours of its own
    flower.handlers[:], flower.propagate = [], True
    flower.setLevel(logging.WARNING)
