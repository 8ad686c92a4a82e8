"""The batched networks against torch's own layers, optimiser and early-stopping loop."""

import numpy as np
import pytest
import torch

from mfutils.errors import InputError
from mfutils.study.s03_1 import batched, mlp
from mfutils.study.s03_1 import folds as cv


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    x = rng.random((12, 3))
    y = np.sin(3 * x[:, 0]) + x[:, 1] - 0.5 * x[:, 2] + 0.05 * rng.normal(size=12)
    return x, y


def networks(seed, count, n_inputs, n_hidden):
    """`count` networks drawn one after the other after one seed."""
    torch.manual_seed(seed)
    return [
        torch.nn.Sequential(
            torch.nn.Linear(n_inputs, n_hidden), torch.nn.ELU(), torch.nn.Linear(n_hidden, 1)
        )
        for _ in range(count)
    ]


def adam_loop(network, x, y, held, *, epochs=None, patience=10, learning_rate=1e-3):
    """Sequential training, by a fixed number of epochs or by patience on the held-out rows."""
    x, y = torch.as_tensor(x).float(), torch.as_tensor(y).float()
    held = torch.as_tensor(held)
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
    best, left, epoch = float("inf"), patience, 0
    while epochs is None or epoch < epochs:
        loss = torch.nn.functional.mse_loss(network(x[~held])[:, 0], y[~held])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        epoch += 1
        if epochs is None:
            with torch.no_grad():
                error = (network(x[held])[:, 0] - y[held]).abs().mean().item()
            if error < best:
                best, left = error, patience
            else:
                left -= 1
                if left == 0:
                    break
    with torch.no_grad():
        return epoch, network(x)[:, 0].numpy()


def test_start_weights_are_those_of_sequential_linear_layers():
    ensemble = mlp.initialise([42, 7], per_seed=3)
    assert len(ensemble) == 6
    assert ensemble.n_parameters == 45
    first, w2, b2 = mlp._split(ensemble.parameters, 9, 4)
    w1, b1 = first[:, :-1], first[:, -1]
    for member, network in enumerate([*networks(42, 3, 9, 4), *networks(7, 3, 9, 4)]):
        assert torch.equal(w1[..., member], network[0].weight)
        assert torch.equal(b1[..., member], network[0].bias)
        assert torch.equal(w2[..., member], network[2].weight[0])
        assert torch.equal(b2[member], network[2].bias[0])


def test_initialise_leaves_the_global_random_state_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    mlp.initialise([5])
    assert torch.equal(torch.rand(3), expected)


def test_predictions_and_slopes_match_torch(problem):
    x, _ = problem
    ensemble = mlp.initialise([3], per_seed=4, n_inputs=3, n_hidden=5)
    inputs = torch.as_tensor(x)
    predictions, slopes = ensemble.predict(x), ensemble.slope(x, 1)
    for member, network in enumerate(networks(3, 4, 3, 5)):
        leaf = inputs.clone().requires_grad_()
        output = network.double()(leaf)[:, 0]
        output.sum().backward()
        assert np.allclose(predictions[member], output.detach(), rtol=1e-12, atol=1e-14)
        assert np.allclose(slopes[member], leaf.grad[:, 1], rtol=1e-12, atol=1e-14)
    one = ensemble.select(2)
    assert np.allclose(one.predict(x)[0], predictions[2], rtol=1e-12)
    assert ensemble.predict(x, dtype=torch.float32).dtype == np.float32


def test_slope_matches_differences(problem):
    x, _ = problem
    ensemble = mlp.initialise([3], n_inputs=3)
    shift = np.array([0.0, 0.0, 1e-6])
    difference = (ensemble.predict(x + shift) - ensemble.predict(x - shift)) / 2e-6
    assert np.allclose(ensemble.slope(x, 2), difference, atol=1e-8)


def test_fixed_epochs_match_the_adam_loop(problem):
    x, y = problem
    held_out = cv.leave_one_out(len(y))
    start = mlp.initialise([42], per_seed=len(y), n_inputs=3)
    trained, predictions = mlp.train_fixed(
        start, x, y, epochs=400, held_out=held_out, checkpoints=[0, 100, 400]
    )
    for network, held, ours in zip(
        networks(42, len(y), 3, 4), held_out, predictions[2], strict=True
    ):
        _, theirs = adam_loop(network, x, y, held, epochs=400)
        assert np.allclose(ours, theirs, atol=2e-6)
    assert np.allclose(predictions[0], start.predict(x), atol=1e-6)
    assert np.allclose(predictions[2], trained.predict(x), atol=1e-6)


