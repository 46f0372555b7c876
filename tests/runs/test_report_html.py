from __future__ import annotations

import dataclasses
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedjoint.errors import PoolError
from fedjoint.runs.report import (
    ContributionReport,
    DataReport,
    HolderReport,
    LeftOutReport,
    Metrics,
    MetricsReport,
    MoneyReport,
    PrivacyReport,
    Report,
    RoundReport,
)
from fedjoint.runs.report_html import render_report

HEART = ("Cleveland Clinic", "Hungarian Institute", "University Hospital Basel", "VA Long Beach")
LOCAL = PrivacyReport(mode="local", epsilon=3.0, delta=1e-4, clip_norm=0.25, noise_multiplier=24.1, insecure_seed=None)
NONE = PrivacyReport(mode="none", epsilon=None, delta=None, clip_norm=None, noise_multiplier=None, insecure_seed=None)


def a_holder(place: int, name: str, count: int, task: str = "binary") -> HolderReport:
    """The last of several loses accuracy and was worth less than nothing."""
    last = place == count - 1
    value = -0.0021 if last else 0.06 / (place + 1.5)
    own: Metrics = {"auc": 0.84 - 0.01 * (place % 9), "accuracy": 0.747 if last else 0.80}
    joint: Metrics = {"auc": 0.86 - 0.01 * (place % 9), "accuracy": 0.712 if last else 0.81}
    if task == "number":
        own, joint = {"r2": 0.31, "rmse": 54.2}, {"r2": 0.29 if last else 0.44, "rmse": 56.0 if last else 49.9}
    return HolderReport(
        id=f"holder-{place + 1}",
        name=name,
        num_examples=200 - 13 * (place % 12),
        num_reference=100 - 7 * (place % 12),
        rounds=20,
        epsilon=2.8712 - 0.03 * (place % 7),
        own_model=own,
        own_model_on_all={key: None if number is None else number - 0.04 for key, number in own.items()},
        joint_model=joint,
        loses_by=(("r2", "rmse") if task == "number" else ("accuracy",)) if last else (),
        contribution=value,
        contribution_exact=value * 1.04 + 0.0003,
        share=0.0,
        share_exact="0/1",
        payout_minor=0,
        noise_error=0.003 + 0.0001 * place,
        sampling_error=0.004,
    )


