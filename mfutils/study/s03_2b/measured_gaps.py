"""The crystals of this section: gaps, graphs, and the disordered ones behind the ordered.

`load` puts the graphs of the ordered crystals of a data set first and those of the disordered
crystals behind them, so that one network reads both by graph number. The embedded data have no
disordered crystals, and neither has a machine without their file.
"""

from dataclasses import dataclass

import numpy as np

from mfutils.crystals import occupancy_graphs
from mfutils.crystals.occupancy_graphs import FIRST_CODE, OccupancyGraphs
from mfutils.crystals.structure import SYMBOLS
from mfutils.datasets import bandgap, icsd_gaps, originals, registry
from mfutils.errors import InputError
from mfutils.study import gap_graphs
from mfutils.study.gap_graphs import GapGraphs

__all__ = ["MeasuredGaps", "has_disordered", "load"]


@dataclass(frozen=True, eq=False)
class MeasuredGaps:
    """ordered: the GapGraphs of a data set, whose graph numbers hold in `graphs` too; graphs: all
    OccupancyGraphs; measured: name of the measured set; gap (m,) its values in eV, NaN where there
    is none, also for the disordered crystals at the end."""

    ordered: GapGraphs
    graphs: OccupancyGraphs
    measured: str
    gap: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """Graph numbers of the ordered crystals with a measured gap."""
        return self.ordered.rows(self.measured)

    @property
    def disordered(self) -> np.ndarray:
        """Graph numbers of the disordered crystals; empty where they were not asked for."""
        return np.arange(len(self.ordered.graphs), len(self.graphs.graphs))

    def formula(self, rows: np.ndarray) -> np.ndarray:
        """Reduced formula of ordered crystals: equal for equal compositions."""
        return self.ordered.table["formula"].to_numpy(str)[rows]

    def system(self, rows: np.ndarray) -> np.ndarray:
        """Chemical system (n,) of any of the graphs, such as "O-Ti"; a share counts as present."""
        graphs, mixtures, names = self.graphs.graphs, self.graphs.mixtures, []
        for row in rows:
            numbers = graphs.numbers[graphs.atom_pointer[row] : graphs.atom_pointer[row + 1]]
            present = set(numbers[numbers < FIRST_CODE] - 1)
            present |= set(np.nonzero(mixtures[numbers[numbers >= FIRST_CODE] - FIRST_CODE])[1])
            names.append("-".join(sorted(SYMBOLS[z] for z in present)))
        return np.array(names, dtype=str)

    def fold(self) -> np.ndarray:
        """The authors' own fold of every ordered crystal, -1 where it has none.

        Raises InputError for a data set that was not dealt.
        """
        if "fold" not in self.ordered.table:
            raise InputError(
                f"{self.ordered.name} has no folds of its authors; deal it at random instead"
            )
        fold = self.ordered.table["fold"].to_numpy(float)
        return np.where(np.isfinite(fold), fold, -1).astype(np.int64)


def has_disordered(dataset: str = "auto") -> bool:
    """True when a data set has disordered crystals that are on this machine."""
    name = bandgap.resolve(dataset)
    return name == "chen2021" and originals.find("icsd_disordered") is not None


@registry.remembered(maxsize=4)
def load(
    dataset: str = "auto", *, disordered: bool, cutoff: float, max_neighbors: int | None
) -> MeasuredGaps:
    """The MeasuredGaps of a data set of `mfutils.datasets.bandgap`, with graphs of these settings.

    Raises InputError when disordered crystals are asked of a data set without any.
    """
    ordered = gap_graphs.load(dataset, cutoff=cutoff, max_neighbors=max_neighbors)
    measured = ordered.measured[0]
    gap = ordered.gap(measured)
    if not disordered:
        alone = OccupancyGraphs(ordered.graphs, np.zeros((0, len(SYMBOLS))))
        return MeasuredGaps(ordered, alone, measured, gap)
    if not has_disordered(dataset):
        raise InputError(
            f"{ordered.name} has no disordered crystals here; expected chen2021 with the original "
            "icsd_disordered, so run `make data` or leave them out"
        )
    table, _ = icsd_gaps.disordered()
    shared = occupancy_graphs.build(
        table["structure"], ids=[f"disordered {name}" for name in table["material_id"]],
        cutoff=cutoff, max_neighbors=max_neighbors,
        short="keep" if max_neighbors is None else "grow",
    )  # fmt: skip
    gap = np.concatenate([gap, table["gap"].to_numpy(float)[shared.graphs.rows]])
    return MeasuredGaps(ordered, shared.after(ordered.graphs), measured, gap)
