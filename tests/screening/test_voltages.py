"""Hulls, voltages and windows against pymatgen; smooth curves against Nernst and statistics."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.phase_diagram import GrandPotentialPhaseDiagram, PDEntry, PhaseDiagram
from pymatgen.core import Composition, Element

from mfutils.errors import InputError
from mfutils.screening.voltages import (
    BOLTZMANN,
    bep_barrier,
    exchange_current,
    lithiation_hull,
    potential_window,
    smooth_voltage,
    stability_window,
    voltage_steps,
)

LITHIUM = Element("Li")


def _random_binary(seed):
    """Lithium contents per host atom and formation energies (eV per host atom) of Li and Si."""
    rng = np.random.default_rng(seed)
    pairs = [(int(a), int(b)) for a, b in rng.integers(1, 9, size=(rng.integers(2, 14), 2))]
    x = np.array([0.0] + [a / b for a, b in pairs])
    per_atom = np.append(0.0, rng.normal(-0.2, 0.25, len(pairs)))
    entries = [PDEntry(Composition("Li"), 0.0), PDEntry(Composition("Si"), 0.0)]
    for (a, b), energy in zip(pairs, per_atom[1:], strict=True):
        entries.append(PDEntry(Composition({"Li": a, "Si": b}), energy * (a + b)))
    return x, per_atom * (1 + x), entries


@pytest.mark.parametrize("seed", range(100))
def test_hull_voltages_and_windows_are_those_of_pymatgen(seed):
    x, energy, entries = _random_binary(seed)
    diagram = PhaseDiagram(entries)
    hull = lithiation_hull(x, energy)
    stable = {e.composition.reduced_composition for e in diagram.stable_entries}
    mine = {entries[i + 1].composition.reduced_composition for i in hull}
    assert mine | {Composition("Li")} == stable
    for i in hull:
        if i == 0:
            continue
        window = stability_window(x, energy, i)
        chempots = diagram.get_chempot_range_stability_phase(entries[i + 1].composition, LITHIUM)
        ends = sorted(chempots[LITHIUM])
        assert window == pytest.approx(tuple(ends), abs=1e-8)
    if len(hull) > 1:
        steps = voltage_steps(x, energy)
        profile = diagram.get_element_profile(LITHIUM, Composition("Si"))
        theirs = sorted((-step["chempot"] for step in profile), reverse=True)
        # the profile ends with the metal itself, at 0 V
        assert np.allclose(steps.voltage, theirs[: len(steps)], atol=1e-8)


def _stable_at(entries, i, mu):
    """Whether pymatgen's grand-potential diagram holds phase i at a lithium potential."""
    stable = GrandPotentialPhaseDiagram(entries, {LITHIUM: mu}).stable_entries
    return any(entry.original_entry == entries[i] for entry in stable)


@pytest.mark.parametrize("seed", range(100))
def test_windows_in_three_elements_are_those_of_pymatgen(seed):
    rng = np.random.default_rng(seed)
    elements = ("Li", "Fe", "O")
    counts = rng.integers(0, 5, size=(12, 3))
    counts = counts[(counts > 0).sum(axis=1) > 1]
    amounts = np.vstack([np.eye(3), counts])
    energies = np.concatenate([[0, 0, 0], rng.normal(-0.5, 0.4, len(counts)) * counts.sum(axis=1)])
    entries = [
        PDEntry(Composition(dict(zip(elements, row, strict=True))), energy)
        for row, energy in zip(amounts, energies, strict=True)
    ]
    diagram = PhaseDiagram(entries)
    checked = 0
    for i in range(3, len(entries)):
        above = diagram.get_e_above_hull(entries[i])
        if above > 1e-6:
            with pytest.raises(InputError, match="above the hull"):
                potential_window(amounts, energies, i, 0)
            continue
        low, high = potential_window(amounts, energies, i, 0)
        if counts[i - 3, 0]:
            theirs = diagram.get_chempot_range_stability_phase(entries[i].composition, LITHIUM)
            assert (low, high) == pytest.approx(tuple(sorted(theirs[LITHIUM])), abs=1e-7)
        else:
            assert low == -math.inf
        if high - low > 1e-3:
            assert _stable_at(entries, i, high - 4e-4)
            assert high == 0 or not _stable_at(entries, i, high + 4e-4)
        checked += 1
    assert checked


phases = st.lists(
    st.tuples(st.integers(0, 12), st.floats(-5, 5)),
    min_size=2,
    max_size=12,
    unique_by=lambda p: p[0],
).map(lambda rows: (np.array([r[0] / 6 for r in rows]), np.array([r[1] for r in rows])))


@given(phases, st.floats(-3, 3))
def test_a_hull_lies_below_every_phase(table, mu):
    x, energy = table
    hull = lithiation_hull(x, energy, mu_metal=math.inf)
    line = np.interp(x, x[hull], energy[hull])
    assert (energy >= line - 1e-9).all()
    # the phase of lowest grand potential at any mu is on it, and its window holds mu
    best = int(np.argmin(energy - mu * x))
    on = hull[np.argmin((energy - mu * x)[hull])]
    assert (energy - mu * x)[on] == pytest.approx((energy - mu * x)[best], abs=1e-9)
    low, high = stability_window(x, energy, on, mu_metal=math.inf)
    assert low - 1e-9 <= mu <= high + 1e-9


