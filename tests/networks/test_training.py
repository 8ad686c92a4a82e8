"""Training: what is kept, what is stored, what is refused, and that a seed fixes every number."""

import dataclasses
import math
import os
import pickle
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from crystal_examples import KINDS, random_crystal
from torch.optim import lr_scheduler

from mfutils import paths
from mfutils.crystals.graph_data import build_dataset
from mfutils.errors import DataError, InputError
from mfutils.networks.cgcnn import CGCNN
from mfutils.networks.labels import Labels, TargetScaler
from mfutils.networks.trained_model import TrainedModel, load_model
from mfutils.networks.training import DivergenceError, Settings, fit

CRYSTALS = [random_crystal(seed, kind) for seed in range(12) for kind in KINDS]
DATASET = build_dataset(CRYSTALS, cutoff=8.0, max_neighbors=12, progress=False)
# a target that a graph network can learn: mean atomic number, and how crowded the cell is
TARGET = np.array([c.numbers.mean() / 30 + 20 * len(c) / c.volume for c in CRYSTALS])
ROWS = np.random.default_rng(0).permutation(len(CRYSTALS))
TRAIN, VALIDATION = Labels(ROWS[:44], TARGET[ROWS[:44]]), Labels(ROWS[44:], TARGET[ROWS[44:]])
QUICK = Settings(epochs=8, patience=8, batch_size=16, learning_rate=0.05)


def small(seed=0, **options):
    return CGCNN(seed=seed, features=16, convolutions=1, hidden=16, **options)


def train(settings=QUICK, seed=0, train=TRAIN, validation=VALIDATION, **options):
    return fit(
        small(seed), DATASET, train, validation, settings=settings, progress=False, **options
    )


# --- learning ------------------------------------------------------------------------------------


def test_it_learns_and_keeps_the_best_weights():
    settings = dataclasses.replace(QUICK, epochs=60, patience=60)
    trained = train(settings)
    mae = trained.history["validation_mae"]
    naive = np.abs(VALIDATION.target - np.median(TRAIN.target)).mean()
    assert min(mae) < 0.85 * naive
    assert np.abs(trained.predict(DATASET, TRAIN.index) - TRAIN.target).mean() < 0.6 * naive
    assert trained.best_epoch == int(np.argmin(mae))
    predicted = trained.predict(DATASET, VALIDATION.index)
    assert np.abs(predicted - VALIDATION.target).mean() == pytest.approx(min(mae), rel=1e-6)
    assert trained.validation_mae == min(mae)


def test_patience_stops_after_that_many_epochs_without_improvement():
    settings = dataclasses.replace(QUICK, epochs=400, patience=5, learning_rate=0.2)
    trained = train(settings)
    mae = trained.history["validation_mae"]
    assert len(mae) == trained.best_epoch + 1 + 5 < 400
    assert min(mae[-5:]) >= min(mae[:-5])


def test_without_validation_the_last_weights_are_kept():
    trained = train(validation=None)
    assert trained.best_epoch == QUICK.epochs - 1
    assert math.isnan(trained.history["validation_mae"][-1])


def test_predictions_are_in_the_unit_of_the_target():
    shifted = [Labels(s.index, 1000 + 50 * s.target) for s in (TRAIN, VALIDATION)]
    plain, other = train(), train(train=shifted[0], validation=shifted[1])
    np.testing.assert_allclose(
        other.predict(DATASET), 1000 + 50 * plain.predict(DATASET), rtol=0, atol=0.05
    )
    z = plain.predict(DATASET, standardised=True)
    np.testing.assert_allclose(
        plain.predict(DATASET), TRAIN.target.mean() + TRAIN.target.std(ddof=1) * z, rtol=1e-12
    )


def test_same_seed_same_numbers_and_two_seeds_differ():
    a, b = train(), train()
    assert a.history == b.history
    assert np.array_equal(a.predict(DATASET), b.predict(DATASET))
    order = train(dataclasses.replace(QUICK, seed=1))
    assert order.history["train_loss"] != a.history["train_loss"]
    weights = train(seed=1)
    assert weights.history["train_loss"] != a.history["train_loss"]


