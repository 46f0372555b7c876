"""What of a recorded run can be computed again: receipts, openings, the model, contributions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from fedjoint.agreement.canonical import sha256_hex
from fedjoint.agreement.signing import SignedAgreement, statement_bytes
from fedjoint.agreement.slots import block_slot, contributions_slot, slot_of
from fedjoint.encryption.opened import CANARY, MINIMUM_OPENERS
from fedjoint.encryption.parameters import agreed_parameters
from fedjoint.errors import EncryptionError, IdentityError, PrivacyError, RecordError, ValuationError
from fedjoint.privacy.receipts import check_releases
from fedjoint.runs.folder import MODEL, SUMS
from fedjoint.runs.recorded import RecordedPart, RecordedRun
from fedjoint.runs.replay import keeps_sums, replay_sums
from fedjoint.training.guarded import guarded
from fedjoint.valuation.encrypted import OpenedContribution, contribution_of
from fedjoint.valuation.encrypted_errors import sampling_of

__all__ = [
    "check_confirmations",
    "check_contributions",
    "check_model",
    "check_openings",
    "check_receipts",
    "require_signed",
]

_MAX_MODEL_BYTES = 4 << 30


def check_receipts(run: RecordedRun, agreement: SignedAgreement) -> str:
    """Every holder signed its part in every round, its releases are the agreed ones and cost what it says.

    Raises:
        RecordError: names round and holder.
    """
    count, spent = 0, dict[str, int]()
    for number, summed in sorted(run.summed.items()):
        for holder, receipt in summed.receipts.items():
            where = f"receipt of '{holder}' in round {number}"
            require_signed(agreement, run.run_id, holder, "receipt", receipt, summed.signatures.get(holder, ""), where)
            if (receipt.run_id, receipt.holder, receipt.round) != (run.run_id, holder, number):
                raise RecordError(f"{where} is about something else")
            try:
                spent[holder] = check_releases(receipt, agreement.terms, steps_before=spent.get(holder, 0))
            except PrivacyError as problem:
                raise RecordError(str(problem)) from None
            count += 1
    if agreement.terms.privacy.mode == "none":
        return f"{count} signed receipts; no privacy was agreed"
    privacy = agreement.terms.privacy
    words = (
        f"{count} signed receipts; epsilon recomputed (add-or-remove, per {privacy.unit}), within {privacy.epsilon:g}"
    )
    opened = agreement.terms.privacy.epsilon_if_opened
    return words if opened is None else f"{words} (within {opened:g} if ciphertexts were opened)"


def check_openings(run: RecordedRun, agreement: SignedAgreement) -> str:
    """At least two holders signed for the same sum and model in every round.

    Raises:
        RecordError: names the round.
    """
    for opened in run.rounds:
        for holder, reply in opened.opened.items():
            facts = {"round": reply.round, "sum_sha256": reply.sum_sha256, "model_sha256": reply.model_sha256}
            where = f"opening of round {opened.round} by '{holder}'"
            require_signed(agreement, run.run_id, holder, "opened", facts, reply.signature, where)
            if (reply.round, reply.model_sha256) != (opened.round, opened.model_sha256):
                raise RecordError(f"{where} is of another round or model")
        if len(opened.opened) < MINIMUM_OPENERS or len({reply.sum_sha256 for reply in opened.opened.values()}) != 1:
            raise RecordError(f"round {opened.round} was not opened alike by {MINIMUM_OPENERS} holders")
    return f"{len(run.rounds)} rounds, each opened alike by at least {MINIMUM_OPENERS} holders"


def check_confirmations(run: RecordedRun, agreement: SignedAgreement) -> str:
    """A quorum of holders signed for everything that was opened, that it is the only one in its place.

    Raises:
        RecordError: names the place.
    """
    terms = agreement.terms
    opened = {
        slot_of(terms, "training", one.round): tuple(sorted(run.summed[one.round].receipts)) for one in run.rounds
    }
    opened |= {slot_of(terms, one.purpose): one.contributors for one in run.released}
    opened |= {slot_of(terms, "validation", one.round): one.contributors for one in run.gradients}
    opened |= {block_slot(terms, one.round, one.block): one.contributors for one in run.blocks}
    if terms.valuation.method != "none":
        opened[contributions_slot(terms)] = tuple(sorted({part.holder for part in run.valued.parts} - {CANARY}))
    for slot, contributors in sorted(opened.items()):
        confirmed = run.confirmed.get(slot)
        if confirmed is None or confirmed.subject.contributors != contributors:
            raise RecordError(f"what was opened in place {slot} is not what holders confirmed")
        for holder, signature in confirmed.confirmations.items():
            where = f"confirmation of place {slot} by '{holder}'"
            require_signed(agreement, run.run_id, holder, "confirm", confirmed.subject, signature, where)
        if len(confirmed.confirmations) < agreement.terms.quorum:
            raise RecordError(
                f"what was opened in place {slot} was confirmed by {len(confirmed.confirmations)} holders",
                expected=f"at least {agreement.terms.quorum}",
            )
    return f"{len(opened)} openings, each confirmed as the only one by a quorum of {agreement.terms.quorum} holders"


def check_model(folder: Path, run: RecordedRun, agreement: SignedAgreement) -> str:
    """The model in the folder is what the opened sums give, and what holders signed for in every round.

    Raises:
        RecordError: a file is malformed, or holds another sum or model.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / MODEL
    if path.stat().st_size > _MAX_MODEL_BYTES:
        raise RecordError(f"{MODEL} has {path.stat().st_size} bytes", expected=f"at most {_MAX_MODEL_BYTES}")
    try:
        with safe_open(path, "numpy") as file:
            words = json.loads(file.metadata()["fedjoint"])
            parts = [file.get_tensor(name) for name in json.loads(words["order"])]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as problem:
        raise RecordError(f"{MODEL} is malformed: {type(problem).__name__}") from None
    vector = np.concatenate([np.asarray(part, dtype="<f4").ravel() for part in parts])
    digest = sha256_hex(vector.tobytes())
    if digest != run.rounds[-1].model_sha256:
        raise RecordError(f"{MODEL} is not the model after round {len(run.rounds)}")
    words = f"{digest[:16]}… is the model after round {len(run.rounds)}"
    if not keeps_sums(agreement.terms):
        return f"{words}; too large to compute again: its sums were not kept"
    for _ in replay_sums(folder / SUMS, run, agreement.terms):
        pass
    return f"{words}, computed again from {len(run.rounds)} opened sums"


