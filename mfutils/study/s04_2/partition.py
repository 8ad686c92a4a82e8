"""Random subsets A, B, C, D and a test set, in the study's proportions (section 4.2.1).

The study deals 52,348 PBE gaps out as 30,000, 10,000, 5,000 and 2,348 training labels of rising
fidelity and 5,000 test labels. `deal_subsets` does the same with fewer. Every subset keeps a share
of its own labels for early stopping, the same in every step of every strategy, so that no label
that decides about stopping has ever been trained on. What no subset uses may test as well.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError

__all__ = ["PROPORTIONS", "SUBSETS", "Partition", "deal_subsets", "subset_sizes"]

SUBSETS = ("A", "B", "C", "D")
_PRINTED = {"A": 30000, "B": 10000, "C": 5000, "D": 2348, "test": 5000}
PROPORTIONS = {name: count / sum(_PRINTED.values()) for name, count in _PRINTED.items()}


@dataclass(frozen=True, eq=False)
class Partition:
    """n training labels and the test materials, as row numbers of one table.

    rows (n,), subset (n,) letters A to D, validates (n,) bool: used for early stopping only.
    test (m,) the study's test share, unused (k,) all rows that nothing else uses. Raises
    InputError when a row occurs twice or tests what it trains.
    """

    rows: np.ndarray
    subset: np.ndarray
    validates: np.ndarray
    test: np.ndarray
    unused: np.ndarray

    def __post_init__(self):
        if len(np.unique(self.rows)) != len(self.rows):
            raise InputError("a row trains twice: expected every row in one subset only")
        for name in ("test", "unused"):
            shared = np.intersect1d(self.rows, getattr(self, name))
            if len(shared):
                raise InputError(
                    f"{len(shared)} training rows are also in {name}, the first is {shared[0]}: "
                    "the test leaks into training; draw both from one permutation"
                )

    @property
    def scored(self) -> np.ndarray:
        """All rows that may test: the test share and what is unused, in order."""
        return np.sort(np.concatenate([self.test, self.unused]))

    def members(self, letters: str, *, validates: bool | None = None) -> np.ndarray:
        """Mask (n,) of the labels in the subsets `letters`, such as "BCD".

        validates=True keeps those of early stopping only, False the others only.
        """
        unknown = sorted(set(letters) - set(SUBSETS)) or ([] if letters else ["nothing"])
        if unknown or len(set(letters)) != len(letters):
            raise InputError(f"subsets {letters!r}: expected letters of {''.join(SUBSETS)}, once")
        chosen = np.isin(self.subset, list(letters))
        return chosen if validates is None else chosen & (self.validates == validates)


def subset_sizes(total: int, proportions: dict[str, float] | None = None) -> dict[str, int]:
    """Labels per subset and in the test, a dict that adds up to `total`.

    proportions: shares of A, B, C, D and test that sum to 1; the study's by default. The largest
    remainders are rounded up. Raises InputError for shares that do not sum to 1, or a subset that
    would be empty.
    """
    proportions = PROPORTIONS if proportions is None else dict(proportions)
    if set(proportions) != set(PROPORTIONS):
        raise InputError(
            f"proportions of {', '.join(proportions)}: expected {', '.join(PROPORTIONS)}"
        )
    share = np.array([proportions[name] for name in PROPORTIONS], dtype=float)
    if not (share > 0).all():
        low = list(PROPORTIONS)[int(np.flatnonzero(~(share > 0))[0])]
        raise InputError(f"the share of {low} is {proportions[low]!r}: expected a share above 0")
    if abs(share.sum() - 1) > 1e-9:
        raise InputError(
            f"the proportions sum to {share.sum():.6g}: expected shares above 0 that sum to 1"
        )
    counts = np.floor(share * total + 1e-9).astype(int)
    order = np.argsort(counts - share * total, kind="stable")
    counts[order[: total - counts.sum()]] += 1
    if counts.min() < 1:
        empty = list(PROPORTIONS)[int(counts.argmin())]
        raise InputError(f"{total} labels leave none for {empty}: take more")
    return dict(zip(PROPORTIONS, counts.tolist(), strict=True))


def deal_subsets(
    rows: npt.ArrayLike,
    *,
    size: int,
    seed: int,
    proportions: dict[str, float] | None = None,
    validation: float = 0.2,
) -> Partition:
    """The Partition of `size` of the row numbers `rows` (k,), dealt at random.

    validation is the share of every subset kept for early stopping. Raises InputError when there
    are fewer rows than `size`, or a subset too small to keep one label and train on two.
    """
    rows = np.asarray(rows)
    if size > len(rows):
        raise InputError(f"{size} labels are wanted but only {len(rows)} rows have one")
    if not 0 < validation < 1:
        raise InputError(f"validation is {validation!r}: expected a share between 0 and 1")
    sizes = subset_sizes(size, proportions)
    generator = np.random.default_rng(seed)
    dealt = generator.permutation(rows)
    ends = np.cumsum([0, *sizes.values()])
    training = ends[len(SUBSETS)]
    subset = np.repeat(SUBSETS, [sizes[name] for name in SUBSETS])
    validates = np.zeros(training, dtype=bool)
    for name, first in zip(SUBSETS, ends, strict=False):
        kept = max(1, round(validation * sizes[name]))
        if sizes[name] - kept < 2:
            raise InputError(f"subset {name} has {sizes[name]} labels: too few to train and stop")
        validates[first : first + kept] = True
    return Partition(
        dealt[:training], subset, validates, dealt[training : ends[-1]], dealt[ends[-1] :]
    )
