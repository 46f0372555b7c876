"""A simulated run's Grid: every holder in this process, behind the real Flower ClientApp."""

from __future__ import annotations

from collections.abc import Callable

from fedjoint.agreement.terms import Terms
from fedjoint.conduct.reference import ReferenceSet
from fedjoint.data.division import Division
from fedjoint.flower.client_app import make_client_app
from fedjoint.simulation.agreeing import Parties
from fedjoint.transport.app_node import HOLDER_KEY
from fedjoint.transport.inline import InlineGrid

__all__ = ["grid_of", "reference_of"]


def grid_of(parties: Parties, *, reachable: Callable[[str, str], bool] | None = None) -> InlineGrid:
    """Connect a ServerApp to the holders.

    Args:
        parties: Everybody.
        reachable: See :class:`fedjoint.transport.inline.InlineGrid`.
    """
    holders = {holder.id: holder for holder in parties.holders}
    app = make_client_app(lambda context: holders[str(context.node_config[HOLDER_KEY])])
    return InlineGrid(app, holders, reachable=reachable)


def reference_of(division: Division, terms: Terms) -> ReferenceSet:
    """The exchange's reference set, whose records are known by the holder they come from."""
    return ReferenceSet.of(division.reference, terms, holder_of=division.reference_holder_of)