def test_an_epoch_equals_a_loop_written_with_torch():
    """Against torch's own optimiser and scheduler, batch by batch."""
    settings = Settings(
        epochs=6, patience=6, batch_size=16, learning_rate=0.05, milestones=(2, 4), momentum=0.8
    )
    trained = train(settings)
    model = small()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.8)
    scheduler = lr_scheduler.MultiStepLR(optimiser, [2, 4], gamma=0.1)
    mean, std = TRAIN.target.mean(), TRAIN.target.std(ddof=1)
    rates, losses = [], []
    for epoch in range(6):
        order = np.random.default_rng([0, epoch]).permutation(44)
        rates.append(optimiser.param_groups[0]["lr"])
        total = 0.0
        for rows in (order[:16], order[16:32], order[32:]):
            batch = DATASET.batch(TRAIN.index[rows]).to_torch()
            z = torch.from_numpy((TRAIN.target[rows] - mean) / std).float()
            loss = ((model(batch) - z) ** 2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(rows)
        losses.append(total / 44)
        scheduler.step()
    np.testing.assert_allclose(trained.history["learning_rate"], rates, rtol=1e-12)
    np.testing.assert_allclose(trained.history["train_loss"], losses, rtol=1e-5)


def test_cosine_schedule_equals_torch():
    settings = Settings(epochs=20, schedule="cosine", learning_rate=0.3)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=0.3)
    scheduler = lr_scheduler.CosineAnnealingLR(optimiser, T_max=20)
    for epoch in range(20):
        assert settings.rate(epoch) == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    warm = dataclasses.replace(settings, warmup=0.25)
    assert warm.rate(2.5) == pytest.approx(0.15)
    assert warm.rate(5) == pytest.approx(0.3)
    assert warm.rate(20) == pytest.approx(0.0)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize("loss", ["mae", "huber"])
def test_other_optimisers_and_losses_learn(optimizer, loss):
    settings = Settings(
        epochs=25, optimizer=optimizer, loss=loss, learning_rate=0.01, batch_size=16, clip=5.0,
        schedule="cosine",
    )  # fmt: skip
    history = train(settings).history
    assert history["train_loss"][-1] < 0.5 * history["train_loss"][0]


def test_weights_of_zero_are_as_if_the_sample_were_absent():
    """Full batches without batch normalisation in play would be equal; here the gradient is."""
    weight = np.ones(44)
    weight[10:] = 0.0
    settings = dataclasses.replace(QUICK, epochs=1, batch_size=64)
    scaler = TargetScaler(1.0, 1.0)
    wrong = TRAIN.target.copy()
    wrong[10:] += 1e3
    losses = [
        train(settings, train=Labels(TRAIN.index, y, weight=weight), scaler=scaler)
        for y in (TRAIN.target, wrong)
    ]
    assert losses[0].history["train_loss"] == losses[1].history["train_loss"]
    assert np.array_equal(losses[0].predict(DATASET), losses[1].predict(DATASET))


def test_several_fidelities_in_one_model():
    names = np.where(np.arange(44) % 2 == 0, "low", "high")
    target = TRAIN.target + (names == "high") * 2.0
    both = Labels(TRAIN.index, target, names)
    check = Labels(VALIDATION.index, VALIDATION.target, np.full(len(VALIDATION), "low"))
    settings = dataclasses.replace(QUICK, epochs=60, patience=60)
    model = small(fidelities=("low", "high"))
    trained = fit(model, DATASET, both, check, settings=settings, progress=False)
    low, high = (trained.predict(DATASET, fidelity=name) for name in ("low", "high"))
    assert np.mean(high - low) == pytest.approx(2.0, abs=0.6)
    with pytest.raises(InputError, match="no fidelity given"):
        trained.predict(DATASET)
    with pytest.raises(InputError, match="unknown fidelity 'exp'"):
        trained.predict(DATASET, fidelity="exp")


# --- files ---------------------------------------------------------------------------------------


