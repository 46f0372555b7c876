"""``fedjoint holder data``: the records that may take part."""

from __future__ import annotations

import click

from fedjoint.cli.lazy import LazyGroup, Verbs

__all__ = ["command"]

_VERBS: Verbs = {
    "add": ("fedjoint.cli.holder_data_add", "Add a file or a table with its schema, after a check."),
    "check": ("fedjoint.cli.holder_data_check", "Compare records with a schema, for your own eyes."),
    "list": ("fedjoint.cli.holder_data_list", "What there is."),
    "register": ("fedjoint.cli.holder_data_register", "Keep what the pool's registry has of it, and hold to it."),
    "revoke": ("fedjoint.cli.holder_data_revoke", "Train on it no more from a day on."),
}


@click.group("data", cls=LazyGroup, verbs=_VERBS)
def command() -> None:
    """The records that may take part. They stay where they are; a node keeps only where that is.

    \b
    Example:
      fedjoint holder data add patients.csv --schema schema.yaml --home bern
    """