def paid(holders: list[HolderReport], distributed_minor: int) -> tuple[HolderReport, ...]:
    """Shares in whole ten-thousandths, and the money by them; the first takes what is left over."""
    positive = [max(holder.contribution, 0.0) for holder in holders]
    parts = [int(10_000 * value / sum(positive)) for value in positive]
    parts[0] += 10_000 - sum(parts)
    money = [distributed_minor * part // 10_000 for part in parts]
    money[0] += distributed_minor - sum(money)
    return tuple(
        dataclasses.replace(holder, share=part / 10_000, share_exact=f"{part}/10000", payout_minor=amount)
        for holder, part, amount in zip(holders, parts, money, strict=True)
    )


def a_report(names: tuple[str, ...] = HEART, task: str = "binary", **changed: object) -> Report:
    """A run that looks like the four hospitals' one."""
    number = task == "number"
    holders = [a_holder(place, name, len(names), task) for place, name in enumerate(names)]
    first, second = ("r2", "rmse") if number else ("auc", "accuracy")

    def metrics(one: float, two: float) -> Metrics:
        return {first: one - 0.4 * number, second: two + 50 * number}

    rounds = tuple(
        RoundReport(
            round=place,
            auc=None if number else 0.9 - 0.35 / place,
            metrics=metrics(0.9 - 0.35 / place, 0.81 - 0.2 / place),
            loss=0.69 - 0.012 * place,
            contributors=tuple(holder.id for holder in holders[: len(holders) - (place == 7)]),
            refusals={holders[-1].id: "training.stopped"} if place == 7 else {},
        )
        for place in range(1, 21)
    )
    report = Report(
        name="heart-local-1",
        run_id="0f" * 16,
        agreement_sha256="ab" * 32,
        created_at="2026-11-21T19:12:00Z",
        fedjoint_version="0.1.0",
        dataset="heart",
        data=DataReport(
            title="UCI Heart Disease, four hospitals",
            task=task,  # type: ignore[arg-type]
            target="num > 0",
            num_features=23,
            num_reference=313,
            licence="CC BY 4.0",
            citation="Janosi, A., Steinbrunn, W., Pfisterer, M., Detrano, R. (1988). Heart Disease. UCI.",
            notes=("Record 304, labelled Cleveland in the package, is of Hungary: corrected.",),
            left_out=(LeftOutReport(name="Zürich", reason="fewer than 10 training records"),),
        ),
        privacy=LOCAL,
        encryption="BFV, N = 4096, one 60-bit prime, 128-bit security",
        end="all agreed rounds were trained",
        metrics=MetricsReport(
            joint=metrics(0.8841, 0.8012),
            pooled=metrics(0.9002, 0.82),
            local_on_all=metrics(0.8083, 0.734),
            local_own=metrics(0.84, 0.822),
            joint_own=metrics(0.849, 0.817),
        ),
        rounds=rounds,
        holders=paid(holders, 87_000_000),
        utility_gain=0.1193,
        contributions=ContributionReport(
            method="Aumann-Shapley on the ciphertexts",
            total=0.1192,
            gap=0.0008,
            numbers_opened=1,
            openers=("holder-1", "holder-2"),
            rank_correlation=1.0,
            largest_difference=0.00185,
            misallocated=0.0042,
            paid_alike=(),
            materiality="equal",
            materiality_z=1.96,
        ),
        money=MoneyReport(
            currency="CNY",
            gross_minor=100_000_000,
            fee_minor=10_000_000,
            reserve_minor=3_000_000,
            distributed_minor=87_000_000,
            suspense_minor=0,
        ),
        timings_s={"keys": 1.91, "training": 21.4, "valuation": 0.73, "total": 25.2},
        bytes_up_per_round=523_112,
        bytes_down_per_round=262_400,
    )
    return dataclasses.replace(report, **changed)  # type: ignore[arg-type]


#: Elements that HTML never closes.
VOID = {"meta", "br", "hr"}


class Page(HTMLParser):
    """The elements of a page with their attributes, how many are inside pictures, its text, and what was not closed."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.drawn = 0
        self.style = page.decode().split("<style>")[1].split("</style>")[0]
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.drawn += "svg" in self.open
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.drawn += "svg" in self.open

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def page_of(report: Report) -> Page:
    return Page(render_report(report))


@pytest.fixture(scope="module")
def heart() -> Page:
    return page_of(a_report())


def test_the_page_opens_with_the_outcome_in_one_sentence(heart):
    assert (
        "Four holders trained one model on 722 records (UCI Heart Disease, four hospitals): "
        "AUC 0.884 on 313 reference records, 0.076 above the mean holder alone." in heart.words
    )


def test_the_page_is_well_formed_and_in_english(heart):
    assert heart.open == []
    assert heart.all("html") == [{"lang": "en"}]


def test_the_page_asks_no_network_for_anything_and_runs_no_script(heart):
    assert not {tag for tag, _ in heart.elements} & {"script", "link", "img", "iframe", "object", "form", "a"}
    for tag, attributes in heart.elements:
        assert "src" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        assert tag == "svg" or not any("//" in (value or "") for value in attributes.values())
        assert (attributes.get("href") or "#").startswith("#")
    policy = next(meta["content"] for meta in heart.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert (policy or "").startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert "url(" not in heart.style
    assert "@import" not in heart.style


def test_every_picture_has_a_label_and_every_table_a_caption(heart):
    pictures = heart.all("svg")
    assert len(pictures) == len(heart.all("figure")) == len(heart.all("figcaption")) == 4
    assert all(picture["role"] == "img" and picture["aria-label"] for picture in pictures)
    assert len(heart.all("caption")) == len(heart.all("table")) == 3
    assert all("scope" in cell for cell in heart.all("th"))


def test_headings_go_down_by_one_level_at_most(heart):
    levels = [int(tag[1]) for tag, _ in heart.elements if tag in {"h1", "h2", "h3"}]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_no_id_stands_twice_and_what_is_referred_to_exists(heart):
    ids = [attributes["id"] for _, attributes in heart.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = {(attributes["href"] or "")[1:] for tag, attributes in heart.elements if tag == "use"}
    used |= {(attributes["clip-path"] or "")[5:-1] for _, attributes in heart.elements if "clip-path" in attributes}
    assert used <= set(ids)
    assert used


def test_a_row_tells_all_about_a_holder(heart):
    row = "VA Long Beach 161 0.810 0.830 0.747 0.712 ↓ 2.79 \u22120.0021 0.0052 \u22120.0019 0.0 % 0.00 CNY"
    assert row in heart.words


def test_who_loses_is_named_with_what_it_gains_and_why_accuracy_misleads(heart):
    change = "loses accuracy (0.747 alone, 0.712 joint), gains AUC (0.810 alone, 0.830 joint)"
    assert f"VA Long Beach : {change}; on 79 reference records." in heart.words
    assert "Accuracy alone misleads" in heart.words


def test_nobody_who_loses_is_said_too():
    report = a_report()
    happy = tuple(dataclasses.replace(holder, loses_by=()) for holder in report.holders)
    assert "Nobody: for no holder is the joint model worse" in page_of(a_report(holders=happy)).words


def test_a_holder_missing_in_a_round_is_named_with_the_code(heart):
    assert "VA Long Beach : 1 round ( training.stopped )" in heart.words


def test_what_the_shared_key_does_not_protect_is_said(heart):
    assert (
        "A holder that colludes with the coordinator could decrypt another holder's update; what it would then see "
        "is protected only by that holder's local noise." in heart.words
    )


def test_without_noise_the_page_says_so_in_amber_and_claims_no_protection():
    page = page_of(a_report(privacy=NONE))
    assert [box["class"] for box in page.all("div") if "box" in (box.get("class") or "")] == ["box caution"]
    assert "local noise, and in this run there is none." in page.words
    assert "No noise was added: there is no epsilon" in page.words


def test_reproducible_noise_is_said_in_red():
    page = page_of(a_report(privacy=dataclasses.replace(LOCAL, insecure_seed=7)))
    assert [box["class"] for box in page.all("div") if "box" in (box.get("class") or "")] == ["box danger"]
    assert "privacy.insecure_seed = 7: the noise of this run is reproducible: it protects nobody." in page.words


def test_private_noise_needs_no_box(heart):
    assert not [box for box in heart.all("div") if "box" in (box.get("class") or "")]


def test_licence_citation_notes_and_who_was_left_out_are_on_the_page(heart):
    for words in ("CC BY 4.0", "Janosi, A.", "Record 304", "Zürich : fewer than 10 training records"):
        assert words in heart.words


def test_ids_timings_and_how_to_verify_are_on_the_page(heart):
    for words in ("ab" * 32, "0f" * 16, "fedjoint verify runs/heart-local-1", "21.40 s", "523,112 bytes up"):
        assert words in heart.words


def test_a_run_name_with_a_blank_is_quoted_for_the_shell():
    assert "fedjoint verify 'runs/my run'" in page_of(a_report(name="my run")).words


def test_the_money_table_sums_to_gross(heart):
    assert "Exchange fee 100,000.00 CNY" in heart.words
    assert "Gross 1,000,000.00 CNY" in heart.words


def test_money_in_suspense_is_said():
    money = dataclasses.replace(a_report().money, distributed_minor=0, suspense_minor=87_000_000)
    holders = tuple(
        dataclasses.replace(holder, contribution=-1.0, share=0.0, payout_minor=0) for holder in a_report().holders
    )
    words = page_of(a_report(money=money, holders=holders)).words
    assert "870,000.00 CNY in suspense, as nobody's contribution is positive" in words
    assert "Nobody is paid: 870,000.00 CNY of 1,000,000.00 CNY stands in suspense" in words


def uncompared_report() -> Report:
    """As outside a simulation: nobody can train on all records, or see an update in the clear."""
    report = a_report()
    unknown = {"num_reference": None, "own_model": {}, "own_model_on_all": {}, "joint_model": {}, "loses_by": ()}
    holders = tuple(dataclasses.replace(one, contribution_exact=None, **unknown) for one in report.holders)
    measured = dataclasses.replace(
        report.contributions, rank_correlation=None, largest_difference=None, misallocated=None
    )
    return a_report(holders=holders, contributions=measured, metrics=MetricsReport(joint=report.metrics.joint))


def test_missing_exact_values_are_said_and_not_made_up():
    holders = tuple(dataclasses.replace(holder, contribution_exact=None) for holder in a_report().holders)
    measured = dataclasses.replace(
        a_report().contributions, rank_correlation=None, largest_difference=None, misallocated=None
    )
    words = page_of(a_report(holders=holders, contributions=measured)).words
    assert "no exact values: too many holders to try every coalition" in words
    assert "Spearman" not in words
    assert "diamond" not in words


def test_where_nobody_could_look_at_all_records_no_other_model_is_shown():
    words = page_of(uncompared_report()).words
    assert "AUC 0.884 on 313 reference records." in words
    assert "they would take every holder's updates in the clear" in words
    assert "nobody but the holder itself can train on its records" in words
    for other in ("alone", "Pooled", "pooled model", "pooled records", "exact Shapley", "Who loses", "own kind"):
        assert other not in words.replace("would have had alone", "")


def test_a_metric_that_cannot_be_measured_is_said():
    nothing = {"auc": None, "accuracy": None}
    metrics = MetricsReport(joint=nothing, pooled=nothing, local_on_all=nothing, local_own=nothing, joint_own=nothing)
    rounds = tuple(dataclasses.replace(entry, auc=None, metrics=nothing) for entry in a_report().rounds)
    words = page_of(a_report(metrics=metrics, rounds=rounds)).words
    assert "how good it is cannot be measured on 313 reference records." in words
    assert "not measurable" in words


def test_a_number_is_judged_by_r2_and_rmse_and_no_word_of_accuracy():
    words = page_of(a_report(task="number")).words
    assert "R² 0.484 on 313 reference records, 0.076 above the mean holder alone" in words
    assert "RMSE (54.200 alone, 56.000 joint)" in words
    assert "ccuracy" not in words


def test_several_classes_and_two_hundred_holders_make_a_page():
    names = tuple(f"Hospital {place}" for place in range(200))
    page = page_of(a_report(names, task="multiclass"))
    assert page.open == []
    assert all(name in page.words for name in names)
    assert "⋯ 170 between ⋯" in page.words
    assert "one of several classes" in page.words


def test_two_holders_of_one_name_are_told_apart():
    words = page_of(a_report(("Basel", "Basel"))).words
    assert "Basel (holder-1)" in words
    assert "Basel (holder-2)" in words


def test_the_same_report_gives_the_same_bytes():
    assert render_report(a_report()) == render_report(a_report())


@settings(max_examples=5, deadline=None)
@given(text=st.text(min_size=1, max_size=40))
@example(text="<script>alert(1)</script>")
@example(text="\"><img src=x onerror='x'>")
@example(text="{{ 7 * 7 }}{% raw %}")
@example(text="$x_1$ \\frac \x00\x1b[2J\ud800\u202egnp.exe")
def test_no_name_or_note_becomes_markup(heart, text):
    data = dataclasses.replace(a_report().data, title=text, notes=(text,), citation=text, licence=text)
    page = page_of(a_report((text, *HEART[1:]), data=data, name=text, end=text))
    assert page.open == []
    assert len(page.elements) - page.drawn == len(heart.elements) - heart.drawn
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in heart.elements}
    assert not any(character in "".join(page.text) for character in "\x00\x1b\u202e")


def test_a_currency_that_is_none_is_refused():
    money = dataclasses.replace(a_report().money, currency="XXQ")
    with pytest.raises(PoolError, match="XXQ"):
        render_report(a_report(money=money))
