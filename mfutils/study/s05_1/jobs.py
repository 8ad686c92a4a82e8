"""Every model with every uncertainty, as jobs of plain values (section 5.2).

`network` trains one member: of an ensemble, or with dropout before the last layers, whose random
masks stay on while it predicts (Gal and Ghahramani 2016). `head` puts a probabilistic last layer
on any inputs, the descriptor of a network or a table of features: a Gaussian process, a Gaussian
over the weights, or a hurdle (a logistic regression for "is there a gap", a log-normal for how
large). `trees` are forests and gradient boosting on features. Every member leaves out a fifth of
its training rows; its errors there give the noise that its own spread cannot know.
"""

import time

import numpy as np
import torch
from scipy.special import ndtri
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn
from xgboost import XGBRegressor

from mfutils.errors import InputError
from mfutils.gp.descriptor_gp import fit_descriptor_gp
from mfutils.gp.last_layer import fit_last_layer
from mfutils.networks.base import seeded
from mfutils.networks.cgcnn import CGCNN
from mfutils.networks.labels import Labels
from mfutils.networks.megnet import MEGNet
from mfutils.networks.training import Settings, fit
from mfutils.study.s05_1 import measured
from mfutils.uncertainty import ensembles
from mfutils.uncertainty.forecasts import Atoms, Normal

__all__ = ["HEADS", "TRAINING", "TREES", "ensemble", "forecast", "head", "network", "trees"]

HEADS = ("Gaussian process", "last layer", "last layer, mean-field", "hurdle")
TREES = ("extra trees", "boosting quantiles", "boosting ensemble")
_SHARED = {
    "optimizer": "adamw", "schedule": "cosine", "warmup": 0.1, "weight_decay": 0.01,
    "loss": "mae", "clip": 1.0, "patience": 100000,
}  # fmt: skip
TRAINING = {
    "cgcnn": {**_SHARED, "learning_rate": 0.003, "batch_size": 64},
    "megnet": {**_SHARED, "learning_rate": 0.002, "batch_size": 32},
}
_NETWORKS = {"cgcnn": CGCNN, "megnet": MEGNet}
_ATOMS = (np.arange(100) + 0.5) / 100  # levels of the atoms of a forecast
_LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # of boosted quantiles
_FLOOR = 0.01  # share of a squared error that noise keeps at least


def network(
    *, dataset, limit, split, architecture, member=0, members=5, dropout=0.0, masks=64,
    descriptor=False, training=None, model=None,
):  # fmt: skip
    """Train one network on a fold of `gap_study.split(study, **split)`, `member` left-out part.

    The loss is the absolute error, so that the network learns medians; the number of epochs is
    fixed and no row outside of training is looked at. Returns a dict: prediction (n,) of all rows
    in eV; seen and left (rows); cpu_seconds; with dropout spread (n,), the std over masks; and
    with descriptor=True descriptor (n, d) float32.
    """
    if architecture not in _NETWORKS:
        raise InputError(f"architecture is {architecture!r}; expected cgcnn or megnet")
    if not 0 <= dropout < 1:
        raise InputError(f"dropout is {dropout}; expected a rate from 0 to below 1")
    study = measured.load(dataset, limit=limit)
    net = _NETWORKS[architecture](seed=member, **(model or {}))
    graphs = measured.graphs(
        dataset, limit=limit, cutoff=net.cutoff, max_neighbors=net.max_neighbors
    )
    if dropout:
        net.output = nn.Sequential(nn.Dropout(dropout), net.output)
    train, _, _ = measured.split(study, **split)
    seen, left = measured.inner_split(study, train, member, parts=members)
    settings = Settings(**{**TRAINING[architecture], "seed": member, **(training or {})})
    start = time.process_time()
    trained = fit(net, graphs, Labels(seen, study.y[seen]), None, settings=settings,
                  progress=False)  # fmt: skip
    result = {"seen": seen, "left": left, "prediction": trained.predict(graphs)}
    if dropout:
        drawn = masked(net.output, trained.descriptor(graphs), masks=masks, seed=member)
        drawn = trained.scaler.inverse(drawn)
        result["prediction"], result["spread"] = drawn.mean(axis=0), drawn.std(axis=0, ddof=1)
    if descriptor:
        result["descriptor"] = trained.descriptor(graphs).astype(np.float32)
    return result | {"cpu_seconds": time.process_time() - start}


@torch.no_grad()
def masked(output, descriptor, *, masks, seed=0):
    """Outputs (masks, n) of the layers `output` on descriptors (n, d), dropout kept on."""
    output.train()
    x = torch.from_numpy(np.asarray(descriptor)).float()
    with seeded(seed):
        drawn = [output(x).squeeze(-1).double().numpy() for _ in range(masks)]
    output.eval()
    return np.stack(drawn)


def head(*, method, x, y, x_new, seed=0):
    """One of HEADS fitted to x (n, d), y (n,), asked at x_new (m, d).

    Returns mean and std (m,), or atoms (k, m) for the hurdle, and cpu_seconds.
    """
    start = time.process_time()
    if method == "Gaussian process":
        mean, std = fit_descriptor_gp(x, y, seed=seed).predict(x_new)
    elif method in HEADS[1:3]:
        covariance = "mean-field" if method.endswith("field") else "full"
        mean, std = fit_last_layer(x, y, covariance=covariance).predict(x_new)
    elif method == "hurdle":
        atoms = _hurdle(np.asarray(x, dtype=float), np.asarray(y), np.asarray(x_new, dtype=float))
        return {"atoms": atoms, "cpu_seconds": time.process_time() - start}
    else:
        raise InputError(f"method is {method!r}; expected one of {', '.join(HEADS)}")
    return {"mean": mean, "std": std, "cpu_seconds": time.process_time() - start}


