"""A few thousand of the frames of ``benchmarks/frame_fuzzing.py``, which throws a million."""

import runpy
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "frame_fuzzing.py"


def test_no_mutated_frame_is_accepted_crashes_the_parser_or_costs_much():
    tally = runpy.run_path(str(BENCHMARK))["fuzz"](4_000, seed=7)
    assert tally.accepted_wrongly == 0
    assert tally.other_exceptions == 0
    assert tally.largest_allocation < 1 << 20
    assert len(tally.refusals) > 12
    assert tally.accepted_signed > 0  # what its sender signed as it is, so that the test could see a wrong one
