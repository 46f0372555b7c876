"""What does each privacy mode cost in utility? Joint, local and no noise beside each other, on two settings.

    python benchmarks/privacy_utility.py [--quick] [--json FILE]

``heart``: the demo, 920 patients of four hospitals, as ``fedjoint simulate`` trains them; AUC on the reference set.
``fed_heart_disease``: FLamby's 740 patients with the ten columns, rows and train/test split of its benchmark, mean
accuracy of the four centres, beside what FLamby publishes; skipped where FEDJOINT_DATA does not hold its files.

Updates, noise, fixed point and the step on the sum are those of a run. Encryption is left out: decryption is exact, so
it changes no figure. JSON rows: dataset, mode, epsilon, seed, metric, value.
"""

import argparse
import csv
import json
import os
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table as Printed
from sklearn.model_selection import train_test_split

from fedjoint.agreement.schema import Column, Schema, Target
from fedjoint.config import load_config
from fedjoint.data.datasets.dataset import Dataset
from fedjoint.data.datasets.heart import HEART_SCHEMA
from fedjoint.data.division import Division, HolderRecords
from fedjoint.data.encode import encode
from fedjoint.data.records import Table
from fedjoint.encryption.fixed_point import dequantise_sum
from fedjoint.encryption.parameters import agreed_parameters
from fedjoint.models.vector import parameters_to_vector
from fedjoint.simulation.agreeing import bring_together, compose_terms
from fedjoint.simulation.exact import UpdateLog
from fedjoint.simulation.running import reference_of
from fedjoint.simulation.simulate import Prepared, prepare
from fedjoint.simulation.sizes import released_sizes
from fedjoint.training.aggregate import apply_sum
from fedjoint.training.local_update import LocalTrainer, agreed_module, noise_source
from fedjoint.training.optimizer import start_state

Row = dict[str, object]

#: Mode and epsilon; nothing else differs from what a user gets.
DEMO = (("none", None), ("local", 1.0), ("local", 3.0), ("joint", 1.0), ("joint", 3.0))
FLAMBY = (("none", None), ("local", 1.0), ("joint", 1.0))
FLAMBY_DELTA = 1e-4
CENTRES = ("cleveland", "hungarian", "switzerland", "va")
COLUMNS = ("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalch", "exang", "oldpeak")
#: How UCI's files write the categories of these columns.
CODES = {"sex": "01", "cp": "1234", "fbs": "01", "restecg": "012", "exang": "01"}


def train(prepared: Prepared) -> np.ndarray:
    """The final model of a run."""
    terms = prepared.terms
    ids = tuple(sorted(terms.holder_ids))
    trainers = [
        LocalTrainer(terms=terms, holder_id=held.id, examples=held.examples, noise=noise_source(terms.privacy, held.id))
        for held in prepared.division.holders
    ]
    state = start_state(parameters_to_vector(agreed_module(terms)), terms.training)
    for number in range(1, terms.training.rounds + 1):
        levels = np.sum([trainer.levels(state.model, number) for trainer in trainers], axis=0, dtype=np.uint64)
        assert np.isfinite(dequantise_sum(levels, len(ids), agreed_parameters(terms))).all()
        state = apply_sum(state, levels, ids, terms)
    return state.model


def settings(mode: str, epsilon: float | None, seed: int) -> list[str]:
    """Overrides of the shipped configuration."""
    return [f"seed={seed}", f"privacy={mode}", *([] if epsilon is None else [f"privacy.epsilon={epsilon}"])]


def measured(name: str, prepared: Prepared, mode: str, epsilon: float | None, seed: int) -> Iterator[Row]:
    """Train once and give out a row for each metric."""
    reference = reference_of(prepared.division, prepared.terms)
    model = train(prepared)
    homes = [reference.metrics_of(model, holder)["accuracy"] for holder in prepared.terms.holder_ids]
    found = {
        **reference.metrics(model),
        "mean_accuracy_of_holders": statistics.fmean(home for home in homes if home is not None),
    }
    for metric, value in found.items():
        yield {"dataset": name, "mode": mode, "epsilon": epsilon, "seed": seed, "metric": metric, "value": value}


def demo(seeds: Sequence[int]) -> Iterator[Row]:
    """The heart demo with its own settings, on the exchange's reference set; each seed splits anew."""
    for mode, epsilon in DEMO:
        for seed in seeds:
            yield from measured("heart", prepare(load_config(settings(mode, epsilon, seed))), mode, epsilon, seed)


def flamby(folder: Path, seeds: Sequence[int]) -> Iterator[Row]:
    """FLamby's setting: its split is the same for every seed, so seeds differ in the noise alone."""
    dataset, division = flamby_division(folder)
    for mode, epsilon in FLAMBY:
        for seed in seeds:
            delta = [] if epsilon is None else [f"privacy.delta={FLAMBY_DELTA}"]
            config, updates = load_config([*settings(mode, epsilon, seed), *delta]), UpdateLog()
            parties = bring_together(division, observer=updates, sizes=released_sizes(config.privacy, division))
            prepared = Prepared(
                dataset=dataset,
                division=division,
                parties=parties,
                terms=compose_terms(config, dataset, division, parties),
                updates=updates,
                ledgers={},
                gross_minor=0,
            )
            yield from measured("fed_heart_disease", prepared, mode, epsilon, seed)


