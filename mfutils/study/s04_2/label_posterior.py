"""The posterior of a true label, given its noisy value and a prediction (section 4.2, sound part).

For a gap T with sampling noise the label is t = f T, f as in `label_noise`. What a model's
prediction P says about T is a prior of two parts, zero with probability w(P) and otherwise normal,

    w = 1/(1 + exp(-a - b P)),    T | T > 0  ~  N(c0 + c1 P, (s0 + s1 P)^2), cut at 0,

shared by all labels. The label then turns it into a posterior: for t > 0 with density
h(f) prior(t/f)/f over the factor f, and for t = 0 as the odds of a true zero against a factor that
became zero. The six numbers, and theta of every subset unless it is known, maximise the
likelihood of the noisy labels themselves (empirical Bayes). Noise-free labels that no model was
trained on anchor the scale. So the weight of a prediction follows from how well predictions agree
with labels beyond what the noise explains, and no threshold is left to choose.
"""

import contextlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import minimize

from mfutils.errors import InputError
from mfutils.study.s04_2.label_noise import LEVELS

__all__ = ["LabelPosterior", "fit_label_posterior"]

_POINTS = 80  # nodes of the integral over the factor, in equal steps of its logarithm
_START = (0.0, -1.0, 0.2, 1.0, -1.0, -2.0)  # a, b, c0, c1, log s0, log s1
_GUESS = 0.5  # first theta of a subset whose noise is unknown


@dataclass(frozen=True, eq=False)
class LabelPosterior:
    """A fitted prior of T given P, with theta (a dict of subsets) of the noise.

    parameters: a, b, c0, c1, s0, s1 as in the module's equation. log_likelihood per label.
    """

    parameters: dict[str, float]
    theta: dict[str, float]
    log_likelihood: float

    def correct(
        self,
        noisy: npt.ArrayLike,
        prediction: npt.ArrayLike,
        subset: npt.ArrayLike,
        *,
        point: str = "mean",
    ) -> np.ndarray:
        """Labels (n,) after correction: the posterior "mean" or "median" of T.

        Labels of subsets without noise are returned as they are. Raises InputError for an unknown
        point or subset.
        """
        if point not in ("mean", "median"):
            raise InputError(f"point is {point!r}: expected mean or median")
        noisy, prediction, subset = _checked(noisy, prediction, subset)
        values = torch.tensor([*self.parameters.values()], dtype=torch.float64)
        corrected = noisy.copy()
        for name in np.unique(subset):
            theta = self.theta.get(str(name))
            if theta is None:
                raise InputError(f"no noise of subset {name}: known are {', '.join(self.theta)}")
            if theta == 0:
                continue
            rows = subset == name
            t, p = torch.from_numpy(noisy[rows]), torch.from_numpy(prediction[rows])
            prior = _Prior(values, p)
            with _one_thread():
                corrected[rows] = _point(prior, t, torch.tensor(theta), point).numpy()
        return corrected


def fit_label_posterior(
    noisy: npt.ArrayLike,
    prediction: npt.ArrayLike,
    subset: npt.ArrayLike,
    *,
    theta: dict[str, float] | None = None,
    use: npt.ArrayLike | None = None,
    limit: int = 1200,
    seed: int = 0,
) -> LabelPosterior:
    """The LabelPosterior of labels (n,), predictions (n,) in eV and subset letters (n,).

    theta: dict subset -> coefficient of sampling noise, 0 for none; None estimates it for A, B and
    C and takes D as noise-free. use: mask (n,) of the labels that fit, all by default; leave out
    noise-free labels that trained the model, whose predictions are too good. limit: at most this
    many labels, drawn with `seed`. Raises InputError for unknown subsets or fewer than 20 labels.
    """
    noisy, prediction, subset = _checked(noisy, prediction, subset)
    names = sorted({str(name) for name in subset})
    known = {name: 0.0 for name in names if name == "D"} if theta is None else dict(theta)
    unknown = [name for name in names if name not in known]
    if theta is not None and unknown:
        raise InputError(f"theta is missing for subset {unknown[0]}: give it, or give none at all")
    if bad := [n for n, v in known.items() if not 0 <= v <= 1]:
        raise InputError(f"theta of {bad[0]} is {known[bad[0]]:g}: expected 0 to 1")
    use = np.ones(len(noisy), dtype=bool) if use is None else np.asarray(use, dtype=bool)
    rows = np.flatnonzero(use)
    if len(rows) < 20:
        raise InputError(f"{len(rows)} labels to fit the posterior: expected at least 20")
    if len(rows) > limit:
        rows = np.sort(np.random.default_rng(seed).choice(rows, limit, replace=False))
    groups = [
        (name, *(torch.from_numpy(v[rows][subset[rows] == name]) for v in (noisy, prediction)))
        for name in names
        if (subset[rows] == name).any()
    ]

    def loss(vector):
        free = torch.tensor(vector, dtype=torch.float64, requires_grad=True)
        value = -_log_likelihood(free, groups, known, unknown) / len(rows)
        # Keeps the numbers near their start where the labels say nothing about them
        value = value + 1e-3 * ((free - start) ** 2).sum()
        value.backward()
        return value.item(), free.grad.numpy().copy()

    guess = np.log(_GUESS / (1 - _GUESS))
    start = torch.tensor([*_START, *[guess] * len(unknown)], dtype=torch.float64)
    with _one_thread():
        optimum = minimize(
            loss, start.numpy(), jac=True, method="L-BFGS-B", options={"maxiter": 100}
        )
    a, b, c0, c1, s0, s1 = optimum.x[:6]
    fitted = {"a": a, "b": b, "c0": c0, "c1": c1, "s0": np.exp(s0), "s1": np.exp(s1)}
    estimated = dict(zip(unknown, 1 / (1 + np.exp(-optimum.x[6:])), strict=True))
    return LabelPosterior(
        {name: float(value) for name, value in fitted.items()},
        {name: float(value) for name, value in {**known, **estimated}.items()},
        float(-optimum.fun),
    )


