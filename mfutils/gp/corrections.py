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

import numpy as np

from mfutils.errors import InputError
from mfutils.gp import thesis_corrections
from mfutils.gp.cokriging import fit_cokriging
from mfutils.gp.inputs import as_inputs, as_targets, check_replicates
from mfutils.gp.nargp import fit_nargp
from mfutils.gp.problem import TwoFidelityProblem

__all__ = ["METHODS", "PROTOCOLS", "Correction", "fit_correction", "fit_corrections"]

METHODS = {
    "thesis": thesis_corrections.METHODS,
    "maximum-likelihood": (
        *thesis_corrections.METHODS,
        "cokriging",
        "cokriging-proportional",
        "pooled",
        "nargp",
        "averaged",
    ),
}
PROTOCOLS = tuple(METHODS)
# What "averaged" mixes: every law of the form rho f_l + delta
_AVERAGED = (
    "additive",
    "multiplicative",
    "comprehensive",
    "cokriging",
    "cokriging-proportional",
)


class Correction:
    """A fitted correction: `.method`, `.protocol`, `.details` (dict), `.predict(x)`."""

    def __init__(self, method, protocol, predict, columns, **details):
        self.method, self.protocol, self.details = method, protocol, details
        self._predict, self._columns = predict, columns

    def predict(self, x):
        """Mean and std (m,) of the high-fidelity response at x (m, d).

        The std is that of the response itself, free of observation noise: what a correction
        estimates is the truth, not one more noisy reading of it.
        """
        return self._predict(as_inputs(x, "x", columns=self._columns))


def _checked(problem, replicates):
    """The problem with (n, d) inputs, or an InputError that says which fidelity is at fault."""
    values = []
    for name in ("high", "low"):
        try:
            x = as_inputs(getattr(problem, f"x_{name}"), f"x_{name}")
            y = as_targets(getattr(problem, f"y_{name}"), len(x), name=f"y_{name}", of=f"x_{name}")
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


class _Likelihood:
    """The maximum-likelihood methods on one problem; what they share is fitted once."""

    def __init__(self, problem, draws):
        self.p, self.draws, self._fits = problem, draws, {}

    def _once(self, name, make):
        if name not in self._fits:
            self._fits[name] = make()
        return self._fits[name]

    def low(self):
        return self._once(
            "low", lambda: fit_cokriging([self.p.x_low], [self.p.y_low], draws=self.draws)
        )

    def fit(self, method):
        """(predict function, details) of one method."""
        return self._once((method,), getattr(self, method.replace("-", "_")))

    def hf_only(self):
        fit = fit_cokriging([self.p.x_high], [self.p.y_high], draws=self.draws)
        return fit.predict, {"hyperparameters": fit.hyperparameters}

    def additive(self):
        return self._with_rho(1.0)

    def comprehensive(self):
        smooth = self.low().predict(self.p.x_high)[0]
        return self._with_rho(float(smooth @ self.p.y_high / (smooth @ smooth)))

    def _with_rho(self, rho):
        low, smooth = self.low(), self.low().predict(self.p.x_high)[0]
        delta = _small_gp(self.p.x_high, self.p.y_high - rho * smooth, None, self.draws)

        def predict(x):
            (base, base_std), (shift, shift_std) = low.predict(x), delta(x)
            return rho * base + shift, np.hypot(rho * base_std, shift_std)

        return predict, {"rho": rho}

    def multiplicative(self):
        low, smooth = self.low(), self.low().predict(self.p.x_high)[0]
        # No ratio is trusted below a hundredth of the usual size of the response
        floor = 0.01 * float(np.sqrt(np.mean(np.square(smooth))))
        size = np.maximum(np.abs(smooth), floor)
        ratio = self.p.y_high * np.sign(smooth) / size
        rho = _small_gp(self.p.x_high, ratio, np.median(size) / size, self.draws)

        def predict(x):
            (base, base_std), (factor, factor_std) = low.predict(x), rho(x)
            std = np.sqrt(
                np.square(base * factor_std)
                + np.square(factor * base_std)
                + np.square(base_std * factor_std)
            )
            return base * factor, std

        guarded = int((np.abs(smooth) < floor).sum())
        return predict, {"guarded": guarded}

    def _joint(self, **options):
        return fit_cokriging(
            [self.p.x_low, self.p.x_high],
            [self.p.y_low, self.p.y_high],
            draws=self.draws,
            **options,
        )

    def _plain(self):
        return self._once("cokriging", lambda: self._joint(base=self.low()))

    def cokriging(self):
        fit = self._plain()
        return fit.predict, {"hyperparameters": fit.hyperparameters}

    def cokriging_proportional(self):
        plain = self._plain()
        size = [
            np.abs(plain.predict(x, level=t)[0])
            for t, x in enumerate((self.p.x_low, self.p.x_high))
        ]
        fit = self._joint(base=plain, magnitude=size)
        return fit.predict, {"hyperparameters": fit.hyperparameters}

    def pooled(self):
        fit = self._joint(base=self.low(), pooled=True)
        return fit.predict, {"hyperparameters": fit.hyperparameters}

    def nargp(self):
        fit = fit_nargp(
            [self.p.x_low, self.p.x_high],
            [self.p.y_low, self.p.y_high],
            low=self.low(),
            draws=self.draws,
        )
        return fit.predict, {}

    def averaged(self):
        parts = [self.fit(method)[0] for method in _AVERAGED]

        def predict(x):
            means, stds = (np.array(part) for part in zip(*(p(x) for p in parts), strict=True))
            precision = 1.0 / np.maximum(np.square(stds), np.finfo(float).tiny)
            weights = precision / precision.sum(axis=0)
            mean = (weights * means).sum(axis=0)
            # A mixture: the spread between the methods is part of the uncertainty
            variance = (weights * (np.square(stds) + np.square(means - mean))).sum(axis=0)
            return mean, np.sqrt(variance)

        return predict, {"methods": _AVERAGED}


