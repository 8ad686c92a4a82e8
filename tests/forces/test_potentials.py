"""Kernels of energies and forces against autograd, exact and sparse potentials compared."""

import numpy as np
import pytest
import torch
from potential_examples import cluster
from scipy.stats import multivariate_normal

from mfutils.crystals.structure import Crystal
from mfutils.errors import InputError
from mfutils.forces import potential_kernel
from mfutils.forces.potentials import Snapshot, fit_potential
from mfutils.forces.soap import Soap
from mfutils.forces.sparse_potential import choose_inducing, fit_sparse, rows_of


def kernel_of_positions(first, second, power):
    def energy(a, b):
        return ((first.values(a) @ second.values(b).T) ** power).sum()

    return energy


def snap(n, seed, atoms=None):
    found = cluster(n, seed)
    positions = found.positions.clone().requires_grad_(True)
    # a made energy that the kernel can express roughly
    weights = torch.linspace(-1, 1, 8, dtype=torch.float64)
    energy = torch.tanh(found.values(positions) @ weights).sum()
    (slope,) = torch.autograd.grad(energy, positions)
    atoms = np.arange(n) if atoms is None else np.asarray(atoms)
    return Snapshot(found.environments(), float(energy.detach()), -slope.numpy(), atoms)


@pytest.mark.parametrize("power", [1, 2, 4])
def test_blocks_equal_autograd(power):
    first, second = cluster(4, 1), cluster(3, 2)
    ee, ef, fe, ff = potential_kernel.blocks(first.environments(), second.environments(), power)
    energy = kernel_of_positions(first, second, power)
    a, b = first.positions.clone().requires_grad_(), second.positions.clone().requires_grad_()
    value = energy(a, b)
    slope_a, slope_b = torch.autograd.grad(value, (a, b), create_graph=True)
    assert ee == pytest.approx(float(value.detach()), abs=1e-10)
    np.testing.assert_allclose(fe, -slope_a.detach().numpy().ravel(), atol=1e-10)
    np.testing.assert_allclose(ef, -slope_b.detach().numpy().ravel(), atol=1e-10)
    mixed = [torch.autograd.grad(s, b, retain_graph=True)[0].ravel() for s in slope_a.ravel()]
    np.testing.assert_allclose(ff, torch.stack(mixed).numpy(), atol=1e-10)


def test_blocks_of_real_surroundings_equal_finite_differences():
    soap = Soap(cutoff=4.0, n_max=4, l_max=3)
    generator = np.random.default_rng(4)
    lattice = 3.9 * np.eye(3) + generator.normal(scale=0.2, size=(3, 3))
    places = np.array([[0, 0, 0], [0.5, 0.45, 0.1], [0.1, 0.5, 0.55]])
    numbers = np.array([14, 14, 14])

    def blocks(shift):
        moved = Crystal(lattice, places + shift @ np.linalg.inv(lattice), numbers)
        return potential_kernel.blocks(soap.describe(moved, derivatives=True), other, 4)

    other = soap.describe(Crystal(lattice * 1.04, places[::-1] * 1.1, numbers), derivatives=True)
    _, _, fe, ff = blocks(np.zeros((3, 3)))
    step = 1e-4
    for k in range(9):
        move = step * np.eye(9)[k].reshape(3, 3)
        (ee_plus, ef_plus, *_), (ee_minus, ef_minus, *_) = blocks(move), blocks(-move)
        assert fe[k] == pytest.approx((ee_minus - ee_plus) / (2 * step), abs=1e-6)
        np.testing.assert_allclose(ff[k], (ef_minus - ef_plus) / (2 * step), atol=1e-6)
    assert np.abs(ff).max() > 0.01


def test_rows_and_prior_variances_equal_blocks():
    environments = cluster(5, 3).environments()
    ee, _, _, ff = potential_kernel.blocks(environments, environments, 3)
    assert potential_kernel.energy_variance(environments, 3) == pytest.approx(ee)
    atoms = np.array([0, 3])
    found = potential_kernel.force_variances(environments, 3, atoms=atoms)
    for row, atom in zip(found, atoms, strict=True):
        place = slice(3 * atom, 3 * atom + 3)
        np.testing.assert_allclose(row, ff[place, place], atol=1e-12)
    # a lone atom has one environment and no force, so a block with it is a column of rows
    energy, force = potential_kernel.rows(environments, environments.values[:2], 3, atoms=atoms)
    every = potential_kernel.rows(environments, environments.values[:2], 3)[1]
    np.testing.assert_allclose(force, every.reshape(5, 3, 2)[atoms].reshape(6, 2), atol=1e-12)
    kernel = (environments.values @ environments.values[:2].T) ** 3
    np.testing.assert_allclose(energy, kernel.sum(0), atol=1e-12)


