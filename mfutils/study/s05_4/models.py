"""Three models that share what they know about a gap, one per kind of record (section 5.2).

`computed_models` spends computed gaps: trees learn metal or not and how large from crystals, and
what a graph network says about a crystal is learnt again from its formula. Those are coordinates
that records with and without a crystal have in common. `composition_model` learns measured gaps
of both kinds from formula and coordinates. `fused` learns them from crystals: a hurdle and a
forest that get the composition model's out-of-fold forecast as input, pooled with a hurdle whose
positive part was learnt from both kinds at once, in the shared coordinates. `loose_model` looks
the other way: what crystals tell about records without one. No model sees a record of a group
that is held out. All are jobs for `mfutils.compendium.sweep.run`.
"""

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from xgboost import XGBClassifier, XGBRegressor

from mfutils.errors import InputError
from mfutils.study.s05_4 import records
from mfutils.uncertainty.forecasts import Draws, hurdle, pool
from mfutils.uncertainty.quantile_forest import QuantileForest

__all__ = [
    "LOOSE_INPUTS",
    "Coordinates",
    "Fused",
    "OutOfFold",
    "composition_model",
    "computed_models",
    "fused",
    "loose_model",
]

METAL = 0.05  # eV; a computed gap below this is no gap
LOOSE_INPUTS = ("formula", "coordinates", "crystal of that composition")
_TREES = {
    "learning_rate": 0.1, "max_depth": 6, "subsample": 0.8, "colsample_bytree": 0.3,
    "tree_method": "hist", "max_bin": 64, "n_jobs": 1,
}  # fmt: skip
_FEW = {
    "n_estimators": 250, "learning_rate": 0.04, "max_depth": 4, "subsample": 0.7,
    "colsample_bytree": 0.3, "min_child_weight": 2, "tree_method": "hist", "n_jobs": 1,
}  # fmt: skip
_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)


_DRAWS = 200  # values of a forecast


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
    fold f a summary of forecasts that saw neither f nor the row's own fold."""

    forecast: np.ndarray
    inner: np.ndarray


@dataclass(frozen=True, eq=False)
class Fused:
    """forecast (n, K) eV of every record without its fold; calibration (folds, n, K), forecasts of
    rows by models that saw neither these rows nor fold f, NaN elsewhere; None if not asked for."""

    forecast: np.ndarray
    calibration: np.ndarray | None


def computed_models(*, dataset, hidden, cheap, answer, network, rounds=200, seed=0) -> Coordinates:
    """Learn from computed gaps alone. network (c, 2): what a graph network predicts for all
    crystals at the fidelities `cheap` and `answer` (eV); rounds of boosting."""
    data = records.load(dataset, hidden=hidden)
    network = np.asarray(network, dtype=float)
    if network.shape != (len(data.crystals), 2):
        raise InputError(
            f"network has shape {network.shape}; expected ({len(data.crystals)}, 2): two gaps of "
            "every crystal"
        )
    settings = {**_TREES, "n_estimators": rounds, "random_state": seed}
    learns = np.setdiff1d(np.arange(len(data.crystals)), data.rows)
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
    data, fold = deal.records(), deal.fold()
    x = np.column_stack([data.features[data.rows, : data.shared], formula])
    loose = np.column_stack([data.loose_features, loose])
    forecast = np.empty((len(x), _DRAWS), np.float32)
    inner = np.full((deal.folds, len(x), 7), np.nan)
    for a, b in combinations_with_replacement(range(deal.folds), 2):
        learns, extra = deal.learners(np.isin(fold, (a, b)))
        forest = QuantileForest(trees=trees, leaf=2, share=0.2, seed=deal.seed)
        forest.fit(*_both_kinds(data, x, loose, learns, extra))
        for held, other in {(a, b), (b, a)}:
            ask = fold == other
            drawn = Draws(forest.draws(x[ask], count=_DRAWS))
            inner[held, ask] = _summary(drawn)
            if a == b:
                forecast[ask] = drawn.values
    return OutOfFold(forecast, inner)


