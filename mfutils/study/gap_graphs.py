"""Band gaps and their crystal graphs side by side, loaded once per process (section 3.2).

A sweep runs many short trainings on one data set. What they share, the table of gaps and the
graphs of all its crystals, is read from the graph cache the first time and kept.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mfutils.crystals import graph_cache
from mfutils.crystals.graph_data import GraphDataset
from mfutils.datasets import bandgap, registry
from mfutils.errors import InputError
from mfutils.networks.labels import Labels

__all__ = ["GapGraphs", "load"]


@dataclass(frozen=True, eq=False)
class GapGraphs:
    """table: one row per graph, in the order of graphs, with gap_<fidelity> columns in eV."""

    name: str
    table: pd.DataFrame
    graphs: GraphDataset

    @property
    def measured(self) -> tuple[str, ...]:
        """Names of the measured sets in the table, the study's own test first."""
        return tuple(f for f in bandgap.measured(self.name) if f"gap_{f}" in self.table)

    def gap(self, fidelity: str) -> np.ndarray:
        """Gaps (m,) in eV, NaN where unknown; raises InputError for an unknown fidelity."""
        known = [c.removeprefix("gap_") for c in self.table if c.startswith("gap_")]
        if fidelity not in known:
            raise InputError(f"no fidelity {fidelity!r} in {self.name}; it has {', '.join(known)}")
        return self.table[f"gap_{fidelity}"].to_numpy(float)

    def rows(self, fidelity: str, *, without: np.ndarray | None = None) -> np.ndarray:
        """Graph numbers with a gap of this fidelity, in order, without those in `without`."""
        rows = np.flatnonzero(np.isfinite(self.gap(fidelity)))
        return rows if without is None else rows[~np.isin(rows, without)]

    def of_same_composition(self, rows: np.ndarray) -> np.ndarray:
        """Graph numbers of all crystals whose composition is that of one of `rows`, in order.

        Two databases number their crystals apart, so that an id cannot tell whether a crystal of
        one stands in the other too; a composition can.
        """
        formula = self.table["formula"]
        return np.flatnonzero(formula.isin(set(formula.iloc[rows])))

    def labels(
        self, fidelities: Iterable[str], generator: np.random.Generator, *,
        without: np.ndarray | None = None, samples: int | None = None,
    ) -> Labels:  # fmt: skip
        """Labels of all gaps of `fidelities`, one after the other, without the graphs `without`.

        samples: at most so many per fidelity, drawn with `generator`, a numpy Generator.
        """
        index, names, target = [], [], []
        for name in fidelities:
            rows = self.rows(name, without=without)
            if samples is not None and len(rows) > samples:
                rows = np.sort(generator.choice(rows, samples, replace=False))
            index.append(rows)
            names.append(np.full(len(rows), name))
            target.append(self.gap(name)[rows])
        return Labels(np.concatenate(index), np.concatenate(target), np.concatenate(names))


@registry.remembered(maxsize=4)
def load(name: str = "auto", *, cutoff: float, max_neighbors: int | None) -> GapGraphs:
    """The GapGraphs of a data set of `mfutils.datasets.bandgap`, with graphs of these settings."""
    name = bandgap.resolve(name)
    table = bandgap.load(name)
    graphs = graph_cache.load_or_build(
        table["structure"],
        ids=table["material_id"],
        cutoff=cutoff,
        max_neighbors=max_neighbors,
        short="keep" if max_neighbors is None else "grow",
        progress=False,
    )
    table = table.drop(columns="structure").iloc[graphs.rows].reset_index(drop=True)
    return GapGraphs(name, table, graphs)
