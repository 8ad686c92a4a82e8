"""Discharge of a half cell by PyBaMM: single particle, or porous electrode (section 7.6).

The porous-electrode model (Doyle, Fuller and Newman) lets a particle of `single_particle` sit at
every depth of the electrode and joins them by the transport of ions and electrons:
charge and salt are conserved in the electrolyte, Ohm's law holds in the solid, and Butler-Volmer
kinetics couples the two. PyBaMM solves it; this module hands it a `HalfCell` and an open-circuit
voltage. PyBaMM's usage reports are switched off before it is imported, so nothing leaves the
machine.
"""

import os

os.environ["PYBAMM_DISABLE_TELEMETRY"] = "true"

import numpy as np
import numpy.typing as npt
import pandas as pd
import pybamm

from mfutils.errors import InputError
from mfutils.screening.single_particle import HalfCell

__all__ = ["MODELS", "discharge"]

MODELS = {"SPM": pybamm.lithium_ion.SPM, "DFN": pybamm.lithium_ion.DFN}
_AREA = 1.0  # m2; every current below is per m2


def _to_the_ends(grid, volts):
    """The table continued in a straight line to fillings 0 and 1, where solvers look in passing."""
    slope = np.diff(volts) / np.diff(grid)
    if grid[0] > 0:
        grid, volts = np.append(0.0, grid), np.append(volts[0] - slope[0] * grid[0], volts)
    if grid[-1] < 1:
        volts = np.append(volts, volts[-1] + slope[-1] * (1 - grid[-1]))
        grid = np.append(grid, 1.0)
    return grid, volts


def _parameters(cell, filling, voltage, conductivity):
    grid, volts = _to_the_ends(np.asarray(filling, float), np.asarray(voltage, float))
    inner = 2 * cell.exchange

    def open_circuit(theta):
        return pybamm.Interpolant(grid, volts, theta, interpolator="linear")

    def exchange(c_electrolyte, c_surface, c_maximum, temperature):
        theta = c_surface / c_maximum
        return inner * (c_electrolyte / 1000) ** 0.5 * (theta * (1 - theta)) ** 0.5

    values = pybamm.ParameterValues("Xu2019")
    values.update(
        {
            "Positive electrode OCP [V]": open_circuit,
            "Positive electrode exchange-current density [A.m-2]": exchange,
            "Exchange-current density for lithium metal electrode [A.m-2]": cell.metal,
            "Positive particle diffusivity [m2.s-1]": cell.diffusivity,
            "Positive particle radius [m]": cell.radius,
            "Maximum concentration in positive electrode [mol.m-3]": cell.sites,
            "Initial concentration in positive electrode [mol.m-3]": cell.filled * cell.sites,
            "Positive electrode thickness [m]": cell.thickness,
            "Positive electrode active material volume fraction": cell.share,
            "Positive electrode porosity": cell.porosity,
            "Positive electrode conductivity [S.m-1]": conductivity,
            "Electrode height [m]": _AREA**0.5,
            "Electrode width [m]": _AREA**0.5,
            "Nominal cell capacity [A.h]": cell.capacity * _AREA / 3600,
            "Ambient temperature [K]": cell.temperature,
            "Reference temperature [K]": cell.temperature,
            "Initial temperature [K]": cell.temperature,
        }
    )
    return values


def discharge(
    cell: HalfCell, filling: npt.ArrayLike, voltage: npt.ArrayLike, *, c_rate: float,
    cutoff: float, model: str = "DFN", conductivity: float = 10.0, points: int = 200,
) -> pd.DataFrame:  # fmt: skip
    """Constant-current discharge; the columns time (h), capacity (share) and voltage (V).

    filling (k,) rising and voltage (k,) in V tabulate the open-circuit voltage, linear between.
    conductivity (S/m) is that of the solid. Electrolyte: 1 mol/l, of PyBaMM's set Xu2019.
    Raises InputError for an unknown model, a table that does not rise, or a solver that gives up.
    """
    if model not in MODELS:
        raise InputError(f"model is {model!r}; expected one of {', '.join(MODELS)}")
    grid = np.asarray(filling, dtype=float)
    if grid.ndim != 1 or len(grid) < 2 or np.shape(voltage) != grid.shape:
        raise InputError(
            f"fillings {grid.shape} and voltages {np.shape(voltage)}; expected two equal lists"
        )
    if not (np.diff(grid) > 0).all() or grid[0] < 0 or grid[-1] > 1:
        raise InputError("fillings must rise within [0, 1]; sort the table and drop repeats")
    values = _parameters(cell, grid, voltage, conductivity)
    values.update({"Lower voltage cut-off [V]": cutoff, "Upper voltage cut-off [V]": 10.0})
    values["Current function [A]"] = cell.current(c_rate) * _AREA
    built = MODELS[model]({"working electrode": "positive"})
    simulation = pybamm.Simulation(built, parameter_values=values)
    end = (1 - cell.filled) * 3600 / c_rate
    try:
        solution = simulation.solve(np.linspace(0, end * 0.9999, points))
    except pybamm.SolverError as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"PyBaMM's {model} gave up at {c_rate:g} C ({reason}); lower the current or the cutoff"
        ) from error
    time = solution["Time [h]"].entries
    return pd.DataFrame(
        {"time": time, "capacity": time * c_rate, "voltage": solution["Voltage [V]"].entries}
    )
