import json

import numpy as np
import pytest

from fedjoint.agreement.canonical import sha256_hex
from fedjoint.agreement.schema import Column, Schema, Target
from fedjoint.agreement.signing import read_agreement
from fedjoint.config import load_config
from fedjoint.data.schema_file import write_schema
from fedjoint.encryption.keys import SecretKey
from fedjoint.errors import DataError, EncryptionError, FedjointError, PoolError, RecordError, TrainingError
from fedjoint.models.vector import load_model
from fedjoint.runs.sentences import outcome, privacy_sentence
from fedjoint.runs.verify import verify_run
from fedjoint.simulation.simulate import simulate
from fedjoint.training.local_update import agreed_module

DATA = ["data=breast_cancer", "training.rounds=4"]


def run(tmp_path, *overrides, **options):
    name = f"run.name=run-{sha256_hex(repr(overrides).encode())[:8]}-{len(list(tmp_path.iterdir()))}"
    config = load_config([*DATA, f"run.folder={tmp_path}", name, *overrides])
    return simulate(config, **options)


def all_pass(folder):
    return all(check.outcome == "passed" for check in verify_run(folder))


def test_a_run_leaves_a_complete_folder_that_verifies(tmp_path):
    done = run(tmp_path)
    found = sorted(path.relative_to(done.folder).as_posix() for path in done.folder.rglob("*") if path.is_file())
    statements = [f"statements/{holder.id}.json" for holder in done.report.holders]
    assert found == sorted(
        [
            "agreement.json",
            "ledger.sqlite",
            "model.safetensors",
            "record.jsonl",
            "report.html",
            "report.json",
            "sums.bin",
            *statements,
        ]
    )
    assert all_pass(done.folder)


@pytest.mark.parametrize("scheme", ["seal", "seeded"])
def test_the_same_seed_gives_the_same_model_and_payouts_without_privacy(tmp_path, scheme):
    one, other = (run(tmp_path, "privacy=none", f"encryption={scheme}", "seed=7") for _ in range(2))
    module = agreed_module(read_agreement((one.folder / "agreement.json").read_bytes()).terms)
    models = [load_model(done.folder / "model.safetensors", module)[0] for done in (one, other)]
    assert models[0].tobytes() == models[1].tobytes()
    payouts = [[holder.payout_minor for holder in done.report.holders] for done in (one, other)]
    assert payouts[0] == payouts[1]
    assert one.report.agreement_sha256 != other.report.agreement_sha256  # fresh keys


def test_both_schemes_give_the_same_model(tmp_path):
    losses = [
        run(tmp_path, "privacy=none", f"encryption={scheme}").report.rounds[-1].loss for scheme in ("seal", "seeded")
    ]
    assert losses[0] == losses[1]


def test_privacy_noise_is_fresh_unless_an_insecure_seed_is_given_and_then_the_report_says_so(tmp_path):
    fresh = [run(tmp_path).report.rounds[-1].loss for _ in range(2)]
    seeded = [run(tmp_path, "privacy.insecure_seed=5").report for _ in range(2)]
    assert fresh[0] != fresh[1]
    assert seeded[0].rounds[-1].loss == seeded[1].rounds[-1].loss
    assert seeded[0].privacy.insecure_seed == 5


def test_the_contributions_sum_to_the_utility_gained_and_rank_as_the_exact_ones(tmp_path):
    for overrides in (["privacy=none"], ["privacy=local", "privacy.insecure_seed=2"]):
        report = run(tmp_path, *overrides).report
        assert report.contributions.gap <= 0.005
        assert report.contributions.rank_correlation == pytest.approx(1.0)
        total = sum(holder.contribution for holder in report.holders)
        assert total == pytest.approx(report.utility_gain, rel=0.005)


