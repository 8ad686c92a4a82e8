"""SOAP against dscribe, its derivatives against finite differences, and what must not change it."""

import numpy as np
import pytest
from ase import Atoms
from dscribe.descriptors import SOAP
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import sph_harm_y
from scipy.stats import special_ortho_group

from mfutils.crystals.structure import Crystal
from mfutils.errors import InputError
from mfutils.forces import soap_kernel
from mfutils.forces.soap import Soap

SMALL = Soap(cutoff=4.0, n_max=3, l_max=3, width=0.5)


def crystal(seed, atoms=5):
    generator = np.random.default_rng(seed)
    lattice = np.diag([4.1, 4.6, 5.2]) + generator.normal(scale=0.3, size=(3, 3))
    grid = np.array([[i, j, k] for i in (0, 0.5) for j in (0, 0.5) for k in (0, 0.5)])[:atoms]
    frac = grid + generator.uniform(-0.08, 0.08, size=grid.shape)
    return Crystal(lattice, frac, np.full(atoms, 14))


def shifted(structure, atom, axis, step):
    positions = structure.positions
    positions[atom, axis] += step
    frac = positions @ np.linalg.inv(structure.lattice)
    return Crystal(structure.lattice, frac, structure.numbers)


@pytest.mark.parametrize(("n_max", "l_max", "cutoff"), [(3, 2, 4.0), (6, 4, 5.0), (2, 6, 3.5)])
def test_spectra_equal_dscribe(n_max, l_max, cutoff):
    structure = crystal(1)
    atoms = Atoms(
        numbers=structure.numbers,
        cell=structure.lattice,
        scaled_positions=structure.frac_coords,
        pbc=True,
    )
    reference = SOAP(
        species=["Si"], r_cut=cutoff, n_max=n_max, l_max=l_max, sigma=0.5, periodic=True,
        rbf="gto", weighting={"function": "poly", "r0": cutoff, "c": 1, "m": 2},
    ).create(atoms)  # fmt: skip
    found, _, _, _ = Soap(cutoff=cutoff, n_max=n_max, l_max=l_max).spectra(structure)
    # dscribe runs over l first and leaves out the factor of n != n'
    pairs = [(n, m) for n in range(n_max) for m in range(n, n_max)]
    factor = np.array([1 if n == m else np.sqrt(2) for n, m in pairs])
    ours = found.reshape(len(found), len(pairs), l_max + 1) / factor[:, None]
    np.testing.assert_allclose(
        ours.transpose(0, 2, 1).reshape(reference.shape), reference, atol=1e-9
    )


def test_harmonics_equal_scipy():
    generator = np.random.default_rng(0)
    norms = soap_kernel.harmonic_norms(5)
    for vector in generator.normal(size=(5, 3)):
        value, slope = np.empty(36), np.empty((3, 36))
        soap_kernel.solid_harmonics(*vector, 5, norms, value, slope)
        r = np.linalg.norm(vector)
        theta, phi = np.arccos(vector[2] / r), np.arctan2(vector[1], vector[0])
        for degree in range(6):
            for order in range(degree + 1):
                complex_value = r**degree * sph_harm_y(degree, order, theta, phi)
                scale = np.sqrt(2) * (-1) ** order if order else 1
                place = degree * degree + degree
                assert value[place + order] == pytest.approx(scale * complex_value.real, abs=1e-10)
                if order:
                    assert value[place - order] == pytest.approx(
                        scale * complex_value.imag, abs=1e-10
                    )


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_forces_are_gradients(seed):
    structure = crystal(seed)
    generator = np.random.default_rng(seed)
    slope = generator.normal(size=(len(structure), SMALL.size))
    forces = SMALL.describe(structure, derivatives=True).forces(slope)
    np.testing.assert_allclose(forces.sum(0), 0, atol=1e-10)
    atom, axis, step = generator.integers(len(structure)), generator.integers(3), 1e-5
    energies = [
        (SMALL.describe(shifted(structure, atom, axis, s)).values * slope).sum()
        for s in (step, -step)
    ]
    numeric = -(energies[0] - energies[1]) / (2 * step)
    assert forces[atom, axis] == pytest.approx(numeric, rel=1e-6, abs=1e-7)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.booleans())
def test_turning_changes_nothing_but_forces(seed, mirror):
    structure = crystal(seed)
    turn = special_ortho_group.rvs(3, random_state=np.random.default_rng(seed))
    turn = -turn if mirror else turn
    order = np.random.default_rng(seed).permutation(len(structure))
    moved = Crystal(
        structure.lattice @ turn.T, structure.frac_coords[order] + 0.3, structure.numbers
    )
    first, second = (SMALL.describe(s, derivatives=True) for s in (structure, moved))
    np.testing.assert_allclose(second.values, first.values[order], atol=1e-11)
    slope = np.random.default_rng(seed).normal(size=first.values.shape)
    np.testing.assert_allclose(
        second.forces(slope[order]), first.forces(slope)[order] @ turn.T, atol=1e-9
    )


def test_smooth_at_the_cutoff():
    soap = Soap(cutoff=3.0, n_max=2, l_max=2)
    lattice = np.eye(3) * 20

    def pair(distance):
        return Crystal(lattice, np.array([[0, 0, 0], [distance / 20, 0, 0]]), np.array([14, 14]))

    inside, outside = (soap.describe(pair(3.0 + d)).values for d in (-1e-3, 1e-3))
    np.testing.assert_allclose(inside, outside, atol=1e-6)
    near = soap.describe(pair(3.0 - 1e-4), derivatives=True)
    assert np.abs(near.jacobian).max() < 1e-3


def test_some_edges_give_the_same_sums():
    environments = SMALL.describe(crystal(3), derivatives=True)
    atoms = np.array([1, 4])
    edges = environments.touching(atoms)
    full = environments.per_atom(environments.jacobian)[atoms]
    part = environments.per_atom(environments.jacobian[edges], edges=edges, atoms=atoms)
    np.testing.assert_allclose(part, full, atol=1e-13)


def test_refuses_bad_input():
    mixed = Crystal(np.eye(3) * 4, np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), np.array([14, 32]))
    with pytest.raises(InputError, match="one element"):
        SMALL.describe(mixed)
    with pytest.raises(InputError, match=r"cutoff is 0\.5"):
        Soap(cutoff=0.5)
    with pytest.raises(InputError, match="n_max 0"):
        Soap(n_max=0)
