"""Agreement on what a sum decrypted to: two holders at least, the same hash from all who answered."""

from __future__ import annotations

from dataclasses import dataclass, field

from fedjoint.encryption.opened import MINIMUM_OPENERS, OpenReply
from fedjoint.encryption.scratch import sha256_of
from fedjoint.errors import TrainingError
from fedjoint.training.aggregate import Levels, sum_from_bytes
from fedjoint.training.plan import Blob
from fedjoint.training.session import Session

__all__ = ["Openings"]


@dataclass(kw_only=True)
class Openings:
    """Collects what holders say a sum decrypted to.

    Args:
        session: The run.
        round: Of the sum.
    """

    session: Session
    round: int
    replies: dict[str, OpenReply] = field(default_factory=dict)
    levels: Levels | None = None

    def add(self, holder: str, reply: OpenReply, revealed: Blob | None) -> None:
        """Take one holder's answer.

        Raises:
            IdentityError: the signature is not the holder's.
            TrainingError: the answer is about another round, or the revealed sum is not the one signed for.
        """
        facts = {"round": reply.round, "sum_sha256": reply.sum_sha256, "model_sha256": reply.model_sha256}
        self.session.check(holder, "opened", facts, reply.signature)
        if reply.round != self.round:
            raise TrainingError(f"'{holder}' opened the sum of round {reply.round}", expected=f"round {self.round}")
        if revealed is not None:
            if sha256_of(revealed) != reply.sum_sha256:
                raise TrainingError(f"'{holder}' revealed another sum than it signed for")
            if self.levels is None:
                self.levels = sum_from_bytes(revealed, self.session.terms)
        self.replies[holder] = reply

    @property
    def complete(self) -> bool:
        """Whether the sum is known and enough holders said the same."""
        return self.levels is not None and len(self.replies) >= MINIMUM_OPENERS

    def agreed(self) -> tuple[Levels, str]:
        """The sum and the hash of the model after it.

        Raises:
            TrainingError: too few answers, or two holders decrypted the sum differently.
        """
        if self.levels is None or len(self.replies) < MINIMUM_OPENERS:
            raise TrainingError(
                f"{len(self.replies)} holders opened the sum of round {self.round}",
                expected=f"at least {MINIMUM_OPENERS}, one of them revealing it",
                remedy="The model of the round before stands.",
            )
        said = {(reply.sum_sha256, reply.model_sha256) for reply in self.replies.values()}
        if len(said) > 1:
            raise TrainingError(
                f"the sum of round {self.round} was opened differently by " + ", ".join(sorted(self.replies)),
                expected="the same sum from all",
                remedy="One of them, or its machine, is wrong: compare their records; the run stops here.",
            )
        return self.levels, said.pop()[1]
