"""Networks whose forces are gradients, committees that learn, dropout that is one function."""

import numpy as np
import pytest
import torch
from potential_examples import cluster

from mfutils.errors import InputError
from mfutils.forces import force_network
from mfutils.forces.committees import NetworkSettings, fit_committee
from mfutils.forces.force_network import Projection, network_data
from mfutils.forces.potentials import Snapshot


def snap(n, seed, atoms=None):
    found = cluster(n, seed)
    positions = found.positions.clone().requires_grad_(True)
    energy = torch.tanh(found.values(positions) @ torch.linspace(-1, 1, 8).double()).sum()
    (slope,) = torch.autograd.grad(energy, positions)
    atoms = np.arange(n) if atoms is None else np.asarray(atoms)
    return Snapshot(found.environments(), float(energy.detach()), -slope.numpy(), atoms)


SNAPS = [snap(5, s, atoms=[0, 2, 4]) for s in range(12)]
VALUES = np.concatenate([s.environments.values for s in SNAPS])
PROJECTION = Projection.of(VALUES, 6, floor=0.2)
DATA = network_data(SNAPS, PROJECTION, energy_per_atom=0.1)


def test_projection_is_that_of_numpy():
    x = (VALUES - PROJECTION.centre) @ PROJECTION.axes
    covariance = np.cov(x.T, bias=True)
    assert covariance[0, 0] == pytest.approx(1)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-10)
    values = np.linalg.eigvalsh(np.cov(VALUES.T, bias=True))[::-1][:6]
    scale = np.maximum(np.sqrt(values), 0.2 * np.sqrt(values[0]))
    np.testing.assert_allclose(np.diag(covariance), values / scale**2, rtol=1e-8)


def test_forces_are_gradients_through_the_whole_network():
    generator = torch.Generator().manual_seed(0)
    weights = force_network.initial_weights(2, 6, 8, generator)
    energy, forces, _, _ = force_network.evaluate(weights, DATA)
    found = cluster(5, 3)
    positions = found.positions.clone().requires_grad_(True)
    axes, centre = (torch.as_tensor(a) for a in (PROJECTION.axes, PROJECTION.centre))
    x = (found.values(positions) - centre) @ axes
    for member in range(2):
        out = x
        for layer, (weight, bias) in enumerate(weights):
            out = out @ weight[member].double() + bias[member].double()
            out = torch.nn.functional.silu(out) if layer < 2 else out
        total = out[:, 0].sum()
        (slope,) = torch.autograd.grad(total, positions, retain_graph=True)
        assert energy[member, 3].item() == pytest.approx(float(total.detach()), abs=1e-5)
        own = forces[member, DATA.force_owner == 3].numpy()
        np.testing.assert_allclose(own, -slope.numpy()[[0, 2, 4]], atol=1e-4)


def test_committee_learns_and_repeats():
    settings = NetworkSettings(hidden=12, epochs=200, learning_rate=0.02)
    first = fit_committee(DATA, members=3, settings=settings, energy_per_atom=0.1, seed=1)
    found = first.predict(DATA)
    mean, covariance = found.force_moments()
    truth = DATA.forces.numpy()
    assert np.abs(mean - truth).mean() < 0.4 * np.abs(truth).mean()
    assert (np.linalg.eigvalsh(covariance) > 0).all()
    parts = found.energy_parts()
    energies = np.array([s.energy for s in SNAPS])
    assert np.abs(parts.mean - energies).mean() < 0.5 * energies.std()
    assert (parts.epistemic > 0).all()
    again = fit_committee(DATA, members=3, settings=settings, energy_per_atom=0.1, seed=1)
    np.testing.assert_array_equal(again.history, first.history)


def test_members_do_not_know_each_other():
    settings = NetworkSettings(hidden=8, epochs=30)
    three = fit_committee(DATA, members=3, settings=settings, seed=4)
    # the loss is a sum over members, so the mean history is the mean of single histories
    assert three.weights[0][0].shape == (3, 6, 8)
    spread = three.predict(DATA).forces.std(0)
    assert (spread > 0).any()


def test_dropout_passes_differ_and_repeat():
    settings = NetworkSettings(hidden=12, epochs=60, learning_rate=0.02, dropout=0.2)
    fitted = fit_committee(DATA, members=3, settings=settings, seed=0)
    assert fitted.weights[0][0].shape[0] == 1
    one, two = (fitted.predict(DATA, passes=16, seed=s) for s in (0, 0))
    np.testing.assert_array_equal(one.forces, two.forces)
    assert one.forces.shape == (16, 36, 3)
    assert (one.forces.std(0) > 0).all()
    # a pass is one function: structures that move as one body have forces that sum to zero
    whole = network_data([snap(5, 20)], PROJECTION, energy_per_atom=0.0)
    np.testing.assert_allclose(fitted.predict(whole, passes=4).forces.sum(1), 0, atol=1e-5)


def test_refuses_bad_input():
    with pytest.raises(InputError, match="no snapshots"):
        network_data([], PROJECTION, energy_per_atom=0.0)
    with pytest.raises(InputError, match="dropout 1"):
        fit_committee(DATA, settings=NetworkSettings(dropout=1.0))
    with pytest.raises(InputError, match="passes are for a network with dropout"):
        fit_committee(DATA, members=2, settings=NetworkSettings(epochs=1)).predict(DATA, passes=3)
    with pytest.raises(InputError, match="d at least 9"):
        Projection.of(VALUES, 9)
    with pytest.raises(InputError, match="lower learning_rate"):
        fit_committee(DATA, settings=NetworkSettings(epochs=20, learning_rate=1e30))
