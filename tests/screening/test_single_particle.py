"""The closed form of the sphere against a numerical solution and PyBaMM; limits of a discharge."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from mfutils.errors import InputError
from mfutils.screening.single_particle import HalfCell, discharge, surface_filling
from mfutils.screening.voltages import smooth_voltage

GRID = np.linspace(1e-4, 1 - 1e-4, 2001)


def _curve(cluster=2.0):
    table = smooth_voltage([0, 0.5, 1], [0.0, -1.8, -3.5], GRID, cluster=cluster)
    return table, lambda filling: np.interp(filling, GRID, table)


def test_surface_of_a_sphere_by_finite_volumes():
    n = 200
    edges = np.linspace(0, 1, n + 1)
    volume, area = np.diff(edges**3) / 3, edges**2
    centres = (edges[1:] + edges[:-1]) / 2

    def change(_, c):
        flux = np.zeros(n + 1)
        flux[1:-1] = area[1:-1] * np.diff(c) / np.diff(centres)
        flux[-1] = 1.0
        return np.diff(flux) / volume

    tau = np.array([0.01, 0.05, 0.2, 0.5])
    solution = solve_ivp(
        change, (0, 0.5), np.zeros(n), "LSODA", tau, rtol=1e-9, atol=1e-10, lband=1, uband=1
    )
    surface = solution.y[-1] + (1 - centres[-1]) * 1.0
    assert np.allclose(surface_filling(tau, 1.0), surface, atol=2e-4)


@given(st.floats(1e-8, 5), st.floats(1e-3, 10))
def test_surface_is_ahead_of_the_mean_by_at_most_a_fifth(tau, rate):
    rise = float(surface_filling(np.array([tau]), rate)[0])
    assert 3 * rate * tau < rise * (1 + 1e-9)
    assert rise < rate * (3 * tau + 0.2) * (1 + 1e-9)


def test_series_and_short_time_limit_meet():
    near = surface_filling(np.array([0.0999e-3, 0.1001e-3]), 1.0)
    assert abs(np.diff(near)[0]) < 2e-5
    assert surface_filling(np.array([0.0]), 1.0)[0] == 0


def test_a_slow_discharge_follows_the_open_circuit():
    _, voltage = _curve()
    table = discharge(HalfCell(), voltage, c_rate=1e-3, cutoff=2.0)
    assert table.capacity.iloc[-1] > 0.98
    middle = table[table.capacity.between(0.05, 0.9)]
    assert np.allclose(middle.voltage, middle.open_circuit, atol=2e-3)


@settings(deadline=None, max_examples=30)
@given(st.floats(0.01, 5), st.floats(1.1, 4))
def test_faster_is_less(rate, factor):
    _, voltage = _curve()
    slow = discharge(HalfCell(), voltage, c_rate=rate, cutoff=2.0)
    fast = discharge(HalfCell(), voltage, c_rate=factor * rate, cutoff=2.0)
    assert fast.capacity.iloc[-1] <= slow.capacity.iloc[-1] + 1e-12
    shared = slow.capacity[slow.capacity <= fast.capacity.iloc[-1]]
    at = [np.interp(shared, t.capacity, t.voltage) for t in (slow, fast)]
    assert (at[1] < at[0]).all()


def test_overpotential_by_hand():
    """At the first instant no diffusion has happened: only the two reactions cost voltage."""
    cell, rate = HalfCell(), 2.0
    _, voltage = _curve()
    first = discharge(cell, voltage, c_rate=rate, cutoff=2.0).iloc[0]
    local = cell.current(rate) / (3 * cell.share * cell.thickness / cell.radius)
    inner = cell.exchange * 2 * math.sqrt(cell.filled * (1 - cell.filled))
    loss = sum(
        2 * 8.314462618 * 298.15 / 96485.33212 * math.asinh(j / (2 * i0))
        for j, i0 in ((local, inner), (cell.current(rate), cell.metal))
    )
    assert first.open_circuit - first.voltage == pytest.approx(loss, rel=1e-9)


def test_bad_input():
    _, voltage = _curve()
    with pytest.raises(InputError, match="radius is -1"):
        HalfCell(radius=-1.0)
    with pytest.raises(InputError, match="share \\+ porosity <= 1"):
        HalfCell(share=0.7, porosity=0.5)
    with pytest.raises(InputError, match="c_rate"):
        discharge(HalfCell(), voltage, c_rate=0, cutoff=2.0)
    with pytest.raises(InputError, match="below the cutoff"):
        discharge(HalfCell(), voltage, c_rate=1, cutoff=5.0)


@pytest.fixture(scope="module")
def porous():
    """PyBaMM, imported by the tests that need it alone: it takes seconds."""
    from mfutils.screening import porous_electrode

    return porous_electrode


@pytest.mark.parametrize("rate", [0.2, 1.0, 3.0])
def test_single_particles_agree(porous, rate):
    table, voltage = _curve()
    cell = HalfCell(diffusivity=3e-16)
    theirs = porous.discharge(cell, GRID, table, c_rate=rate, cutoff=2.5, model="SPM")
    mine = discharge(cell, voltage, c_rate=rate, cutoff=2.5, points=4000)
    assert mine.capacity.iloc[-1] == pytest.approx(theirs.capacity.iloc[-1], abs=0.01)
    at = np.linspace(0.02, 0.9 * theirs.capacity.iloc[-1], 50)
    one, two = (np.interp(at, t.capacity, t.voltage) for t in (mine, theirs))
    # PyBaMM has 20 shells in the particle
    assert np.abs(one - two).max() < 0.02
    assert np.abs(one - two).mean() < 0.004


def test_a_conducting_thin_electrode_is_one_particle(porous):
    table, _ = _curve()
    cell = HalfCell(thickness=5e-6)
    options = {"c_rate": 0.5, "cutoff": 2.5, "points": 60}
    one = porous.discharge(cell, GRID, table, model="SPM", **options)
    many = porous.discharge(cell, GRID, table, model="DFN", conductivity=100.0, **options)
    at = np.linspace(0.05, 0.85, 30)
    gap = np.interp(at, one.capacity, one.voltage) - np.interp(at, many.capacity, many.voltage)
    assert np.abs(gap).max() < 0.01


def test_bad_input_for_pybamm(porous):
    table, _ = _curve()
    with pytest.raises(InputError, match="one of SPM, DFN"):
        porous.discharge(HalfCell(), GRID, table, c_rate=1, cutoff=2.5, model="P2D")
    with pytest.raises(InputError, match="must rise"):
        porous.discharge(HalfCell(), GRID[::-1], table, c_rate=1, cutoff=2.5)
    with pytest.raises(InputError, match="two equal lists"):
        porous.discharge(HalfCell(), GRID, table[:5], c_rate=1, cutoff=2.5)
    with pytest.raises(InputError, match="gave up"):
        porous.discharge(HalfCell(), GRID, table, c_rate=1, cutoff=5.0)
