"""From energies of lithiated phases to voltages (section 7.6).

A host that has taken up x lithium per formula unit has energy E(x) (eV per host formula unit).
Phases on the lower convex hull of (x, E) are stable; between neighbours x1 < x2 both coexist at

    V = -[E(x2) - E(x1)] / (x2 - x1) + mu0,

mu0 being the chemical potential of lithium metal, 0 when E are formation energies. A phase is
stable where the grand potential E - mu x is smallest, that is for mu between the slopes of the
hull on its two sides: the window [mu_min, mu_max], in volts [mu0 - mu_max, mu0 - mu_min].
At a temperature T the average over phases weighted with exp[-m (E - mu x) / kT], where m formula
units change together, turns the steps into a smooth curve; one m large gives the hull again.
"""

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import constants
from scipy.optimize import linprog

from mfutils.errors import InputError

__all__ = [
    "BOLTZMANN",
    "FARADAY",
    "bep_barrier",
    "exchange_current",
    "lithiation_hull",
    "potential_window",
    "smooth_voltage",
    "stability_window",
    "voltage_steps",
]

BOLTZMANN = constants.value("Boltzmann constant in eV/K")
FARADAY = constants.value("Faraday constant")  # C/mol
_PLANCK = constants.value("Planck constant in eV/Hz")


def _phases(x, energy):
    x, energy = np.asarray(x, dtype=float), np.asarray(energy, dtype=float)
    if x.ndim != 1 or x.shape != energy.shape or not len(x):
        raise InputError(
            f"lithium contents {x.shape} and energies {energy.shape}; expected two equal lists"
        )
    bad = np.flatnonzero(~(np.isfinite(x) & np.isfinite(energy)) | (x < 0))
    if len(bad):
        raise InputError(
            f"phase {bad[0]} has x = {x[bad[0]]:g}, E = {energy[bad[0]]:g}; expected x >= 0 and "
            "finite energies, so leave it out"
        )
    return x, energy


def lithiation_hull(
    x: npt.ArrayLike, energy: npt.ArrayLike, *, mu_metal: float = 0.0
) -> np.ndarray:
    """Indices of the stable phases, in the order of x.

    x (n,) lithium per host formula unit, energy (n,) eV per host formula unit. The least
    lithiated phase is always among them. A phase that would need a chemical potential of mu_metal
    (eV) or more is not: the metal plates instead. Of equal phases the first counts.
    """
    x, energy = _phases(x, energy)
    hull = []
    for i in np.lexsort((np.arange(len(x)), energy, x)):
        if hull and x[i] == x[hull[-1]]:
            continue
        while len(hull) > 1:
            a, b = hull[-2:]
            # b lies on or above the line from a to i
            lift = (energy[b] - energy[a]) * (x[i] - x[a]) - (energy[i] - energy[a]) * (x[b] - x[a])
            if lift < 0:
                break
            hull.pop()
        hull.append(int(i))
    slopes = np.diff(energy[hull]) / np.diff(x[hull])
    return np.array(hull[: 1 + int(np.searchsorted(slopes, mu_metal))])


def voltage_steps(
    x: npt.ArrayLike, energy: npt.ArrayLike, *, mu_metal: float = 0.0
) -> pd.DataFrame:
    """Plateaus of the open-circuit voltage against lithium metal, one row each.

    Columns: x_from, x_to, voltage (V), phase_from, phase_to (indices into x). Raises InputError
    when fewer than two phases are stable.
    """
    x, energy = _phases(x, energy)
    hull = lithiation_hull(x, energy, mu_metal=mu_metal)
    if len(hull) < 2:
        raise InputError(
            f"1 of {len(x)} phases is stable; expected two for a plateau, so add a lithiated phase"
        )
    slope = np.diff(energy[hull]) / np.diff(x[hull])
    return pd.DataFrame(
        {
            "x_from": x[hull[:-1]],
            "x_to": x[hull[1:]],
            "voltage": mu_metal - slope,
            "phase_from": hull[:-1],
            "phase_to": hull[1:],
        }
    )


def stability_window(
    x: npt.ArrayLike, energy: npt.ArrayLike, phase: int, *, mu_metal: float = 0.0
) -> tuple[float, float]:
    """(mu_min, mu_max) in eV between which phase number `phase` has the lowest grand potential.

    -inf for the least lithiated phase, mu_metal at most. Raises InputError for a phase above
    the hull, with the energy that it would give off by splitting.
    """
    x, energy = _phases(x, energy)
    if not 0 <= phase < len(x):
        raise InputError(f"phase {phase} of {len(x)}; expected a number from 0")
    hull = lithiation_hull(x, energy, mu_metal=mu_metal)
    at = np.flatnonzero(hull == phase)
    if not len(at):
        metal = np.clip(x[phase] - x[hull[-1]], 0, None) * mu_metal
        below = energy[phase] - np.interp(x[phase], x[hull], energy[hull]) - metal
        raise InputError(
            f"phase {phase} at x = {x[phase]:g} lies {below:.4g} eV per host above the hull; "
            "only stable phases have a window"
        )
    slopes = np.diff(energy[hull]) / np.diff(x[hull])
    low = -math.inf if at[0] == 0 else float(slopes[at[0] - 1])
    high = mu_metal if at[0] == len(slopes) else float(slopes[at[0]])
    return low, min(high, mu_metal)


