"""Learned forces: gradients, symmetries, and a recovery of a known pair potential."""

from functools import cache

import numpy as np
import pytest
from crystal_examples import random_crystal
from hypothesis import given, settings
from hypothesis import strategies as st

from mfutils.crystals import symmetry
from mfutils.crystals.graph import build_graph
from mfutils.crystals.structure import Crystal, from_arrays
from mfutils.errors import InputError
from mfutils.forces import force_checks
from mfutils.forces.invariants import frames_of
from mfutils.forces.learned_forces import AtomicEnergy, DirectForces

ELEMENTS, CUTOFF = (6, 7), 4.0


def _crystal(seed):
    made = random_crystal(seed, "ordinary")
    return Crystal(made.lattice, made.frac_coords, 6 + made.numbers % 2)


def _morse(crystal):
    """Energy and forces of a Morse potential that ends smoothly at the cutoff."""
    graph = build_graph(crystal, cutoff=CUTOFF, max_neighbors=None)
    d, (centre, neighbor) = graph.distances, graph.edge_index
    well, fade = np.exp(-1.2 * (d - 2.2)), (1 - (d / CUTOFF) ** 2) ** 3
    slope = -6 * d / CUTOFF**2 * (1 - (d / CUTOFF) ** 2) ** 2
    value = well**2 - 2 * well
    change = -2.4 * (well**2 - well)
    force = np.zeros((len(crystal), 3))
    pull = (change * fade + value * slope)[:, None] * graph.vectors / d[:, None]
    np.add.at(force, centre, pull)  # each pair stands in both directions: half of twice
    return 0.5 * (value * fade).sum(), force, neighbor


@cache
def _fitted(kind):
    crystals = [_crystal(seed) for seed in range(60)]
    crystals = [c for c in crystals if abs(_morse(c)[1]).max() < 20]
    frames = frames_of(crystals, elements=ELEMENTS, cutoff=CUTOFF)
    energies = np.array([_morse(c)[0] for c in crystals])
    forces = np.concatenate([_morse(c)[1] for c in crystals])
    options = {"cutoff": CUTOFF, "n_radial": 6}
    if kind == "energy":
        model = AtomicEnergy(ELEMENTS, features=60, **options)
    else:
        model = DirectForces(ELEMENTS, features=8, equivariant=kind == "equivariant", **options)
    return model.fit(frames, energies, forces)


def _one(crystal):
    return frames_of([crystal], elements=ELEMENTS, cutoff=CUTOFF)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 200))
def test_forces_of_the_energy_are_its_gradient(seed):
    model, frames = _fitted("energy"), _one(_crystal(seed))
    numeric = force_checks.finite_difference_forces(
        lambda x: model.energy(frames, x)[0], frames.positions
    )
    forces = model.forces(frames)
    np.testing.assert_allclose(forces, numeric, atol=1e-6 * max(1, abs(forces).max()))
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-9 * max(1, abs(forces).max()))


def test_work_on_a_loop_is_zero_only_with_an_energy():
    frames = _one(_crystal(201))
    path = force_checks.circle(frames.positions, radius=0.15, points=96)
    work = {}
    for kind in ("energy", "equivariant", "plain"):
        model = _fitted(kind)
        work[kind] = force_checks.loop_work(lambda x, m=model: m.forces(frames, x), path)
    assert abs(work["energy"]) < 1e-6
    assert abs(work["equivariant"]) > 1e-3
    assert abs(work["plain"]) > 1e-3


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 200), reflect=st.booleans())
@pytest.mark.parametrize("kind", ["energy", "equivariant"])
def test_forces_turn_with_the_crystal(kind, seed, reflect):
    model, crystal = _fitted(kind), _crystal(seed)
    q = symmetry.random_rotation(np.random.default_rng(seed), reflect=reflect)
    before, after = (model.forces(_one(c)) for c in (crystal, symmetry.rotated(crystal, q)))
    np.testing.assert_allclose(after, before @ q.T, atol=1e-8 * max(1, abs(before).max()))


