from __future__ import annotations

import dataclasses
import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from fedjoint.errors import BudgetExhausted, DataError, PoolError
from fedjoint.runs.notation import cells, epsilon_text, shortened
from fedjoint.runs.report import MetricsReport, Report
from fedjoint.runs.terminal import show_failure, show_report
from tests.runs.test_report_html import HEART, LOCAL, NONE, a_report, paid, uncompared_report

NAMES = st.text(min_size=1, max_size=60)


def printed(report: Report, *, width: int = 80, colour: bool = False) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=colour, color_system="standard" if colour else None)
    show_report(report, console)
    return file.getvalue()


def words(report: Report, *, width: int = 80) -> str:
    return " ".join(printed(report, width=width).split())


def rows_of(report: Report, *, width: int = 80) -> list[str]:
    """The lines with one blank between their words."""
    return [" ".join(line.split()) for line in printed(report, width=width).splitlines()]


def test_the_first_words_are_the_outcome():
    assert words(a_report()).startswith(
        "Four holders trained one model on 722 records (UCI Heart Disease, four hospitals): AUC 0.884 on 313 "
        "reference records, 0.076 above the mean holder alone."
    )


def test_a_difference_too_small_to_print_is_called_level():
    metrics = dataclasses.replace(a_report().metrics, joint={"auc": 0.98551}, local_on_all={"auc": 0.98549})
    assert "AUC 0.986 on 313 reference records, level with the mean holder alone." in words(a_report(metrics=metrics))


def test_a_row_tells_records_auc_epsilon_contribution_share_and_payout():
    rows = rows_of(a_report())
    assert "VA Long Beach 161 0.810 0.830 2.79 -0.0021 0.0 % 0.00" in rows
    assert "Cleveland Clinic 200 0.840 0.860 2.88 0.0400 49.3 % 428,997.00" in rows


def test_a_wide_terminal_shows_accuracy_and_the_exact_value_too():
    rows = rows_of(a_report(), width=120)
    assert "VA Long Beach 161 0.810 0.830 0.747 0.712 2.79 -0.0021 -0.0019 0.0 % 0.00" in rows


def test_a_row_tells_how_far_a_contribution_could_be_off():
    assert "VA Long Beach -0.0021 0.0052 0.0033 0.0040" in rows_of(a_report())
    assert "by privacy noise at most 0.0033, by the choice of reference records at most 0.0040" in words(a_report())


def test_what_was_not_measured_of_the_error_is_said():
    holders = tuple(dataclasses.replace(holder, sampling_error=None) for holder in a_report().holders)
    text = a_report(holders=holders)
    assert "VA Long Beach -0.0021 0.0033 0.0033 n/a" in rows_of(text)
    assert "The choice of reference records adds to that and was not measured: as agreed." in words(text)


def test_an_error_that_is_estimated_from_opened_numbers_says_how_sure_it_is():
    known = a_report().contributions
    report = a_report(contributions=dataclasses.replace(known, error_numbers=8, errors_agreed=True))
    said = "at most 0.0040, estimated from eight opened numbers of each holder and so itself sure to about 25 %;"
    assert said in words(report)
    unknown = tuple(dataclasses.replace(holder, sampling_error=None) for holder in report.holders)
    grown = dataclasses.replace(known, errors_agreed=True)
    assert "the agreed numbers for it were not opened, as they have no room" in words(
        a_report(holders=unknown, contributions=grown)
    )


def test_an_error_of_which_only_a_bound_is_known_is_said_to_be_at_most_that():
    holders = tuple(
        dataclasses.replace(holder, sampling_error=None, sampling_at_most=0.0123) for holder in a_report().holders
    )
    report = a_report(holders=holders)
    assert "VA Long Beach -0.0021 0.0033 0.0033 ≤ 0.0123" in rows_of(report)
    assert "The choice of the records that holders keep out adds at most 0.0123 to that: a bound" in words(report)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "Nobody is paid alike: no two positive contributions differ by less than 1.96 standard errors."),
        (
            {"paid_alike": (("holder-1", "holder-3"), ("holder-2", "holder-4"))},
            "Paid alike (equally, as their contributions differ by less than 1.96 standard errors): Cleveland Clinic, "
            "University Hospital Basel; Hungarian Institute, VA Long Beach.",
        ),
        ({"paid_alike": (("holder-1", "holder-3"),), "materiality": "by_size"}, "Paid alike (by certified records, as"),
        ({"materiality": "off"}, "The agreement pays by the numbers as they are"),
    ],
)
def test_who_is_paid_alike_is_named_and_why(changed, said):
    contributions = dataclasses.replace(a_report().contributions, **changed)
    assert said in words(a_report(contributions=contributions))


