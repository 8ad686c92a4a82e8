"""One data set of section 4.1 through the study's own methods: the job of its sweep.

It takes a seed and a kind of noise and returns plain arrays, so that `sweep.run` can
store them. A draw that leaves nothing to fit (eq 4.1 with parameters that make the truth
identically zero, seen through multiplicative noise) is returned as excluded, with the reason, and
not as a number; so is a method that a draw makes undefined (a ratio to a value of exactly zero).
"""

from collections.abc import Mapping
from dataclasses import replace

from mfutils.errors import InputError
from mfutils.gp.thesis_corrections import METHODS, fit_thesis
from mfutils.study.s04_1.noise import SyntheticProblem, synthetic_problem

__all__ = ["prepared", "result", "thesis_draw"]


def prepared(seed: int, kind: str) -> tuple[SyntheticProblem, str | None]:
    """(problem with (n, 1) inputs, reason for exclusion or None)."""
    p = synthetic_problem(seed, kind)
    flat = [name for name, y in (("high", p.y_high), ("low", p.y_low)) if not y.any()]
    reason = f"the {flat[0]}-fidelity values are all zero" if flat else None
    column = {"x_high": p.x_high[:, None], "x_low": p.x_low[:, None], "x_test": p.x_test[:, None]}
    return replace(p, **column), reason


def result(
    problem: SyntheticProblem,
    reason: str | None,
    methods: Mapping[str, dict],
    undefined: Mapping[str, str] | None = None,
) -> dict:
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


def thesis_draw(seed: int, kind: str) -> dict:
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
