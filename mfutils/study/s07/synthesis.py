"""Solid-state synthesis as a Markov decision process (section 7.8).

The product forms by nucleation and growth. Below the temperature Tm where it decomposes, nuclei
appear at the rate I(T) per volume of what has not reacted, and grow at the speed G(T):

    I = I0 exp(-Q_I/kT) exp(-W / (kT (1 - T/Tm)^2)),
    G = G0 exp(-Q_G/kT) [1 - exp(-L (1 - T/Tm) / kT)].

With N nuclei of one mean radius the extended volume u^3 obeys du/dt = (4 pi N / 3)^(1/3) G and
the conversion is f = 1 - exp(-u^3) (Kolmogorov, Johnson, Mehl, Avrami): exact for nuclei that
are there from the start; for a constant rate I the exponent 4 is right and the prefactor
27/16 too high, because newborn nuclei count as grown ones. Heat also drives out a volatile
component, z = -ln(share kept), dz/dt = K0 exp(-Q_K/kT). The yield is f exp(-z).

Actions hold one temperature for a while, grind (more nuclei, a little loss), or stop. On a grid of
states (log10 N, u, z) a result between grid points goes to its corners with the weights of linear
interpolation, which makes a finite Markov decision process for `mfutils.screening.markov`.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import constants, sparse

from mfutils.errors import InputError
from mfutils.screening.markov import Process

__all__ = ["Furnace", "Grid", "Kinetics", "best_schedule", "build_process", "follow"]

_BOLTZMANN = constants.value("Boltzmann constant in eV/K")


@dataclass(frozen=True, kw_only=True)
class Kinetics:
    """Rates per hour, lengths in micrometre, energies in eV, temperatures in K."""

    decomposition: float = 1450.0
    nucleation: float = 3e8
    nucleation_barrier: float = 1.4
    nucleus_work: float = 0.08
    growth: float = 4e8
    growth_barrier: float = 1.9
    driving_force: float = 1.0
    loss: float = 6e9
    loss_barrier: float = 2.5

    def __post_init__(self):
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value!r}; expected a finite number > 0")

    def rates(self, temperature: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(nuclei per um3 and hour, um per hour, loss per hour) at temperatures of any shape."""
        temperature = np.asarray(temperature, dtype=float)
        if not (temperature > 0).all():
            raise InputError(f"temperature {temperature.min():g} K; expected a number > 0")
        energy = _BOLTZMANN * temperature
        under = np.clip(1 - temperature / self.decomposition, 1e-6, None)
        nucleation = self.nucleation * np.exp(-self.nucleation_barrier / energy)
        nucleation = nucleation * np.exp(-self.nucleus_work / (energy * under**2))
        drive = -np.expm1(-self.driving_force * under / energy)
        growth = self.growth * np.exp(-self.growth_barrier / energy) * drive
        return nucleation, growth, self.loss * np.exp(-self.loss_barrier / energy)

    def hold(
        self, state: npt.ArrayLike, temperature: npt.ArrayLike, hours: float, *, steps: int = 16
    ) -> np.ndarray:
        """States (n, 3) of (log10 N, u, z) after `hours` at a temperature, a number or (n,).

        Heun's method in `steps` steps; z is exact.
        """
        state = np.asarray(state, dtype=float)
        nucleation, growth, loss = self.rates(temperature)
        count, u = 10.0 ** state[..., 0], state[..., 1]
        dt = hours / steps
        scale = (4 * math.pi / 3) ** (1 / 3) * growth
        for _ in range(steps):
            born = nucleation * np.exp(-(u**3))
            speed = scale * np.cbrt(count)
            later, ahead = count + dt * born, u + dt * speed
            born_later = nucleation * np.exp(-(ahead**3))
            u = u + dt / 2 * (speed + scale * np.cbrt(later))
            count = count + dt / 2 * (born + born_later)
        return np.stack([np.log10(count), u, state[..., 2] + loss * hours], axis=-1)