def potential_window(
    amounts: npt.ArrayLike, energies: npt.ArrayLike, target: int, element: int
) -> tuple[float, float]:
    """(mu_min, mu_max) in eV of one element between which phase `target` is stable, any system.

    amounts (n, e) atoms of e elements in one formula unit of n phases, the elements themselves
    included; energies (n,) eV per formula unit. Chemical potentials mu of equilibrium satisfy
    amounts mu <= energies, with equality for the target: a linear program per end. Infinite
    where nothing bounds it. Raises InputError when the target is not stable.
    """
    amounts, energies = np.asarray(amounts, dtype=float), np.asarray(energies, dtype=float)
    if amounts.ndim != 2 or energies.shape != amounts.shape[:1]:
        raise InputError(
            f"amounts {amounts.shape} and energies {energies.shape}; expected (n, e) and (n,)"
        )
    if not (np.isfinite(amounts).all() and np.isfinite(energies).all() and (amounts >= 0).all()):
        raise InputError("amounts must be >= 0 and energies finite; leave other phases out")
    if not (0 <= target < len(amounts) and 0 <= element < amounts.shape[1]):
        raise InputError(
            f"target {target} and element {element}; expected rows and columns of {amounts.shape}"
        )
    cost = np.zeros(amounts.shape[1])
    ends = []
    for sign in (1.0, -1.0):
        cost[element] = sign
        solution = linprog(
            cost,
            A_ub=amounts,
            b_ub=energies,
            A_eq=amounts[[target]],
            b_eq=energies[[target]],
            bounds=(None, None),
        )
        if solution.status == 2:
            raise InputError(
                f"phase {target} lies above the hull of the {len(amounts)} phases; only stable "
                "phases have a window"
            )
        ends.append(-sign * math.inf if solution.status == 3 else sign * solution.fun)
    return ends[0], ends[1]


def smooth_voltage(
    x: npt.ArrayLike, energy: npt.ArrayLike, grid: npt.ArrayLike, *, temperature: float = 298.15,
    cluster: float = 1.0, mu_metal: float = 0.0,
) -> np.ndarray:  # fmt: skip
    """Open-circuit voltages (k,) in V at lithium contents grid (k,), by the grand-canonical mean.

    cluster is how many host formula units change together; the larger, the sharper the steps.
    For two phases this is Nernst's equation with slope kT / cluster. grid must lie strictly
    inside the range of x.
    """
    x, energy = _phases(x, energy)
    grid = np.asarray(grid, dtype=float)
    if not (temperature > 0 and cluster > 0):
        raise InputError(f"temperature {temperature!r}, cluster {cluster!r}; expected both > 0")
    if not (len(grid) and grid.min() > x.min() and grid.max() < x.max()):
        raise InputError(
            f"grid of lithium contents must lie inside ({x.min():g}, {x.max():g}), ends excluded"
        )
    beta = cluster / (BOLTZMANN * temperature)
    hull = lithiation_hull(x, energy, mu_metal=math.inf)
    steep = np.diff(energy[hull]) / np.diff(x[hull])
    # The mean content rises with mu, so bisection between bounds that enclose every root works.
    reach = 60.0 / beta / np.diff(np.unique(x)).min()
    low, high = np.full(len(grid), steep.min() - reach), np.full(len(grid), steep.max() + reach)
    for _ in range(80):
        mu = (low + high) / 2
        below = _mean_content(mu, x, energy, beta) < grid
        low, high = np.where(below, mu, low), np.where(below, high, mu)
    return mu_metal - (low + high) / 2


def _mean_content(mu, x, energy, beta):
    exponent = -beta * (energy - mu[:, None] * x)
    weight = np.exp(exponent - exponent.max(axis=1, keepdims=True))
    return weight @ x / weight.sum(axis=1)


def bep_barrier(
    reaction_energy: npt.ArrayLike, *, intrinsic: float, slope: float = 0.5
) -> np.ndarray | float:
    """Activation energy (eV) from a reaction energy (eV): Ea = intrinsic + slope dE, at least 0.

    The relation of Bronsted, Evans and Polanyi; also not below dE, or the way back would have
    none to climb.
    """
    reaction_energy = np.asarray(reaction_energy, dtype=float)
    if not 0 <= slope <= 1:
        raise InputError(f"slope is {slope!r}; expected a share in [0, 1]")
    barrier = intrinsic + slope * reaction_energy
    return np.maximum(barrier, np.maximum(reaction_energy, 0.0))


def exchange_current(
    barrier: npt.ArrayLike, *, sites: float, temperature: float = 298.15
) -> np.ndarray | float:
    """Exchange current density (A/m2) over a barrier (eV) with `sites` (mol/m2) reaction sites.

    i0 = F sites (kT/h) exp(-Ea / kT): Eyring's rate with a transmission of one.
    """
    if not (temperature > 0 and sites > 0):
        raise InputError(f"temperature {temperature!r}, sites {sites!r}; expected both > 0")
    energy = BOLTZMANN * temperature
    return FARADAY * sites * energy / _PLANCK * np.exp(-np.asarray(barrier, dtype=float) / energy)
