from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from xml.etree import ElementTree

import matplotlib
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedjoint.errors import PoolError
from fedjoint.pool.money import format_minor, parse_minor
from fedjoint.runs.charts import contributions_chart, epsilon_chart, money_chart, rounds_chart
from fedjoint.runs.picture import BLUE, GREEN, GREY, INK, RED
from fedjoint.runs.report_html import render_report
from tests.runs.test_report_html import LOCAL, NONE, a_report, paid

ALL = (rounds_chart, epsilon_chart, contributions_chart, money_chart)
SIXTY = tuple(f"Hospital of District {place}" for place in range(60))


def texts(svg: str) -> list[str]:
    """What is written in a picture."""
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("}text")]


def title(svg: str) -> str:
    return ElementTree.fromstring(svg).attrib["aria-label"]


def amounts(svg: str, currency: str = "CNY") -> list[int]:
    """The amounts beside the bars: those with two decimals, as the axis has none."""
    return [parse_minor(text, currency) for text in texts(svg) if re.fullmatch(r"[\d,]+\.\d\d", text)]


@pytest.mark.parametrize("chart", ALL)
def test_a_picture_is_one_element_labelled_with_its_finding(chart):
    svg = chart(a_report())
    root = ElementTree.fromstring(svg)
    assert svg.startswith("<svg")
    assert (root.attrib["role"], root.tag) == ("img", "{http://www.w3.org/2000/svg}svg")
    assert title(svg) in " ".join(texts(svg))


@pytest.mark.parametrize("chart", ALL)
def test_a_picture_takes_the_text_colour_of_its_page_and_has_no_ground_of_its_own(chart):
    svg = chart(a_report())
    assert "currentColor" in svg
    assert INK not in svg
    assert "#ffffff" not in svg
    assert "#000000" not in svg


@pytest.mark.parametrize("chart", ALL)
def test_a_picture_asks_for_nothing_from_elsewhere(chart):
    svg = chart(a_report()).replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "http" not in svg
    assert "<style" not in svg
    assert "<script" not in svg


@pytest.mark.parametrize("chart", ALL)
def test_the_same_report_gives_the_same_picture_whatever_the_readers_settings(chart):
    before = chart(a_report())
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "text.parse_math": True}):
        assert chart(a_report()) == before
        assert matplotlib.rcParams["font.size"] == 30


