"""Models that share what they know about a gap, one per kind of record (section 5.2).

`computed_models` spends computed gaps: trees learn metal or not and how large from crystals, and
what a graph network says about a crystal is learnt again from its formula. Those are coordinates
that records with and without a crystal have in common. `composition_model` learns measured gaps
of both kinds from formula and coordinates; `mfutils.study.s05_4.crystal_model` goes on from its
forecasts. `loose_model` looks the other way: what crystals tell about records without one. No model
sees a record of a group that is held out. All are jobs for `mfutils.compendium.sweep.run`.
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from xgboost import XGBClassifier, XGBRegressor

from mfutils.errors import InputError
from mfutils.study.s05_4 import records
from mfutils.uncertainty.forecasts import Draws
from mfutils.uncertainty.quantile_forest import QuantileForest

__all__ = [
    "DRAWS", "LOOSE_INPUTS", "Coordinates", "OutOfFold", "both_kinds", "composition_model",
    "computed_models", "loose_model",
]  # fmt: skip

METAL = 0.05  # eV; a computed gap below this is no gap
LOOSE_INPUTS = ("formula", "coordinates", "crystal of that composition")
_TREES = {
    "learning_rate": 0.1, "max_depth": 6, "subsample": 0.8, "colsample_bytree": 0.3,
    "tree_method": "hist", "max_bin": 64, "n_jobs": 1,
}  # fmt: skip
_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
DRAWS = 200  # values of a forecast


@dataclass(frozen=True, eq=False)
class Coordinates:
    """What computed gaps say of n records with a crystal and m without: columns (k, 3).

    crystal (n, 3): probability of a metal and the gaps at both fidelities, from trees on the
    structure. formula (n, 3) and loose (m, 3): probability of a metal by trees on the formula, and
    the network's two gaps as trees learn them from formulas. polymorph (m, 3): the network's own
    gaps where the data set has a crystal of that composition. Gaps in eV.
    """

    crystal: np.ndarray
    formula: np.ndarray
    loose: np.ndarray
    polymorph: np.ndarray


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """forecast (n, K) eV of every record without its fold; inner (folds, n, 7), for each held-out
    fold f a summary of forecasts that saw neither f nor the row's own fold. NaN where not asked."""

    forecast: np.ndarray
    inner: np.ndarray


def computed_models(
    *, dataset, hidden, cheap, answer, network, measured=None, apart="composition", rounds=200,
    seed=0,
) -> Coordinates:  # fmt: skip
    """Learn from computed gaps alone, of the crystals that `Records.kept_apart` leaves.

    network (c, 2): what a graph network predicts for all crystals at the fidelities `cheap` and
    `answer` (eV), trained under the same rule `apart`; rounds of boosting.
    """
    data = records.load(dataset, hidden=hidden, measured=measured)
    network = np.asarray(network, dtype=float)
    if network.shape != (len(data.crystals), 2):
        raise InputError(
            f"network has shape {network.shape}; expected ({len(data.crystals)}, 2): two gaps of "
            "every crystal"
        )
    settings = {**_TREES, "n_estimators": rounds, "random_state": seed}
    learns = np.flatnonzero(~data.kept_apart(apart))
    gaps = {f: data.crystals[f"gap_{f}"].to_numpy(float) for f in (cheap, answer)}
    of = {f: learns[np.isfinite(gap[learns])] for f, gap in gaps.items()}
    x, formula = data.features, data.features[:, : data.shared]
    metal = gaps[cheap][of[cheap]] < METAL

    def classify(inputs):
        return XGBClassifier(**settings).fit(inputs[of[cheap]], metal)

    def regress(inputs, rows, target, depth=8):
        options = {**settings, "max_depth": depth}
        return XGBRegressor(**options).fit(inputs[rows], target[rows])

    by_structure = regress(x, of[cheap], gaps[cheap]).predict(x)
    further = by_structure
    if answer != cheap:
        wide = np.column_stack([x, network[:, 0], by_structure])
        further = regress(wide, of[answer], gaps[answer], depth=5).predict(wide)
    metal_by_structure = classify(x).predict_proba(x[data.rows])[:, 1]
    heads = [regress(formula, learns, network[:, k]) for k in range(2)]
    is_metal = classify(formula)

    def described(inputs):
        metallic = is_metal.predict_proba(inputs)[:, 1]
        return np.column_stack([metallic, *(head.predict(inputs) for head in heads)])

    loose, twin = described(data.loose_features), data.polymorph()
    polymorph = loose.copy()
    polymorph[twin >= 0, 1:] = network[twin[twin >= 0]]
    return Coordinates(
        np.column_stack([metal_by_structure, by_structure[data.rows], further[data.rows]]),
        described(formula[data.rows]),
        loose,
        polymorph,
    )


