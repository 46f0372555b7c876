"""The same run through the real Flower apps as without them."""

from dataclasses import replace

import pytest

from tests.fakes import SIZES, complete, complete_over_grid, make_consortium

ALL = ("ahus", "bern", "cork")


def silent_in_round(number, *holders):
    """Nodes that no training task of one round reaches: they are counted, as the Grid reads no bodies."""
    tasks = dict.fromkeys(SIZES, 0)

    def reachable(holder, message_type):
        tasks[holder] += message_type == "train"
        return not (holder in holders and message_type == "train" and tasks[holder] == number)

    return reachable


@pytest.mark.parametrize("scheme", ["seal", "seeded"])
def test_apps_and_wire_change_nothing(scheme):
    agreed = {"encryption": replace(make_consortium().terms.encryption, scheme=scheme)}
    over_grid, _ = complete_over_grid(make_consortium(**agreed))
    direct = complete(make_consortium(**agreed))
    assert over_grid.models[-1].tobytes() == direct.models[-1].tobytes()
    assert over_grid.contributors == [ALL] * 3
    assert over_grid.contributions.by_holder == pytest.approx(direct.contributions.by_holder, rel=1e-9)


def test_a_holder_that_the_grid_loses_in_a_round_is_left_out_and_comes_back():
    run, _ = complete_over_grid(make_consortium(), reachable=silent_in_round(2, "bern"))
    assert run.contributors == [ALL, ("ahus", "cork"), ALL]
    assert run.rounds[1].refusals["bern"].code == "holder.unreachable"


def test_a_holder_whose_software_breaks_in_a_round_is_left_out_and_comes_back():
    class Broken:
        def __init__(self, holder):
            self.holder, self.rounds = holder, 0

        def answer(self, kind, parcel):
            self.rounds += kind == "train"
            if kind == "train" and self.rounds == 2 and self.holder.id == "bern":
                raise MemoryError("row 17")
            return self.holder.answer(kind, parcel)

    run, _ = complete_over_grid(make_consortium(), wrap=Broken)
    assert run.contributors == [ALL, ("ahus", "cork"), ALL]
    assert run.rounds[1].refusals["bern"].message == "MemoryError; see the holder's own log"
