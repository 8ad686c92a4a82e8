"""Descriptors against their symmetries (hypothesis) and independent implementations."""

import numpy as np
import pytest
from crystal_examples import random_crystal, symmetric_crystals
from dscribe.descriptors import CoulombMatrix
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Lattice, Structure
from scipy.spatial.transform import Rotation

from mfutils.crystals import descriptors, symmetry
from mfutils.crystals.structure import Crystal, from_arrays
from mfutils.errors import InputError

KINDS = st.sampled_from(["one_atom", "tiny", "skewed", "ordinary"])
SEEDS = st.integers(0, 60)


def _species(crystal):
    return sorted(set(crystal.numbers.tolist()))


def _relabelled(crystal):
    """Three elements only, so that SOAP stays small."""
    return Crystal(crystal.lattice, crystal.frac_coords, 6 + crystal.numbers % 3)


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, kind=KINDS, operation=st.sampled_from([*symmetry.OPERATIONS]), draw=SEEDS)
def test_reciprocal_shells_keep_every_symmetry(seed, kind, operation, draw):
    crystal = random_crystal(seed, kind)

    def shells(c):
        return descriptors.reciprocal_shells(
            c, species=_species(crystal), k_max=5.0, shells=9, cross=True
        )

    assert symmetry.largest_change(shells, crystal, operation, seed=draw) < 1e-8


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, operation=st.sampled_from([*symmetry.OPERATIONS]), draw=SEEDS)
def test_soap_keeps_every_symmetry(seed, operation, draw):
    crystal = _relabelled(random_crystal(seed, "tiny"))

    def spectrum(c):
        options = {"cutoff": 3.5, "n_max": 3, "l_max": 3, "average": "outer"}
        return descriptors.soap(c, species=_species(crystal), **options)

    assert symmetry.largest_change(spectrum, crystal, operation, seed=draw) < 1e-6


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, kind=KINDS, draw=SEEDS)
@pytest.mark.parametrize("operation", ["translation", "rotation", "reflection", "permutation"])
def test_coulomb_spectrum_keeps_the_symmetries_of_molecules(operation, seed, kind, draw):
    crystal = random_crystal(seed, kind)
    change = symmetry.largest_change(descriptors.coulomb_spectrum, crystal, operation, seed=draw)
    assert change < 1e-9


def test_coulomb_spectrum_is_lost_on_periodic_images_and_the_matrix_on_permutations():
    crystal = random_crystal(1, "ordinary")
    moved = symmetry.largest_change(descriptors.coulomb_spectrum, crystal, "periodic images")
    permuted = symmetry.largest_change(descriptors.coulomb_matrix, crystal, "permutation")
    assert moved > 1e-3
    assert permuted > 1e-3


def test_coulomb_matrices_are_those_of_dscribe():
    from ase import Atoms

    for seed in range(5):
        crystal = random_crystal(seed, "ordinary")
        atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions)
        n = len(crystal)
        theirs = CoulombMatrix(n_atoms_max=n, permutation="none").create(atoms).reshape(n, n)
        np.testing.assert_allclose(descriptors.coulomb_matrix(crystal), theirs, rtol=1e-10)
        theirs = CoulombMatrix(n_atoms_max=n + 2, permutation="eigenspectrum").create(atoms)
        ours = descriptors.coulomb_spectrum(crystal, length=n + 2)
        np.testing.assert_allclose(ours, theirs, atol=1e-8 * ours.max())
        theirs = CoulombMatrix(n_atoms_max=n, permutation="sorted_l2").create(atoms)
        ours = descriptors.sorted_coulomb(crystal)
        np.testing.assert_allclose(ours, theirs.reshape(n, n)[np.triu_indices(n)], rtol=1e-10)


def _overlap(first, second, sigma):
    """Integral of the product of two sums of Gaussians of width sigma at the given places."""
    square = ((first[:, None] - second[None]) ** 2).sum(axis=-1)
    return np.exp(-square / (4 * sigma**2)).sum() * (np.pi * sigma**2) ** 1.5


def test_soap_kernel_is_the_overlap_averaged_over_rotations():
    # p . p' = integral over rotations of |<rho | R rho'>|^2, for a complete basis. Left: dscribe.
    # Right: closed-form overlaps of Gaussians on random rotations. Only ratios are compared.
    rng = np.random.default_rng(0)
    sigma = 0.7
    environments = []
    for angle in (0.4, 1.2, 2.4):
        near = np.array([1.3, 0, 0]), 1.6 * np.array([np.cos(angle), np.sin(angle), 0])
        environments.append(np.array([np.zeros(3), *near, [0.3, -0.4, 1.4]]))
    box = np.eye(3) * 60.0
    spectra = []
    for points in environments:
        crystal = from_arrays(box, points / 60.0 + 0.5, [6] * len(points))
        options = {"cutoff": 7.0, "n_max": 12, "l_max": 8, "sigma": sigma, "periodic": False}
        spectra.append(descriptors.soap(crystal, species=[6], **options)[0])
    ours = descriptors.soap_kernel(spectra, spectra, zeta=1.0)
    turns = Rotation.random(4000, rng=rng).as_matrix()
    raw = np.array(
        [
            [np.mean([_overlap(a, b @ q.T, sigma) ** 2 for q in turns]) for b in environments]
            for a in environments
        ]
    )
    reference = raw / np.sqrt(np.outer(raw.diagonal(), raw.diagonal()))
    assert abs(ours - 1)[~np.eye(3, dtype=bool)].min() > 2e-3  # the environments do differ
    np.testing.assert_allclose(ours, reference, atol=1e-2)


