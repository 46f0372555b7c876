"""What a run's folder is called that was given no name."""

from __future__ import annotations

import re
from datetime import datetime

__all__ = ["run_name"]


def run_name(data: str, mode: str, run_id: str, *, now: datetime) -> str:
    """A name made of the data, the privacy mode, the time, and four digits against a tie.

    Example:
        >>> run_name("UCI heart", "joint", "3f0c" + "0" * 28, now=datetime(2026, 11, 22, 8, 5))
        'UCI-heart-joint-20261122-080500-3f0c'
    """
    slug = re.sub(r"[^A-Za-z0-9]+", "-", data).strip("-")[:40] or "run"
    return f"{slug}-{mode}-{now:%Y%m%d-%H%M%S}-{run_id[:4]}"