def test_a_saved_model_comes_back_whole(tmp_path):
    path = tmp_path / "model.pt"
    trained = train(target="band gap", unit="eV")
    trained.save(path)
    again = load_model(path, cutoff=8.0, max_neighbors=12, target="band gap", unit="eV")
    assert np.array_equal(again.predict(DATASET), trained.predict(DATASET))
    assert (again.target, again.unit, again.scaler) == ("band gap", "eV", trained.scaler)
    assert again.history == trained.history
    trained.save(tmp_path / "twin.pt")
    assert path.read_bytes() == (tmp_path / "twin.pt").read_bytes()
    assert torch.load(path, weights_only=True)["config"]["cutoff"] == 8.0


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"cutoff": 5.0}, "cutoff is 8.0, expected 5.0"),
        ({"max_neighbors": None}, "max_neighbors is 12, expected None"),
        ({"fidelities": ["pbe"]}, r"fidelities is \(\), expected \('pbe',\)"),
        ({"architecture": "megnet"}, "architecture is 'cgcnn', expected 'megnet'"),
        ({"unit": "meV"}, "unit is 'eV', expected 'meV'"),
    ],
)
def test_a_model_of_another_kind_is_refused(tmp_path, expected, message):
    TrainedModel(small(), TargetScaler(), "band gap", "eV").save(tmp_path / "model.pt")
    with pytest.raises(DataError, match=message) as caught:
        load_model(tmp_path / "model.pt", **expected)
    assert "\n" not in str(caught.value)


def test_graphs_of_another_kind_are_refused():
    other = build_dataset(CRYSTALS[:5], cutoff=6.0, max_neighbors=12, progress=False)
    with pytest.raises(InputError, match=r"graphs have cutoff 6.0, the model was made for 8.0"):
        TrainedModel(small(), TargetScaler()).predict(other)
    with pytest.raises(InputError, match="cutoff"):
        fit(small(), other, TRAIN, None, progress=False)
    other = build_dataset(CRYSTALS[:5], cutoff=8.0, max_neighbors=10, progress=False)
    with pytest.raises(InputError, match="max_neighbors 10, the model was made for 12"):
        TrainedModel(small(), TargetScaler()).predict(other)


class _Bomb:
    def __reduce__(self):
        return os.system, ("touch exploded",)


def test_no_code_from_a_file_is_run_and_damage_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pt"
    torch.save({"format": "mfutils graph model 1", "state": _Bomb()}, path)
    with pytest.raises(DataError, match=r"holds more than tensors|unreadable"):
        load_model(path)
    path.write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(DataError):
        load_model(path)
    assert not (tmp_path / "exploded").exists()
    TrainedModel(small(), TargetScaler()).save(path)
    whole = path.read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError) as caught:
            load_model(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="no such file"):
        load_model(tmp_path / "absent.pt")
    torch.save({"a": 1}, path)
    with pytest.raises(DataError, match="not a file of the kind"):
        load_model(path)
    content = {"format": "mfutils graph model 1", "architecture": "schnet", "config": {}}
    torch.save(content, path)
    with pytest.raises(DataError, match="unknown architecture 'schnet'"):
        load_model(path)


# --- stopping and going on -----------------------------------------------------------------------


def test_a_stopped_run_goes_on_to_the_same_numbers(tmp_path):
    path = tmp_path / "run.pt"
    settings = dataclasses.replace(QUICK, epochs=12, patience=12, optimizer="adam")
    whole = train(settings)

    class Stopped(Exception):
        pass

    class Fragile(CGCNN):
        calls = 0

        def forward(self, *arguments):
            Fragile.calls += 1
            if Fragile.calls == 30:
                raise Stopped
            return super().forward(*arguments)

    options = {"settings": settings, "progress": False, "checkpoint": path, "checkpoint_every": 0.0}
    model = Fragile(seed=0, features=16, convolutions=1, hidden=16)
    with pytest.raises(Stopped):
        fit(model, DATASET, TRAIN, VALIDATION, **options)
    assert path.exists()
    again = fit(small(), DATASET, TRAIN, VALIDATION, **options)
    assert again.history == whole.history
    assert np.array_equal(again.predict(DATASET), whole.predict(DATASET))
    # finished: nothing is trained a second time
    third = fit(small(), DATASET, TRAIN, VALIDATION, **options)
    assert third.history == whole.history
    for other in (
        lambda: fit(small(1), DATASET, TRAIN, VALIDATION, **options),
        lambda: fit(small(), DATASET, TRAIN.take(slice(0, 40)), VALIDATION, **options),
        lambda: fit(small(), DATASET, TRAIN, VALIDATION, **(options | {"settings": QUICK})),
    ):
        with pytest.raises(InputError, match="checkpoint of another run"):
            other()


