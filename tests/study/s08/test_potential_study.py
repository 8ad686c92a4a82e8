"""The runs of chapter 8: draws that do not overlap, results that fit together."""

import numpy as np
import pytest

from mfutils.errors import InputError
from mfutils.study.s08.configurations import draw
from mfutils.study.s08.network_study import network
from mfutils.study.s08.potential_study import active, gaussian_process

SMALL = {"cutoff": 4.0, "n_max": 3, "l_max": 2}


def test_draws_do_not_overlap():
    train, rows = draw("Si", seed=3, train=20, held=10)
    held = [r.id for r in rows if r.split == "train"]
    assert len(train) == 20
    assert len(held) == 10
    assert not set(held) & set(train["id"])
    assert sum(r.split == "test" for r in rows) == 25
    smaller, _ = draw("Si", seed=3, train=5, held=10)
    assert list(smaller["id"]) == list(train["id"][:5])
    with pytest.raises(InputError, match="its training part has 214"):
        draw("Si", seed=0, train=210, held=10)


def test_potentials_fit_together():
    result = gaussian_process(
        element="Si", seed=0, sizes=[6, 12], inducing=[20, 40], held=2, train_atoms=6,
        eval_atoms=2, soap=SMALL,
    )  # fmt: skip
    truth = result.evaluation
    assert truth.held.sum() == 2
    assert [(m.size, m.with_forces) for m in result.models] == [
        (6, False), (6, True), (12, False), (12, True)
    ]  # fmt: skip
    for model in result.models:
        assert model.force_mean.shape == truth.forces.shape
        assert model.force_cov.shape == (len(truth.forces), 3, 3)
        assert (np.linalg.eigvalsh(model.force_cov) > -1e-12).all()
        assert (model.energy_std > 0).all()
    errors = [np.abs(m.force_mean - truth.forces).mean() for m in result.models]
    assert min(errors) < np.abs(truth.forces).mean()


def test_a_network_is_compared_with_the_same_configurations():
    job = {"element": "Si", "seed": 0, "held": 2, "eval_atoms": 2, "soap": SMALL}
    run = network(
        **job, method="ensemble", train=6, train_atoms=4, members=2, components=6,
        settings={"epochs": 5},
    )  # fmt: skip
    process = gaussian_process(**job, sizes=[6], inducing=[20], train_atoms=4, kinds=[True])
    np.testing.assert_array_equal(run.evaluation.forces, process.evaluation.forces)
    np.testing.assert_array_equal(run.evaluation.energy, process.evaluation.energy)
    assert run.force_draws.shape == (2, *run.force_mean.shape)
    assert run.kl is None
    with pytest.raises(InputError, match="method 'guess' is unknown"):
        network(element="Si", seed=0, method="guess")


def test_rounds_count_what_was_chosen():
    played = active(
        element="Si", seeds=[1], pool=12, inducing=20, start=3, batch=2, rounds=2, members=2,
        train_atoms=4, soap=SMALL,
    )  # fmt: skip
    assert [(r.strategy, r.labels) for r in played] == [
        (strategy, labels) for strategy in ("committee", "random") for labels in (3, 5, 7)
    ]
    assert [sum(r.groups.values()) for r in played] == [3, 2, 2] * 2