@given(phases)
def test_voltages_fall_and_add_up(table):
    x, energy = table
    hull = lithiation_hull(x, energy, mu_metal=math.inf)
    if len(hull) < 2:
        return
    steps = voltage_steps(x, energy, mu_metal=100.0)
    assert (np.diff(steps.voltage) <= 1e-9).all()
    work = ((steps.voltage - 100) * (steps.x_to - steps.x_from)).sum()
    last = steps.phase_to.iloc[-1]
    assert work == pytest.approx(energy[steps.phase_from[0]] - energy[last], abs=1e-8)


@given(phases, st.floats(-10, 10), st.floats(0.1, 7))
def test_units_and_origin_do_not_matter(table, shift, scale):
    """Another zero of the lithium energy, or another formula unit, moves no voltage."""
    x, energy = table
    before = lithiation_hull(x, energy, mu_metal=50.0)
    after = lithiation_hull(x, energy + shift * x + 3, mu_metal=50.0 + shift)
    # A phase on the line between two others may count or not; the hull is the same
    hulls = [np.interp(x, x[on], energy[on]) for on in (before, after)]
    assert np.allclose(*hulls, atol=1e-7)
    if len(before) == len(after) > 1:
        one = voltage_steps(x, energy, mu_metal=50.0).voltage
        two = voltage_steps(x, energy + shift * x + 3, mu_metal=50.0 + shift).voltage
        assert np.allclose(one, two, atol=1e-7)
        three = voltage_steps(scale * x, scale * energy, mu_metal=50.0).voltage
        if len(three) == len(one):
            assert np.allclose(one, three, atol=1e-7)


def test_two_phases_give_nernst():
    grid = np.array([0.01, 0.2, 0.5, 0.9])
    found = smooth_voltage([0, 1], [-2.0, -5.5], grid, temperature=300, cluster=3)
    expected = 3.5 + BOLTZMANN * 300 / 3 * np.log((1 - grid) / grid)
    assert np.allclose(found, expected, atol=1e-9)


@settings(deadline=None)
@given(phases)
def test_sharp_curves_are_the_hull(table):
    x, energy = table
    hull = lithiation_hull(x, energy, mu_metal=math.inf)
    for a, b in pairwise(hull):
        middle = np.array([(x[a] + x[b]) / 2])
        plateau = -(energy[b] - energy[a]) / (x[b] - x[a])
        found = smooth_voltage(x, energy, middle, temperature=1.0, cluster=1e5)
        assert found[0] == pytest.approx(plateau, abs=1e-3)


@settings(deadline=None)
@given(phases, st.floats(0.5, 20))
def test_smooth_curves_never_rise(table, cluster):
    x, energy = table
    span = x.max() - x.min()
    grid = np.linspace(x.min() + 0.01 * span, x.max() - 0.01 * span, 60)
    voltage = smooth_voltage(x, energy, grid, cluster=cluster)
    assert (np.diff(voltage) < 1e-9).all()


def test_the_metal_plates_instead_of_a_negative_voltage():
    x, energy = [0.0, 1.0, 2.0], [0.0, -1.0, -0.5]
    assert lithiation_hull(x, energy).tolist() == [0, 1]
    assert stability_window(x, energy, 1) == (-1.0, 0.0)
    with pytest.raises(InputError, match="above the hull"):
        stability_window(x, energy, 2)


def test_barriers_and_exchange_currents():
    # the way back climbs the rest: slopes of both directions add up to 1
    forward = bep_barrier(0.3, intrinsic=0.6)
    backward = bep_barrier(-0.3, intrinsic=0.6)
    assert forward - backward == pytest.approx(0.3)
    assert bep_barrier(2.0, intrinsic=0.1) == 2.0
    assert bep_barrier(-2.0, intrinsic=0.1) == 0.0
    low, high = exchange_current(np.array([0.6, 0.5]), sites=1e-5, temperature=300)
    assert high / low == pytest.approx(math.exp(0.1 / (BOLTZMANN * 300)))


def test_bad_input():
    with pytest.raises(InputError, match="two equal lists"):
        lithiation_hull([0, 1], [0.0])
    with pytest.raises(InputError, match="phase 1 has"):
        lithiation_hull([0, -1], [0.0, 1.0])
    with pytest.raises(InputError, match="1 of 2 phases"):
        voltage_steps([0, 1], [0.0, 1.0])
    with pytest.raises(InputError, match="phase 3 of 2"):
        stability_window([0, 1], [0.0, -1.0], 3)
    with pytest.raises(InputError, match="ends excluded"):
        smooth_voltage([0, 1], [0.0, -1.0], [0.0, 0.5])
    with pytest.raises(InputError, match="both > 0"):
        smooth_voltage([0, 1], [0.0, -1.0], [0.5], temperature=-3)
    with pytest.raises(InputError, match=r"expected \(n, e\)"):
        potential_window(np.eye(2), np.zeros(3), 0, 0)
    with pytest.raises(InputError, match="rows and columns"):
        potential_window(np.eye(2), np.zeros(2), 5, 0)
    with pytest.raises(InputError, match="finite"):
        potential_window(np.eye(2), np.array([0, np.nan]), 0, 0)
    with pytest.raises(InputError, match="share in"):
        bep_barrier(0.1, intrinsic=0.1, slope=2)
    with pytest.raises(InputError, match="both > 0"):
        exchange_current(0.1, sites=0)