@pytest.mark.parametrize("extra", [[], ["training.sampling_rate=0.5"], ["model=mlp", "model.hidden=[4]"]])
def test_mode_joint_trains_values_settles_and_verifies_within_both_epsilons(tmp_path, extra):
    done = run(tmp_path, "privacy=joint", *extra)
    assert all_pass(done.folder)
    for holder in done.report.holders:
        assert 2.0 < holder.epsilon <= 3.0 < holder.epsilon_if_opened <= 8.0
    page = (done.folder / "report.html").read_text()
    assert "If a holder&#39;s own ciphertexts were opened" in page or "If a holder's own ciphertexts" in page


def test_mode_joint_takes_three_quarters_of_the_holders_as_the_fewest_and_may_be_told_otherwise(tmp_path):
    from fedjoint.simulation.simulate import prepare

    terms = prepare(load_config([*DATA, "privacy=joint"])).terms
    assert terms.training.minimum_holders == -(-3 * len(terms.holders) // 4)
    told = prepare(load_config([*DATA, "privacy=joint", "training.minimum_holders=3"])).terms
    assert told.training.minimum_holders == 3


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("privacy.colluders=null", "privacy.colluders is missing"),
        ("privacy.epsilon_if_opened=null", "privacy.epsilon_if_opened or privacy.delta is missing"),
        ("training.local_steps=2", "several local steps do not add up"),
        ("encryption.bound=1e5", "bits a value"),
    ],
)
def test_what_mode_joint_cannot_do_is_refused_in_words(tmp_path, override, words):
    with pytest.raises(FedjointError, match=words):
        run(tmp_path, "privacy=joint", override)


def test_words_without_room_to_measure_contributions_are_refused_before_anybody_signs():
    from fedjoint.simulation.simulate import prepare

    overrides = ["privacy=none", "model=mlp", "model.hidden=[4096]", "encryption.value_bits=24"]
    with pytest.raises(FedjointError, match="leave no room to measure contributions"):
        prepare(load_config([*DATA, *overrides, "training.rounds=10000"]))


def test_the_money_adds_up_to_the_minor_unit(tmp_path):
    report = run(tmp_path, "money.revenue=999999.97").report
    money = report.money
    assert money.gross_minor == 99_999_997
    assert money.fee_minor + money.reserve_minor + money.distributed_minor + money.suspense_minor == money.gross_minor
    assert sum(holder.payout_minor for holder in report.holders) == money.distributed_minor
    assert all(holder.payout_minor == 0 for holder in report.holders if holder.contribution <= 0)


def test_epsilon_of_each_holder_stays_within_the_agreed_one_and_grows_over_rounds(tmp_path):
    done = run(tmp_path, "privacy.epsilon=2")
    assert all(1.9 < holder.epsilon <= 2 for holder in done.report.holders)
    events = [json.loads(line) for line in (done.folder / "record.jsonl").read_text().splitlines()]
    spent = [
        next(iter(event["body"]["receipts"].values()))["epsilon"] for event in events if event["type"] == "round.summed"
    ]
    assert spent == sorted(spent) and len(set(spent)) == 4


def test_a_budget_that_ends_early_ends_the_run_with_the_model_so_far(tmp_path):
    done = run(tmp_path, "privacy.noise_multiplier=5", "privacy.epsilon=1.5", "training.rounds=50")
    assert 1 <= len(done.report.rounds) < 50
    assert "privacy.budget_exhausted" in done.report.end
    assert all(holder.epsilon <= 1.5 for holder in done.report.holders)
    assert all_pass(done.folder)


def test_a_budget_too_small_for_a_single_round_is_an_error_in_words(tmp_path):
    with pytest.raises(TrainingError, match=r"(?s)no round could be trained.*privacy\.epsilon"):
        run(tmp_path, "privacy.noise_multiplier=0.5", "privacy.epsilon=0.1", "privacy.sizes_noise_multiplier=null")
    assert list(tmp_path.iterdir()) == []


