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

import time
from itertools import combinations

import numpy as np
from xgboost import XGBClassifier, XGBRegressor

from mfutils.errors import InputError
from mfutils.study.s05_4 import records
from mfutils.uncertainty import forecasts
from mfutils.uncertainty.quantile_forest import QuantileForest

__all__ = ["LOOSE_INPUTS", "composition_model", "computed_models", "fused", "loose_model"]

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


def computed_models(*, dataset, hidden, cheap, answer, network, rounds=200, seed=0):
    """Learn from computed gaps alone. network (c, 2): what a graph network predicts for all
    crystals at the fidelities `cheap` and `answer` (eV).

    Returns a dict: crystal (n, 3) with the probability of a metal and the gaps at both fidelities
    of the measured crystals, from trees on their structure; formula (n, 3), loose (m, 3) and
    polymorph (m, 3) with the same kind of numbers for a formula: probability of a metal by trees
    on the formula, and the network's two gaps as trees learn them from formulas. polymorph takes
    the network's own gaps where the data set has a crystal of that composition. cpu_seconds.
    """
    data = records.load(dataset, hidden=hidden)
    network = np.asarray(network, dtype=float)
    if network.shape != (len(data.crystals), 2):
        raise InputError(
            f"network has shape {network.shape}; expected ({len(data.crystals)}, 2): two gaps of "
            "every crystal"
        )
    start = time.process_time()
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
    crystal = [classify(x).predict_proba(x[data.rows])[:, 1]]
    crystal += [by_structure[data.rows], further[data.rows]]
    heads = [regress(formula, learns, network[:, k]) for k in range(2)]
    is_metal = classify(formula)
    described = {"formula": formula[data.rows], "loose": data.loose_features}
    found = {
        name: np.column_stack(
            [is_metal.predict_proba(inputs)[:, 1], *(head.predict(inputs) for head in heads)]
        )
        for name, inputs in described.items()
    }
    twin = data.polymorph()
    found["polymorph"] = found["loose"].copy()
    found["polymorph"][twin >= 0, 1:] = network[twin[twin >= 0]]
    return {
        "crystal": np.column_stack(crystal), **found,
        "cpu_seconds": time.process_time() - start,
    }  # fmt: skip


def _summary(forecast):
    """What one model tells the next about its forecast (k, K): (k, 7)."""
    quantiles = np.quantile(forecast, _QUANTILES, axis=1, method="nearest").T
    zero = forecasts.zero_probability(forecast)
    return np.column_stack([quantiles, forecast.mean(axis=1), zero])


def composition_model(
    *, dataset, hidden, computed, split_seed, by="system", share=1.0, structured=1.0, folds=5,
    trees=80,
):  # fmt: skip
    """Learn measured gaps from formulas and shared coordinates, with and without a crystal.

    computed: entries formula and loose of `computed_models`. share of the loose records and
    structured of the records with a crystal are used. Returns a dict: forecast (n, K) eV, every
    record by the model without its fold; inner (folds, n, 7), for each held-out fold f a summary
    of forecasts that saw neither f nor the row's own fold (inputs of `fused`); cpu_seconds.
    """
    data = records.load(dataset, hidden=hidden)
    start = time.process_time()
    fold = data.folds(folds, seed=split_seed, by=by)
    kept = _kept(data, structured, split_seed)
    x = np.column_stack([data.features[data.rows, : data.shared], computed["formula"]])
    loose = np.column_stack([data.loose_features, computed["loose"]])

    def forest(*held):
        out = np.isin(fold, held)
        extra = data.usable(out, by=by, share=share, seed=split_seed)
        model = QuantileForest(trees=trees, leaf=2, share=0.2, seed=split_seed)
        learns = kept & ~out
        return model.fit(
            np.concatenate([x[learns], loose[extra]]),
            np.concatenate([data.gap[learns], data.loose_gap[extra]]),
        )

    forecast, inner = None, np.full((folds, len(x), 7), np.nan)
    for f in range(folds):
        drawn = forest(f).draws(x[fold == f])
        forecast = np.empty((len(x), drawn.shape[1])) if forecast is None else forecast
        forecast[fold == f] = drawn
        inner[f, fold == f] = _summary(drawn)
    for a, b in combinations(range(folds), 2):
        model = forest(a, b)
        for held, other in ((a, b), (b, a)):
            inner[held, fold == other] = _summary(model.draws(x[fold == other]))
    return {
        "forecast": forecast.astype(np.float32), "inner": inner,
        "cpu_seconds": time.process_time() - start,
    }  # fmt: skip