def test_models_stand_side_by_side_by_auc_and_accuracy():
    rows = rows_of(a_report())
    for row in (
        "joint model, all reference records 0.884 0.801",
        "pooled records without privacy, the same 0.900 0.820",
        "holders alone (mean), the same 0.808 0.734",
        "joint model, holders' own kind (mean) 0.849 0.817",
        "holders alone, their own kind (mean) 0.840 0.822",
    ):
        assert row in rows


def test_who_loses_by_joining_is_said_and_by_which_metric():
    assert (
        "Loses VA Long Beach loses accuracy (0.747 alone, 0.712 joint), gains AUC (0.810 alone, 0.830 joint); "
        "on 79 reference records. Accuracy alone misleads"
    ) in words(a_report())


def test_nobody_who_loses_is_said_too_and_accuracy_needs_no_word():
    happy = tuple(dataclasses.replace(holder, loses_by=()) for holder in a_report().holders)
    assert "nobody loses by joining" in words(a_report(holders=happy))
    assert "misleads" not in words(a_report(holders=happy))


def test_many_who_lose_are_counted():
    holders = tuple(
        dataclasses.replace(holder, loses_by=("auc",))
        for holder in a_report(tuple(f"H{place}" for place in range(25))).holders
    )
    assert "... and 15 more holders: report.html names all." in words(a_report(holders=holders))


def test_contributions_are_held_against_the_exact_ones():
    assert (
        "Contributions sum to 0.1192 of 0.1193 gained (gap 0.08 %); against exact: rank correlation 1.000, "
        "largest difference 0.00185, misallocated 0.42 %."
    ) in words(a_report())


def test_missing_exact_values_are_said():
    measured = dataclasses.replace(
        a_report().contributions, rank_correlation=None, largest_difference=None, misallocated=None
    )
    assert "no exact values: too many holders to try every coalition." in words(a_report(contributions=measured))


def test_money_privacy_licence_citation_notes_and_left_out_have_a_line_each():
    text = words(a_report())
    for line in (
        "Money 1,000,000.00 CNY = exchange fee 100,000.00 CNY + reserve 30,000.00 CNY + 870,000.00 CNY",
        "Privacy Noise at every holder (mode local): epsilon at most 2.88 of 3 at delta 0.0001, add-or-remove",
        "Licence: CC BY 4.0. Janosi",
        "Note Record 304, labelled Cleveland in the package, is of Hungary: corrected.",
        "Left out Zürich: fewer than 10 training records",
        "Ended all agreed rounds were trained",
    ):
        assert line in text


def test_money_in_suspense_is_said():
    money = dataclasses.replace(a_report().money, distributed_minor=0, suspense_minor=87_000_000)
    assert "870,000.00 CNY in suspense, as nobody's contribution is positive." in words(a_report(money=money))


def test_reproducible_noise_is_said_in_red_and_in_words():
    report = a_report(privacy=dataclasses.replace(LOCAL, insecure_seed=7))
    assert "the noise of this run is reproducible: it protects nobody" in words(report)
    assert "unit: one record. None of this holds, as the noise is reproducible." in words(report)
    assert "\x1b[1;31mprivacy.insecure_seed = 7" in printed(report, colour=True)


def test_a_run_without_privacy_is_said_in_yellow_and_in_words():
    assert "Privacy None: no noise was added." in words(a_report(privacy=NONE))
    assert "\x1b[1;33mPrivacy mode none" in printed(a_report(privacy=NONE), colour=True)


def test_a_number_is_judged_by_r2_and_rmse():
    text = words(a_report(task="number"))
    assert "R² 0.484 on 313 reference records" in text
    assert "loses R² (0.310 alone, 0.290 joint), loses RMSE (54.200 alone, 56.000 joint)" in text
    assert "ccuracy" not in text


def test_a_metric_measured_for_nobody_but_accuracy_leads_with_accuracy():
    report = a_report()
    joint = {"auc": None, "accuracy": 0.8}
    metrics = dataclasses.replace(report.metrics, joint=joint)
    assert "accuracy 0.800 on 313 reference records, 0.066 above" in words(a_report(metrics=metrics))


def test_a_lower_rmse_is_called_better():
    metrics = MetricsReport(
        joint={"r2": None, "rmse": 40.0},
        pooled={"r2": None, "rmse": 39.0},
        local_on_all={"r2": None, "rmse": 42.5},
        local_own={"r2": None, "rmse": 42.0},
        joint_own={"r2": None, "rmse": 40.0},
    )
    text = words(a_report(task="number", metrics=metrics))
    assert "RMSE 40.000 on 313 reference records, 2.500 lower (better) than the mean holder alone" in text


@pytest.mark.parametrize("width", [80, 120])
def test_where_nobody_could_look_at_all_records_no_other_model_is_shown(width):
    text = words(uncompared_report(), width=width)
    assert "AUC 0.884 on 313 reference records." in text
    assert "joint model, all reference records 0.884" in text
    for other in ("alone", "own", "pooled", "exact value", "Loses", "n/a"):
        assert f" {other} " not in text


