"""``fedjoint holder``: everything that a holder does on its own machine."""

from __future__ import annotations

import click

from fedjoint.cli.lazy import LazyGroup, Verbs

__all__ = ["command"]

_VERBS: Verbs = {
    "approve": ("fedjoint.cli.holder_approve", "Model code that may run here: approve a file that you have read."),
    "budget": ("fedjoint.cli.holder_budget", "A lifetime privacy budget: spent, reserved, left; or make one."),
    "claim": ("fedjoint.cli.holder_claim", "Claims: file, evidence, decide, appeal, each step signed here."),
    "contributions": ("fedjoint.cli.holder_contributions", "What your data added to a run: by round, by class."),
    "costs": ("fedjoint.cli.holder_costs", "Sign what a run cost in processor time, as this node metered it."),
    "data": ("fedjoint.cli.holder_data", "The records that may take part: add, check, list, register, revoke."),
    "decline": ("fedjoint.cli.holder_decline", "Say that you will not sign an agreement."),
    "duplicates": ("fedjoint.cli.holder_duplicates", "Which of your records another holder brings too."),
    "init": ("fedjoint.cli.holder_init", "Make a holder's folder: keys, policy, settings."),
    "join": ("fedjoint.cli.holder_join", "Enrol with an exchange by its invitation."),
    "leave": ("fedjoint.cli.holder_leave", "Leave the exchange; its certificate ends at once."),
    "policy": ("fedjoint.cli.holder_policy", "Your own limits: write them, show them, hold an agreement against them."),
    "review": ("fedjoint.cli.holder_review", "An agreement in plain words, beside your own policy."),
    "sign": ("fedjoint.cli.holder_sign", "Sign an agreement that your policy allows."),
    "start": ("fedjoint.cli.holder_start", "Take part in runs until told to stop."),
    "statements": ("fedjoint.cli.holder_statements", "Fetch and check what you were paid and why."),
    "status": ("fedjoint.cli.holder_status", "Where this holder stands: exchange, certificate, agreements, runs."),
}


@click.group("holder", cls=LazyGroup, verbs=_VERBS)
def command() -> None:
    """What a holder does on its own machine; nobody else can reach it.

    \b
    Example:
      fedjoint holder init bern --id bern --name "Inselspital Bern"
      fedjoint holder join exchange.example:8443 --invite bern.invitation --home bern
      fedjoint holder data add patients.csv --schema schema.yaml --home bern
      fedjoint holder review --pending --home bern
      fedjoint holder sign 3f0c9a41 --home bern
      fedjoint holder start --home bern
    """