def _small_gp(x, y, relative, draws):
    """predict(x) of a difference or ratio; relative (n,) is the shape of its noise, or None.

    A target without variance is a perfect constant and needs no process.
    """
    spread = float(y.std())
    if spread <= 1e-10 * max(float(np.abs(y).max()), 1e-300):
        return lambda x_new: (np.full(len(x_new), y.mean()), np.zeros(len(x_new)))
    magnitude = None if relative is None else [relative * spread]
    return fit_cokriging([x], [y], magnitude=magnitude, draws=draws).predict


def _thesis(problem, methods):
    fits = thesis_corrections.fit_thesis(problem, methods)

    def predictor(surrogate):
        return lambda x: (surrogate.predict(x), surrogate.predict_std(x))

    return {
        method: (
            predictor(fit.surrogate),
            {"alpha": fit.alpha, "lengthscale": fit.surrogate.lengthscale, "rho": fit.rho},
        )
        for method, fit in fits.items()
    }


def fit_corrections(problem, methods=None, *, protocol, replicates="error", draws=32):
    """Fit several methods on one problem, sharing what they share: {method: Correction}.

    problem: anything with x_high, y_high, x_low, y_low. methods: names of METHODS[protocol], by
    default all. replicates: "error" refuses equal x with different y in one fidelity, "keep"
    lets the learned noise explain them (maximum-likelihood only). draws: hyperparameter draws
    behind the std (0: the mode alone). Raises InputError on bad data, naming the fidelity.
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
        fits = _thesis(problem, methods)
    else:
        shared = _Likelihood(problem, draws)
        fits = {method: shared.fit(method) for method in methods}
    columns = problem.x_high.shape[1]
    return {
        method: Correction(method, protocol, predict, columns, **details)
        for method, (predict, details) in fits.items()
    }


def fit_correction(method, problem, *, protocol, replicates="error", draws=32):
    """Fit one correction; see `fit_corrections`. Returns a Correction with `.predict(x)`."""
    fits = fit_corrections(
        problem, (method,), protocol=protocol, replicates=replicates, draws=draws
    )
    return fits[method]