def fused(*, deal, crystal, loose, network, inner, known=False, trees=100, calibrate=0) -> Fused:
    """Learn measured gaps from crystals, with what the composition model says of them.

    deal: a `records.Deal`; crystal and loose as in Coordinates; network (c, f): the graph network's
    gaps of all crystals; inner: that of `composition_model` with the same deal; known=True adds
    the computed gaps of the very crystals; calibrate: how many other folds per held-out fold get
    a forecast for calibration.
    """
    data, fold = deal.records(), deal.fold()
    heads = np.asarray(network, dtype=float)[data.rows]
    x = np.column_stack(
        [data.features[data.rows], heads, heads.max(axis=1), heads.mean(axis=1), crystal]
    )
    if known:
        filled = np.nan_to_num(data.known)  # where nothing is known this reads as no gap
        x = np.column_stack([x, data.known, filled.max(axis=1), np.isfinite(data.known).sum(1)])
    # records of both kinds in the same columns: what the network says about the crystal, or what
    # trees expect it to say about the formula
    formula, ends = data.features[data.rows, : data.shared], heads[:, [0, -1]]
    shared = np.column_stack([formula, crystal[:, 0], ends, np.ones(len(ends))])
    loose = np.column_stack([data.loose_features, loose, np.zeros(len(loose))])
    options = {"trees": trees, "leaf": 2, "share": 0.3, "seed": deal.seed}
    forecast = np.empty((len(x), _DRAWS), np.float32)
    calibration = np.full((deal.folds, *forecast.shape), np.nan, np.float32) if calibrate else None
    for f in range(deal.folds):
        inputs = np.column_stack([x, inner[f]])
        for step in range(calibrate + 1):
            asked = (f + step) % deal.folds
            ask = fold == asked
            learns, extra = deal.learners(np.isin(fold, (f, asked)))
            positive = learns & (data.gap > 0)
            more = extra & (data.loose_gap > 0)
            classifier = XGBClassifier(**_FEW, random_state=deal.seed)
            classifier.fit(inputs[learns], data.gap[learns] == 0)
            zero = classifier.predict_proba(inputs[ask])[:, 1].astype(float)
            parts = []
            for training, questions in (
                ((inputs[positive], data.gap[positive]), inputs[ask]),
                (_both_kinds(data, shared, loose, positive, more), shared[ask]),
                ((inputs[learns], data.gap[learns]), inputs[ask]),
            ):
                forest = QuantileForest(**options).fit(*training)
                parts.append(Draws(forest.draws(questions, count=_DRAWS)))
            sizes = [hurdle(zero, part.quantile, count=_DRAWS) for part in parts[:2]]
            drawn = pool([*sizes, parts[2]])
            (calibration[f] if step else forecast)[ask] = drawn.values
    return Fused(forecast, calibration)


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
    fold, forecast = part[code], np.empty((m, _DRAWS), np.float32)
    for f in range(deal.folds):
        learns, ask = usable & (fold != f), np.flatnonzero(fold[:m] == f)
        forest = QuantileForest(trees=trees, leaf=2, share=0.2, seed=deal.seed)
        forecast[ask] = forest.fit(x[learns], gap[learns]).draws(x[ask], count=_DRAWS)
    return forecast


def _both_kinds(data, crystal, loose, learns, extra):
    """Inputs and gaps of records with a crystal (mask learns) and without (mask extra)."""
    return (
        np.concatenate([crystal[learns], loose[extra]]),
        np.concatenate([data.gap[learns], data.loose_gap[extra]]),
    )


def _summary(forecast):
    """What one model tells the next about its forecast of k samples: (k, 7)."""
    quantiles = np.quantile(forecast.values, _QUANTILES, axis=1, method="nearest").T
    return np.column_stack([quantiles, forecast.moments()[0], forecast.zero_probability()])
