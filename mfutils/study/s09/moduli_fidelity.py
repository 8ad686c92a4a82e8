"""Two DFT protocols for one modulus as fidelities: AFLOW's AEL and the Materials Project (9).

Both databases strain a relaxed cell and average the stiffness, with other relaxations, strains
and fits. Here the Materials Project is the high fidelity h and AFLOW the low one l. A few crystals
have h, many have l; the corrections of section 4.1 learn log10 h as rho l + delta(x), x being the
features of composition and cell, standardised. Two questions are asked of them: crystals that have
no l of their own (`known` false), and crystals whose l is known, where the correction competes
with taking l as it is.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mfutils.crystals import composition
from mfutils.datasets import elastic, registry
from mfutils.errors import InputError
from mfutils.gp.corrections import fit_corrections
from mfutils.gp.exact import DegenerateFitWarning, fit_gp
from mfutils.gp.problem import TwoFidelityProblem

__all__ = ["Corrected", "TwoDatabases", "correct", "draw_rows", "load_databases"]

_COLUMNS = {
    "shear": ("shear_modulus", "shear_modulus_aflow"),
    "bulk": ("bulk_modulus", "bulk_modulus_aflow"),
}


class TwoDatabases:
    """table (material_id, formula, structure, spacegroup, ...), x (n, d), high and low (n,).

    high and low are log10 GPa, NaN where a database has no value; both holds the rows with both.
    """

    def __init__(self, property: str, table: pd.DataFrame, x: np.ndarray):
        self.property, self.table, self.x = property, table, x
        self.high, self.low = (np.log10(table[c].to_numpy(float)) for c in _COLUMNS[property])
        self.both = np.flatnonzero(np.isfinite(self.high) & np.isfinite(self.low))


@dataclass(frozen=True, eq=False)
class Corrected:
    """What corrections say of the tested crystals: all arrays (n,) in log10 GPa, but rows.

    mean and std by method. baselines by name, empty unless the low values of the tested crystals
    are known: "as it is" (the low value), "shifted" (plus the mean difference at the high points),
    "line" (a straight line through the high points) and "difference" (plus a Gaussian process of
    the difference).
    """

    rows: np.ndarray
    target: np.ndarray
    low: np.ndarray
    mean: dict[str, np.ndarray]
    std: dict[str, np.ndarray]
    baselines: dict[str, np.ndarray]


@registry.remembered(maxsize=2)
def load_databases(property: str = "bulk") -> TwoDatabases:
    """The crystals with a modulus in either database, and their standardised features."""
    if property not in _COLUMNS:
        raise InputError(f"no property {property!r}; expected {' or '.join(_COLUMNS)}")
    table = elastic.load("both")
    described = composition.features(table["structure"])
    described["spacegroup"] = table["spacegroup"].to_numpy(float)
    described["log_volume"] = np.log(described["volume_per_atom"])
    x = described.to_numpy(float)
    spread = x.std(axis=0)
    return TwoDatabases(property, table, (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0))


def draw_rows(
    data: TwoDatabases, *, high: int, low: int, test: int, seed: int, known: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row numbers (high, low, test) of one experiment.

    high and test are drawn from the crystals with both values and share no formula; low holds
    the high rows, further rows that have a low value but are not tested, and, when known, the
    tested ones. Raises InputError when there are not enough.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(data.both)
    formulas = data.table["formula"].to_numpy(str)
    tested = order[:test]
    rest = order[test:]
    rest = rest[~np.isin(formulas[rest], formulas[tested])]
    if len(tested) < test or len(rest) < high:
        raise InputError(
            f"{len(data.both)} crystals have both moduli; expected at least {test} to test and "
            f"{high} more"
        )
    chosen = rest[:high]
    others = np.setdiff1d(np.flatnonzero(np.isfinite(data.low)), np.union1d(tested, chosen))
    others = others[~np.isin(formulas[others], formulas[tested])]
    more = rng.permutation(others)[: max(low - high, 0)]
    cheap = np.concatenate([chosen, more, tested] if known else [chosen, more])
    return chosen, cheap, tested


def correct(
    *, property: str, high: int, low: int, test: int, seed: int, known: bool, protocol: str,
    methods: Sequence[str], draws: int = 8,
) -> Corrected:  # fmt: skip
    """Fit corrections of one draw of `draw_rows` and predict the tested crystals."""
    data = load_databases(property)
    few, many, rows = draw_rows(data, high=high, low=low, test=test, seed=seed, known=known)
    problem = TwoFidelityProblem(data.x[few], data.high[few], data.x[many], data.low[many])
    options = {} if protocol == "thesis" else {"draws": draws}
    # Crystals of equal composition and cell size may share all features
    if protocol != "thesis":
        options["replicates"] = "keep"
    fits = fit_corrections(problem, methods, protocol=protocol, **options)
    predictions = {method: fit.predict(data.x[rows]) for method, fit in fits.items()}
    return Corrected(
        rows,
        data.high[rows],
        data.low[rows],
        {method: mean for method, (mean, _) in predictions.items()},
        {method: std for method, (_, std) in predictions.items()},
        _baselines(data, few, rows) if known else {},
    )


def _baselines(data, few, rows):
    """What to do with a known low value when no process of the whole is fitted."""
    low, gap = data.low[rows], data.high[few] - data.low[few]
    slope, offset = np.polyfit(data.low[few], data.high[few], 1)
    difference = np.full(len(rows), gap.mean())
    if gap.std() > 1e-9:
        with warnings.catch_warnings():
            # Differences without a pattern are a finding here, and the fit falls back to their mean
            warnings.simplefilter("ignore", DegenerateFitWarning)
            difference = fit_gp(data.x[few], gap).predict(data.x[rows])[0]
    return {
        "as it is": low,
        "shifted": low + gap.mean(),
        "line": offset + slope * low,
        "difference": low + difference,
    }
