"""One data set of section 4.1 through every maximum-likelihood method: the job of its sweep.

Apart from `thesis_job`, so that work on these methods leaves the stored results of the
study's own untouched.
"""

from mfutils.errors import InputError
from mfutils.gp.corrections import fit_corrections
from mfutils.study.s04_1.thesis_job import prepared, result

__all__ = ["likelihood_draw"]


def likelihood_draw(seed: int, kind: str, draws: int = 32) -> dict:
    """The `maximum-likelihood` protocol on data set `seed`: per method mean and std, each (20,)."""
    problem, reason = prepared(seed, kind)
    if reason is None:
        try:
            fits = fit_corrections(problem, protocol="maximum-likelihood", draws=draws)
        except InputError as error:
            reason = str(error)
    if reason:
        return result(problem, reason, {})
    methods = {}
    for name, fit in fits.items():
        mean, std = fit.predict(problem.x_test)
        methods[name] = {"mean": mean, "std": std}
    return result(problem, None, methods)
