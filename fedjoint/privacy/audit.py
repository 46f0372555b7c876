"""An audit of the mechanism that a run agreed upon: what can an attacker really do?

The attacks run the code that protects records, with the agreed numbers, on made-up records; no private record is read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from fedjoint.agreement.signing import SignedAgreement
from fedjoint.agreement.terms import Terms
from fedjoint.privacy.accounting import epsilon_of
from fedjoint.privacy.audit_inversion import inversion_of
from fedjoint.privacy.audit_membership import BREAKAGES, attack, judged, mechanism_of, plain_updates
from fedjoint.privacy.audit_report import AuditReport, Inversion, Membership, View
from fedjoint.privacy.clipped_sum import PerExampleLoss
from fedjoint.privacy.events import costs
from fedjoint.privacy.releases import epsilon_if_opened, worst_case

__all__ = ["audit", "num_attacks"]

#: Without a claim there is no delta either; the bound is stated at this one.
_DELTA = 1e-5


def views_of(terms: Terms) -> tuple[View, ...]:
    """What an attacker may see under the terms' mode."""
    return ("aggregate", "one_share") if terms.privacy.mode == "joint" else ("update",)


def num_attacks(terms: Terms) -> int:
    """How often :func:`audit` reports progress."""
    if terms.privacy.mode == "none":
        return 2
    return len(views_of(terms)) * (2 + len(BREAKAGES)) + 1


def audit(
    agreement: SignedAgreement,
    *,
    run: str,
    module: torch.nn.Module,
    per_example_loss: PerExampleLoss,
    generator: np.random.Generator,
    on_attack: Callable[[str], None] = lambda _: None,
) -> AuditReport:
    """Attack a run's mechanism: who took part, and what was the record.

    Args:
        agreement: Of the run.
        run: Its name.
        module: The agreed model at its start.
        per_example_loss: The agreed loss.
        generator: Of canaries' coins and made-up records; whoever can predict it can fool the audit, so seed it from
            the operating system outside tests.
        on_attack: Hears the name of each attack before it starts.

    Returns:
        The findings. A lower bound of 0 says that nothing was found, and never that there is nothing.

    Source:
        Steinke, Nasr, Jagielski 2023 (membership in one run); Phong et al. 2018 (inversion).
    """
    start, terms = time.process_time(), agreement.terms
    membership = tuple(_memberships(terms, generator, on_attack))
    inversions = tuple(_inversions(terms, module, per_example_loss, generator=generator, on_attack=on_attack))
    return AuditReport(
        run=run,
        agreement_sha256=agreement.sha256,
        mode=terms.privacy.mode,
        unit=terms.privacy.unit,
        insecure_noise=terms.privacy.insecure_seed is not None,
        membership=membership,
        inversions=inversions,
        seconds=time.process_time() - start,
    )


def _memberships(
    terms: Terms, generator: np.random.Generator, on_attack: Callable[[str], None]
) -> Iterator[Membership]:
    if terms.privacy.mode == "none":
        on_attack("who took part: updates without noise")
        found = attack(plain_updates(1.0, terms.training.rounds), clip_norm=1.0, generator=generator)
        yield judged("update", "agreed", claimed=None, delta=_DELTA, found=found)
        return
    delta = terms.privacy.accounted_delta
    assert delta is not None  # PrivacyTerms made sure
    for view in views_of(terms):
        mechanism, claimed = mechanism_of(terms, view), _claimed(terms, view)
        on_attack(f"who took part: {view.replace('_', ' ')}")
        found = attack(mechanism, clip_norm=mechanism.clip_norm, generator=generator)
        yield judged(view, "agreed", claimed=claimed, delta=delta, found=found)
        for breakage in BREAKAGES:
            on_attack(f"self-check: {view.replace('_', ' ')}, {breakage.name}")
            found = attack(breakage.broken(mechanism), clip_norm=mechanism.clip_norm, generator=generator)
            yield judged(view, breakage.name, claimed=claimed, delta=delta, found=found)


def _claimed(terms: Terms, view: View) -> float:
    """The epsilon that the account states for the whole run."""
    steps, delta = terms.training.rounds * terms.training.local_steps, terms.privacy.accounted_delta
    assert delta is not None  # PrivacyTerms made sure
    if view == "one_share":
        opened = epsilon_if_opened(terms, steps)
        assert opened is not None  # the view is of mode joint
        return opened
    return epsilon_of(costs(worst_case(terms)), delta)


def _inversions(
    terms: Terms,
    module: torch.nn.Module,
    loss: PerExampleLoss,
    *,
    generator: np.random.Generator,
    on_attack: Callable[[str], None],
) -> Iterator[Inversion]:
    on_attack("what was the record: an update in the clear")
    yield inversion_of(terms, "update", protected=False, module=module, per_example_loss=loss, generator=generator)
    for view in () if terms.privacy.mode == "none" else views_of(terms):
        on_attack(f"what was the record: {view.replace('_', ' ')}")
        yield inversion_of(terms, view, protected=True, module=module, per_example_loss=loss, generator=generator)
