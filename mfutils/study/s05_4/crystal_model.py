"""Measured gaps learnt from crystals, with what every other source says of them (section 5.2).

Crystals enter `fused` with their features, with the gaps that a graph network predicts at every
computed fidelity, with the out-of-fold forecast of
`mfutils.study.s05_4.models.composition_model` and, where they are given, with what fine-tuned
networks say (`mfutils.study.s05_4.fine_tuning.out_of_fold`). Records without a crystal take part
in the coordinates that both kinds share. The forecast is a pool, in equal shares, of

- two hurdles, metal or not and then how large. Three classifiers vote on the first question. On the
  second a forest of nonzero crystals and one of nonzero records of both kinds give the shape of the
  distribution, and the mean of four models (these forests, boosting of the absolute error, a
  Gaussian process) its median;
- two forests of all gaps, zeros included, of crystals and of both kinds.

No part sees a record of a group that is held out, and no share is fitted to an error. A job for
`mfutils.compendium.sweep.run`.
"""

from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier, XGBRegressor

from mfutils.gp.descriptor_gp import fit_descriptor_gp
from mfutils.study.s05_4.models import DRAWS, both_kinds
from mfutils.uncertainty.forecasts import Draws, hurdle, pool
from mfutils.uncertainty.quantile_forest import QuantileForest

__all__ = ["Fused", "fused"]

_BOOSTING = {
    "learning_rate": 0.05, "max_depth": 4, "subsample": 0.7, "colsample_bytree": 0.3,
    "min_child_weight": 2, "tree_method": "hist", "max_bin": 64, "n_jobs": 1,
}  # fmt: skip
_LEAST = 0.05  # eV; a smaller median is not stretched to another one
_FAR = 4.0  # standard deviations beyond which an input of the Gaussian process is cut


@dataclass(frozen=True, eq=False)
class Fused:
    """forecast (n, K) eV of every record without its fold, NaN where a record is not tested;
    calibration (folds, n, K), forecasts of rows by models that saw neither these rows nor fold f,
    NaN elsewhere; None if not asked for."""

    forecast: np.ndarray
    calibration: np.ndarray | None


@dataclass(frozen=True, eq=False)
class _Task:
    """What trains and what is asked: x, y and new of crystals, both_x, both_y and both_new in the
    coordinates that records of both kinds share."""

    x: np.ndarray
    y: np.ndarray
    new: np.ndarray
    both_x: np.ndarray
    both_y: np.ndarray
    both_new: np.ndarray


def fused(
    *, deal, crystal, loose, network, inner, tuned=None, known=False, trees=100, rounds=200,
    calibrate=0,
) -> Fused:  # fmt: skip
    """Learn measured gaps from crystals, with what the composition model says of them.

    deal: a `records.Deal`; crystal and loose as in Coordinates; network (c, f): the graph network's
    gaps of all crystals; inner: that of `composition_model` with the same deal; tuned (folds, n,
    t): what t fine-tuned networks say, as `Tuned.inner` has it for one; known=True adds the
    computed gaps of the very crystals; trees of a forest, rounds of boosting; calibrate: how many
    other folds per held-out fold get a forecast for calibration.
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
    forecast = np.full((len(x), DRAWS), np.nan, np.float32)
    calibration = np.full((deal.folds, *forecast.shape), np.nan, np.float32) if calibrate else None
    for f in deal.asked():
        inputs = np.column_stack([x, inner[f], *([] if tuned is None else [tuned[f]])])
        for step in range(calibrate + 1):
            asked = (f + step) % deal.folds
            ask = fold == asked
            learns, extra = deal.learners(np.isin(fold, (f, asked)))
            both_x, both_y = both_kinds(data, shared, loose, learns, extra)
            task = _Task(inputs[learns], data.gap[learns], inputs[ask], both_x, both_y, shared[ask])
            drawn = _forecast(task, trees=trees, rounds=rounds, seed=deal.seed)
            (calibration[f] if step else forecast)[ask] = drawn.values
    return Fused(forecast, calibration)


def _forecast(task, *, trees, rounds, seed):
    """The pool of two hurdles and two forests: Draws of what is asked."""
    zero = _metal(task, trees=trees, rounds=rounds, seed=seed)
    sizes = _sizes(task, trees=trees, rounds=rounds, seed=seed)
    return pool(
        [
            *(hurdle(zero, size.quantile, count=DRAWS) for size in sizes),
            _forest(task.x, task.y, task.new, trees, seed),
            _forest(task.both_x, task.both_y, task.both_new, trees, seed),
        ]
    )


def _metal(task, *, trees, rounds, seed):
    """Probability of a gap of 0: the mean of three classifiers."""
    boosted = XGBClassifier(**_BOOSTING, n_estimators=rounds, random_state=seed)
    grown = ExtraTreesClassifier(trees, min_samples_leaf=2, max_features=0.3, random_state=seed)
    votes = [model.fit(task.x, task.y == 0).predict_proba(task.new) for model in (boosted, grown)]
    votes.append(boosted.fit(task.both_x, task.both_y == 0).predict_proba(task.both_new))
    return np.mean([vote[:, 1].astype(float) for vote in votes], axis=0)


def _sizes(task, *, trees, rounds, seed):
    """Two Draws of a gap that is above 0, with one median between them."""
    above, both = task.y > 0, task.both_y > 0
    x, y = task.x[above], task.y[above]
    shapes = [
        _forest(x, y, task.new, trees, seed),
        _forest(task.both_x[both], task.both_y[both], task.both_new, trees, seed),
    ]
    boosted = XGBRegressor(
        **_BOOSTING, n_estimators=2 * rounds, objective="reg:absoluteerror", random_state=seed
    )
    medians = [shape.median() for shape in shapes]
    medians += [boosted.fit(x, y).predict(task.new), _process(x, y, task.new, seed)]
    middle = np.mean([np.maximum(m, 0.0) for m in medians], axis=0)
    return [
        Draws(shape.values * (middle / np.maximum(shape.median(), _LEAST))[:, None])
        for shape in shapes
    ]


def _process(x, y, new, seed):
    """Mean of a Gaussian process on standardised inputs; what is unknown counts as average."""
    scale = StandardScaler().fit(x)
    x, new = (np.clip(np.nan_to_num(scale.transform(a)), -_FAR, _FAR) for a in (x, new))
    return fit_descriptor_gp(x, y, seed=seed).predict(new)[0]


def _forest(x, y, new, trees, seed):
    forest = QuantileForest(trees=trees, leaf=2, share=0.3, seed=seed)
    return Draws(forest.fit(x, y).draws(new, count=DRAWS))