def check_contributions(run: RecordedRun, agreement: SignedAgreement) -> str:
    """Two holders signed for the opened numbers, and with the masks off they give the contributions.

    Where the agreement measures none, nothing was opened and every holder counts for what was agreed.

    Raises:
        RecordError: a signature, number or contribution is wrong.
    """
    parts = run.valued.parts
    if agreement.terms.valuation.method == "none":
        if parts or run.valued.openers or run.contributions != agreement.terms.unmeasured_shares:
            raise RecordError("contributions are recorded that were agreed not to be measured")
        return "not measured, as agreed"
    errors = run.valued.errors
    names = [f"{part.holder}.{part.part}" for part in parts] + [f"{one.holder}.error.{one.number}" for one in errors]
    facts = {"samples": names, "values": [part.opened for part in parts] + [str(one.opened) for one in errors]}
    for holder, signature in run.valued.openers.items():
        require_signed(
            agreement, run.run_id, holder, "contributions", facts, signature, f"contributions opened by '{holder}'"
        )
    if len(run.valued.openers) < MINIMUM_OPENERS:
        raise RecordError(f"the contributions were opened by {len(run.valued.openers)} holders", expected="two")
    modulus = agreed_parameters(agreement.terms).plain_modulus
    canaries = [_number(part) for part in parts if part.holder == CANARY]
    if parts and [contribution_of([canary], plain_modulus=modulus) for canary in canaries] != [1]:
        raise RecordError("the canary of the contributions does not come to the number of its updates")
    valued = {
        holder: contribution_of([_number(part) for part in parts if part.holder == holder], plain_modulus=modulus)
        for holder in run.contributions
    }
    known, novel = _known(run, agreement)
    for holder, found in guarded(agreement.terms, valued, known, run.contributors, novel=novel).items():
        if found != run.contributions[holder]:
            raise RecordError(f"the contribution of '{holder}' is not what was opened and agreed")
    _check_sampling(run, agreement)
    numbers = len(parts) - len(canaries) + len(errors)
    return f"{numbers} opened numbers, signed by {len(run.valued.openers)} holders, give the contributions" + (
        " and their errors"
        if errors
        else "; the agreed numbers for their errors were not opened"
        if agreement.terms.valuation.error_numbers
        else ""
    )


def _check_sampling(run: RecordedRun, agreement: SignedAgreement) -> None:
    """Where numbers for it were agreed, the stated error by the choice of reference records is what they give."""
    if not agreement.terms.valuation.error_numbers:
        if run.valued.errors:
            raise RecordError("numbers for errors were opened that were not agreed")
        return
    try:
        took_part = {part.holder for part in run.valued.parts} - {CANARY}
        found = sampling_of(agreement.terms, run.valued.errors, took_part=took_part)
    except (EncryptionError, ValuationError) as problem:
        raise RecordError(f"the opened numbers for errors: {problem}") from None
    if found != (run.sampled.sampling if run.sampled else None):
        raise RecordError("the stated error by the choice of reference records is not what was opened")


def _known(run: RecordedRun, agreement: SignedAgreement) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What each round gained along the known path, and how long the rest of its gradient was: the coordinator's word.

    Nothing where the known path is not shared.
    """
    known, novel = run.valued.known, run.valued.novel
    alike = len(known) == len(novel) == len(run.rounds)
    if not alike or (agreement.terms.valuation.known_path == "valued" and any((*known, *novel))):
        raise RecordError("the record states another known path than was agreed", expected="a number for each round")
    return known, novel


def _number(part: RecordedPart) -> OpenedContribution:
    if not (part.opened.isdecimal() and part.mask.isdecimal() and max(len(part.opened), len(part.mask)) <= 20):
        raise RecordError(f"an opened number of '{part.holder}' is no whole number")
    return OpenedContribution(
        holder=part.holder, part=part.part, opened=int(part.opened), mask=int(part.mask), factor=part.factor
    )


def require_signed(
    agreement: SignedAgreement, run_id: str, holder: str, purpose: str, facts: Any, signature: str, where: str
) -> None:
    """Refuse a holder's signature that is not of these facts.

    Raises:
        RecordError: says where it stands.
    """
    try:
        identity = agreement.terms.holder(holder).identity
        identity.verify(purpose, statement_bytes(agreement.sha256, run_id, facts), signature)
    except IdentityError as problem:
        raise RecordError(f"{where}: {problem}") from None
