"""A data holder: it has records, keys and a policy, and answers the coordinator's tasks or refuses them.

Everything that protects the holder is decided here, on its own machine: which agreement it runs, which key it takes,
when its budget ends, which sums it decrypts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fedjoint.agreement.review import HolderPolicy, require_acceptable
from fedjoint.agreement.signing import read_agreement, sign_terms, terms_sha256
from fedjoint.agreement.terms import Terms
from fedjoint.data.records import Examples
from fedjoint.errors import AgreementError, TrainingError
from fedjoint.identity.keys import Identity
from fedjoint.privacy.joint_plan import JointPlan
from fedjoint.privacy.ledger_file import Lifetime
from fedjoint.privacy.sum_plan import most_examples
from fedjoint.privacy.validation_plan import validation_plan
from fedjoint.training.block_messages import OpenBlockTask
from fedjoint.training.holder_state import HolderMemory, HolderStore
from fedjoint.training.parts import PART
from fedjoint.training.plan import (
    Blobs,
    ConfirmTask,
    ContributionsTask,
    GetTask,
    Kind,
    OpenReleaseTask,
    OpenTask,
    Parcel,
    PutTask,
    ReleaseTask,
    RoundTask,
    TakeKeyTask,
    Task,
)
from fedjoint.training.session import Session
from fedjoint.training.size_release import ReleasedSize
from fedjoint.training.workplace import Workplace

if TYPE_CHECKING:
    from fedjoint.training.holder_run import HolderRun, Observer

__all__ = ["Holder"]


class Holder:
    """One data holder.

    Args:
        identity: Its keys.
        examples: Its records, encoded by the agreed schema.
        policy: Its own limits.
        observer: In a simulation, hears each weighted update in the clear; a deployed holder has none.
        lifetime: What all runs together may cost these records; without it each run has only its own limit.
        size: What it released of how many examples it has; without it, it signs no agreement that has sizes released.
        store: Where it remembers what it signed and its runs, which it takes up again after a restart; without it all
            ends with the process.

    Raises:
        FedjointError: a run that is kept cannot be taken up again.
    """

    def __init__(
        self,
        identity: Identity,
        examples: Examples,
        policy: HolderPolicy,
        *,
        observer: Observer | None = None,
        lifetime: Lifetime | None = None,
        size: ReleasedSize | None = None,
        store: HolderStore | None = None,
    ) -> None:
        self._identity, self._examples, self._policy, self._observer = identity, examples, policy, observer
        self._lifetime, self._size, self._memory = lifetime, size, HolderMemory(store)
        self._workplace = Workplace()
        self._runs: dict[str, HolderRun] = {}  # by agreement
        for document, run_id in self._memory.runs():
            self._begin(Session(agreement=read_agreement(document), run_id=run_id))
        self._answers: dict[Kind, Callable[[Parcel], Parcel]] = {
            "join": self._join,
            "make_key": lambda task: self._run(task.body).make_key(),
            "take_key": lambda task: self._run(task.body).take_key(_typed(task.body, TakeKeyTask)),
            "train": lambda task: self._in_parts(task, RoundTask, lambda run, *of: run.train(*of)),
            "confirm": lambda task: self._run(task.body).confirm(_typed(task.body, ConfirmTask)),
            "open_sum": lambda task: self._in_parts(task, OpenTask, lambda run, *of: run.open_sum(*of)),
            "open_contributions": lambda task: self._in_parts(
                task, ContributionsTask, lambda run, *of: run.open_contributions(*of)
            ),
            "release": lambda task: self._in_parts(task, ReleaseTask, lambda run, body, _: run.release(body)),
            "open_release": lambda task: self._in_parts(task, OpenReleaseTask, lambda run, *of: run.open_release(*of)),
            "open_block": lambda task: self._in_parts(task, OpenBlockTask, lambda run, *of: run.open_block(*of)),
            "finish": lambda task: self._run(task.body).finish(),
            "put": lambda task: self._run(task.body).parts.put(_typed(task.body, PutTask), task.blobs.get(PART, b"")),
            "get": lambda task: self._run(task.body).parts.get(_typed(task.body, GetTask)),
        }

    @property
    def id(self) -> str:
        """The holder's id."""
        return self._identity.id

    def work_at(self, workplace: Workplace) -> None:
        """Say where runs that begin from now on keep large arrays, and who hears how far work on them is."""
        self._workplace = workplace

    def sign(self, terms: Terms) -> str:
        """Sign terms that the holder's policy and records allow.

        Raises:
            AgreementError: the policy forbids them, or they state another number of examples than the holder released,
                or certify another than it has.
            DataError: patients are to be protected, and the holder does not know whose its records are.
            PrivacyError: the fixed point is too coarse or too narrow for the noise of mode ``joint``, or for the
                holders' validation gradients.
        """
        self._require_size(terms)
        self._require_allowed(terms)
        if terms.privacy.mode == "joint":
            JointPlan.of(terms)  # refuses a grid or a bound on which the noise would not be what epsilon assumes
        if terms.validated_by_holders:
            validation_plan(terms)  # refuses gradients that the encryption's fixed point could not hold
        if terms.valuation.audit_blocks:
            from fedjoint.training.blocks import require_blocks

            require_blocks(terms)
        signature = sign_terms(terms, self._identity)
        self._memory.mark_signed(terms_sha256(terms))
        return signature

    def answer(self, kind: Kind, task: Parcel) -> Parcel:
        """Do a task, or refuse it.

        Raises:
            FedjointError: why the task is refused; nothing has left the holder.
        """
        return self._answers[kind](task)

    def close(self) -> None:
        """Wipe the keys of all runs: whoever has a holder work calls this at the end, however that came about.

        What a store keeps stays there: another process can take the runs up again.
        """
        for run in self._runs.values():
            run.close()
        self._memory.close()

    def _join(self, parcel: Parcel) -> Parcel:
        task = _typed(parcel.body, Task)
        agreement = read_agreement(bytes(parcel.blobs.get("agreement", b"")))
        if agreement.sha256 != task.agreement_sha256 or not self._memory.has_signed(agreement.sha256):
            raise AgreementError(
                f"'{self.id}' has not signed agreement {agreement.sha256[:16]}…", remedy="Review and sign it first."
            )
        agreement.require_all_signatures()
        self._require_allowed(agreement.terms)
        session = Session(agreement=agreement, run_id=task.run_id)
        before = self._runs.get(agreement.sha256)
        if before is not None and before.run_id == session.run_id:
            return before.join()  # asked again, by a coordinator that was restarted, say
        self._require_new(session)
        if before is not None:
            before.close()
        self._memory.add_run(session.binding, agreement.to_bytes())
        return self._begin(session).join()

    def _begin(self, session: Session) -> HolderRun:
        """Take part in a run, from its start or from where it stood."""
        from fedjoint.training.holder_run import HolderRun  # brings torch, which signing does without

        run = HolderRun(
            self._identity,
            self._examples,
            session,
            observer=self._observer,
            lifetime=self._lifetime,
            store=self._memory.run(session.binding),
            workplace=self._workplace,
        )
        self._runs[session.agreement.sha256] = run
        return run

    def _require_allowed(self, terms: Terms) -> None:
        """The policy decides when terms are signed, and again when a run begins."""
        require_acceptable(terms, self._policy, self.id)
        most = self._policy.maximum_lifetime_epsilon
        if most is None:
            return
        if self._lifetime is None:
            raise AgreementError(
                f"the policy of '{self.id}' limits its lifetime epsilon to {most:g}, and it has no lifetime budget",
                remedy="Make one with `fedjoint holder budget FILE --create`.",
            )
        if self._lifetime.epsilon > most:
            raise AgreementError(
                f"the lifetime budget of '{self.id}' allows epsilon {self._lifetime.epsilon:g}",
                expected=f"at most {most:g}, as its policy says",
            )

    def _require_size(self, terms: Terms) -> None:
        """The refusal may be read by others, so it names no number but the agreement's."""
        stated, noise = terms.holder(self.id).num_examples, terms.releases.sizes_noise_multiplier
        unit = terms.privacy.unit
        found = self._examples.num_units(unit)
        if noise is None:
            told = self._size.num_examples if self._size and terms.privacy.mode == "none" else found
            if stated not in (found, told):
                raise AgreementError(
                    f"the agreement certifies {stated} examples of '{self.id}', which has another number",
                    remedy="Certify the number that takes part.",
                )
            return
        said = self._size
        if said is None or (said.num_examples, said.unit, said.noise_multiplier) != (stated, unit, noise):
            raise AgreementError(
                f"the agreement states {stated} {unit}s of '{self.id}', counted with noise of {noise:g}",
                expected="what that holder released, by the same unit and noise",
                remedy="Ask the holder for its number, and write that.",
            )
        if found > most_examples(terms):
            raise AgreementError(
                f"'{self.id}' has more examples by now than its released number allows for",
                remedy="Release the number anew, or leave the new records out.",
            )

    def _require_new(self, session: Session) -> None:
        """An agreement's epsilon is for one run: a second one would spend it again."""
        if self._memory.has_joined(session.run_id):
            raise TrainingError(f"run {session.run_id} was joined before", remedy="A run id is used once.")
        before = self._runs.get(session.agreement.sha256)
        if before is not None and before.has_trained:
            raise AgreementError(
                f"agreement {session.agreement.sha256[:16]}… was run before, as {before.run_id}",
                expected="one run under an agreement",
                remedy="Sign a new agreement for another run: it has a budget of its own.",
            )

    def _in_parts(self, task: Parcel, kind: type[Any], do: Callable[[HolderRun, Any, Blobs], Parcel]) -> Parcel:
        """Do a task whose blobs, or whose reply's, may travel in parts."""
        run = self._run(task.body)
        return run.parts.keep(do(run, _typed(task.body, kind), run.parts.whole(task).blobs))

    def _run(self, task: Any) -> HolderRun:
        run = self._runs.get(_typed(task, Task).agreement_sha256)
        if run is None or run.run_id != task.run_id:
            raise AgreementError(f"'{self.id}' has not joined this run under this agreement", remedy="Join it first.")
        return run


def _typed(body: Any, kind: type[Any]) -> Any:
    if not isinstance(body, kind):
        raise TrainingError(f"a task of type {type(body).__name__}", expected=kind.__name__)
    return body
