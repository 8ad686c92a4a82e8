"""Discharge of a half cell with one sphere standing for all of its particles (section 7.6).

Lithium enters a sphere of radius R at a constant rate and spreads by diffusion. In units of the
diffusion time R^2/D the filling theta of its surface is known in closed form (Crank):

    theta_s = theta_0 + g [3 tau + 1/5 - 2 sum_n exp(-l_n^2 tau) / l_n^2],   l_n = tan l_n,

with g = j R / (D F c_max) from the current density j at the surface. The voltage is the
open-circuit voltage at theta_s less the overpotentials of both electrodes, each
(2RT/F) asinh(j / 2 i0) by Butler and Volmer with transfer coefficients 1/2. The electrolyte costs
nothing here; `mfutils.screening.porous_electrode` adds it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import constants
from scipy.optimize import brentq

from mfutils.errors import InputError
from mfutils.screening.voltages import FARADAY

__all__ = ["HalfCell", "discharge", "surface_filling"]


@dataclass(frozen=True, kw_only=True)
class HalfCell:
    """A porous electrode against lithium metal; SI units (m, m2/s, mol/m3, A/m2, K).

    exchange is the exchange current density of the particles at half filling; it varies as
    2 sqrt(theta (1 - theta)). metal is that of the lithium electrode.
    """

    radius: float = 1e-6
    diffusivity: float = 1e-15
    sites: float = 22800.0
    thickness: float = 6e-5
    share: float = 0.5
    porosity: float = 0.35
    exchange: float = 1.0
    metal: float = 20.0
    filled: float = 0.01
    temperature: float = 298.15

    def __post_init__(self):
        for name, value in vars(self).items():
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} is {value!r}; expected a finite number > 0")
        if self.filled >= 1 or self.share + self.porosity > 1:
            raise InputError(
                f"filled {self.filled:g}, share {self.share:g}, porosity {self.porosity:g}; "
                "expected filled < 1 and share + porosity <= 1"
            )

    @property
    def capacity(self) -> float:
        """Coulomb per m2 of electrode from filling 0 to 1."""
        return FARADAY * self.sites * self.share * self.thickness

    @property
    def surface(self) -> float:
        """m2 of particle surface per m2 of electrode."""
        return 3 * self.share * self.thickness / self.radius

    def current(self, c_rate: float) -> float:
        """A/m2 of electrode that would fill it in 1 / c_rate hours."""
        return self.capacity * c_rate / 3600


def _roots(count):
    """The first `count` positive solutions of tan l = l."""

    def f(v):
        return math.sin(v) - v * math.cos(v)

    return np.array([brentq(f, n * math.pi, (n + 0.5) * math.pi) for n in range(1, count + 1)])


_LAMBDA = _roots(400)


def surface_filling(tau: npt.ArrayLike, rate: float) -> np.ndarray:
    """Rise of the surface filling after times tau (k,) in R^2/D at the dimensionless rate g.

    The average rises by 3 g tau. Exact for tau = 0 and to 1e-8 of g beyond tau = 1e-4; the
    series is cut there, and the short-time limit 2 g sqrt(tau / pi) takes over.
    """
    tau = np.asarray(tau, dtype=float)
    series = np.exp(-np.multiply.outer(tau, _LAMBDA**2)) @ (2 / _LAMBDA**2)
    early = 2 * np.sqrt(tau.clip(min=0) / math.pi) + tau
    return rate * np.where(tau < 1e-4, early, 3 * tau + 0.2 - series)


def discharge(
    cell: HalfCell, voltage: Callable[[np.ndarray], np.ndarray], *, c_rate: float, cutoff: float,
    points: int = 400,
) -> pd.DataFrame:  # fmt: skip
    """Constant-current discharge to the `cutoff` voltage.

    voltage is a function from fillings (k,) in (0, 1) to open-circuit volts. Returns a
    DataFrame: time (h), capacity (share of the theoretical), open_circuit and voltage (V), up to
    the last point above the cutoff. Raises InputError when the first is below it already.
    """
    if not c_rate > 0:
        raise InputError(f"c_rate is {c_rate!r}; expected a number > 0")
    current = cell.current(c_rate) / cell.surface
    rate = current * cell.radius / (cell.diffusivity * FARADAY * cell.sites)
    end = (1 - cell.filled) * 3600 / c_rate
    time = np.linspace(0, end, points + 1)
    surface = cell.filled + surface_filling(time * cell.diffusivity / cell.radius**2, rate)
    inside = surface < 1 - 1e-6
    time, surface = time[inside], surface[inside]
    thermal = 2 * constants.R * cell.temperature / FARADAY
    particle = cell.exchange * 2 * np.sqrt(surface * (1 - surface))
    loss = thermal * np.arcsinh(current / (2 * particle))
    loss = loss + thermal * np.arcsinh(cell.current(c_rate) / (2 * cell.metal))
    open_circuit = voltage(cell.filled + time * c_rate / 3600)
    closed = voltage(surface) - loss
    above = np.flatnonzero(closed < cutoff)
    stop = above[0] if len(above) else len(closed)
    if stop == 0:
        raise InputError(
            f"the voltage starts at {closed[0]:.3f} V, below the cutoff of {cutoff:g} V; lower "
            "the cutoff or the current"
        )
    return pd.DataFrame(
        {
            "time": time[:stop] / 3600,
            "capacity": time[:stop] * c_rate / 3600,
            "open_circuit": open_circuit[:stop],
            "voltage": closed[:stop],
        }
    )
