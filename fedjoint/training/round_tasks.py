"""What holders are sent in a round: a sum to open, the model before it if they missed a round, and the next round."""

from __future__ import annotations

from collections.abc import Sequence

from fedjoint.encryption.opened import MINIMUM_OPENERS
from fedjoint.encryption.scratch import Bytes, Scratch
from fedjoint.training.aggregate import state_bytes
from fedjoint.training.optimizer import ServerState
from fedjoint.training.plan import Blob, Opening, OpenTask, Parcel, RoundTask
from fedjoint.training.round import PendingRound
from fedjoint.training.session import Session

__all__ = ["RoundTasks", "reveals"]


class RoundTasks:
    """Makes the tasks of one run's rounds.

    Args:
        session: The run.
        scratch: Where a model that is sent is kept.
    """

    def __init__(self, session: Session, scratch: Scratch) -> None:
        self._session, self._scratch = session, scratch
        self._sent: tuple[ServerState, Bytes] | None = None

    def to_train(self, number: int) -> Parcel:
        """Train in the first round: there is nothing to open."""
        return Parcel(body=RoundTask(**self._session.address, round=number, opening=None, catch_up=False))

    def to_open_and_train(self, pending: PendingRound, state: ServerState, *, reveal: bool, has_model: bool) -> Parcel:
        """Open the sum of a round, and train in the next.

        Args:
            pending: The round.
            state: Before its sum.
            reveal: Whether the holder returns the sum itself.
            has_model: Whether the holder has that state.
        """
        opening, blobs = self._opening(pending, state, reveal=reveal, has_model=has_model)
        number = pending.number + 1
        body = RoundTask(**self._session.address, round=number, opening=opening, catch_up=not has_model)
        return Parcel(body=body, blobs=blobs)

    def to_open(self, pending: PendingRound, state: ServerState, *, has_model: bool) -> Parcel:
        """Open and reveal the sum of a round outside a round; see :meth:`to_open_and_train`."""
        opening, blobs = self._opening(pending, state, reveal=True, has_model=has_model)
        return Parcel(body=OpenTask(**self._session.address, opening=opening, catch_up=not has_model), blobs=blobs)

    def _opening(
        self, pending: PendingRound, state: ServerState, *, reveal: bool, has_model: bool
    ) -> tuple[Opening, dict[str, Blob]]:
        opening = Opening(
            round=pending.number,
            contributors=pending.contributors,
            reveal=reveal,
            confirmations=pending.confirmations,
        )
        blobs: dict[str, Blob] = {"sum": pending.frame}
        if not has_model:
            blobs["model"] = self._state_blob(state)
        return opening, blobs

    def _state_blob(self, state: ServerState) -> Bytes:
        """The state as holders that missed a round are sent it: the same array for all of them."""
        if self._sent is None or self._sent[0] is not state:
            self._sent = state, state_bytes(state, scratch=self._scratch)
        return self._sent[1]


def reveals(holder: str, active: Sequence[str], number: int) -> bool:
    """Whether it is a holder's turn to return the sum of a round: two at a time, in turns.

    Example:
        >>> [reveals(holder, ["a", "b", "c"], 1) for holder in "abc"]
        [True, False, True]
    """
    return (active.index(holder) - number * MINIMUM_OPENERS) % len(active) < MINIMUM_OPENERS
