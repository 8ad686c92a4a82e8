"""Linear corrections of a low fidelity by a few high-fidelity points (section 4.1), two protocols.

`thesis` repeats the study (see `thesis_corrections`). `maximum-likelihood` keeps each idea
and repairs its execution: the low fidelity is smoothed first, every noise level is learned, and
the std of a prediction counts all parts.

- additive (eq 4.4): y_h = f_l + delta
- multiplicative (eq 4.5): y_h = rho(x) f_l, where the noise of the ratio is that of y_h over |f_l|,
  so that points where f_l is close to zero count for little instead of everything
- comprehensive (eq 4.7): y_h = rho f_l + delta with the least-squares rho of eq 4.8
- cokriging: the same law, with rho, delta and f_l inferred jointly (Kennedy and O'Hagan)
- cokriging-proportional: its noise grows with the response, variance a + b f^2
- pooled: one function for both fidelities, which differ in noise alone
- nargp: any smooth function of x and f_l
- averaged: the five corrections above the pooled one, mixed with weights 1/variance
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError
from mfutils.gp import thesis_corrections
from mfutils.gp.cokriging import CoKriging, fit_cokriging
from mfutils.gp.inputs import as_inputs, as_targets, check_replicates
from mfutils.gp.nargp import fit_nargp
from mfutils.gp.problem import TwoFidelityProblem

__all__ = ["METHODS", "PROTOCOLS", "Correction", "fit_correction", "fit_corrections"]

# x (m, d) to mean and std, each (m,)
Predict = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Correction:
    """A fitted correction; `details` holds the numbers that its method has, `function` predicts."""

    method: str
    protocol: str
    columns: int
    function: Predict
    details: dict = field(default_factory=dict)

    def predict(self, x: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Mean and std (m,) of the high-fidelity response at x (m, d).

        The std is that of the response itself, free of observation noise: what a correction
        estimates is the truth, not one more noisy reading of it.
        """
        return self.function(as_inputs(x, "x", columns=self.columns))


def _checked(problem, replicates):
    """The problem with (n, d) inputs, or an InputError that says which fidelity is at fault."""
    values = []
    fidelities = {
        "high": (problem.x_high, problem.y_high),
        "low": (problem.x_low, problem.y_low),
    }
    for name, (x, y) in fidelities.items():
        try:
            x = as_inputs(x, f"x_{name}")
            y = as_targets(y, len(x), name=f"y_{name}", of=f"x_{name}")
        except InputError as error:
            raise InputError(f"{name} fidelity: {error}") from None
        if (y == y[0]).all():
            raise InputError(
                f"{name} fidelity: y has zero variance (all {y[0]:.6g}), so there is nothing to "
                "correct; leave this problem out"
            )
        if replicates == "error":
            check_replicates(x, y, name=f"x_{name}")
        values += [x, y]
    x_high, y_high, x_low, y_low = values
    if x_high.shape[1] != x_low.shape[1]:
        raise InputError(
            f"x_high has {x_high.shape[1]} columns and x_low {x_low.shape[1]}: expected the same"
        )
    apart = (x_high.min(axis=0) > x_low.max(axis=0)) | (x_high.max(axis=0) < x_low.min(axis=0))
    if apart.any():
        raise InputError(
            f"the fidelities do not overlap in feature {int(np.flatnonzero(apart)[0])}: "
            "a correction needs both in the same region"
        )
    return TwoFidelityProblem(x_high, y_high, x_low, y_low)


@dataclass(frozen=True)
class _Shared:
    """A problem and what its maximum-likelihood corrections share, each fitted when first used."""

    problem: TwoFidelityProblem
    draws: int

    @cached_property
    def low(self) -> CoKriging:
        return fit_cokriging([self.problem.x_low], [self.problem.y_low], draws=self.draws)

    @cached_property
    def smooth(self) -> np.ndarray:
        """The low fidelity without its noise at the high-fidelity points."""
        return self.low.predict(self.problem.x_high)[0]

    @cached_property
    def cokriging(self) -> CoKriging:
        return self.joint(base=self.low)

    def joint(self, **options) -> CoKriging:
        """Co-kriging of both fidelities."""
        p = self.problem
        return fit_cokriging([p.x_low, p.x_high], [p.y_low, p.y_high], draws=self.draws, **options)


def _high_alone(shared):
    p = shared.problem
    return _of(fit_cokriging([p.x_high], [p.y_high], draws=shared.draws))


def _additive(shared):
    return _with_rho(shared, 1.0)


def _comprehensive(shared):
    smooth = shared.smooth
    return _with_rho(shared, float(smooth @ shared.problem.y_high / (smooth @ smooth)))


def _with_rho(shared, rho):
    low, p = shared.low, shared.problem
    delta = _small_gp(p.x_high, p.y_high - rho * shared.smooth, None, shared.draws)

    def predict(x):
        (base, base_std), (shift, shift_std) = low.predict(x), delta(x)
        return rho * base + shift, np.hypot(rho * base_std, shift_std)

    return predict, {"rho": rho}


def _multiplicative(shared):
    low, smooth, p = shared.low, shared.smooth, shared.problem
    # No ratio is trusted below a hundredth of the usual size of the response
    floor = 0.01 * float(np.sqrt(np.mean(np.square(smooth))))
    size = np.maximum(np.abs(smooth), floor)
    ratio = p.y_high * np.sign(smooth) / size
    rho = _small_gp(p.x_high, ratio, np.median(size) / size, shared.draws)

    def predict(x):
        (base, base_std), (factor, factor_std) = low.predict(x), rho(x)
        std = np.sqrt(
            np.square(base * factor_std)
            + np.square(factor * base_std)
            + np.square(base_std * factor_std)
        )
        return base * factor, std

    return predict, {"guarded": int((np.abs(smooth) < floor).sum())}