def test_a_metric_that_cannot_be_measured_is_said():
    nothing = {"auc": None, "accuracy": None}
    metrics = MetricsReport(joint=nothing, pooled=nothing, local_on_all=nothing, local_own=nothing, joint_own=nothing)
    holders = tuple(dataclasses.replace(holder, own_model=nothing, epsilon=None) for holder in a_report().holders)
    text = words(a_report(metrics=metrics, holders=holders))
    assert "how good it is cannot be measured on 313 reference records." in text
    assert "joint model, all reference records not measurable not measurable" in text
    assert "n/a" in text


def test_of_two_hundred_holders_thirty_are_listed_by_contribution():
    lines = printed(a_report(tuple(f"H{place}" for place in range(200)))).splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("───"))
    names = [line.split()[0] for line in lines[start + 1 : start + 32]]
    assert names[:3] == ["H0", "H1", "H2"]
    assert names[-1] == "H199"
    assert lines[start + 16].startswith("... 170 more ...")


@pytest.mark.parametrize("width", [80, 100, 120, 200])
@pytest.mark.parametrize("gross", [0, 100_000_000, 10**15])
def test_no_line_is_wider_than_the_terminal_and_no_amount_is_cut(width, gross):
    report = a_report(money=dataclasses.replace(a_report().money, gross_minor=gross))
    report = dataclasses.replace(report, holders=paid(list(report.holders), gross))
    text = printed(report, width=width)
    assert all(cell_len(line) <= width for line in text.splitlines())
    assert f"{report.holders[0].payout_minor // 100:,}.{report.holders[0].payout_minor % 100:02d}" in text


def test_without_colour_no_escape_is_written():
    assert "\x1b" not in printed(a_report())


@settings(max_examples=30, deadline=None)
@given(name=NAMES)
@example(name="[red]Basel[/red] [link=http://x]")
@example(name="\x1b[2J\x07\u202e\ud800")
@example(name="北京协和医院" * 9)
def test_no_name_is_read_as_markup_or_steers_the_terminal(name):
    data = dataclasses.replace(a_report().data, notes=(name,))
    text = printed(a_report((name, *HEART[1:]), data=data))
    assert not any(character in text for character in "\x1b\x07\x00\u202e\ud800")
    assert text.count("Hungarian Institute") == 2  # in two tables


def test_markup_in_a_name_is_printed_as_it_is():
    assert "[red]Basel[/red]" in printed(a_report(("[red]Basel[/red]", "Zürich")))


def test_a_terminal_that_lacks_letters_shows_question_marks():
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    show_report(a_report(("北京", "Basel")), Console(file=file, width=80))
    file.flush()
    assert b"??" in raw.getvalue()


def test_a_currency_that_is_none_is_refused():
    with pytest.raises(PoolError, match="XXQ"):
        printed(a_report(money=dataclasses.replace(a_report().money, currency="XXQ")))


def failure(message: str, *, colour: bool = False, width: int = 40) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=colour, color_system="standard" if colour else None)
    show_failure(DataError(message, expected="one of: age, sex", remedy="Correct data.target."), console)
    return file.getvalue()


def test_a_failure_is_one_line_with_its_code_and_remedy():
    assert failure("no column 'agee'") == (
        "data.refused: no column 'agee'; expected one of: age, sex. Correct data.target.\n"
    )


def test_a_failure_is_red():
    assert failure("no column").removesuffix("\n") == failure("no column", colour=True).removesuffix("\n").removeprefix(
        "\x1b[1;31m"
    ).removesuffix("\x1b[0m")


def test_a_failure_names_the_code_of_its_own_class():
    file = io.StringIO()
    show_failure(BudgetExhausted("round 3 would cost 3.4"), Console(file=file, width=80))
    assert file.getvalue() == "privacy.budget_exhausted: round 3 would cost 3.4\n"


@given(message=st.text(max_size=200))
@example(message="[bold]x[/bold] [/] \\[")
@example(message="a\nb\r\x1b[2J")
@example(message=":smile: http://x 'quoted' 12")
def test_a_failure_reads_no_markup_and_stays_one_line(message):
    text = failure(message, colour=True)
    assert text.count("\n") == 1
    assert text.count("\x1b") == 2


def test_markup_in_a_failure_is_printed_as_it_is():
    assert "[bold]x[/bold] [/] :smile:" in failure("[bold]x[/bold] [/] :smile:")


@given(text=NAMES, most=st.integers(1, 30))
def test_a_shortened_text_fits_and_a_fitting_one_stays(text, most):
    assert cells(shortened(text, most)) <= most
    assert shortened(text, cells(text) or 1) == text


@given(value=st.floats(0, 1e12))
def test_an_epsilon_is_never_rounded_down(value):
    assert float(epsilon_text(value)) >= value
    assert float(epsilon_text(value)) <= value * 1.011 + 1e-300


def test_an_epsilon_without_a_bound_is_said():
    assert epsilon_text(float("inf")) == "unbounded"
