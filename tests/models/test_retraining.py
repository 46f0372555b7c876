from dataclasses import replace

import numpy as np
import pytest
import torch

from fedjoint.errors import InvalidValue, TrainingError
from fedjoint.models.coalitions import CoalitionReference
from fedjoint.models.evaluate import loss_gradient, mean_loss
from fedjoint.models.retraining import RetrainingGame, Shard
from fedjoint.models.tasks import task_of

INPUTS, SIZES = 4, (6, 9, 12)
TASK = task_of("multiclass")
COALITIONS = (np.arange(8)[:, None] >> np.arange(3) & 1).astype(bool)


def schedule(place, number):
    order = np.random.default_rng((place, number)).permutation(SIZES[place])
    return [order[:3], order[3:]]


def make_game(**changes):
    generator = np.random.default_rng(0)
    module = torch.nn.Sequential(torch.nn.Linear(INPUTS, 3), torch.nn.Tanh(), torch.nn.Linear(3, 3))
    reference = CoalitionReference(
        module=module, features=generator.normal(size=(10, INPUTS)), targets=generator.integers(0, 3, 10), task=TASK
    )
    shards = tuple(
        Shard(
            features=generator.normal(size=(size, INPUTS)), targets=generator.integers(0, 3, size), weight=float(size)
        )
        for size in SIZES
    )
    start = generator.normal(size=27) / 2
    game = RetrainingGame(
        players=("ahus", "bern", "cork"),
        shards=shards,
        reference=reference,
        start=start,
        rounds=3,
        learning_rate=0.3,
        schedule=schedule,
    )
    return replace(game, **changes)


def worth(game, members):
    """One coalition's training, model by model and step by step, in numpy."""
    model, reference = game.start, game.reference
    for number in range(1, game.rounds + 1):
        trained = []
        for place in members:
            own, shard = model, game.shards[place]
            for chosen in game.schedule(place, number):
                own = own - game.learning_rate * loss_gradient(
                    reference.module, own, features=shard.features[chosen], targets=shard.targets[chosen], task=TASK
                )
            trained.append(own)
        model = np.average(trained, axis=0, weights=[game.shards[place].weight for place in members])
    losses = [
        mean_loss(reference.module, one, features=reference.features, targets=reference.targets, task=TASK)
        for one in (game.start, model)
    ]
    return losses[0] - losses[1]


def test_all_coalitions_at_once_are_worth_what_each_trained_by_itself_is():
    game = make_game()
    found = game.values(COALITIONS)
    assert found[0] == 0
    expected = [worth(game, np.flatnonzero(mask)) for mask in COALITIONS[1:]]
    assert found[1:] == pytest.approx(expected, rel=1e-9) and len(set(expected)) == 7


def test_coalitions_that_do_not_fit_the_memory_are_trained_in_steps_and_told():
    told = []
    game = make_game()
    wide = torch.nn.Sequential(torch.nn.Linear(INPUTS, 2000), torch.nn.Tanh(), torch.nn.Linear(2000, 3))
    reference = replace(game.reference, module=wide, memory_bytes=1 << 22, progress=told.append)
    start = np.zeros(2000 * 5 + 2000 * 3 + 3)
    found = replace(game, reference=reference, start=start, rounds=1).values(COALITIONS)
    assert len(told) > 1 and sum(told) == 8 and np.isfinite(found).all()


def test_trainings_that_run_away_are_refused():
    with pytest.raises(TrainingError, match="no longer finite"):
        make_game(learning_rate=1e308).values(COALITIONS)


def test_players_and_shards_must_fit():
    game = make_game()
    with pytest.raises(InvalidValue, match="2 shards"):
        replace(game, shards=game.shards[:2])
    with pytest.raises(InvalidValue, match="0 rounds"):
        replace(game, rounds=0)
    for change in ({"weight": 0.0}, {"targets": np.zeros(2)}):
        with pytest.raises(InvalidValue, match="records"):
            replace(game.shards[0], **change)