def test_a_holder_that_vanishes_after_the_second_round_does_not_stop_the_run(tmp_path):
    trained = []

    def reachable(holder, message_type):
        trained.extend([holder] if message_type == "train" else [])
        return holder != "holder-b" or trained.count(holder) <= 2

    report = (done := run(tmp_path, "privacy=none", reachable=reachable)).report
    assert [len(entry.contributors) for entry in report.rounds] == [4, 4, 3, 3]
    assert [entry.refusals for entry in report.rounds][2:] == [{"holder-b": "holder.unreachable"}] * 2
    assert [holder.rounds for holder in report.holders] == [4, 2, 4, 4]
    assert all_pass(done.folder)


def test_too_few_holders_end_the_run_in_words(tmp_path):
    with pytest.raises(TrainingError, match="holders take part"):
        run(tmp_path, reachable=lambda holder, _: holder == "holder-a")


def test_an_existing_run_is_not_overwritten(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(RecordError, match="exists"):
        simulate(load_config([*DATA, f"run.folder={tmp_path}", "run.name=taken"]))


def test_a_malformed_revenue_is_refused_before_training(tmp_path):
    with pytest.raises(PoolError):
        run(tmp_path, "money.revenue=12.345")


def test_an_mlp_trains_values_and_settles_too(tmp_path):
    report = run(tmp_path, "model=mlp", "privacy=none").report
    assert report.contributions.gap < 0.005
    assert report.metrics.joint["auc"] > 0.9


def table(tmp_path, rows, header="site,age,colour,outcome"):
    path = tmp_path / "table.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return [
        "data=table",
        f"data.path={path}",
        "data.holder=site",
        "data.target=outcome",
        "training.rounds=2",
        "data.minimum_examples=5",
    ]


def rows(outcome, sites=3, each=30, seed=0):
    chance = np.random.default_rng(seed)
    return [
        f"Site {site},{chance.integers(20, 90)},{chance.choice(['red', 'blue', ''])},{outcome(chance)}"
        for site in range(sites)
        for _ in range(each)
    ]


@pytest.mark.parametrize(
    ("outcome", "metric"),
    [
        (lambda chance: chance.integers(0, 2), "auc"),
        (lambda chance: chance.choice(["low", "middle", "high"]), "auc"),
        (lambda chance: round(chance.normal(), 3), "r2"),
    ],
    ids=["binary", "multiclass", "number"],
)
def test_any_table_with_a_holder_column_runs_end_to_end(tmp_path, outcome, metric):
    overrides = table(tmp_path, rows(outcome))
    done = simulate(load_config([*overrides, f"run.folder={tmp_path / 'runs'}"]))
    assert metric in done.report.metrics.joint
    assert done.report.contributions.gap is not None
    assert any("read off" in note for note in done.report.data.notes)
    assert all_pass(done.folder)


def test_many_small_holders_run_and_too_small_ones_are_listed(tmp_path):
    lines = [*rows(lambda chance: chance.integers(0, 2), sites=30, each=12), "Tiny,50,red,1", "Tiny,51,blue,0"]
    overrides = table(tmp_path, lines)
    report = simulate(load_config([*overrides, f"run.folder={tmp_path / 'runs'}"])).report
    assert len(report.holders) == 30
    assert [one.name for one in report.data.left_out] == ["Tiny"]
    assert all(holder.contribution_exact is None for holder in report.holders)
    assert report.contributions.rank_correlation is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["data.path=/nowhere/patients.csv"], "patients.csv"),
        (["data.target=death"], "death"),
        (["data.holder=hospital"], "hospital"),
        (["data.minimum_examples=1000"], "0 of 3 holders"),
    ],
    ids=["missing file", "wrong target", "wrong holder column", "empty holders"],
)
def test_bad_data_is_met_with_words(tmp_path, change, words):
    overrides = table(tmp_path, rows(lambda chance: chance.integers(0, 2)))
    with pytest.raises(FedjointError, match=words):
        simulate(load_config([*overrides, *change, f"run.folder={tmp_path / 'runs'}"]))
    assert not (tmp_path / "runs").exists()


