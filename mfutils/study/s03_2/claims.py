"""What section 3.2 prints, as values to set beside it: results in, records out.

Every condition was written down before the full run. A printed error of Table 3.5 is a mean over
ten networks; it is *inside* when it lies in the range of the errors of our ten. A printed fused
error needs all networks at once; it is inside when it lies within 1.96 sqrt(2) standard errors of
ours, where another draw of as many networks would fall 95 times in 100 (jackknife over networks).
An order or a sign *holds* when the whole 95 % interval over test compositions and networks lies on
the printed side, for every pair of neighbours in an order.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from mfutils.study.s03_2.ensembles import Ensemble
from mfutils.study.s03_2.fusion import Contrast, average, contrast, fused, jackknife, single
from mfutils.uncertainty.compare import Draws

__all__ = [
    "against_single", "cells", "difference_of_singles", "fused_cells", "fusion_gain", "order_holds",
    "repeated", "section",
]  # fmt: skip


_TEXT = "section_3_2_4"


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


def section(
    thesis: Mapping[str, tuple[Ensemble, str]], *, known: Ensemble, second: Mapping[str, Ensemble],
    pair: Sequence[str], draws: Draws,
) -> dict[str, object]:  # fmt: skip
    """Every value of section 3.2, by its id in `data/published`.

    thesis: "megnet", "megnet_gpr", "cgcnn" and "cgcnn_gpr" -> ensemble and prediction as the study
    reads them. known is MEGNet with its elements known, second the ensemble of CGCNN on other
    measured sets. pair are HSE and PBE, or what stands for them in other data.
    """
    first, other = pair
    values = {}
    for key, (ensemble, prediction) in thesis.items():
        rest = [f for f in ensemble.fidelities if f not in pair]
        front = [first, other] if key.startswith("cgcnn") else [other, first]
        values |= cells(f"table_3_5.{key}", ensemble, prediction)
        if key.endswith("_gpr"):
            values |= fused_cells(f"table_3_5.{key}", ensemble, prediction)
        values[f"table_3_6.{key}"] = order_holds(ensemble, prediction, [*front, *rest], draws)
        values[f"{_TEXT}.gllb_least.{key}"] = _last(ensemble, prediction, draws)
    (misread, _), (cgcnn, _) = thesis["megnet_gpr"], thesis["cgcnn_gpr"]
    for id, megnet, prediction in (("", misread, "sparse"), (".right", known, "exact")):
        sides = [
            contrast(*(single(e, prediction, f) for f in pair), draws, networks=e.members)
            for e in (megnet, cgcnn)
        ]
        values[f"{_TEXT}.orders_of_gpr_models{id}"] = sides[0].as_record() | {
            "holds": sorted(c.verdict for c in sides) == ["better", "worse"],
            "sides": [c.verdict for c in sides],
        }
    return values | _fusion(misread, known, cgcnn, second, pair, draws)


def _last(ensemble, prediction, draws):
    """Is the last fidelity worse than every other? The least certain difference counts."""
    *others, last = ensemble.fidelities
    found = [
        contrast(
            single(ensemble, prediction, name), single(ensemble, prediction, last), draws,
            networks=ensemble.members,
        )
        for name in others
    ]  # fmt: skip
    return max(found, key=lambda c: c.high).as_record()


def _fusion(misread, known, cgcnn, second, pair, draws):
    """What the text says of fusing, of plain networks and of what the process gains."""
    first, other = pair
    gain = against_single(known, "exact", other, draws)
    plain = [single(cgcnn, "z-score", first), single(misread, "network", first)]
    in_ev, fitted = (cgcnn.error(kind, first).mean() for kind in ("network", "sparse"))
    values = {
        "fusion_gain.megnet": fusion_gain(misread, "sparse", other),
        "fusion_gain.megnet.right": gain.as_record() | {"holds": gain.low >= 0},
        "plain_cgcnn_minus_megnet": repeated(
            lambda i: float((plain[0](i) - plain[1](i)).mean()),
            min(cgcnn.members, misread.members),
        ),
        "plain_megnet_beats_cgcnn.right": difference_of_singles(
            (known, "network"), (cgcnn, "network"), first, draws
        ).as_record(),
        "fusion_beats_single.cgcnn": against_single(cgcnn, "sparse", first, draws).as_record(),
        "fusion_gain.cgcnn": fusion_gain(cgcnn, "sparse", first),
        "gp_seems_to_improve_cgcnn": difference_of_singles(
            (cgcnn, "sparse"), (cgcnn, "z-score"), first, draws
        ).as_record(),
        "gp_improves_cgcnn": float(1 - fitted / in_ev),
    }
    values |= {
        f"fusion_gain.cgcnn.{name}": fusion_gain(ensemble, "sparse", first)["effect"]
        for name, ensemble in second.items()
    }
    return {f"{_TEXT}.{id}": value for id, value in values.items()}