def composition_model(*, deal, formula, loose, trees=80) -> OutOfFold:
    """Learn measured gaps from formulas and shared coordinates, with and without a crystal.

    deal: a `records.Deal`; formula and loose as in Coordinates.
    """
    data, fold, tested = deal.records(), deal.fold(), set(deal.asked())
    x = np.column_stack([data.features[data.rows, : data.shared], formula])
    loose = np.column_stack([data.loose_features, loose])
    forecast = np.full((len(x), DRAWS), np.nan, np.float32)
    inner = np.full((deal.folds, len(x), 7), np.nan)
    for a, b in combinations_with_replacement(range(deal.folds), 2):
        if not {a, b} & tested:
            continue
        learns, extra = deal.learners(np.isin(fold, (a, b)))
        forest = QuantileForest(trees=trees, leaf=2, share=0.2, seed=deal.seed)
        forest.fit(*both_kinds(data, x, loose, learns, extra))
        for held, other in {(a, b), (b, a)}:
            ask = fold == other
            drawn = Draws(forest.draws(x[ask], count=DRAWS))
            inner[held, ask] = _summary(drawn)
            if a == b:
                forecast[ask] = drawn.values
    return OutOfFold(forecast, inner)


def loose_model(*, deal, computed, inputs, trees=80) -> np.ndarray:
    """Forecasts (m, K) in eV of the records without a crystal, each without its chemical system.

    deal: a `records.Deal`, of whose crystals the measured gaps train too. computed: Coordinates.
    inputs: "formula" alone, with "coordinates" that computed gaps taught, or with the network's
    reading of a "crystal of that composition" where the data set has one.
    """
    if inputs not in LOOSE_INPUTS:
        raise InputError(f"inputs is {inputs!r}; expected one of {', '.join(LOOSE_INPUTS)}")
    data = deal.records()
    x = np.concatenate([data.loose_features, data.features[data.rows, : data.shared]])
    if inputs != "formula":
        own = computed.loose if inputs == "coordinates" else computed.polymorph
        x = np.column_stack([x, np.concatenate([own, computed.formula])])
    gap = np.concatenate([data.loose_gap, data.gap])
    m = len(data.loose_gap)
    usable = np.concatenate([np.ones(m, dtype=bool), deal.with_crystal()])
    names, code = np.unique(np.concatenate([data.loose_system, data.system]), return_inverse=True)
    part = np.random.default_rng([deal.seed, 9]).permutation(len(names)) % deal.folds
    fold, forecast = part[code], np.empty((m, DRAWS), np.float32)
    for f in range(deal.folds):
        learns, ask = usable & (fold != f), np.flatnonzero(fold[:m] == f)
        forest = QuantileForest(trees=trees, leaf=2, share=0.2, seed=deal.seed)
        forecast[ask] = forest.fit(x[learns], gap[learns]).draws(x[ask], count=DRAWS)
    return forecast


def both_kinds(data, crystal, loose, learns, extra):
    """Inputs and gaps of records with a crystal (mask learns) and without (mask extra)."""
    return (
        np.concatenate([crystal[learns], loose[extra]]),
        np.concatenate([data.gap[learns], data.loose_gap[extra]]),
    )


def _summary(forecast):
    """What one model tells the next about its forecast of k samples: (k, 7)."""
    quantiles = np.quantile(forecast.values, _QUANTILES, axis=1, method="nearest").T
    return np.column_stack([quantiles, forecast.moments()[0], forecast.zero_probability()])