@contextlib.contextmanager
def _one_thread():
    """Arrays this small are slower on several threads, which spin on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Prior:
    """The two parts of the prior of n labels with predictions p (n,)."""

    def __init__(self, values, p):
        a, b, c0, c1, s0, s1 = values
        p = p.clamp_min(0.0)
        self.zero = torch.nn.functional.logsigmoid(a + b * p)
        self.rest = torch.nn.functional.logsigmoid(-a - b * p)
        self.mean = c0 + c1 * p
        self.std = s0 + s1 * p + 0.02
        # log of the share of the normal above zero
        self.cut = torch.special.log_ndtr(self.mean / self.std)

    def log_density(self, t):
        """Of T > 0 given T > 0, at t with leading axis n."""
        shape = (-1,) + (1,) * (t.ndim - 1)
        mean, std, cut = (v.reshape(shape) for v in (self.mean, self.std, self.cut))
        return -0.5 * ((t - mean) / std) ** 2 - torch.log(std) - 0.9189385332046727 - cut

    def positive_mean(self):
        """E[T | T > 0]."""
        z = self.mean / self.std
        return self.mean + self.std * torch.exp(-0.5 * z**2 - 0.9189385332046727 - self.cut)

    def positive_quantile(self, share):
        """Value below which `share` (n,) of the mass above zero lies."""
        below = torch.special.ndtr(-self.mean / self.std)
        level = (below + share * (1 - below)).clamp(1e-12, 1 - 1e-12)
        return (self.mean + self.std * torch.special.ndtri(level)).clamp_min(0.0)


def _nodes(theta):
    """Factors (k,) and log h(f) df of sampled noise at theta, by the trapezoidal rule."""
    low = torch.log(torch.tensor(0.004, dtype=torch.float64))
    steps = torch.linspace(0, 1, _POINTS, dtype=torch.float64)
    high = torch.log(1 + 4 * theta.detach())
    factor = torch.exp(low + (high - low) * steps)
    log_h = -0.5 * ((factor - 1 + theta) / theta) ** 2 - torch.log(theta) - 0.9189385332046727
    return factor, log_h + torch.log(factor * (high - low) / (_POINTS - 1))


def _log_weights(prior, t, theta):
    """log of h(f) prior(t/f)/f df (n, k) for labels t > 0, and T = t/f (n, k)."""
    factor, log_h = _nodes(theta)
    values = t[:, None] / factor
    return prior.log_density(values) + log_h - torch.log(factor), values


def _log_zero(theta):
    """log P(f = 0)."""
    return torch.special.log_ndtr(-(1 - theta) / theta)


def _log_likelihood(free, groups, known, unknown):
    values = torch.cat([free[:4], torch.exp(free[4:6])])
    total = free.new_zeros(())
    for name, t, p in groups:
        fixed = name in known
        level = None if fixed else free[6 + unknown.index(name)]
        theta = free.new_tensor(known[name]) if fixed else torch.sigmoid(level)
        zero = t == 0
        none, some = _Prior(values, p[zero]), _Prior(values, p[~zero])
        if fixed and known[name] == 0:
            total = total + none.zero.sum() + (some.rest + some.log_density(t[~zero])).sum()
            continue
        total = total + torch.logaddexp(none.zero, none.rest + _log_zero(theta)).sum()
        weights, _ = _log_weights(some, t[~zero], theta)
        total = total + (some.rest + torch.logsumexp(weights, dim=1)).sum()
    return total


@torch.no_grad()
def _point(prior, t, theta, point):
    theta = theta.double()
    weights, values = _log_weights(prior, t.clamp_min(1e-6), theta)
    share = torch.softmax(weights, dim=1)
    lost = prior.rest + _log_zero(theta)  # a gap whose factor became zero
    truly_zero = torch.exp(prior.zero - torch.logaddexp(prior.zero, lost))
    if point == "mean":
        positive = (share * values).sum(dim=1)
        zero = (1 - truly_zero) * prior.positive_mean()
    else:
        # nodes run from large T to small, so the median is where the sum passes one half
        place = (share.cumsum(dim=1) < 0.5).sum(dim=1).clamp_max(share.shape[1] - 1)
        positive = values.gather(1, place[:, None])[:, 0]
        left = ((0.5 - truly_zero) / (1 - truly_zero).clamp_min(1e-12)).clamp(0, 1)
        zero = torch.where(truly_zero >= 0.5, torch.zeros_like(t), prior.positive_quantile(left))
    return torch.where(t > 0, positive, zero)


def _checked(noisy, prediction, subset):
    noisy, prediction = np.asarray(noisy, dtype=float), np.asarray(prediction, dtype=float)
    subset = np.asarray(subset).astype(str)
    if not noisy.ndim == 1 or not noisy.shape == prediction.shape == subset.shape:
        raise InputError(
            f"labels {noisy.shape}, predictions {prediction.shape} and subsets {subset.shape}: "
            "expected (n,) each"
        )
    if not (np.isfinite(noisy) & (noisy >= 0)).all() or not np.isfinite(prediction).all():
        raise InputError("labels or predictions are not finite, or a label is negative")
    strange = sorted({str(name) for name in subset} - set(LEVELS["none"]))
    if strange:
        raise InputError(f"unknown subset {strange[0]!r}: expected {', '.join(LEVELS['none'])}")
    return noisy, prediction, subset