def fused(
    *, dataset, hidden, computed, network, inner, split_seed, by="system", known=False, share=1.0,
    structured=1.0, folds=5, trees=100, calibrate=0,
):  # fmt: skip
    """Learn measured gaps from crystals, with what the composition model found.

    computed: the result of `computed_models`; network (c, f): the graph network's gaps of all
    crystals; inner: that of `composition_model` with the same split; known=True adds the computed
    gaps of the very crystals. Returns a dict: forecast (n, K) eV without the row's fold;
    calibration (folds, n, K), NaN but for `calibrate` other folds per held-out fold f, forecasts
    of rows by models that saw neither these rows nor f; cpu_seconds.
    """
    data = records.load(dataset, hidden=hidden)
    start = time.process_time()
    fold = data.folds(folds, seed=split_seed, by=by)
    kept = _kept(data, structured, split_seed)
    heads = np.asarray(network, dtype=float)[data.rows]
    x = np.column_stack(
        [data.features[data.rows], heads, heads.max(axis=1), heads.mean(axis=1),
         computed["crystal"]]
    )  # fmt: skip
    if known:
        filled = np.nan_to_num(data.known)  # where nothing is known this reads as no gap
        x = np.column_stack([x, data.known, filled.max(axis=1), np.isfinite(data.known).sum(1)])
    both = _coordinates(data, computed, heads)

    def model(f, out, ask):
        """Forecasts of the rows `ask` from the rows not in `out`, inputs as seen from fold f."""
        inputs = np.column_stack([x, inner[f]])
        learns, extra = kept & ~out, data.usable(out, by=by, share=share, seed=split_seed)
        return _pooled(inputs, both, data, learns, extra, ask, trees=trees, seed=split_seed)

    forecast, calibration = None, None
    for f in range(folds):
        drawn = model(f, fold == f, fold == f)
        if forecast is None:
            forecast = np.empty((len(x), drawn.shape[1]), np.float32)
            calibration = np.full((folds, *forecast.shape), np.nan, np.float32)
        forecast[fold == f] = drawn
        for step in range(1, calibrate + 1):
            other = (f + step) % folds
            ask = fold == other
            calibration[f, ask] = model(f, np.isin(fold, [f, other]), ask)
    return {
        "forecast": forecast, "calibration": calibration if calibrate else None,
        "cpu_seconds": time.process_time() - start,
    }  # fmt: skip


def _coordinates(data, computed, heads):
    """Inputs of records with and without a crystal in the same columns: (n, k) and (m, k).

    What the network says about the crystal, or what trees expect it to say about the formula.
    """
    formula = data.features[data.rows, : data.shared]
    ends = heads[:, [0, -1]]
    crystal = np.column_stack([formula, computed["crystal"][:, 0], ends, np.ones(len(ends))])
    loose = computed["loose"]
    return crystal, np.column_stack([data.loose_features, loose, np.zeros(len(loose))])


def _pooled(x, both, data, learns, extra, ask, *, trees, seed):
    y = data.gap
    positive = learns & (y > 0)
    classifier = XGBClassifier(**_FEW, random_state=seed).fit(x[learns], y[learns] == 0)
    zero = classifier.predict_proba(x[ask])[:, 1].astype(float)
    grow = {"trees": trees, "leaf": 2, "share": 0.3, "seed": seed}
    size = QuantileForest(**grow).fit(x[positive], y[positive]).draws(x[ask])
    crystal, loose = both
    more = extra & (data.loose_gap > 0)
    joint = QuantileForest(**grow).fit(
        np.concatenate([crystal[positive], loose[more]]),
        np.concatenate([y[positive], data.loose_gap[more]]),
    )
    whole = QuantileForest(**grow).fit(x[learns], y[learns]).draws(x[ask])
    sizes = (size, joint.draws(crystal[ask]))
    return forecasts.pool([*(forecasts.hurdle(zero, part) for part in sizes), whole])


def loose_model(
    *, dataset, hidden, computed, split_seed, inputs, structured, folds=5, trees=80
):  # fmt: skip
    """Forecasts (m, K) of the records without a crystal, each without its chemical system.

    inputs: "formula" alone, with "coordinates" that computed gaps taught, or with the network's
    reading of a "crystal of that composition" where the data set has one. structured: the measured
    gaps of crystals train too. Returns a dict: forecast and cpu_seconds.
    """
    if inputs not in LOOSE_INPUTS:
        raise InputError(f"inputs is {inputs!r}; expected one of {', '.join(LOOSE_INPUTS)}")
    data = records.load(dataset, hidden=hidden)
    start = time.process_time()
    x = np.concatenate([data.loose_features, data.features[data.rows, : data.shared]])
    if inputs != "formula":
        own = computed["loose" if inputs == "coordinates" else "polymorph"]
        x = np.column_stack([x, np.concatenate([own, computed["formula"]])])
    gap = np.concatenate([data.loose_gap, data.gap])
    system = np.concatenate([data.loose_system, data.system])
    m = len(data.loose_gap)
    usable = np.ones(len(gap), dtype=bool)
    usable[m:] = structured
    names, code = np.unique(system, return_inverse=True)
    part = np.random.default_rng([split_seed, 9]).permutation(len(names)) % folds
    fold, forecast = part[code], None
    for f in range(folds):
        learns, ask = usable & (fold != f), np.flatnonzero(fold[:m] == f)
        model = QuantileForest(trees=trees, leaf=2, share=0.2, seed=split_seed)
        drawn = model.fit(x[learns], gap[learns]).draws(x[ask])
        forecast = np.empty((m, drawn.shape[1]), np.float32) if forecast is None else forecast
        forecast[ask] = drawn
    return {"forecast": forecast, "cpu_seconds": time.process_time() - start}


def _kept(data, share, seed):
    """Mask (n,) of a random share of the records with a crystal; smaller shares are nested."""
    drawn = np.random.default_rng([seed, 78]).permutation(len(data.gap))
    return drawn < share * len(drawn)
