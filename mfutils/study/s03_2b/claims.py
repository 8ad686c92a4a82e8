"""What is printed of experiment in training, and what we say of it: results in, records out.

Every condition was written down before the full run. A printed error is a mean over random splits;
it is *inside* when it lies in the range of the errors of our splits. A difference *holds* when the
whole 95 % interval over the splits, each with its own crystals and seed, lies on the claimed side:
below or above 0, or within the margin that `data/published` names.
"""

from collections.abc import Sequence

import numpy as np

from mfutils.study.s03_2b.exhibits import differences, maes
from mfutils.study.s03_2b.runs import Run
from mfutils.uncertainty.compare import repeat_interval

__all__ = ["GIVEN_AWAY", "UNCHANGED", "computed_gaps_help", "errors", "given_away", "unchanged"]

GIVEN_AWAY = 0.05  # eV; less than this is what computed labels of the test crystals tell
UNCHANGED = 0.03  # eV; the printed spread over splits


def errors(id: str, runs: Sequence[Run]) -> dict[str, list[float]]:
    """The MAE (eV) of every split, as "<id>.mae"."""
    return {f"{id}.mae": maes(runs).tolist()}


def computed_gaps_help(id: str, together: Sequence[Run], alone: Sequence[Run]) -> dict[str, dict]:
    """Relative decrease of the error when computed gaps train too; it holds when it is above 0."""
    share = repeat_interval(1 - maes(together) / maes(alone), over="splits")
    return {id: {"holds": bool(share.low > 0), **share.as_record()}}


def given_away(id: str, sound: Sequence[Run], printed: Sequence[Run]) -> dict[str, dict]:
    """What the sound protocol costs; it holds when it is less than GIVEN_AWAY."""
    cost = differences(sound, printed)
    return {id: {"holds": bool(cost.high < GIVEN_AWAY), **cost.as_record()}}


def unchanged(id: str, with_them: Sequence[Run], without: Sequence[Run]) -> dict[str, dict]:
    """What disordered crystals in training change; it holds when it is less than UNCHANGED."""
    change = differences(with_them, without)
    inside = np.abs(change.ends).max() < UNCHANGED
    return {id: {"holds": bool(inside), **change.as_record()}}
