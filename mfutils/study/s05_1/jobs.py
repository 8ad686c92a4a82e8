"""Every model with every uncertainty, as jobs of plain values (section 5.2).

`network` trains one member: of an ensemble, or with dropout before the last layers, whose random
masks stay on while it predicts (Gal and Ghahramani 2016); `ensemble` makes a forecast of members.
`head` puts a probabilistic last layer on any inputs, the descriptor of a network or a table of
features: a Gaussian process, a Gaussian over the weights, or a hurdle (a logistic regression for
"is there a gap", a log-normal for how large). `trees` are forests and gradient boosting on
features. Every member leaves out a fifth of its training rows; its errors there give the noise that
its own spread cannot know.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtri
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
from mfutils.uncertainty.forecasts import CensoredNormal, Draws, Forecast, hurdle
from mfutils.uncertainty.quantile_forest import QuantileForest

__all__ = ["HEADS", "TRAINING", "TREES", "Fitted", "Member", "ensemble", "head", "network", "trees"]

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
_DRAWS = 100  # values of a forecast
_LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # of boosted quantiles
_MEMBERS = 5  # of an ensemble of trees, and parts of which a member leaves out one
_FLOOR = 0.01  # share of a squared error that noise keeps at least


@dataclass(frozen=True, eq=False)
class Member:
    """One model of an ensemble, fitted to the rows `seen` and not to the rows `left`.

    prediction (n,) of all rows in eV; spread (n,) is the std over masks, 0 without dropout;
    descriptor (n, d) float32 of a network.
    """

    prediction: np.ndarray
    seen: np.ndarray
    left: np.ndarray
    cpu_seconds: float
    spread: np.ndarray | float = 0.0
    descriptor: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Fitted:
    """The forecast of all n rows in eV, and what it cost."""

    forecast: Forecast
    cpu_seconds: float


def network(
    *, fold, architecture, member=0, dropout=0.0, masks=64, training=None, model=None
) -> Member:
    """Train one network on a `measured.Fold`, without part number `member` of its training rows.

    The loss is the absolute error, so that the network learns medians; the number of epochs is
    fixed and no row outside of training is looked at. training and model are options of `Settings`
    and of the network.
    """
    if architecture not in _NETWORKS:
        raise InputError(f"architecture is {architecture!r}; expected cgcnn or megnet")
    if not 0 <= dropout < 1:
        raise InputError(f"dropout is {dropout}; expected a rate from 0 to below 1")
    y = fold.study().y
    net = _NETWORKS[architecture](seed=member, **(model or {}))
    graphs = measured.graphs(
        fold.dataset, limit=fold.limit, measured=fold.measured, cutoff=net.cutoff,
        max_neighbors=net.max_neighbors,
    )  # fmt: skip
    if dropout:
        net.output = nn.Sequential(nn.Dropout(dropout), net.output)
    seen, left = fold.inner(member, parts=_MEMBERS)
    settings = Settings(**{**TRAINING[architecture], "seed": member, **(training or {})})
    start = time.process_time()
    trained = fit(net, graphs, Labels(seen, y[seen]), None, settings=settings, progress=False)
    descriptor, spread = trained.descriptor(graphs), 0.0
    if dropout:
        drawn = trained.scaler.inverse(masked(net.output, descriptor, masks=masks, seed=member))
        prediction, spread = drawn.mean(axis=0), drawn.std(axis=0, ddof=1)
    else:
        prediction = trained.predict(graphs)
    seconds = time.process_time() - start
    return Member(prediction, seen, left, seconds, spread, descriptor.astype(np.float32))


@torch.no_grad()
def masked(output, descriptor, *, masks, seed=0):
    """Outputs (masks, n) of the layers `output` on descriptors (n, d), dropout kept on."""
    output.train()
    x = torch.from_numpy(np.asarray(descriptor)).float()
    with seeded(seed):
        drawn = [output(x).squeeze(-1).double().numpy() for _ in range(masks)]
    output.eval()
    return np.stack(drawn)


def ensemble(members: Sequence[Member], y: np.ndarray) -> Fitted:
    """Forecast of members that each left out some rows of the gaps y (n,).

    Law of total variance: spread over members, or over the masks of a single one, plus the part of
    the squared left-out errors that the spread does not explain.
    """
    predictions = np.array([m.prediction for m in members], dtype=float)
    error = np.mean([np.mean((m.prediction[m.left] - y[m.left]) ** 2) for m in members])
    if len(members) > 1:
        variance = predictions.var(axis=0, ddof=1)
    else:
        variance = np.broadcast_to(np.square(members[0].spread), y.shape)
    explained = variance[np.concatenate([m.left for m in members])].mean()
    noise = max(error - explained, _FLOOR * error)
    forecast = CensoredNormal(predictions.mean(axis=0), np.sqrt(variance + noise))
    return Fitted(forecast, sum(m.cpu_seconds for m in members))


def head(*, method, x, y, x_new, seed=0) -> Fitted:
    """One of HEADS fitted to x (n, d), y (n,), asked at x_new (m, d)."""
    start = time.process_time()
    if method == "Gaussian process":
        forecast = CensoredNormal(*fit_descriptor_gp(x, y, seed=seed).predict(x_new))
    elif method in HEADS[1:3]:
        covariance = "mean-field" if method.endswith("field") else "full"
        forecast = CensoredNormal(*fit_last_layer(x, y, covariance=covariance).predict(x_new))
    elif method == "hurdle":
        x, y, x_new = (np.asarray(a, dtype=float) for a in (x, y, x_new))
        forecast = _log_normal_hurdle(x, y, x_new)
    else:
        raise InputError(f"method is {method!r}; expected one of {', '.join(HEADS)}")
    return Fitted(forecast, time.process_time() - start)


def _log_normal_hurdle(x, y, x_new):
    """0 with a probability from logistic regression, else log-normal."""
    open_gap = y > 0
    if open_gap.all() or open_gap.sum() < 5:
        raise InputError(
            f"{int(open_gap.sum())} of {len(y)} gaps are above 0; a hurdle needs 5 such and a zero"
        )
    scale = StandardScaler().fit(x)
    gate = LogisticRegression(C=0.05, max_iter=2000).fit(scale.transform(x), open_gap)
    zero = gate.predict_proba(scale.transform(x_new))[:, 0]
    mean, std = fit_last_layer(x[open_gap], np.log(y[open_gap])).predict(x_new)

    def size(levels):
        log = mean[:, None] + std[:, None] * ndtri(np.clip(levels, 1e-6, 1 - 1e-6))
        # no solid has a gap beyond that of neon, 22 eV: a far extrapolated logarithm is cut there
        return np.minimum(np.exp(np.minimum(log, 5.0)), 22.0)

    return hurdle(zero, size, count=_DRAWS)


def trees(*, fold, method, extra=None, count=200, seed=0) -> Fitted:
    """One of TREES on the features of a `measured.Fold`, asked at all n rows.

    "extra trees" weights the training gaps that share leaves with a row (Meinshausen 2006),
    "boosting quantiles" is one boosted model of 11 levels, "boosting ensemble" the `ensemble` of
    boosted medians. extra (n, k) are more columns of features, NaN where unknown; count is the
    number of trees or rounds.
    """
    study = fold.study()
    x = measured.features(fold.dataset, limit=fold.limit, measured=fold.measured)
    if extra is not None:
        if np.shape(extra)[:1] != (len(study),):
            raise InputError(f"extra has shape {np.shape(extra)}; expected ({len(study)}, k)")
        x = np.hstack([x, extra])
    y, (train, _, _), start = study.y, fold.rows(), time.process_time()
    if method == "extra trees":
        forest = QuantileForest(trees=count, leaf=2, share=0.3, seed=seed).fit(x[train], y[train])
        forecast = Draws(forest.draws(x, count=_DRAWS))
    elif method == "boosting quantiles":
        model = _boosted(count, seed, objective="reg:quantileerror", quantile_alpha=list(_LEVELS))
        quantiles = np.sort(model.fit(x[train], y[train]).predict(x).astype(float), axis=1)
        levels = (np.arange(_DRAWS) + 0.5) / _DRAWS
        forecast = Draws([np.interp(levels, _LEVELS, row) for row in quantiles])
    elif method == "boosting ensemble":
        members = []
        for member in range(_MEMBERS):
            seen, left = fold.inner(member, parts=_MEMBERS)
            model = _boosted(count, member, objective="reg:absoluteerror").fit(x[seen], y[seen])
            members.append(Member(model.predict(x), seen, left, 0.0))
        forecast = ensemble(members, y).forecast
    else:
        raise InputError(f"method is {method!r}; expected one of {', '.join(TREES)}")
    return Fitted(forecast, time.process_time() - start)


def _boosted(count, seed, **objective):
    """XGBoost with settings for a few hundred rows and features."""
    return XGBRegressor(
        n_estimators=count, learning_rate=0.05, max_depth=4, min_child_weight=3, subsample=0.7,
        colsample_bytree=0.3, n_jobs=1, random_state=seed, **objective,
    )  # fmt: skip