def test_exact_energies_equal_the_textbook():
    snaps = [snap(4, s) for s in range(6)]
    new = cluster(4, 50).environments()
    fitted = fit_potential(snaps, power=2, forces=False, amplitude=1.0, noise=(0.1, 0.1))
    environments = [s.environments for s in snaps]
    kernel = np.array(
        [[potential_kernel.blocks(a, b, 2)[0] for b in environments] for a in environments]
    )
    cross = np.array([potential_kernel.blocks(new, b, 2)[0] for b in environments])
    base = sum(s.energy for s in snaps) / 24
    y = np.array([s.energy for s in snaps]) - 4 * base
    noisy = kernel + 4 * 0.01 * np.eye(6)
    mean = cross @ np.linalg.solve(noisy, y) + 4 * base
    variance = potential_kernel.energy_variance(new, 2) - cross @ np.linalg.solve(noisy, cross)
    found = fitted.predict(new, noiseless=True)
    assert found.energy == pytest.approx(mean, abs=1e-7)
    assert found.energy_std == pytest.approx(np.sqrt(variance), abs=1e-6)
    logpdf = multivariate_normal(np.zeros(6), noisy).logpdf(y)
    assert fitted.log_evidence == pytest.approx(logpdf, abs=1e-5)


def test_known_energy_leaves_the_force_open():
    one = snap(5, 7)
    fitted = fit_potential([one], power=4, forces=False, amplitude=1.0, noise=(1e-6, 1e-6))
    found = fitted.predict(one.environments, noiseless=True)
    assert found.energy_std < 1e-4
    assert np.median(found.force_std) > 0.05
    assert (np.linalg.eigvalsh(found.force_cov) > -1e-8).all()


def test_sparse_equals_exact_when_the_features_suffice():
    # 8 components to the power 2 make 36 features, so 60 environments span all of them
    snaps = [snap(5, s, atoms=[0, 2]) for s in range(5)]
    inducing = np.concatenate([cluster(6, 100 + s).environments().values for s in range(10)])
    new = snap(5, 60)
    options = {"power": 2, "amplitude": 1.3, "noise": (0.05, 0.2)}
    exact = fit_potential(snaps, **options).predict(new.environments)
    rows = [rows_of(s, inducing, 2) for s in [*snaps, new]]
    sparse = fit_sparse(rows[:-1], inducing, **options)
    found = sparse.predict(rows[-1])
    assert found.energy == pytest.approx(exact.energy, abs=1e-3)
    np.testing.assert_allclose(found.forces, exact.forces, atol=2e-3)
    assert found.energy_std == pytest.approx(exact.energy_std, rel=1e-2)
    np.testing.assert_allclose(found.force_std, exact.force_std, rtol=1e-2)
    assert sparse.bound <= fit_potential(snaps, **options).log_evidence + 1e-6


def test_bound_never_exceeds_the_evidence_and_grows():
    snaps = [snap(4, s) for s in range(4)]
    options = {"power": 4, "amplitude": 1.0, "noise": (0.1, 0.3)}
    evidence = fit_potential(snaps, **options).log_evidence
    values = np.concatenate([s.environments.values for s in snaps])
    order = choose_inducing(values, 16, 4)
    bounds = []
    for m in (2, 6, 12):
        inducing = values[order[:m]]
        bounds.append(
            fit_sparse([rows_of(s, inducing, 4) for s in snaps], inducing, **options).bound
        )
    assert bounds == sorted(bounds)
    assert bounds[-1] <= evidence


def test_fitted_hyperparameters_beat_their_neighbours():
    snaps = [snap(5, s) for s in range(6)]
    inducing = np.concatenate([s.environments.values for s in snaps])[::2]
    rows = [rows_of(s, inducing, 2) for s in snaps]
    best = fit_sparse(rows, inducing)
    h = best.hyperparameters
    for a, e, f in [(1.3, 1, 1), (1 / 1.3, 1, 1), (1, 1, 1.3), (1, 1, 1 / 1.3)]:
        noise = (h["energy_noise"] * e, h["force_noise"] * f)
        other = fit_sparse(rows, inducing, amplitude=h["amplitude"] * a, noise=noise)
        assert other.bound <= best.bound + 0.05


def test_inducing_points_are_the_pivots():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(30, 4))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    order = choose_inducing(values, 6, 2)
    kernel = (values @ values.T) ** 2
    for k in range(1, 6):
        known = order[:k]
        solved = np.linalg.solve(kernel[np.ix_(known, known)], kernel[known])
        residual = 1 - np.einsum("kn,kn->n", kernel[known], solved)
        assert residual[order[k]] == pytest.approx(residual.max(), abs=1e-9)
    # a second choice continues the first
    np.testing.assert_array_equal(order[3:], choose_inducing(values, 3, 2, start=values[order[:3]]))


def test_refuses_bad_input():
    with pytest.raises(InputError, match="no snapshots"):
        fit_potential([])
    with pytest.raises(InputError, match="no structures"):
        fit_sparse([], np.ones((1, 3)))
    with pytest.raises(InputError, match=r"power of the kernel is 1\.5"):
        fit_potential([snap(3, 0)], power=1.5)
    with pytest.raises(InputError, match="environments have shape"):
        choose_inducing(np.zeros((0, 3)), 2, 2)