def test_watched_training_matches_the_sequential_loop(problem):
    """Same stopping epochs as the loop up to float32 rounding, hence the same predictions."""
    x, y = problem
    held_out = cv.leave_one_out(len(y))
    start = mlp.initialise([42], per_seed=len(y), n_inputs=3)
    watched = mlp.train_watched(start, x, y, held_out=held_out)
    ours = np.diagonal(watched.predictions)
    epochs, theirs = [], []
    for i, network in enumerate(networks(42, len(y), 3, 4)):
        epoch, prediction = adam_loop(network, x, y, held_out[i])
        epochs.append(epoch)
        theirs.append(prediction[i])
    assert np.allclose(ours, theirs, atol=2e-4)
    assert np.mean(watched.epochs == epochs) >= 0.7
    assert np.isnan(watched.predictions[~held_out]).all()
    again = np.diagonal(watched.ensemble.predict(x, dtype=torch.float32))
    assert np.allclose(ours, again, atol=1e-6), "the weights kept are those that predicted"


def test_weights_after_the_patience_are_kept_not_the_best(problem):
    """The study's protocol: the last ten epochs did not improve, and still they are kept."""
    x, y = problem
    held_out = cv.leave_one_out(len(y))[:3]
    start = mlp.initialise([42], per_seed=3, n_inputs=3)
    watched = mlp.train_watched(start, x, y, held_out=held_out)
    for member, last in enumerate(watched.epochs):
        _, path = mlp.train_fixed(
            start.select(member),
            x,
            y,
            epochs=int(last),
            held_out=held_out[member : member + 1],
            checkpoints=range(int(last) - 10, int(last) + 1),
        )
        error = np.abs(path[:, 0, member] - y[member])
        assert error.argmin() == 0
        assert np.allclose(watched.predictions[member, member], path[-1, 0, member], atol=1e-6)


def test_members_do_not_disturb_each_other(problem):
    x, y = problem
    held_out = cv.leave_one_out(len(y))
    start = mlp.initialise([1], per_seed=len(y), n_inputs=3)
    together = mlp.train_watched(start, x, y, held_out=held_out)
    alone = mlp.train_watched(start.select(5), x, y, held_out=held_out[5:6])
    assert abs(int(together.epochs[5]) - int(alone.epochs[0])) <= 3
    assert abs(together.predictions[5, 5] - alone.predictions[0, 5]) < 1e-5


def test_held_out_rows_do_not_leak_into_fixed_training(problem):
    x, y = problem
    held_out = np.zeros((1, len(y)), dtype=bool)
    held_out[0, [2, 7]] = True
    spoiled = y.copy()
    spoiled[[2, 7]] = 1e6
    start = mlp.initialise([4], n_inputs=3)
    clean, _ = mlp.train_fixed(start, x, y, epochs=50, held_out=held_out)
    dirty, _ = mlp.train_fixed(start, x, spoiled, epochs=50, held_out=held_out)
    assert torch.equal(clean.parameters, dirty.parameters)


def test_an_epoch_cap_ends_the_watch(problem):
    x, y = problem
    held_out = cv.leave_one_out(len(y))
    start = mlp.initialise([42], per_seed=len(y), n_inputs=3)
    capped = mlp.train_watched(start, x, y, held_out=held_out, max_epochs=15)
    assert capped.epochs.max() <= 15
    assert np.isfinite(np.diagonal(capped.predictions)).all()


def test_batched_adam_is_torch_adam():
    rng = torch.Generator().manual_seed(0)
    ours = torch.randn(5, 3, generator=rng)
    theirs = ours.clone().requires_grad_()
    optimiser = torch.optim.Adam([theirs], lr=0.02)
    batch = batched.Adam(ours, learning_rate=0.02)
    for _ in range(30):
        gradient = torch.randn(5, 3, generator=rng)
        theirs.grad = gradient.clone()
        optimiser.step()
        batch.step(ours, gradient)
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-7)


def test_bad_input_is_named(problem):
    x, y = problem
    start = mlp.initialise([0], n_inputs=3)
    every = np.ones((1, len(y)), dtype=bool)
    with pytest.raises(InputError, match="at least one to train on"):
        mlp.train_fixed(start, x, y, epochs=1, held_out=every)
    with pytest.raises(InputError, match="needs one to watch"):
        mlp.train_watched(start, x, y, held_out=~every)
    with pytest.raises(InputError, match="boolean mask"):
        mlp.train_fixed(start, x, y, epochs=1, held_out=np.zeros((2, len(y)), dtype=bool))
    with pytest.raises(InputError, match="finite"):
        mlp.train_fixed(start, x, np.where(y > 0, np.nan, y), epochs=1)
    with pytest.raises(InputError, match="expected x"):
        mlp.train_fixed(start, x[:, :2], y, epochs=1)
    with pytest.raises(InputError, match="checkpoints"):
        mlp.train_fixed(start, x, y, epochs=5, checkpoints=[6])
    with pytest.raises(InputError, match="increase"):
        mlp.train_fixed(start, x, y, epochs=5, checkpoints=[3, 2])
    with pytest.raises(InputError, match="x must be"):
        start.predict(x[:, :2])
    with pytest.raises(InputError, match="at least one seed"):
        mlp.initialise([])
    with pytest.raises(InputError, match="patience"):
        mlp.train_watched(start, x, y, held_out=~every | (y == y.max()), patience=0)
