"""Nucleation and growth against closed forms and an ODE solver; the grid against brute force."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from mfutils.errors import InputError
from mfutils.study.s07.synthesis import (
    Furnace,
    Grid,
    Kinetics,
    best_schedule,
    build_process,
    follow,
)

KINETICS, FURNACE = Kinetics(), Furnace()
SMALL = Grid(nuclei=(-5, -1, 7), extent=(0, 1.8, 7), loss=(0, 0.6, 4))


@settings(deadline=None, max_examples=30)
@given(st.floats(-5, -1), st.floats(0, 1.5), st.floats(800, 1300), st.floats(0.1, 3))
def test_hold_against_an_ode_solver(log_n, u, temperature, hours):
    nucleation, growth, loss = KINETICS.rates(temperature)

    def change(_, y):
        return [
            nucleation * math.exp(-(y[1] ** 3)),
            (4 * math.pi * y[0] / 3) ** (1 / 3) * growth,
            loss,
        ]

    exact = solve_ivp(
        change, (0, hours), [10**log_n, u, 0.1], rtol=1e-9, atol=1e-12, method="LSODA"
    ).y[:, -1]
    found = KINETICS.hold([log_n, u, 0.1], temperature, hours, steps=64)
    assert 10 ** found[0] == pytest.approx(exact[0], rel=2e-2)
    assert found[1] == pytest.approx(exact[1], rel=2e-2, abs=1e-4)
    assert found[2] == pytest.approx(exact[2], rel=1e-9)


def test_nuclei_from_the_start_give_avrami_with_exponent_3():
    still = Kinetics(nucleation=1e-30)
    growth = float(still.rates(1100)[1])
    for hours in (0.3, 1.0, 4.0):
        u = still.hold([-3.0, 0.0, 0.0], 1100.0, hours)[1]
        extended = 4 * math.pi / 3 * 1e-3 * (growth * hours) ** 3
        assert u**3 == pytest.approx(extended, rel=1e-9)


def test_constant_nucleation_has_exponent_4_and_the_stated_prefactor():
    """While little has reacted; the exact extended volume is (pi / 3) I G^3 t^4."""
    temperature, hours = 950.0, np.array([1.0, 2.0, 4.0])
    nucleation, growth, _ = (float(v) for v in KINETICS.rates(temperature))
    u = [KINETICS.hold([-12.0, 0.0, 0.0], temperature, t, steps=4000)[1] for t in hours]
    extended = np.array(u) ** 3
    ideal = math.pi / 3 * nucleation * growth**3 * hours**4
    assert np.allclose(extended / ideal, 27 / 16, rtol=5e-3)


def test_time_is_additive_and_arrays_are_rows():
    state = np.array([[-4.0, 0.1, 0.0], [-2.0, 0.5, 0.2]])
    once = KINETICS.hold(state, np.array([1000.0, 1100.0]), 2.0, steps=64)
    twice = KINETICS.hold(KINETICS.hold(state, 1000.0, 1.0, steps=32), 1000.0, 1.0, steps=32)
    assert np.allclose(once[0], twice[0], atol=1e-9)
    assert np.allclose(once[1], KINETICS.hold(state[1], 1100.0, 2.0, steps=64))


def test_rates_follow_the_temperature_as_they_should():
    temperature = np.arange(700.0, 1440.0, 10)
    nucleation, growth, loss = KINETICS.rates(temperature)
    peak = nucleation.argmax()
    assert 0 < peak < len(temperature) - 1  # undercooled at one end, frozen at the other
    assert temperature[growth.argmax()] > temperature[peak]
    assert (np.diff(np.log(loss)) > 0).all()


@given(
    st.lists(
        st.tuples(st.floats(-5, -1), st.floats(0, 1.8), st.floats(0, 0.6)), min_size=1, max_size=5
    )
)
def test_corners_interpolate_linearly(states):
    states = np.array(states)
    numbers, weights = SMALL.corners(states)
    assert weights.min() >= 0
    assert np.allclose(weights.sum(axis=1), 1)
    mean = np.einsum("nc,ncd->nd", weights, SMALL.states[numbers])
    assert np.allclose(mean, states, atol=1e-9)


def test_corners_of_states_outside_lie_on_the_edge():
    numbers, weights = SMALL.corners(np.array([[5.0, 9.0, 9.0], [-9.0, -1.0, -1.0]]))
    assert SMALL.states[numbers[0][weights[0].argmax()]].tolist() == [-1.0, 1.8, 0.6]
    assert numbers[1][weights[1].argmax()] == 0


def test_the_best_schedule_is_the_best_of_all():
    furnace = Furnace(temperatures=(950.0, 1150.0), hours=3.0)
    best = best_schedule(KINETICS, furnace, SMALL, length=4)
    earned = {}
    for length in range(5):
        for path in itertools.product(range(3), repeat=length):
            state, total = SMALL.states[0], 0.0
            for action in path:
                state, cost = furnace.after(state, action, KINETICS)
                total += cost
            earned[path] = total + float(furnace.outcome(state))
    assert best[0] == pytest.approx(max(earned.values()))
    assert earned[best[1]] == pytest.approx(best[0])
    one = best_schedule(KINETICS, furnace, SMALL, length=4, isothermal=True)
    flat = [v for path, v in earned.items() if len(set(path)) <= 1]
    assert one[0] == pytest.approx(max(flat))


def test_the_process_is_the_simulator_on_average():
    """One step from a grid point: the mean coordinate over the corners is the simulated one."""
    furnace = Furnace(scatter=0.0)
    process = build_process(KINETICS, furnace, SMALL)
    states = SMALL.states
    k = len(furnace.actions)
    for s in (0, 20, 90):
        for action in range(k - 1):
            row = process.transition[[s * k + action]].toarray()[0]
            mean = row[:-1] @ states
            after, cost = furnace.after(states[s], action, KINETICS)
            low, high = states.min(axis=0), states.max(axis=0)
            assert np.allclose(mean, np.clip(after, low, high), atol=1e-9)
            assert process.reward[s, action] == cost
        assert process.reward[s, k - 1] == pytest.approx(float(furnace.outcome(states[s])))


def test_the_policy_of_the_grid_holds_in_the_simulator():
    grid = Grid()
    process = build_process(KINETICS, FURNACE, grid)
    value, _, _ = process.policy_iteration()
    assert np.allclose(value, process.value_iteration(), atol=1e-9)
    states, actions, earned = follow(process.backup(value), KINETICS, FURNACE, grid)
    assert actions[-1] == len(FURNACE.actions) - 1
    assert len(states) == len(actions)
    # it comes near the best fixed list of six, which was found without any grid
    assert earned > best_schedule(KINETICS, FURNACE, grid, length=6)[0] - 0.02
    flat = best_schedule(KINETICS, FURNACE, grid, length=25, isothermal=True)[0]
    assert earned > flat + 0.1
    noisy = [follow(process.backup(value), KINETICS, FURNACE, grid, seed=i)[2] for i in range(30)]
    assert np.mean(noisy) > flat + 0.1
    assert follow(process.backup(value), KINETICS, FURNACE, grid, seed=1)[2] == noisy[1]


def test_cheaper_is_better():
    cheap = build_process(KINETICS, Furnace(hold_cost=0.01), SMALL).policy_iteration()[0]
    dear = build_process(KINETICS, Furnace(hold_cost=0.03), SMALL).policy_iteration()[0]
    assert (cheap >= dear - 1e-12).all()
    assert cheap[0] > dear[0]


def test_bad_input():
    with pytest.raises(InputError, match="growth is 0"):
        Kinetics(growth=0.0)
    with pytest.raises(InputError, match="temperature -3 K"):
        KINETICS.rates(-3.0)
    with pytest.raises(InputError, match="expected numbers of K > 0"):
        Furnace(temperatures=())
    with pytest.raises(InputError, match="spill in"):
        Furnace(spill=1.0)
    with pytest.raises(InputError, match="extent is"):
        Grid(extent=(0.0, 1.0, 1))