def test_plain_components_do_not_turn():
    model, crystal = _fitted("plain"), _crystal(5)
    q = symmetry.random_rotation(np.random.default_rng(0))
    before, after = (model.forces(_one(c)) for c in (crystal, symmetry.rotated(crystal, q)))
    assert abs(after - before @ q.T).max() > 1e-2


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 200),
    operation=st.sampled_from([o for o in symmetry.OPERATIONS if o != "supercell"]),
)
def test_energy_keeps_the_symmetries(seed, operation):
    model, crystal = _fitted("energy"), _crystal(seed)
    change = symmetry.largest_change(lambda c: model.energy(_one(c)), crystal, operation, seed=seed)
    assert change < 1e-8


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 200), draw=st.integers(0, 10**6))
@pytest.mark.parametrize("kind", ["energy", "equivariant", "plain"])
def test_forces_follow_their_atoms(kind, seed, draw):
    model, crystal, rng = _fitted(kind), _crystal(seed), np.random.default_rng(draw)
    before, order = model.forces(_one(crystal)), rng.permutation(len(crystal))
    due = {
        "permutation": (symmetry.permuted(crystal, order), before[order]),
        "translation": (symmetry.translated(crystal, rng.normal(size=3)), before),
        "images": (symmetry.other_images(crystal, rng.integers(-2, 3, (len(crystal), 3))), before),
    }
    for name, (same, expected) in due.items():
        np.testing.assert_allclose(
            model.forces(_one(same)), expected, atol=1e-8 * max(1, abs(before).max()), err_msg=name
        )


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 200), axis=st.integers(0, 2))
def test_a_doubled_cell_has_twice_the_energy_and_the_same_forces(seed, axis):
    model, crystal = _fitted("energy"), _crystal(seed)
    double = symmetry.supercell(crystal, np.eye(3, dtype=int)[axis] + 1)
    energy, forces = model.energy(_one(crystal)), model.forces(_one(crystal))
    scale = max(1, abs(forces).max(), abs(energy).max())
    np.testing.assert_allclose(model.energy(_one(double)), 2 * energy, atol=1e-8 * scale)
    # every atom of the double stands where one of the cell does, up to a lattice vector
    apart = double.positions[:, None] - crystal.positions
    frac = np.linalg.solve(crystal.lattice.T, apart.reshape(-1, 3).T).T
    off = abs(frac - frac.round()).max(axis=1).reshape(apart.shape[:2])
    np.testing.assert_allclose(
        model.forces(_one(double)), forces[off.argmin(axis=1)], atol=1e-8 * scale
    )


def test_a_pair_potential_is_learned():
    cell = from_arrays(np.eye(3) * 2.6, [[0, 0, 0], [0.5, 0.5, 0.5]], [6, 7])
    start = symmetry.supercell(cell, [2, 2, 1])
    rng = np.random.default_rng(0)
    crystals = []
    for _ in range(30):
        moved = start.positions + rng.normal(scale=0.12, size=(len(start), 3))
        frac = np.linalg.solve(start.lattice.T, moved.T).T
        crystals.append(Crystal(start.lattice, frac, start.numbers))
    labels = [_morse(c) for c in crystals]
    forces = [force for _, force, _ in labels]
    known = frames_of(crystals[:24], elements=ELEMENTS, cutoff=CUTOFF)
    model = AtomicEnergy(ELEMENTS, cutoff=CUTOFF, features=100)
    model.fit(known, [e for e, _, _ in labels[:24]], np.concatenate(forces[:24]))
    fresh = frames_of(crystals[24:], elements=ELEMENTS, cutoff=CUTOFF)
    truth = np.concatenate(forces[24:])
    assert abs(model.forces(fresh) - truth).mean() < 0.05 * abs(truth).mean()
    energy = model.energy(fresh) - [e for e, _, _ in labels[24:]]
    assert abs(energy).max() < 0.02 * np.ptp([e for e, _, _ in labels])


def test_energies_of_frames_add_up_one_by_one():
    model, crystals = _fitted("energy"), [_crystal(s) for s in (3, 4)]
    together = model.energy(frames_of(crystals, elements=ELEMENTS, cutoff=CUTOFF))
    np.testing.assert_allclose(together, [model.energy(_one(c))[0] for c in crystals], rtol=1e-10)


def test_bad_input_is_one_clear_line():
    crystal = _crystal(1)
    with pytest.raises(InputError, match=r"frame 0 has elements \[6, 7\]; expected only"):
        frames_of([crystal], elements=(26,), cutoff=CUTOFF)
    with pytest.raises(InputError, match="expected at least one frame"):
        frames_of([], elements=ELEMENTS)
    with pytest.raises(InputError, match="no weights yet; call fit first"):
        AtomicEnergy(ELEMENTS).energy(_one(crystal))
    with pytest.raises(InputError, match=r"energies \(2,\) and forces"):
        AtomicEnergy(ELEMENTS).fit(_one(crystal), [0, 1], np.zeros((len(crystal), 3)))
    cell = from_arrays(np.eye(3) * 3, [[0, 0, 0]], [6])
    with pytest.raises(InputError, match="all surroundings are equal"):
        AtomicEnergy(ELEMENTS).fit(_one(cell), [0.0], np.zeros((1, 3)))
    with pytest.raises(InputError, match="a label is not finite"):
        AtomicEnergy(ELEMENTS).fit(_one(crystal), [np.nan], np.zeros((len(crystal), 3)))
