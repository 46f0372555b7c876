"""An agreement in plain words, for the people who decide at a holder: what will be done, with which data, for what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fedjoint.agreement.review import Difference, HolderPolicy, review
from fedjoint.agreement.terms import Terms
from fedjoint.privacy.accounting import epsilon_of
from fedjoint.privacy.events import costs
from fedjoint.privacy.releases import epsilon_if_opened, worst_case
from fedjoint.runs.notation import epsilon_text, percent_text
from fedjoint.runs.sentences import counted
from fedjoint.strict import strict

__all__ = ["Page", "Section", "key_facts", "write_page"]

_MOST_COLUMNS = 40


@strict
@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and its sentences."""

    heading: str
    sentences: tuple[str, ...]


@strict
@dataclass(frozen=True, kw_only=True)
class Page:
    """What a holder reads before it signs.

    Args:
        agreement_sha256: The agreement.
        title: As agreed.
        sections: What it comes to, in words.
        differences: Where it goes beyond the holder's own policy; none: it may sign.
    """

    agreement_sha256: str
    title: str
    sections: tuple[Section, ...]
    differences: tuple[Difference, ...]


def write_page(terms: Terms, sha256: str, *, holder_id: str, policy: HolderPolicy) -> Page:
    """Put an agreement into words.

    Args:
        terms: As proposed or signed.
        sha256: Of the terms.
        holder_id: Who reads it.
        policy: Its own limits.

    Raises:
        InvalidValue: it is no holder of this agreement.
    """
    sections = (
        Section(heading="With whom", sentences=tuple(_parties(terms, holder_id))),
        Section(heading="What for", sentences=tuple(_purpose(terms))),
        Section(heading="Which of your data", sentences=tuple(_data(terms, holder_id))),
        Section(heading="What is done with it", sentences=tuple(_training(terms, holder_id))),
        Section(heading="What protects your records", sentences=tuple(_privacy(terms))),
        Section(heading="What leaves your house", sentences=tuple(_leaves(terms))),
        Section(heading="For which money", sentences=tuple(_money(terms))),
    )
    return Page(agreement_sha256=sha256, title=terms.title, sections=sections, differences=review(terms, policy))


def key_facts(terms: Terms, holder_id: str) -> tuple[str, ...]:
    """The few sentences that are repeated before somebody signs."""
    return (*_parties(terms, holder_id), *list(_data(terms, holder_id))[:1], *_privacy(terms), *list(_money(terms))[:1])


def _parties(terms: Terms, holder_id: str) -> Iterator[str]:
    others = [f"{one.identity.name} ({one.identity.id})" for one in terms.holders if one.identity.id != holder_id]
    yield f"You are {terms.holder(holder_id).identity.name} ({holder_id}); with you: {', '.join(others)}."
    coordinator = terms.coordinator
    yield (
        f"{coordinator.name} ({coordinator.id}) coordinates: it adds up encrypted updates and holds no key to open "
        f"them. Its key's fingerprint is {coordinator.fingerprint}: compare it by telephone."
    )


def _purpose(terms: Terms) -> Iterator[str]:
    target = terms.data.schema.target
    hidden = f" with layers of {', '.join(map(str, terms.model.hidden))}" if terms.model.hidden else ""
    kind = f"A {terms.model.kind} model{hidden}"
    if terms.model.code_sha256 is not None:
        kind = f"A model of foreign code, SHA-256 {terms.model.code_sha256}, which runs on your machine,"
    yield f"Purpose: {terms.purpose}."
    yield (f"{kind} of {terms.num_parameters:,} parameters learns to predict '{target.name}' ({target.task}).")


def _data(terms: Terms, holder_id: str) -> Iterator[str]:
    schema, own = terms.data.schema, terms.holder(holder_id)
    unit = terms.privacy.unit
    about = "" if terms.releases.sizes_noise_multiplier is None else "about "  # numbers that were told with noise
    yield (
        f"'{terms.data.name}': {about}{counted(own.num_examples, unit)} of yours, of {about}{terms.num_examples:,} "
        "in all."
    )
    if own.dataset is not None:
        yield f"It names them as registered dataset '{own.dataset}': by its registration it is used and paid for."
    names = [column.name for column in schema.columns]
    shown = ", ".join(names[:_MOST_COLUMNS]) + (
        f" and {len(names) - _MOST_COLUMNS} more" * (len(names) > _MOST_COLUMNS)
    )
    yield f"It uses the {counted(len(names), 'column')} {shown}, and the target '{schema.target.name}'."
    yield f"The constants that scale them are {schema.origin}."