def test_shells_hold_the_reflections_of_xrd():
    # For one element |S|^2 > 0 exactly at the Bragg reflections of pymatgen's powder pattern
    crystal = symmetric_crystals()["fcc"]
    shells = descriptors.reciprocal_shells(crystal, species=[29], k_max=6.0, shells=300)[0]
    centers = 6.0 / 300 * (np.arange(300) + 0.5)
    structure = Structure(Lattice(crystal.lattice), crystal.numbers, crystal.frac_coords)
    pattern = XRDCalculator(wavelength=0.5).get_pattern(structure, two_theta_range=(0, 27.5))
    bragg = 4 * np.pi * np.sin(np.radians(pattern.x / 2)) / 0.5
    lit = centers[shells > 1e-9]
    assert len(bragg) == 4  # 111, 200, 220, 311
    assert all(abs(lit - k).min() < 0.02 for k in bragg)
    assert all(abs(bragg - k).min() < 0.0201 for k in lit)


def test_shells_are_the_plain_sum_over_vectors():
    crystal = random_crystal(4, "tiny")
    species = _species(crystal)
    k_max, count = 4.0, 5
    shells = descriptors.reciprocal_shells(
        crystal, species=species, k_max=k_max, shells=count, cross=True
    )
    width = k_max / count
    expected = np.zeros_like(shells)
    reciprocal = 2 * np.pi * np.linalg.inv(crystal.lattice).T
    for h in np.ndindex(21, 21, 21):
        k = (np.array(h) - 10) @ reciprocal
        if not 0 < np.linalg.norm(k) <= k_max:
            continue
        factor = [
            sum(np.exp(1j * k @ r) for r, z in zip(crystal.positions, crystal.numbers, strict=True)
                if z == s)
            for s in species
        ]  # fmt: skip
        values = [abs(f) ** 2 for f in factor]
        for a in range(len(species)):
            values += [(factor[a] * factor[b].conjugate()).real for b in range(a + 1, len(species))]
        for shell in range(count):
            center = width * (shell + 0.5)
            weight = max(0.0, 1 - abs(np.linalg.norm(k) - center) / width)
            volume = 4 * np.pi * center**2 * width
            scale = crystal.volume / (2 * np.pi) ** 3 * volume * len(crystal)
            expected[:, shell] += weight * np.array(values) / scale
    np.testing.assert_allclose(shells, expected, atol=1e-10)


def test_partial_factors_alone_cannot_tell_rock_salt_from_zinc_blende():
    halves = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    numbers = [30] * 4 + [16] * 4
    salt, blende = (
        from_arrays(np.eye(3) * 5.4, np.vstack([halves, halves + by]), numbers)
        for by in (0.5, 0.25)
    )
    partial = [descriptors.reciprocal_shells(c, species=[16, 30]) for c in (salt, blende)]
    crossed = [
        descriptors.reciprocal_shells(c, species=[16, 30], cross=True) for c in (salt, blende)
    ]
    np.testing.assert_allclose(*partial, atol=1e-9)
    assert abs(crossed[0] - crossed[1]).max() > 0.1


def test_an_average_over_vectors_changes_with_the_cell_and_the_intensity_does_not():
    crystal = symmetric_crystals()["rock salt"]
    for normalize, low, high in (("mean", 0.1, 10), ("intensity", 0, 1e-9)):

        def shells(c, normalize=normalize):
            return descriptors.reciprocal_shells(c, species=[11, 17], normalize=normalize)

        change = symmetry.largest_change(shells, crystal, "supercell")
        assert low <= change < high


def test_bad_input_is_one_clear_line():
    crystal = symmetric_crystals()["rock salt"]
    cases = [
        (lambda: descriptors.soap(crystal, species=[11]), r"elements \[17\] have no channel"),
        (lambda: descriptors.soap(crystal, species=[11, 17], average="all"), "average is 'all'"),
        (lambda: descriptors.soap(crystal, species=[11, 17], cutoff=0.5), "cutoff 0.5"),
        (lambda: descriptors.reciprocal_shells(crystal, species=[17]), r"elements \[11\] have no"),
        (
            lambda: descriptors.reciprocal_shells(crystal, species=[11, 17], normalize="no"),
            "normalize is 'no'",
        ),
        (
            lambda: descriptors.reciprocal_shells(crystal, species=[11, 17], k_max=-1),
            "k_max above 0",
        ),
        (lambda: descriptors.reciprocal_vectors(np.eye(3) * 50, 60.0), "needs over 2000000"),
        (lambda: descriptors.coulomb_spectrum(crystal, length=3), "length 3 is below the 8 atoms"),
        (lambda: descriptors.soap_kernel(np.ones((1, 3)), np.ones((1, 2))), "3 and 2 numbers"),
        (lambda: descriptors.soap_kernel(np.ones((1, 3)), np.zeros((1, 3))), "all zeros"),
        (lambda: descriptors.soap_kernel([[1]], [[1]], zeta=0), "zeta is 0"),
    ]
    for call, message in cases:
        with pytest.raises(InputError, match=message):
            call()


def test_kernel_is_one_on_itself_and_never_above():
    crystal = _relabelled(random_crystal(2, "ordinary"))
    rows = descriptors.soap(crystal, species=_species(crystal), n_max=3, l_max=2)
    kernel = descriptors.soap_kernel(rows, rows)
    np.testing.assert_allclose(kernel.diagonal(), 1.0)
    assert kernel.max() <= 1 + 1e-12
    assert np.linalg.eigvalsh(kernel).min() > -1e-9