@dataclass(frozen=True, kw_only=True)
class Furnace:
    """What can be done, and what it costs in units of the value of a full yield.

    Each temperature (K) is held for `hours`, which costs `hold_cost`; the real temperature
    scatters by `scatter` K. Grinding makes `fresh` nuclei per um3 and loses the share `spill`; it
    costs `grind_cost`. A stopped run earns its yield less `impurity` times the share that was lost.
    """

    temperatures: tuple[float, ...] = (850.0, 950.0, 1050.0, 1150.0, 1250.0)
    hours: float = 1.0
    hold_cost: float = 0.02
    scatter: float = 15.0
    fresh: float = 0.004
    spill: float = 0.01
    grind_cost: float = 0.02
    impurity: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, "temperatures", tuple(float(t) for t in self.temperatures))
        if not self.temperatures or not all(0 < t < math.inf for t in self.temperatures):
            raise InputError(f"temperatures are {self.temperatures}; expected numbers of K > 0")
        if not (self.hours > 0 and self.scatter >= 0 and self.fresh >= 0 and 0 <= self.spill < 1):
            raise InputError("expected hours > 0, scatter and fresh >= 0 and spill in [0, 1)")

    @property
    def actions(self) -> tuple[str, ...]:
        """Names of the actions, in the order of their numbers."""
        return (*(f"{t:g} K" for t in self.temperatures), "grind", "stop")

    def outcome(self, state: npt.ArrayLike) -> np.ndarray:
        """What a run earns that is stopped in states (n, 3)."""
        state = np.asarray(state, dtype=float)
        kept = np.exp(-state[..., 2])
        return -np.expm1(-(state[..., 1] ** 3)) * kept - self.impurity * (1 - kept)

    def after(
        self, state: npt.ArrayLike, action: int, kinetics: Kinetics, *, deviation: float = 0.0
    ) -> tuple[np.ndarray, float]:
        """(next states, reward) of an action number that is not the last, "stop"."""
        if action < len(self.temperatures):
            temperature = self.temperatures[action] + deviation
            return kinetics.hold(state, temperature, self.hours), -self.hold_cost
        state = np.array(state, dtype=float)
        state[..., 0] = np.log10(10.0 ** state[..., 0] + self.fresh)
        state[..., 2] -= math.log1p(-self.spill)
        return state, -self.grind_cost


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Grid points of (log10 N, u, z); a run starts at the first point of each."""

    nuclei: tuple[float, float, int] = (-5.0, -1.0, 13)
    extent: tuple[float, float, int] = (0.0, 1.8, 13)
    loss: tuple[float, float, int] = (0.0, 0.6, 7)

    def __post_init__(self):
        for name, (low, high, count) in vars(self).items():
            if count < 2 or not low < high:
                raise InputError(f"{name} is {low, high, count}; expected low < high, count >= 2")

    @property
    def axes(self) -> tuple[np.ndarray, ...]:
        """The three arrays of grid points."""
        return tuple(np.linspace(*axis) for axis in (self.nuclei, self.extent, self.loss))

    @property
    def states(self) -> np.ndarray:
        """All states (n, 3), the last axis fastest; number 0 is the start."""
        return np.array(list(itertools.product(*self.axes)))

    def corners(self, state: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """(numbers, weights), both (n, 8), of the grid points around states (n, 3).

        States outside are moved to the edge.
        """
        state = np.asarray(state, dtype=float)
        numbers = np.zeros((len(state), 1), dtype=int)
        weights = np.ones((len(state), 1))
        for column, axis in enumerate(self.axes):
            place = (state[:, column] - axis[0]) / (axis[1] - axis[0])
            place = np.clip(place, 0, len(axis) - 1)
            below = np.minimum(place.astype(int), len(axis) - 2)
            share = (place - below)[:, None]
            low = numbers * len(axis) + below[:, None]
            numbers = np.concatenate([low, low + 1], axis=1)
            weights = np.concatenate([weights * (1 - share), weights * share], axis=1)
        return numbers, weights


# Gauss-Hermite points of a standard normal: exact up to the fifth power
_SCATTER = ((-math.sqrt(3), 1 / 6), (0.0, 2 / 3), (math.sqrt(3), 1 / 6))


def build_process(
    kinetics: Kinetics, furnace: Furnace, grid: Grid, *, discount: float = 0.99
) -> Process:
    """The finite Process of a furnace on a grid; its last state is the end of a run."""
    states = grid.states
    n, k = len(states), len(furnace.actions)
    reward = np.zeros((n + 1, k))
    rows, columns, values = [], [], []

    def lead(action, numbers, weights):
        rows.append(np.repeat(np.arange(n) * k + action, numbers.shape[1]))
        columns.append(numbers.ravel())
        values.append(weights.ravel())

    for action in range(k - 1):
        heated = action < len(furnace.temperatures) and furnace.scatter
        for point, share in _SCATTER if heated else ((0.0, 1.0),):
            after, earned = furnace.after(
                states, action, kinetics, deviation=point * furnace.scatter
            )
            numbers, weights = grid.corners(after)
            lead(action, numbers, share * weights)
        reward[:n, action] = earned
    lead(k - 1, np.full((n, 1), n), np.ones((n, 1)))
    reward[:n, k - 1] = furnace.outcome(states)
    rows.append(n * k + np.arange(k))
    columns.append(np.full(k, n))
    values.append(np.ones(k))
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    transition = sparse.coo_array(entries, shape=((n + 1) * k, n + 1)).tocsr()
    return Process(transition, reward, discount, n)


def follow(
    q: np.ndarray, kinetics: Kinetics, furnace: Furnace, grid: Grid, *, limit: int = 40,
    seed: int | None = None,
) -> tuple[np.ndarray, list[int], float]:  # fmt: skip
    """Run the simulator, off the grid, under action values q (n + 1, k) interpolated in between.

    Returns (states (t + 1, 3), actions (t,), earned): earned is not discounted. The furnace
    scatters when a seed is given.
    """
    generator = None if seed is None else np.random.default_rng(seed)
    state = grid.states[:1]
    states, actions, earned = [state[0]], [], 0.0
    for step in range(limit):
        numbers, weights = grid.corners(state)
        action = int((weights[0] @ q[numbers[0]]).argmax())
        stop = len(furnace.actions) - 1
        if step == limit - 1:
            action = stop
        actions.append(action)
        if action == stop:
            return np.array(states), actions, earned + float(furnace.outcome(state)[0])
        deviation = 0.0 if generator is None else furnace.scatter * generator.normal()
        state, cost = furnace.after(state, action, kinetics, deviation=deviation)
        states.append(state[0])
        earned += cost
    raise AssertionError("unreachable")


def best_schedule(
    kinetics: Kinetics, furnace: Furnace, grid: Grid, *, length: int, isothermal: bool = False
) -> tuple[float, tuple[int, ...]]:
    """The best fixed list of at most `length` actions before "stop", by trying every one.

    Without scatter of the temperature. Returns (earned, actions). isothermal allows one action
    only, repeated.
    """
    stop = len(furnace.actions) - 1
    states, cost = grid.states[:1], np.zeros(1)
    paths = np.zeros((1, 0), dtype=int)
    best = (float(furnace.outcome(states)[0]), ())
    for _ in range(length):
        after, spent, way = [], [], []
        for action in range(stop):
            rows = np.arange(len(paths))
            if isothermal and paths.shape[1]:
                rows = np.flatnonzero(paths[:, -1] == action)
            moved, earned = furnace.after(states[rows], action, kinetics)
            after.append(moved)
            spent.append(cost[rows] + earned)
            way.append(np.column_stack([paths[rows], np.full(len(rows), action)]))
        states, cost, paths = np.concatenate(after), np.concatenate(spent), np.concatenate(way)
        total = cost + furnace.outcome(states)
        if total.max() > best[0]:
            top = int(total.argmax())
            best = (float(total[top]), tuple(int(a) for a in paths[top]))
    return best