def test_one_class_only_is_met_with_words(tmp_path):
    overrides = table(tmp_path, rows(lambda _: 1))
    with pytest.raises(DataError, match=r"class|value"):
        simulate(load_config([*overrides, f"run.folder={tmp_path / 'runs'}"]))


def test_numbers_that_are_not_finite_are_met_with_words(tmp_path):
    lines = rows(lambda chance: chance.integers(0, 2))
    lines[3] = lines[3].replace(lines[3].split(",")[1], "inf", 1)
    overrides = table(tmp_path, lines)
    with pytest.raises(DataError, match="age"):
        simulate(load_config([*overrides, f"run.folder={tmp_path / 'runs'}"]))


@pytest.mark.parametrize("shares", ["by_size", "equal"])
def test_contributions_that_are_not_measured_leave_room_in_the_words_and_a_run_that_verifies(tmp_path, shares):
    agreed = ["privacy=local", "encryption=seeded"]
    done = run(tmp_path, "valuation=none", f"valuation.unmeasured={shares}", *agreed)
    terms = read_agreement((done.folder / "agreement.json").read_bytes()).terms
    assert terms.encryption.values_per_word > 1
    assert {h.id: h.contribution for h in done.report.holders} == terms.unmeasured_shares
    assert done.report.contributions.method.startswith("not measured: shares ")
    assert all_pass(done.folder)
    measured = run(tmp_path, *agreed)
    assert done.report.bytes_up_per_round < measured.report.bytes_up_per_round


@pytest.mark.parametrize("end", ["whole", "broken"])
def test_every_key_is_wiped_at_the_end_however_it_came_about(tmp_path, monkeypatch, end):
    keys = []
    make = SecretKey.__init__

    def remember(self, *arguments):
        make(self, *arguments)
        keys.append(self)

    monkeypatch.setattr(SecretKey, "__init__", remember)
    if end == "whole":
        run(tmp_path)
    else:
        with pytest.raises(TrainingError):
            run(tmp_path, reachable=lambda holder, kind: kind != "train")
    assert keys
    for key in keys:
        with pytest.raises(EncryptionError, match="was wiped"):
            key.pack()


def stays(path, count=240):
    """Like hospital stays: some patients have many, and what is predicted goes with the patient."""
    rng = np.random.default_rng(5)
    lines = ["hospital,patient,age,days,died"]
    for patient in range(count):
        severity = rng.normal()
        for _ in range(rng.integers(1, 7)):
            died = int(severity + rng.logistic() > 0.5)
            lines.append(f"H{patient % 3},p{patient},{60 + 8 * severity:.1f},{rng.integers(1, 20)},{died}")
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("mode", ["joint", "local"])
def test_patients_with_many_records_are_counted_protected_and_reported_as_units(tmp_path, mode):
    path = tmp_path / "stays.csv"
    stays(path)
    schema = Schema(
        columns=(
            Column(name="age", kind="number", center=60.0, scale=8.0),
            Column(name="days", kind="number", center=10.0, scale=5.0),
        ),
        target=Target(name="died", task="binary", classes=("0", "1")),
    )
    write_schema(schema, tmp_path / "schema.yaml")
    columns = ["data=table", f"data.path={path}", "data.holder=hospital", "data.target=died", "data.patient=patient"]
    columns.append(f"data.schema={tmp_path / 'schema.yaml'}")
    config = load_config(
        [
            *columns,
            f"run.folder={tmp_path}",
            "run.name=stays",
            f"privacy={mode}",
            "privacy.unit=patient",
            "training.rounds=4",
        ]
    )
    done = simulate(config)
    assert all_pass(done.folder)
    stated = [holder.num_examples for holder in done.report.holders]
    assert stated == pytest.approx([53] * 3, abs=12 * done.report.privacy.sizes_noise_sd)
    assert done.report.privacy.unit == "patient"
    assert f"on about {sum(stated)} patients" in outcome(done.report)
    assert "unit: one patient" in privacy_sentence(done.report)
    assert "per patient (add-or-remove" in (done.folder / "statements" / "h0.json").read_text()
