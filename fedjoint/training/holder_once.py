"""What one holder releases once beside its updates, and what it opens once beside their sums: asked again, the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fedjoint.agreement.canonical import canonical_bytes, sha256_hex
from fedjoint.agreement.slots import contributions_slot, final_slot, slot_of
from fedjoint.encryption.decryption import open_coarse, open_sample
from fedjoint.encryption.fixed_point import Steps
from fedjoint.encryption.frames import parse_sample_frame
from fedjoint.encryption.opened import CANARY, ToOpen
from fedjoint.encryption.scratch import Bytes, sha256_of
from fedjoint.errors import EncryptionError, Equivocation, TrainingError
from fedjoint.privacy.validation_plan import read_gradient
from fedjoint.training.blocks import disclosed_with
from fedjoint.training.charges import RunCharges, charged_before
from fedjoint.training.confirming import CONFIRM, require_quorum, samples_to_open
from fedjoint.training.diary import Diary
from fedjoint.training.holder_key import HolderKey
from fedjoint.training.holder_release import HolderRecords, plan_of, standardisation_from
from fedjoint.training.holder_state import OpenedOnce, RunMemory
from fedjoint.training.plan import (
    Blob,
    Blobs,
    ConfirmReply,
    ContributionsReply,
    ContributionsTask,
    OpenReleaseReply,
    OpenReleaseTask,
    Parcel,
    ReleaseReply,
    ReleaseTask,
)
from fedjoint.training.session import Session

__all__ = ["OnceReleases"]

Model = npt.NDArray[np.float32]
#: A holder's signature of facts for a purpose, bound to the run.
Sign = Callable[[str, object], str]


class OnceReleases:
    """Releases and openings that happen once in a run, or once a round.

    Args:
        session: The run.
        sign: The holder's signature.
        memory: What it remembers of the run.
        key: The run's key.
        charges: Its account.
        records: Its records.
        diary: What it keeps for its own eyes, if anything.
    """

    def __init__(
        self,
        session: Session,
        sign: Sign,
        *,
        memory: RunMemory,
        key: HolderKey,
        charges: RunCharges,
        records: HolderRecords,
        diary: Diary | None = None,
    ) -> None:
        self._session, self._sign, self._diary = session, sign, diary
        self._terms, self._parameters = session.terms, session.parameters
        self._memory, self._key, self._charges, self._records = memory, key, charges, records
        if statistics := memory.facts.opened.get("statistics"):
            self._standardise(statistics.values, statistics.contributors)

    def release(self, task: ReleaseTask, model: Model, *, before: Model) -> Parcel:
        """See :meth:`fedjoint.training.holder_run.HolderRun.release`."""
        known, what = self._memory.facts, task.label
        sent = self._memory.blob(f"release.{task.purpose}") if what in known.released else None
        if sent is not None:
            return Parcel(body=ReleaseReply(signature=known.released[what]), blobs={"frame": sent})
        slot, again = slot_of(self._terms, task.purpose, task.round), what in known.begun
        may_make = self._memory.lasts and self._key.require().last_round < slot and what not in known.barred
        if not self._is_due(task) or (again and not may_make):
            raise TrainingError(f"the {what} are not released now", remedy="Each is released once, in its time.")
        self._charges.admit_once(task.purpose)
        if not again:
            self._memory.remember(begun=(*known.begun, what))
        if not self._charges.charge_once(task.purpose, number=task.round) and not again:
            self._memory.bar(what)
            raise charged_before(what, self._session.run_id)
        frame = self._encrypted(self._records.noisy_sums(task.purpose, model, before=before), slot)
        signature = self._sign("release", {"purpose": task.purpose, "frame_sha256": sha256_of(frame)})
        if self._memory.lasts:
            released = {**self._memory.facts.released, what: signature}
            self._memory.remember({f"release.{task.purpose}": frame}, released=released)
        return Parcel(body=ReleaseReply(signature=signature), blobs={"frame": frame})

    def _encrypted(self, sums: npt.NDArray[np.int64], slot: int) -> Bytes:
        steps = np.zeros(self._parameters.num_parameters, dtype=np.int64)
        steps[: len(sums)] = sums  # what the grid cuts off is paid for out of delta
        return self._key.encrypted(Steps(values=steps, parameters=self._parameters), slot)

    def open_release(self, task: OpenReleaseTask, blobs: Blobs) -> Parcel:
        """See :meth:`fedjoint.training.holder_run.HolderRun.open_release`."""
        frame, what = blobs.get("sum", b""), task.label
        slot = slot_of(self._terms, task.purpose, task.round)
        subject = ToOpen(slot=slot, contributors=task.contributors, sha256=sha256_of(frame))
        asked = sha256_hex(canonical_bytes(subject))
        opened = self._opened_before(what, asked)
        if opened is None:
            if task.purpose == "validation" and not self._is_due(task):
                raise EncryptionError(f"the {what} are not opened now", remedy="They are opened before the next round.")
            plan = plan_of(self._terms, task.purpose)
            levels = self._key.decrypted_sum(subject, frame, task.confirmations)
            steps = levels[: plan.length].astype(np.int64) - len(task.contributors) * self._parameters.offset
            values = tuple(str(int(step)) for step in steps)
            if task.purpose == "statistics":
                self._standardise(values, task.contributors)
            if task.purpose == "validation" and self._diary is not None:
                self._diary.gradient(task.round, read_gradient(self._terms, steps.tolist(), task.contributors))
            opened = OpenedOnce(
                asked_sha256=asked,
                values=values,
                signature=self._sign("opened release", task.facts(values)),
                contributors=task.contributors,
            )
            self._remember_opened(what, opened)
        return Parcel(body=OpenReleaseReply(values=opened.values, signature=opened.signature))

    def _is_due(self, task: ReleaseTask | OpenReleaseTask) -> bool:
        known = self._memory.facts
        if task.purpose == "validation":
            return 0 < task.round == known.model_round
        return not task.round and (known.model_round > 0 if task.purpose == "metrics" else not known.trained_round)

    def _standardise(self, values: tuple[str, ...], contributors: tuple[str, ...]) -> None:
        found = standardisation_from(self._terms, [int(value) for value in values], contributors)
        self._records.standardise(found)
        if self._diary is not None:
            self._diary.standardised(found)

    def open_contributions(self, task: ContributionsTask, blobs: Blobs) -> Parcel:
        """See :meth:`fedjoint.training.holder_run.HolderRun.open_contributions`."""
        if self._terms.valuation.method == "none":
            raise EncryptionError("the agreement has no contributions measured", remedy="Nothing of them is opened.")
        if {sample.holder for sample in task.samples} - {*self._terms.holder_ids, CANARY}:
            raise EncryptionError("a contribution of somebody who is no holder of this agreement")
        if any(sample.error > self._terms.valuation.error_numbers for sample in task.samples):
            raise EncryptionError(
                "a number for the error of a contribution that was not agreed",
                expected=f"at most {self._terms.valuation.error_numbers} of each holder",
            )
        names = [sample.blob for sample in task.samples]
        subject = samples_to_open(self._terms, task.samples, blobs)
        opened = self._opened_before("contributions", subject.sha256)
        if opened is None:
            self._key.require()
            require_quorum(self._session, subject, task.confirmations)
            values = tuple(
                self._open_sample(blobs.get(sample.blob, b""), place, rough=sample.error > 0)
                for place, sample in enumerate(task.samples)
            )
            signature = self._sign("contributions", {"samples": names, "values": list(values)})
            opened = OpenedOnce(asked_sha256=subject.sha256, values=values, signature=signature)
            self._remember_opened("contributions", opened)
        return Parcel(body=ContributionsReply(values=opened.values, signature=opened.signature))

    def confirm(self, subject: ToOpen) -> Parcel:
        """Sign that this is the one thing to be opened in its place, remembered first; the same again, never another.

        Raises:
            EncryptionError: no key yet, no such place, or a sum of too few.
            Equivocation: something else was confirmed in the place.
        """
        self._key.require()
        last, place = final_slot(self._terms), str(subject.slot)
        if subject.slot > last:
            raise EncryptionError(f"nothing is opened in place {place} of this run", expected=f"at most {last}")
        if subject.slot != contributions_slot(self._terms):  # these are no sum
            self._key.require_enough(subject.contributors)
        known, asked = self._memory.facts.confirmed, sha256_hex(canonical_bytes(subject))
        if known.get(place, asked) != asked:
            raise Equivocation(
                f"another sum was confirmed in place {place} of this run, {known[place][:16]} and not {asked[:16]}",
                expected="one sum in a round",
                remedy="The difference of two sums is somebody's update: ask the coordinator why there are two.",
            )
        disclosed = self._memory.facts.disclosed
        if self._terms.valuation.audit_blocks:
            disclosed = dict(disclosed_with(self._terms, disclosed, subject))
        self._memory.remember(confirmed={**known, place: asked}, disclosed=disclosed)
        return Parcel(body=ConfirmReply(signature=self._sign(CONFIRM, subject)))

    def _open_sample(self, frame: Blob, number: int, *, rough: bool) -> str:
        key = self._key.require()
        masked = parse_sample_frame(
            frame,
            expected=self._session.frame("sample", number, key.key_id),
            sender=self._terms.coordinator,
            parameters=self._parameters,
        )
        return str(open_coarse(key, masked, bits=self._terms.error_bits) if rough else open_sample(key, masked))

    def _opened_before(self, what: str, asked_sha256: str) -> OpenedOnce | None:
        """What was said when this was opened before.

        Raises:
            EncryptionError: something else was opened in its place.
        """
        before = self._memory.facts.opened.get(what)
        if before is not None and (before.asked_sha256 != asked_sha256 or not self._memory.lasts):
            raise EncryptionError(f"the {what} of this run were opened before", remedy="They are opened once.")
        return before

    def _remember_opened(self, what: str, opened: OpenedOnce) -> None:
        self._memory.remember(opened={**self._memory.facts.opened, what: opened})
