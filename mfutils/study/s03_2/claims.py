"""What section 3.2 prints, as values to set beside it: results in, records out.

Every condition was written down before the full run. A printed error of Table 3.5 is a mean over
ten networks; it is *inside* when it lies in the range of the errors of our ten. A printed fused
error needs all networks at once; it is inside when it lies within 1.96 sqrt(2) standard errors of
ours, where another draw of as many networks would fall 95 times in 100 (jackknife over networks).
An order or a sign *holds* when the whole 95 % interval over test compositions and networks lies on
the printed side, for every pair of neighbours in an order.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from mfutils.study.s03_2.ensembles import Ensemble
from mfutils.study.s03_2.fusion import Contrast, average, contrast, fused, jackknife, single
from mfutils.uncertainty.compare import Draws

__all__ = [
    "against_single", "cells", "difference_of_singles", "fused_cells", "fusion_gain", "order_holds",
    "repeated",
]  # fmt: skip


def cells(id: str, ensemble: Ensemble, prediction: str) -> dict[str, list[float]]:
    """Errors of every network: "<id>.<fidelity>.mae" in eV and ".mse" in eV squared."""
    values = {}
    for name in ensemble.fidelities:
        for power, measure in ((1, "mae"), (2, "mse")):
            error = ensemble.error(prediction, name, power=power).mean(axis=1)
            values[f"{id}.{name}.{measure}"] = error.tolist()
    return values


def fused_cells(
    id: str, ensemble: Ensemble, prediction: str, *, rule: str = "inverse-std"
) -> dict[str, dict]:
    """Errors of all networks fused: "<id>.fused.mae" and ".mse", each as `repeated`."""

    def error(i, power):
        difference = fused(ensemble, prediction, None, rule, without=i)[0] - ensemble.y
        return float((np.abs(difference) ** power).mean())

    return {
        f"{id}.fused.{measure}": repeated(lambda i, p=power: error(i, p), ensemble.members)
        for power, measure in ((1, "mae"), (2, "mse"))
    }


def repeated(statistic: Callable[[int | None], float], networks: int) -> dict:
    """A statistic of all networks with the interval in which a repetition would lie.

    statistic(i) leaves out network number i of every fidelity, statistic(None) none.
    """
    value, error = statistic(None), jackknife(statistic, networks)
    half = 1.96 * 2**0.5 * error
    return {"effect": value, "interval": [value - half, value + half], "n": networks}


def fusion_gain(
    ensemble: Ensemble, prediction: str, fidelity: str, *, rule: str = "inverse-std"
) -> dict:
    """MAE (eV) of one network of a fidelity less that of all fused, as `repeated`."""
    one = single(ensemble, prediction, fidelity)
    every = average(ensemble, prediction, ensemble.fidelities, rule=rule)
    return repeated(lambda i: float((one(i) - every(i)).mean()), ensemble.members)


def against_single(
    ensemble: Ensemble, prediction: str, fidelity: str, draws: Draws, *, rule: str = "inverse-std"
) -> Contrast:
    """All networks fused against one network of a fidelity."""
    every = average(ensemble, prediction, ensemble.fidelities, rule=rule)
    return contrast(every, single(ensemble, prediction, fidelity), draws, networks=ensemble.members)


def difference_of_singles(
    first: tuple[Ensemble, str], second: tuple[Ensemble, str], fidelity: str, draws: Draws
) -> Contrast:
    """One network against another on one fidelity: (ensemble, prediction) each."""
    return contrast(
        single(*first, fidelity), single(*second, fidelity), draws, networks=first[0].members
    )


def order_holds(
    ensemble: Ensemble, prediction: str, order: Sequence[str], draws: Draws
) -> dict[str, object]:
    """Does the order, the most faithful first, hold between all neighbours?

    effect and interval are those of the least certain pair of neighbours.
    """
    found = [
        contrast(
            single(ensemble, prediction, better), single(ensemble, prediction, worse), draws,
            networks=ensemble.members,
        )
        for better, worse in pairwise(order)
    ]  # fmt: skip
    weakest = max(found, key=lambda c: c.high)
    return weakest.as_record() | {
        "holds": all(c.high < 0 for c in found),
        "pairs": [c.verdict for c in found],
    }
