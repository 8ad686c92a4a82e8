"""Which measured gaps train, which watch the training, and which test.

`random` deals a tenth of the measured crystals to the test and a tenth to the validation, anew for
every part, as Chen et al. 2021 do; `folds` tests on one of the five folds to which the authors of
the crystals dealt them, and a tenth of the rest validates. Two protocols say what trains:

- `printed`: every measured crystal that is not held, and every computed label. So a held crystal
  may stand in training under another id, with its computed gaps.
- `sound`: the same, without any label of a crystal that has the composition of a held one. The test
  is the same, so that both protocols can be compared crystal by crystal.
"""

from dataclasses import dataclass

import numpy as np

from mfutils.errors import InputError
from mfutils.study.s03_2b.measured_gaps import MeasuredGaps

__all__ = ["PROTOCOLS", "SPLITS", "Split", "deal"]

SPLITS = ("random", "folds")
PROTOCOLS = ("printed", "sound")
_TENTHS = 10


@dataclass(frozen=True, eq=False)
class Split:
    """Graph numbers of ordered crystals: train, validation and test have measured gaps, and no
    label of the crystals shut_out may train."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    shut_out: np.ndarray

    @property
    def held(self) -> np.ndarray:
        """Graph numbers of the test and of the validation."""
        return np.concatenate([self.test, self.validation])


def deal(data: MeasuredGaps, *, split: str, part: int, protocol: str) -> Split:
    """The Split number `part` (folds: 0 to 4) of the ordered crystals with a measured gap.

    Raises InputError for an unknown split or protocol and for a fold that does not exist.
    """
    for name, value, known in (("split", split, SPLITS), ("protocol", protocol, PROTOCOLS)):
        if value not in known:
            raise InputError(f"{name} is {value!r}; expected one of {', '.join(known)}")
    rows = data.rows
    if split == "random":
        tenth = _tenths(rows, part)
        test, rest = rows[tenth == 0], rows[tenth > 0]
        validation = rows[tenth == 1]
    else:
        fold = data.fold()[rows]
        if part not in fold:
            known = ", ".join(map(str, np.unique(fold)))
            raise InputError(f"no fold {part!r}; expected one of {known}")
        test, rest = rows[fold == part], rows[fold != part]
        validation = rest[_tenths(rest, part) == 0]
    train = np.setdiff1d(rest, validation)
    if protocol == "printed":
        return Split(train, validation, test, np.empty(0, dtype=np.int64))
    validation = np.setdiff1d(validation, data.ordered.of_same_composition(test))
    shut_out = data.ordered.of_same_composition(np.concatenate([test, validation]))
    return Split(np.setdiff1d(train, shut_out), validation, test, shut_out)


def _tenths(rows, part):
    """The tenth (n,) that every row is dealt to."""
    return np.random.default_rng([part, _TENTHS]).permutation(len(rows)) % _TENTHS