KILLED = """
    import os, sys
    sys.path.insert(0, {tests!r})
    import test_training as t
    settings = t.dataclasses.replace(t.QUICK, epochs=20, patience=20)
    print("ready", flush=True)
    t.train(settings, checkpoint={path!r}, checkpoint_every=0.0)
"""


def test_a_killed_process_leaves_a_checkpoint_that_can_be_read(tmp_path):
    path = tmp_path / "run.pt"
    code = textwrap.dedent(KILLED.format(tests=str(Path(__file__).parent), path=str(path)))
    places = os.pathsep.join(map(str, (paths.ROOT, paths.ROOT / "tests")))
    environment = os.environ | {"PYTHONPATH": places}
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    while process.poll() is None and not path.exists():
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    epoch = torch.load(path, weights_only=True)["epoch"]
    assert 1 <= epoch < 20
    settings = dataclasses.replace(QUICK, epochs=20, patience=20)
    again = train(settings, checkpoint=path)
    assert again.history == train(settings).history


# --- faults --------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_stops_with_the_cause():
    # plain SGD without normalised sums runs away at such a rate
    settings = dataclasses.replace(QUICK, learning_rate=1e6, standardise=False)
    with pytest.raises(DivergenceError, match="lower the learning rate") as caught:
        train(settings)
    assert "epoch" in str(caught.value)
    assert "\n" not in str(caught.value)
    model = small()
    with torch.no_grad():
        model.hidden[0].weight[0, 0] = torch.nan
    with pytest.raises(DivergenceError, match=r"weights of hidden.0.weight are not finite"):
        fit(model, DATASET, TRAIN, VALIDATION, settings=QUICK, progress=False)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Labels([0, 1], [1.0]), r"2 graphs but targets of shape \(1,\)"),
        (lambda: Labels([], []), "no samples"),
        (lambda: Labels([0, 1], [1.0, math.nan]), "the first in row 1"),
        (lambda: Labels([-1, 1], [1.0, 2.0]), "index -1 is negative"),
        (lambda: Labels([0.5], [1.0]), "expected whole numbers"),
        (lambda: Labels([0, 1], [1.0, 2.0], weight=[1.0, -1.0]), "at least 0"),
        (lambda: Labels([0, 1], [1.0, 2.0], fidelity=["pbe"]), "one each"),
        (lambda: TargetScaler.fit(np.ones(5)), "all 5 training targets equal 1"),
        (lambda: Settings(optimizer="lion"), "optimizer is 'lion'; expected one of sgd"),
        (lambda: Settings(schedule="linear"), "schedule is 'linear'"),
        (lambda: Settings(loss="mape"), "loss is 'mape'"),
        (lambda: Settings(epochs=0), "epochs is 0"),
        (lambda: Settings(batch_size=2.5), "batch_size is 2.5"),
        (lambda: Settings(learning_rate=-1.0), "learning_rate is -1.0"),
        (lambda: Settings(warmup=1.0), "warmup is 1.0"),
        (lambda: train(train=Labels([0], [1.0])), "1 training sample"),
        (lambda: train(train=Labels([0, 99], [1.0, 2.0])), "training sample points to graph 99"),
        (lambda: train(validation=Labels([70], [1.0])), "validation sample points to graph 70"),
        (
            lambda: train(train=Labels([0, 1], [1.0, 2.0], ["pbe", "pbe"])),
            "fidelity is given, but the model knows none",
        ),
        (lambda: load_model("m.pt", colour="red"), "colour cannot be checked"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
