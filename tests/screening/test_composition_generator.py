"""The masked generator: normalised, always allowed, and it learns; the autoencoder beside it."""

import numpy as np
import pytest
import torch

from mfutils.errors import InputError
from mfutils.screening.composition_generator import CompositionGenerator, fit_generator
from mfutils.screening.composition_space import CompositionSpace
from mfutils.screening.composition_vae import DECODERS, fit_vae


@pytest.fixture(scope="module")
def space():
    return CompositionSpace([1, 2, 3, -1, -2], n_max=6)


@pytest.fixture(scope="module")
def data(space):
    # Species 2 never occurs, so there is something to learn
    rows = np.concatenate([space.enumerate(n) for n in range(2, 7)])
    return np.repeat(rows[rows[:, 2] == 0], 20, axis=0)


@pytest.mark.parametrize("seed", range(3))
def test_probabilities_add_up_to_one_untrained(space, seed):
    model = CompositionGenerator(space, 0, 16, seed)
    for n in range(2, 7):
        listed = space.enumerate(n)
        total = np.exp(model.log_prob(listed)).sum()
        assert total == pytest.approx(1, abs=1e-5)


def test_trained_model_stays_inside_and_learns(space, data):
    model = fit_generator(
        space, data, epochs=20, hidden=32, batch=64, learning_rate=1e-2, seed=1, held_out=data[:30]
    )
    for n in range(2, 7):
        assert np.exp(model.log_prob(space.enumerate(n))).sum() == pytest.approx(1, abs=1e-5)
    drawn_atoms = np.random.default_rng(0).integers(2, 7, 2000)
    drawn = model.sample(drawn_atoms, seed=3)
    assert space.contains(drawn, n_atoms=drawn_atoms).all()
    assert (drawn[:, 2] > 0).mean() < 0.1
    uniform = np.mean([np.log(space.count(int(n))) for n in data.sum(axis=1)])
    assert -model.log_prob(data).mean() < uniform
    assert model.history[-1]["held_out"] == pytest.approx(-model.log_prob(data[:30]).mean())
    np.testing.assert_array_equal(model.sample(drawn_atoms, seed=3), drawn)


def test_samples_follow_log_prob(space, data):
    model = fit_generator(space, data, epochs=2, hidden=16)
    listed = space.enumerate(4)
    expected = np.exp(model.log_prob(listed))
    drawn = model.sample(np.full(20_000, 4), seed=0)
    place = {tuple(row): i for i, row in enumerate(listed.tolist())}
    seen = np.bincount([place[tuple(r)] for r in drawn.tolist()], minlength=len(listed)) / 20_000
    assert np.abs(seen - expected).max() < 5 * np.sqrt(expected.max() / 20_000)


def test_condition_is_followed(space):
    rows = space.enumerate(4)
    with_2 = rows[:, 2] > 0
    model = fit_generator(
        space, np.repeat(rows, 20, axis=0), condition=np.repeat(with_2, 20)[:, None].astype(float),
        epochs=30, hidden=32, batch=64, learning_rate=1e-2,
    )  # fmt: skip
    share = [
        (model.sample(np.full(500, 4), condition=np.full((500, 1), c))[:, 2] > 0).mean()
        for c in (0.0, 1.0)
    ]
    assert share[0] < 0.1
    assert share[1] > 0.9
    with pytest.raises(InputError, match="condition"):
        model.sample([4])


def test_global_random_state_is_left_alone(space, data):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    fit_generator(space, data, epochs=1, hidden=8)
    fit_vae(data, charges=space.charges, n_max=6, epochs=1, hidden=8)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("decoder", DECODERS)
def test_autoencoder_learns_but_breaks_rules(space, data, decoder):
    vae = fit_vae(
        data, charges=space.charges, n_max=6, decoder=decoder, epochs=40, hidden=32, batch=32
    )
    wanted = np.tile(data.sum(axis=1), 5)
    drawn = vae.sample(wanted, seed=1)
    inside = space.contains(drawn, n_atoms=wanted)
    assert 0.05 < inside.mean() < 1
    assert (drawn[:, 2] > 0).mean() < 0.05
    if decoder == "words":
        np.testing.assert_array_equal(drawn.sum(axis=1), wanted)
    start, end = (
        vae.history[i]["reconstruction"] + 0.1 * vae.history[i]["divergence"] for i in (0, -1)
    )
    assert end < start
    np.testing.assert_array_equal(vae.sample(wanted, seed=1), drawn)


@pytest.mark.parametrize("decoder", DECODERS)
def test_penalty_is_the_expected_square(space, data, decoder):
    vae = fit_vae(data, charges=space.charges, n_max=6, decoder=decoder, epochs=1, hidden=8)
    total = torch.tensor([4.0])
    filled = torch.ones(1, vae.shape[0], dtype=torch.bool)
    if decoder == "words":
        filled[:, 4:] = False
    logs = vae._decode(torch.zeros(1, vae.latent), total)
    generator = torch.Generator().manual_seed(0)
    slots = torch.multinomial(logs[0].exp(), 100_000, replacement=True, generator=generator)
    place = torch.arange(vae.shape[0])[:, None]
    keep = filled[0][:, None]
    atoms = (vae.atoms_of[place, slots] * keep).sum(dim=0)
    charge = (vae.charge_of[place, slots] * keep).sum(dim=0)
    sampled = ((atoms - 4) ** 2 + charge**2).mean().item()
    assert vae._broken(logs, total, filled).item() == pytest.approx(sampled, rel=0.03)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: fit_generator(s, np.array([[1, 0, 0, 0, 0]])), "charge 1"),
        (lambda s: fit_generator(s, np.array([[1, 0, 0, 1, 0]]), condition=[1.0]), "condition"),
        (lambda s: CompositionGenerator(s, 0, 8, 0).sample([1]), "no neutral"),
        (lambda s: CompositionGenerator(s, 0, 8, 0).sample([9]), "1 to 6"),
        (lambda s: fit_vae(np.ones((2, 3), int), charges=[1, -1], n_max=6), "charges"),
        (lambda s: fit_vae(np.full((2, 2), 9), charges=[1, -1], n_max=6), "1 to 6"),
        (
            lambda s: fit_vae(np.ones((2, 2), int), charges=[1, -1], n_max=6, decoder="x"),
            "no decoder",
        ),
        (
            lambda s: fit_vae(np.ones((4, 2), int), charges=[1, -1], n_max=6, epochs=1).sample([7]),
            "1 to 6",
        ),
    ],
)
def test_bad_input(space, call, message):
    with pytest.raises(InputError, match=message):
        call(space)
