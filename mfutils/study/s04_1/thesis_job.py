"""One data set of section 4.1 through the study's own methods: the job of its sweep.

It takes a seed and a kind of noise and returns plain arrays, so that `sweep.run` can
store them. A draw that leaves nothing to fit (eq 4.1 with parameters that make the truth
identically zero, seen through multiplicative noise) is returned as excluded, with the reason, and
not as a number; so is a method that a draw makes undefined (a ratio to a value of exactly zero).
"""

from mfutils.errors import InputError
from mfutils.gp.thesis_corrections import METHODS, fit_thesis
from mfutils.study.s04_1.noise import synthetic_problem

__all__ = ["prepared", "result", "thesis_draw"]


def prepared(seed, kind):
    """(problem with (n, 1) inputs, reason for exclusion or None)."""
    problem = synthetic_problem(seed, kind)
    flat = [name for name in ("high", "low") if not getattr(problem, f"y_{name}").any()]
    reason = f"the {flat[0]}-fidelity values are all zero" if flat else None
    columns = {name: getattr(problem, name)[:, None] for name in ("x_high", "x_low", "x_test")}
    return problem._replace(**columns), reason


def result(problem, reason, methods, undefined=None):
    """What a draw returns; methods maps a name to its arrays and is empty when excluded.

    undefined maps the methods that this draw does not admit to the reason.
    """
    return {
        "parameters": problem.parameters,
        "y_test": problem.y_test,
        "excluded": reason,
        "methods": methods,
        "undefined": undefined or {},
    }


def thesis_draw(seed, kind):
    """The `thesis` protocol on data set `seed`: per method mean and std (20,), alpha, lengthscale.

    Besides the four methods, `hf-only-nearest` is hf-only with the lengthscale at the maximum of
    the likelihood nearest to 1, where the optimiser should have gone.
    """
    problem, reason = prepared(seed, kind)
    if reason:
        return result(problem, reason, {})
    undefined = {}
    try:
        fits = fit_thesis(problem)
    except InputError as error:
        undefined["multiplicative"] = str(error)
        fits = fit_thesis(problem, [name for name in METHODS if name not in undefined])
    fits["hf-only-nearest"] = fit_thesis(problem, ("hf-only",), search="nearest")["hf-only"]
    methods = {
        name: {
            "mean": fit.surrogate.predict(problem.x_test),
            "std": fit.surrogate.predict_std(problem.x_test),
            "alpha": fit.alpha,
            "lengthscale": fit.surrogate.lengthscale,
            "rho": fit.rho,
        }
        for name, fit in fits.items()
    }
    return result(problem, None, methods, undefined)