def _hurdle(x, y, x_new):
    """Quantiles of: 0 with probability p, else log-normal."""
    open_gap = y > 0
    if open_gap.all() or open_gap.sum() < 5:
        raise InputError(
            f"{int(open_gap.sum())} of {len(y)} gaps are above 0; a hurdle needs 5 such and a zero"
        )
    scale = StandardScaler().fit(x)
    gate = LogisticRegression(C=0.05, max_iter=2000).fit(scale.transform(x), open_gap)
    zero = gate.predict_proba(scale.transform(x_new))[:, 0]
    mean, std = fit_last_layer(x[open_gap], np.log(y[open_gap])).predict(x_new)
    beyond = np.clip((_ATOMS[:, None] - zero) / (1 - zero), 1e-6, 1 - 1e-6)
    # no solid has a gap beyond that of neon, 22 eV: a far extrapolated logarithm is cut there
    size = np.minimum(np.exp(np.minimum(mean + std * ndtri(beyond), 5.0)), 22.0)
    return np.where(_ATOMS[:, None] <= zero, 0.0, size)


def trees(
    *, dataset, limit, split, method, extra=None, members=5, count=200, seed=0
):  # fmt: skip
    """One of TREES on the features of a fold, asked at all n rows.

    "extra trees" returns atoms (100, n): quantiles of the training gaps that share leaves with a
    row (Meinshausen 2006). "boosting quantiles" returns atoms of one boosted model of 11 levels.
    "boosting ensemble" returns prediction (members, n) and the left-out rows of each. Always
    cpu_seconds. extra (n, k) are more columns of features, NaN where unknown; count
    is the number of trees or rounds.
    """
    study, x = measured.load(dataset, limit=limit), measured.features(dataset, limit=limit)
    if extra is not None:
        if np.shape(extra)[:1] != (len(study),):
            raise InputError(f"extra has shape {np.shape(extra)}; expected ({len(study)}, k)")
        x = np.hstack([x, extra])
    train, _, _ = measured.split(study, **split)
    y, start = study.y, time.process_time()
    if method == "extra trees":
        forest = ExtraTreesRegressor(
            count, max_features=0.3, min_samples_leaf=2, random_state=seed
        ).fit(x[train], y[train])
        result = {"atoms": _leaf_quantiles(forest.apply(x), train, y)}
    elif method == "boosting quantiles":
        model = XGBRegressor(
            objective="reg:quantileerror", quantile_alpha=np.array(_LEVELS), random_state=seed,
            **_boosting(count),
        ).fit(x[train], y[train])  # fmt: skip
        levels = np.sort(model.predict(x).astype(float), axis=1)
        result = {"atoms": np.array([np.interp(_ATOMS, _LEVELS, row) for row in levels]).T}
    elif method == "boosting ensemble":
        predicted, left_out = [], []
        for member in range(members):
            seen, left = measured.inner_split(study, train, member)
            model = XGBRegressor(
                objective="reg:absoluteerror", random_state=member, **_boosting(count)
            ).fit(x[seen], y[seen])  # fmt: skip
            predicted.append(model.predict(x))
            left_out.append(left)
        result = {"prediction": np.array(predicted), "left": left_out}
    else:
        raise InputError(f"method is {method!r}; expected one of {', '.join(TREES)}")
    return result | {"cpu_seconds": time.process_time() - start}


def _boosting(count):
    """Settings of XGBoost for a few hundred rows and features."""
    return {
        "n_estimators": count, "learning_rate": 0.05, "max_depth": 4, "min_child_weight": 3,
        "subsample": 0.7, "colsample_bytree": 0.3, "n_jobs": 1,
    }  # fmt: skip


def _leaf_quantiles(leaves, train, y):
    """Quantiles (100, n) of training gaps, weighted by how often they share a leaf (n, trees)."""
    order = train[np.argsort(y[train], kind="stable")]
    weight = np.zeros((len(leaves), len(order)))
    for tree in leaves.T:
        size = np.bincount(tree[order], minlength=tree.max() + 1)
        weight += (tree[:, None] == tree[order]) / size[tree][:, None]
    total = np.cumsum(weight, axis=1)
    total /= total[:, -1:]
    places = np.array([np.searchsorted(row, _ATOMS - 1e-12) for row in total])
    return y[order][places].T


def ensemble(predictions, left, y):
    """Normal forecast of members (m, n) that each left out rows left[m] of the gaps y (n,).

    Law of total variance: spread over members plus the part of the squared left-out errors that
    the spread does not explain.
    """
    predictions = np.asarray(predictions, dtype=float)
    error = np.mean([np.mean((p[r] - y[r]) ** 2) for p, r in zip(predictions, left, strict=True)])
    if len(predictions) == 1:
        return Normal(predictions[0], np.full(len(y), error**0.5))
    spread = predictions.var(axis=0, ddof=1)
    noise = max(error - spread[np.concatenate(left)].mean(), _FLOOR * error)
    parts = ensembles.decompose(predictions, np.full(predictions.shape, noise))
    return Normal(parts.mean, parts.std)


def forecast(result, y):
    """The forecast (Normal or Atoms) in a result of `network`, `head` or `trees`."""
    if "atoms" in result:
        return Atoms(result["atoms"])
    if "mean" in result:
        return Normal(result["mean"], result["std"])
    if "spread" in result:
        rows, spread = result["left"], result["spread"]
        error = np.mean((result["prediction"][rows] - y[rows]) ** 2)
        noise = max(error - np.mean(spread[rows] ** 2), _FLOOR * error)
        return Normal(result["prediction"], np.sqrt(spread**2 + noise))
    predictions = np.atleast_2d(result["prediction"])
    left = result["left"] if len(predictions) > 1 else [result["left"]]
    return ensemble(predictions, left, y)