def flamby_division(folder: Path) -> tuple[Dataset, Division]:
    """FLamby's rows and split; the numbers are scaled by the demo's public constants.

    Source: owkin/FLamby, fed_heart_disease/dataset.py: columns 0 to 9, rows with a missing value dropped, each centre
    split 66 to 34, stratified by class where each has more than two, random_state 43.
    """
    demo_columns = {column.name: column for column in HEART_SCHEMA.columns}
    columns = tuple(
        Column(name=name, kind="category", categories=tuple(CODES[name])) if name in CODES else demo_columns[name]
        for name in COLUMNS
    )
    schema = Schema(columns=columns, target=Target(name="num", task="binary", classes=("0", "1")), origin="published")
    rows, centre_of, train_places, test_places = [], [], [], []
    for centre in CENTRES:
        first, found = len(rows), list(complete_rows(folder / f"processed.{centre}.data"))
        ill = [row[-1] for row in found]
        stratify = ill if min(ill.count("0"), ill.count("1")) > 2 else None
        places = np.arange(len(found))
        train, test = train_test_split(places, test_size=1 - 0.66, train_size=0.66, random_state=43, stratify=stratify)
        rows += found
        centre_of += [centre] * len(found)
        train_places += [first + place for place in sorted(train)]
        test_places += [first + place for place in sorted(test)]
    cells = np.array(rows, dtype=object)
    table = Table(columns={name: cells[:, place] for place, name in enumerate((*COLUMNS, "num"))})
    holder_of = np.array(centre_of, dtype=object)
    dataset = Dataset(name="fed_heart_disease", table=table, holder_of=holder_of, schema=schema)
    examples, mine = encode(table, schema), np.array(train_places)
    holders = tuple(
        HolderRecords(id=centre, name=centre, examples=examples.take(mine[holder_of[mine] == centre]))
        for centre in CENTRES
    )
    division = Division(
        holders=holders,
        reference=examples.take(np.array(test_places)),
        reference_holder_of=holder_of[test_places],
        left_out=(),
        one_class=(),
    )
    return dataset, division


def complete_rows(path: Path) -> Iterator[list[str]]:
    """Ten columns and whether the patient is ill, of each patient for whom all ten are known."""
    for cells in csv.reader(path.read_text().splitlines()):
        kept = cells[: len(COLUMNS)]
        if "?" not in kept:
            yield [*(f"{float(cell):g}" for cell in kept), str(int(float(cells[-1]) > 0))]


def published(folder: Path) -> list[tuple[str, str]]:
    """What FLamby publishes for federated averaging with differential privacy, as lines of the table."""
    with (folder / "flamby_published_dp_results.csv").open() as file:
        rows = list(csv.DictReader(file))
    without = [float(row["perf"]) for row in rows if not row["e"]]
    private = [
        float(row["perf"]) for row in rows if row["e"] and (float(row["e"]), float(row["d"])) == (1.0, FLAMBY_DELTA)
    ]
    return [("FLamby, none", spread(without)), ("FLamby, epsilon 1", spread(private))]


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over the seeds."""
    return f"{statistics.fmean(values):.3f} ± {statistics.stdev(values):.3f}"


def printed(rows: Sequence[Row], title: str) -> Printed:
    """A line for each mode and epsilon, a column for each metric."""
    table = Printed(title=title, box=None)
    metrics = list(dict.fromkeys(str(row["metric"]) for row in rows))
    for head in ("mode", *metrics):
        table.add_column(head.replace("_", " "), no_wrap=True)
    for mode, epsilon in dict.fromkeys((row["mode"], row["epsilon"]) for row in rows):
        mine = [row for row in rows if (row["mode"], row["epsilon"]) == (mode, epsilon)]
        values = ([float(str(row["value"])) for row in mine if row["metric"] == metric] for metric in metrics)
        table.add_row(f"{mode}" + ("" if epsilon is None else f", epsilon {epsilon:g}"), *map(spread, values))
    return table


def mean_of(rows: Sequence[Row], metric: str, mode: str, epsilon: float | None) -> float:
    """Over the seeds."""
    wanted = (metric, mode, epsilon)
    return statistics.fmean(
        float(str(row["value"])) for row in rows if (row["metric"], row["mode"], row["epsilon"]) == wanted
    )


def main() -> None:
    """Measure, print, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two seeds instead of five")
    parser.add_argument("--json", type=Path, help="where to write the rows")
    given = parser.parse_args()
    console, seeds = Console(), range(2 if given.quick else 5)
    rows = list(demo(seeds))
    console.print(printed(rows, "920 patients, reference set, default delta; add-or-remove, per record"))
    lost = mean_of(rows, "auc", "none", None) - mean_of(rows, "auc", "joint", 3.0)
    console.print(f"  joint at epsilon 3: {lost:.3f} AUC below no privacy (target: at most 0.02)")
    folder = Path(os.environ.get("FEDJOINT_DATA", ""), "fed-heart-disease")
    if (folder / "processed.va.data").is_file():
        theirs = list(flamby(folder, seeds))
        console.print(printed(theirs, f"FLamby's 740 patients, test set, delta {FLAMBY_DELTA:g}; add-or-remove"))
        reached = mean_of(theirs, "mean_accuracy_of_holders", "joint", 1.0)
        console.print(f"  joint at epsilon 1: mean accuracy of the four centres {reached:.3f} (target: at least 0.70)")
        for name, words in published(folder):
            console.print(f"  published: {name}: mean accuracy of the four centres {words}")
        rows += theirs
    else:
        console.print("FLamby's setting is skipped: FEDJOINT_DATA names no folder with fed-heart-disease.")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