def _training(terms: Terms, holder_id: str) -> Iterator[str]:
    training = terms.training
    part = "all of your records" if training.sampling_rate == 1 else f"a random {training.sampling_rate:.3g} of them"
    yield (
        f"Your machine trains in {counted(training.rounds, 'round')} of {counted(training.local_steps, 'step')}, each "
        f"on {part}, and sends an encrypted update after each; it weighs {percent_text(terms.weight(holder_id))}."
    )
    if training.holders_per_round is not None:
        yield f"Each round asks {counted(training.holders_per_round, 'holder')}, drawn by the agreement's seed."
    if training.proximal:
        yield f"Its steps are pulled back to the round's model, {training.proximal:g} times the distance (FedProx)."
    yield (
        f"A round counts with the updates of at least {counted(training.minimum_holders, 'holder')}; nothing is opened "
        f"before {terms.quorum} of the {len(terms.holders)} have confirmed it, and the run ends if fewer are there."
    )
    if terms.valuation.method == "none":
        shares = terms.valuation.unmeasured.replace("_", " ")
        yield f"What each holder adds is not measured; shares are agreed {shares}."
    else:
        records = terms.valuation.reference_num_examples
        where = (
            "records that holders keep out of training" if records is None else f"{records:,} records of the exchange"
        )
        yield (
            f"What your data add is measured on your encrypted updates ({terms.valuation.method}, by "
            f"{terms.valuation.utility.replace('_', ' ')} on {where}) and opened as one number for each holder."
        )


def _privacy(terms: Terms) -> Iterator[str]:
    privacy = terms.privacy
    if privacy.mode == "none":
        yield (
            "No noise is added (privacy.mode is none): updates are encrypted, but the model itself may tell of single "
            "records. Epsilon is unbounded, and so it is if your own ciphertexts were opened."
        )
        return
    delta, events = privacy.accounted_delta, costs(worst_case(terms))
    assert delta is not None and privacy.delta is not None
    who = {
        "local": "against everybody, keys or not",
        "joint": "against whoever sees only what is opened, "
        f"{counted(privacy.colluders or 0, 'colluding holder')} included",
    }[privacy.mode]
    yield (
        f"Noise (mode {privacy.mode}): the whole run spends epsilon {epsilon_text(epsilon_of(events, delta))} at most, "
        f"of {privacy.epsilon:g} agreed, at delta {privacy.delta:g} (add-or-remove adjacency, per {privacy.unit}), "
        f"{who}."
    )
    opened = epsilon_if_opened(terms, terms.training.rounds)
    if opened is None:
        yield "That holds even if your own ciphertexts were opened."
    else:
        yield (
            f"If your own ciphertexts were opened (all holders share the key): epsilon {epsilon_text(opened)} at most, "
            f"of {privacy.epsilon_if_opened:g} agreed, by the same adjacency."
        )
    if privacy.insecure_seed is not None:
        yield "The noise is reproducible (privacy.insecure_seed): it protects nobody."


def _leaves(terms: Terms) -> Iterator[str]:
    yield "Encrypted updates, signed; their sum is opened by the holders, and with it the model."
    if terms.releases.statistics_noise_multiplier is not None:
        yield "Once, before training: sums of your columns with noise, encrypted, opened as a sum over all holders."
    if terms.releases.metrics_noise_multiplier is not None:
        yield (
            f"Once, at the end: how the model does on {percent_text(terms.releases.held_out)} of your records that it "
            "was not trained on, with noise, encrypted, opened as a sum over all holders."
        )
    if terms.validated_by_holders:
        noisy = "" if terms.releases.validation_noise_multiplier is None else ", with noise"
        yield (
            f"After each round: the gradient on {percent_text(terms.releases.held_out)} of your records that it is not "
            f"trained on, clipped{noisy}, encrypted, opened as a sum over all; contributions are measured by it."
        )
    if terms.valuation.error_numbers:
        yield (
            f"Once, at the end: {terms.valuation.error_numbers} more numbers, {terms.error_bits} bits of each, from "
            "which the error of your contribution by the choice of reference records is estimated."
        )
    if terms.valuation.audit_blocks:
        yield "After each round, for audit: sums of the updates of agreed blocks of at least three holders."
    if terms.valuation.keep_updates:
        yield "Your updates in the clear, kept in the run's folder for other valuations."
    yield "No record leaves, and nobody else's code runs here: the node runs the installed package only."


def _money(terms: Terms) -> Iterator[str]:
    money = terms.money
    fee, reserve = (percent_text(rate / 10_000) for rate in (money.exchange_fee_bp, money.reserve_premium_bp))
    by = "by what its data added" if terms.valuation.method != "none" else "as agreed"
    yield (
        f"Of each payment in {money.currency}: {fee} to the exchange, {reserve} to the reserve against claims, the "
        f"rest to the holders, each {by}"
        + (f" ({percent_text(money.base_bp / 10_000)} of it {money.base_by} whatever was added)." * bool(money.base_bp))
        + ("." * (not money.base_bp))
    )
    if money.materiality != "off" and terms.valuation.method != "none":
        how = "by their numbers of examples" if money.materiality == "by_size" else "equally"
        known = "" if money.materiality_errors == "all" else " by privacy noise alone"
        yield (
            f"Holders whose contributions differ by less than {money.materiality_z:g} standard errors{known} are paid "
            f"alike, {how}."
        )
    if money.holdback_bp:
        yield (
            f"{percent_text(money.holdback_bp / 10_000)} of your payout is held back for "
            f"{counted(money.dispute_window_days, 'day')}, in which the settlement may be disputed."
        )
