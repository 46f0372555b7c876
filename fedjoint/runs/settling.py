"""From contributions to money as one pure function: a run settles by it, and whoever verifies it calls it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedjoint.agreement.signing import SignedAgreement
from fedjoint.agreement.terms import PrivacyTerms, ValuationTerms
from fedjoint.pool.ledger import Entry
from fedjoint.pool.settlement_entries import entries_of_settlement
from fedjoint.pool.statement import RunFacts, Statement, statement_of
from fedjoint.pool.waterfall import Settlement, settle

__all__ = ["UNMEASURED", "Revenue", "SettledRun", "settle_run"]

#: How shares are agreed where contributions are not measured, in words.
UNMEASURED = {"by_size": "by certified number of examples", "equal": "equal for all holders"}


@dataclass(frozen=True, kw_only=True)
class Revenue:
    """One revenue event: who paid how much (minor units) and when (ISO 8601, UTC)."""

    gross_minor: int
    buyer: str
    at: str


@dataclass(frozen=True, kw_only=True)
class SettledRun:
    """What a revenue event came to: the split, its ledger entries, a statement for each holder."""

    settlement: Settlement
    entries: tuple[Entry, ...]
    statements: Mapping[str, Statement]


def settle_run(
    agreement: SignedAgreement,
    run_id: str,
    *,
    revenue: Revenue,
    contributions: Mapping[str, float],
    utility_gain: float,
) -> SettledRun:
    """Split one revenue event by the contributions of a run.

    Args:
        agreement: Holds the rates and the holders.
        run_id: The run.
        revenue: What was paid.
        contributions: Of each holder of the agreement, in units of the utility.
        utility_gain: Of the whole run.

    Raises:
        PoolError: an amount out of range, or figures that contradict each other.
    """
    terms = agreement.terms
    settlement = settle(revenue.gross_minor, contributions, terms=terms.money)
    facts = RunFacts(
        run_id=run_id,
        agreement_sha256=agreement.sha256,
        period=revenue.at[:10],
        utility_gain=utility_gain,
        method=_method_in_words(terms.valuation),
        privacy=_privacy_in_words(terms.privacy),
    )
    statements = {
        holder: statement_of(settlement, holder, facts=facts, contribution=contributions[holder])
        for holder in terms.holder_ids
    }
    entries = entries_of_settlement(settlement, run_id, buyer=revenue.buyer, at=revenue.at)
    return SettledRun(settlement=settlement, entries=entries, statements=statements)


def _method_in_words(valuation: ValuationTerms) -> str:
    if valuation.method == "none":
        return f"not measured: shares {UNMEASURED[valuation.unmeasured]}, as agreed"
    return "Aumann-Shapley value of each round on the ciphertexts, summed over rounds"


def _privacy_in_words(privacy: PrivacyTerms) -> str:
    if privacy.mode == "none":
        return "no differential privacy; the contribution itself is one opened number of the run"
    if privacy.mode == "joint":
        words = (
            f"joint differential privacy, at most epsilon {privacy.epsilon:g} at delta {privacy.delta:g} per record "
            f"(add-or-remove adjacency), the contribution with noise of its own included; at most "
            f"{privacy.epsilon_if_opened:g} if the holder's ciphertexts were opened"
        )
        return words if privacy.insecure_seed is None else words + "; REPRODUCIBLE NOISE, which protects nobody"
    words = (
        f"local differential privacy, at most epsilon {privacy.epsilon:g} at delta {privacy.delta:g} per record "
        "(add-or-remove adjacency); the contribution is computed from noised updates and costs nothing more"
    )
    return words if privacy.insecure_seed is None else words + "; REPRODUCIBLE NOISE, which protects nobody"