def _cokriging(shared):
    return _of(shared.cokriging)


def _cokriging_proportional(shared):
    plain, p = shared.cokriging, shared.problem
    size = [np.abs(plain.predict(x, level=t)[0]) for t, x in enumerate((p.x_low, p.x_high))]
    return _of(shared.joint(base=plain, magnitude=size))


def _pooled(shared):
    return _of(shared.joint(base=shared.low, pooled=True))


def _nargp(shared):
    p = shared.problem
    fit = fit_nargp([p.x_low, p.x_high], [p.y_low, p.y_high], low=shared.low, draws=shared.draws)
    return fit.predict, {}


def _of(fit):
    """(predict function, details) of a co-kriging."""
    return fit.predict, {"hyperparameters": fit.hyperparameters}


def _average(parts):
    """predict(x) of the mixture of predict functions with weights 1 / variance."""

    def predict(x):
        means, stds = (np.array(part) for part in zip(*(p(x) for p in parts), strict=True))
        precision = 1.0 / np.maximum(np.square(stds), np.finfo(float).tiny)
        weights = precision / precision.sum(axis=0)
        mean = (weights * means).sum(axis=0)
        # A mixture: the spread between the methods is part of the uncertainty
        variance = (weights * (np.square(stds) + np.square(means - mean))).sum(axis=0)
        return mean, np.sqrt(variance)

    return predict


def _small_gp(x, y, relative, draws):
    """predict(x) of a difference or ratio; relative (n,) is the shape of its noise, or None.

    A target without variance is a perfect constant and needs no process.
    """
    spread = float(y.std())
    if spread <= 1e-10 * max(float(np.abs(y).max()), 1e-300):
        return lambda x_new: (np.full(len(x_new), y.mean()), np.zeros(len(x_new)))
    magnitude = None if relative is None else [relative * spread]
    return fit_cokriging([x], [y], magnitude=magnitude, draws=draws).predict


# name -> function of a _Shared to (predict function, details)
_LIKELIHOOD = {
    "hf-only": _high_alone,
    "additive": _additive,
    "multiplicative": _multiplicative,
    "comprehensive": _comprehensive,
    "cokriging": _cokriging,
    "cokriging-proportional": _cokriging_proportional,
    "pooled": _pooled,
    "nargp": _nargp,
}
# What "averaged" mixes: every law of the form rho f_l + delta
_AVERAGED = (
    "additive",
    "multiplicative",
    "comprehensive",
    "cokriging",
    "cokriging-proportional",
)
METHODS = {
    "thesis": thesis_corrections.METHODS,
    "maximum-likelihood": (*_LIKELIHOOD, "averaged"),
}
PROTOCOLS = tuple(METHODS)


def _fit_likelihood(problem, methods, draws):
    """{method: (predict function, details)} of the maximum-likelihood protocol."""
    shared = _Shared(problem, draws)
    averaged = _AVERAGED if "averaged" in methods else ()
    single = [name for name in _LIKELIHOOD if name in methods or name in averaged]
    fits = {name: _LIKELIHOOD[name](shared) for name in single}
    if averaged:
        average = _average([fits[name][0] for name in averaged])
        fits["averaged"] = average, {"methods": averaged}
    return {method: fits[method] for method in methods}


def _fit_thesis(problem, methods):
    """The same of the thesis protocol."""

    def predictor(surrogate):
        return lambda x: (surrogate.predict(x), surrogate.predict_std(x))

    return {
        method: (
            predictor(fit.surrogate),
            {"alpha": fit.alpha, "lengthscale": fit.surrogate.lengthscale, "rho": fit.rho},
        )
        for method, fit in thesis_corrections.fit_thesis(problem, methods).items()
    }


def fit_corrections(
    problem: TwoFidelityProblem,
    methods: Sequence[str] | None = None,
    *,
    protocol: str,
    replicates: str = "error",
    draws: int = 32,
) -> dict[str, Correction]:
    """Fit several methods on one problem, sharing what they share: {method: Correction}.

    methods: names of METHODS[protocol], by default all. replicates: "error" refuses equal x with
    different y in one fidelity, "keep" lets the learned noise explain them (maximum-likelihood
    only). draws: hyperparameter draws behind the std (0: the mode alone). Raises InputError on bad
    data, naming the fidelity.
    """
    if protocol not in METHODS:
        raise InputError(f"unknown protocol {protocol!r}: expected {' or '.join(PROTOCOLS)}")
    methods = METHODS[protocol] if methods is None else tuple(methods)
    unknown = [method for method in methods if method not in METHODS[protocol]]
    if unknown:
        raise InputError(
            f"unknown method {unknown[0]!r} in protocol {protocol!r}: expected one of "
            f"{', '.join(METHODS[protocol])}"
        )
    if replicates not in ("error", "keep") or (replicates == "keep" and protocol == "thesis"):
        raise InputError(
            f"replicates is {replicates!r}: expected 'error', or 'keep' with protocol "
            "'maximum-likelihood'"
        )
    problem = _checked(problem, replicates)
    if protocol == "thesis":
        fits = _fit_thesis(problem, methods)
    else:
        fits = _fit_likelihood(problem, methods, draws)
    columns = problem.x_high.shape[1]
    return {
        method: Correction(method, protocol, columns, predict, details)
        for method, (predict, details) in fits.items()
    }


def fit_correction(
    method: str,
    problem: TwoFidelityProblem,
    *,
    protocol: str,
    replicates: str = "error",
    draws: int = 32,
) -> Correction:
    """Fit one correction; see `fit_corrections`. Returns a Correction with `.predict(x)`."""
    fits = fit_corrections(
        problem, (method,), protocol=protocol, replicates=replicates, draws=draws
    )
    return fits[method]
