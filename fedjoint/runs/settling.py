"""From contributions to money as one pure function: a run settles by it, and whoever verifies it calls it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedjoint.agreement.signing import SignedAgreement
from fedjoint.agreement.terms import PrivacyTerms, Terms, ValuationTerms
from fedjoint.pool.ledger import Entry
from fedjoint.pool.materiality import groups_within_error, pay_alike
from fedjoint.pool.revenue import paid
from fedjoint.pool.settlement_entries import entries_of_settlement
from fedjoint.pool.shares import shares_from_contributions
from fedjoint.pool.statement import RunFacts, StatedError, Statement, statement_of
from fedjoint.pool.waterfall import Settlement, settle
from fedjoint.valuation.uncertainty import ErrorBars

__all__ = ["UNMEASURED", "Revenue", "SettledRun", "settle_run"]

#: How shares are agreed where contributions are not measured, in words.
UNMEASURED = {"by_size": "by stated number of examples", "equal": "equal for all holders"}


@dataclass(frozen=True, kw_only=True)
class Revenue:
    """One revenue event: who paid how much (minor units) and when (ISO 8601, UTC)."""

    gross_minor: int
    buyer: str
    at: str


@dataclass(frozen=True, kw_only=True)
class SettledRun:
    """What a revenue event came to: the split, its ledger entries, a statement for each holder.

    Args:
        settlement: The split.
        entries: Of the ledger.
        statements: By holder.
        paid_alike: Groups of holders whose contributions differ by less than their error, as the agreement pays them.
    """

    settlement: Settlement
    entries: tuple[Entry, ...]
    statements: Mapping[str, Statement]
    paid_alike: tuple[tuple[str, ...], ...]


def settle_run(
    agreement: SignedAgreement,
    run_id: str,
    *,
    revenue: Revenue,
    contributions: Mapping[str, float],
    utility_gain: float,
    errors: ErrorBars | None = None,
) -> SettledRun:
    """Split one revenue event by the contributions of a run.

    Args:
        agreement: Holds the rates and the holders.
        run_id: The run.
        revenue: What was paid.
        contributions: Of each holder of the agreement, in units of the utility.
        utility_gain: Of the whole run.
        errors: Standard errors of the contributions; None: unknown, so that nobody can be said to be alike.

    Raises:
        PoolError: an amount out of range, or figures that contradict each other.
    """
    terms = agreement.terms
    alike = _alike(terms, contributions, errors)
    shares = pay_alike(
        shares_from_contributions(contributions),
        alike,
        sizes={holder.identity.id: holder.num_examples for holder in terms.holders}
        if terms.money.materiality == "by_size"
        else None,
    )
    settlement = settle(revenue.gross_minor, contributions, terms=terms.money, shares=shares)
    facts = RunFacts(
        run_id=run_id,
        agreement_sha256=agreement.sha256,
        period=revenue.at[:10],
        utility_gain=utility_gain,
        method=_method_in_words(terms.valuation),
        privacy=_privacy_in_words(terms.privacy),
    )
    statements = {
        holder: statement_of(
            settlement,
            holder,
            facts=facts,
            contribution=contributions[holder],
            error=_stated(terms, errors, holder, alike) if errors else None,
        )
        for holder in terms.holder_ids
    }
    invoice = paid(
        f"{run_id}/invoice",
        buyer=revenue.buyer,
        amount_minor=revenue.gross_minor,
        currency=settlement.currency,
        at=revenue.at,
    )
    entries = entries_of_settlement(settlement, run_id, terms=terms.money, at=revenue.at)
    return SettledRun(settlement=settlement, entries=(*invoice, *entries), statements=statements, paid_alike=alike)


def _alike(terms: Terms, contributions: Mapping[str, float], errors: ErrorBars | None) -> tuple[tuple[str, ...], ...]:
    if errors is None or terms.money.materiality == "off" or terms.valuation.method == "none":
        return ()
    if terms.money.materiality_errors == "noise":
        errors = ErrorBars(noise=errors.noise)
    return groups_within_error(contributions, errors.of_difference, z=terms.money.materiality_z)


def _stated(terms: Terms, errors: ErrorBars, holder: str, alike: tuple[tuple[str, ...], ...]) -> StatedError:
    group = next((group for group in alike if holder in group), ())
    return StatedError(
        by_noise=errors.noise[holder],
        by_sampling=errors.sampling_error(holder),
        numbers=errors.numbers,
        by_sampling_at_most=errors.bound(holder),
        paid_alike_with=tuple(other for other in group if other != holder),
        rule=terms.money.materiality,
        z=terms.money.materiality_z,
    )


def _method_in_words(valuation: ValuationTerms) -> str:
    if valuation.method == "none":
        return f"not measured: shares {UNMEASURED[valuation.unmeasured]}, as agreed"
    return "Aumann-Shapley value of each round on the ciphertexts, summed over rounds"


def _privacy_in_words(privacy: PrivacyTerms) -> str:
    if privacy.mode == "none":
        return "no differential privacy; the contribution itself is one opened number of the run"
    limit = (
        f"at most epsilon {privacy.epsilon:g} at delta {privacy.delta:g} per {privacy.unit} (add-or-remove adjacency)"
    )
    if privacy.mode == "joint":
        words = (
            f"joint differential privacy, {limit}, the contribution with noise of its own included; at most "
            f"{privacy.epsilon_if_opened:g} if the holder's ciphertexts were opened"
        )
        return words if privacy.insecure_seed is None else words + "; REPRODUCIBLE NOISE, which protects nobody"
    words = (
        f"local differential privacy, {limit}; the contribution is computed from noised updates and costs nothing more"
    )
    return words if privacy.insecure_seed is None else words + "; REPRODUCIBLE NOISE, which protects nobody"
