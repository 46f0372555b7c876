"""An audit of an agreement with its own model, loss and start."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import numpy as np

from fedjoint.agreement.signing import SignedAgreement
from fedjoint.privacy.audit import audit, num_attacks
from fedjoint.privacy.audit_report import AuditReport
from fedjoint.training.local_update import agreed_module, agreed_task

__all__ = ["audit_agreement", "num_attacks"]


def audit_agreement(
    agreement: SignedAgreement,
    *,
    run: str,
    seed: int | None = None,
    on_attack: Callable[[str], None] = lambda _: None,
) -> AuditReport:
    """Attack the mechanism that an agreement prescribes, for its own model.

    Args:
        agreement: Of the run.
        run: Its name.
        seed: Of the attack's coins and made-up records; None: from the operating system. The noise is never seeded.
        on_attack: Hears the name of each attack.

    Returns:
        The findings.

    Raises:
        PrivacyError: the agreed mechanism cannot be made.
    """
    return audit(
        agreement,
        run=run,
        module=agreed_module(agreement.terms),
        per_example_loss=agreed_task(agreement.terms).per_example_loss,
        generator=np.random.default_rng(secrets.randbits(128) if seed is None else seed),
        on_attack=on_attack,
    )