def test_pictures_need_no_pyplot_and_no_display():
    code = "import sys; import fedjoint.runs.charts as c; from fedjoint.runs import picture; " + (
        "picture.draw(lambda axes: None, name='a', title='b', height=2.0, left=1.0, bottom=0.5); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@settings(max_examples=4, deadline=None)
@given(name=st.text(min_size=1, max_size=60))
@example(name="北京协和医院")
@example(name="A$x_1$B \\frac{1}{2} <b>&\"'")
@example(name='id="x" url(#y) \x00\x1b[2J\ud800\u202e')
def test_any_name_makes_a_well_formed_picture_without_a_warning(name):
    for chart in ALL:
        ElementTree.fromstring(chart(a_report((name, "Basel"))))


def test_names_are_written_as_they_are():
    svg = contributions_chart(a_report(("北京协和医院", "A$x_1$B <b>&")))
    assert {"北京协和医院", "A$x_1$B <b>&"} <= set(texts(svg))


def test_the_rounds_say_how_the_last_one_stands_to_pooled_and_alone():
    svg = rounds_chart(a_report())
    assert title(svg) == "AUC 0.883 after 20 rounds: better than the mean holder alone, worse than the pooled model"
    assert {"pooled records: 0.900", "mean holder alone: 0.808", "AUC, all reference records", "round"} <= set(
        texts(svg)
    )


def test_an_rmse_below_is_called_better():
    report = a_report(task="number")
    metrics = dataclasses.replace(report.metrics, joint={"rmse": 4.0}, local_on_all={"rmse": 5.0}, pooled={"rmse": 4.0})
    rounds = (dataclasses.replace(report.rounds[0], metrics={"r2": None, "rmse": 4.0}),)
    svg = rounds_chart(dataclasses.replace(report, metrics=metrics, rounds=rounds))
    assert title(svg) == "RMSE 4.000 after one round: better than the mean holder alone, as good as the pooled model"


@pytest.mark.parametrize("keep", [0, 20])
def test_rounds_without_a_value_are_said(keep):
    rounds = tuple(dataclasses.replace(entry, metrics={"auc": None}) for entry in a_report().rounds[:keep])
    assert title(rounds_chart(a_report(rounds=rounds))) == "AUC by round: no round has a value to show"


def test_a_round_without_a_value_leaves_a_gap():
    first, second, third, *_ = a_report().rounds
    rounds = (first, dataclasses.replace(second, metrics={"auc": None}), third)
    assert title(rounds_chart(a_report(rounds=rounds))).startswith("AUC 0.783 after three rounds")


def test_epsilon_is_drawn_against_the_agreed_budget_and_rounded_up():
    svg = epsilon_chart(a_report())
    assert title(svg) == "No holder spent more epsilon than agreed: at most 2.88 of 3"
    assert "epsilon spent (add-or-remove) at delta 0.0001; dashed: the agreed budget, 3" in texts(svg)
    assert {"2.88", "2.85", "2.82", "2.79"} <= set(texts(svg))


def test_an_epsilon_over_the_budget_is_the_finding():
    assert title(epsilon_chart(a_report(privacy=dataclasses.replace(LOCAL, epsilon=2.85)))) == (
        "One holder spent more epsilon than agreed"
    )


def test_reproducible_noise_is_the_finding():
    privacy = dataclasses.replace(LOCAL, insecure_seed=1)
    assert title(epsilon_chart(a_report(privacy=privacy))) == "The noise is reproducible: these epsilons protect nobody"


def test_without_privacy_there_is_no_epsilon_to_draw():
    assert title(epsilon_chart(a_report(privacy=NONE))) == (
        "No noise was added: there is no epsilon, and no privacy to show"
    )


def test_holders_that_never_took_part_have_no_epsilon_to_draw():
    holders = tuple(dataclasses.replace(holder, epsilon=None) for holder in a_report().holders)
    assert title(epsilon_chart(a_report(holders=holders))) == "No holder spent any epsilon: none took part in a round"


def test_a_negative_contribution_is_drawn_left_of_zero_and_hatched():
    svg = contributions_chart(a_report())
    assert title(svg) == "Cleveland Clinic added most: 0.0400; one holder below zero"
    assert "\u22120.0021" in texts(svg)
    assert svg.count("<pattern") == 1


def test_exact_values_stand_beside_only_where_there_are_any():
    axis = "contribution: fall of the reference loss; whisker: 1.96 standard errors"
    assert f"{axis}; diamond: exact" in texts(contributions_chart(a_report()))
    holders = tuple(dataclasses.replace(holder, contribution_exact=None) for holder in a_report().holders)
    assert axis in texts(contributions_chart(a_report(holders=holders)))


def test_contributions_that_are_all_zero_are_drawn():
    holders = tuple(
        dataclasses.replace(holder, contribution=0.0, contribution_exact=0.0) for holder in a_report().holders
    )
    assert title(contributions_chart(a_report(holders=holders))) == "Nobody's contribution is positive: nobody is paid"


@pytest.mark.parametrize("chart", [epsilon_chart, contributions_chart])
def test_of_sixty_holders_the_highest_and_the_lowest_are_drawn(chart):
    written = texts(chart(a_report(SIXTY)))
    assert sum(text.startswith("Hospital of District") and " added " not in text for text in written) == 30
    assert "⋯ 30 between ⋯" in written


def test_the_waterfall_writes_every_step_and_ends_at_nothing():
    gross, *parts = amounts(money_chart(a_report()))
    assert gross == sum(parts) == 100_000_000
    assert parts[:2] == [10_000_000, 3_000_000]
    assert parts[-1] == 0


def test_the_waterfall_of_sixty_holders_loses_no_money():
    svg = money_chart(a_report(SIXTY))
    gross, *parts = amounts(svg)
    assert gross == sum(parts)
    assert "30 holders between" in texts(svg)


@settings(max_examples=4, deadline=None)
@given(gross=st.integers(0, 10**15), holders=st.integers(2, 40))
@example(gross=0, holders=2)
@example(gross=1, holders=35)
@example(gross=10**15, holders=2)
def test_a_waterfall_of_any_amount_adds_up(gross, holders):
    report = a_report(SIXTY[:holders])
    fee = gross // 10
    money = dataclasses.replace(
        report.money, gross_minor=gross, fee_minor=fee, reserve_minor=0, distributed_minor=gross - fee
    )
    report = dataclasses.replace(report, money=money, holders=paid(list(report.holders), gross - fee))
    # A short axis has decimals too; its labels come before those of the bars.
    written = amounts(money_chart(report))[-(min(holders, 31) + 4) :]
    assert written[0] == sum(written[1:]) == gross


def test_money_in_suspense_is_the_finding():
    money = dataclasses.replace(a_report().money, distributed_minor=0, suspense_minor=87_000_000)
    holders = tuple(dataclasses.replace(holder, payout_minor=0) for holder in a_report().holders)
    svg = money_chart(a_report(money=money, holders=holders))
    assert title(svg) == "Nobody is paid: 870,000.00 CNY of 1,000,000.00 CNY stands in suspense"
    assert amounts(svg)[-1] == 87_000_000


def test_a_currency_without_decimals_is_written_without():
    report = a_report(money=dataclasses.replace(a_report().money, currency="JPY"))
    assert format_minor(100_000_000, "JPY").removesuffix(" JPY") in texts(money_chart(report))


def test_a_currency_that_is_none_is_refused():
    with pytest.raises(PoolError, match="XXQ"):
        money_chart(a_report(money=dataclasses.replace(a_report().money, currency="XXQ")))


def test_long_names_are_cut_in_the_middle_so_that_their_ends_tell_them_apart():
    names = tuple(f"The Great Hospital of the Northern District, ward {ward}" for ward in (1, 2))
    written = texts(contributions_chart(a_report(names)))
    assert {"The Great Hospit… ward 1", "The Great Hospit… ward 2"} <= set(written)


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, contrast ratio."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def schemes() -> list[dict[str, str]]:
    page = render_report(a_report()).decode()
    style = page.split("<style>")[1].split("</style>")[0]
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    return [dict(re.findall(r"--([\w-]+): (#\w{6})", block)) for block in blocks]


def test_text_has_the_contrast_that_wcag_asks_for_on_light_and_on_dark():
    assert len(schemes()) == 2
    for scheme in schemes():
        pairs = [("ink", "page"), ("quiet", "page"), ("ink", "panel"), ("danger", "page")]
        pairs += [("danger", "danger-panel"), ("caution", "caution-panel")]
        assert all(contrast(scheme[one], scheme[other]) >= 4.5 for one, other in pairs)


def test_bars_and_lines_have_the_contrast_that_wcag_asks_for_on_light_and_on_dark():
    for scheme in schemes():
        assert all(contrast(colour, scheme["page"]) >= 3 for colour in (BLUE, RED, GREEN, GREY))
