"""Measured gaps of two kinds: with a crystal, and with a formula alone (section 5.2).

A structure model can learn from the first kind only, a composition model from both. What keeps a
test honest is the same for both kinds: when a fold is held out by chemical system, every record of
a system in it leaves training, with or without a crystal. `by="composition"` holds out less: only
records of the very compositions. How records come to folds is the `dealing`: "groups" deals whole
groups by chance, "authors" takes the five folds that came with the crystals, "split" is the
80/10/10 of Chen et al. 2021. Which computed gaps may train beside them, `Records.kept_apart` says.
"""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mfutils.crystals import gap_features
from mfutils.crystals.formulas import composition_key
from mfutils.datasets import bandgap, originals, registry
from mfutils.errors import InputError
from mfutils.networks.atom_features import atom_features
from mfutils.study import gap_twins
from mfutils.uncertainty.groups import group_folds

__all__ = ["APART", "BY", "DEALINGS", "Deal", "Records", "load"]

BY = ("system", "composition")
DEALINGS = ("groups", "authors", "split")
APART = ("composition", "crystal")


@dataclass(frozen=True, eq=False)
class Records:
    """n measured gaps with a crystal, m with a formula alone, and all c crystals of the data set.

    measured names the set of measured gaps. crystals (c rows): table without structures, of which
    `rows` (n,) are the measured ones. gap (n,), known (n, f) computed gaps of these very crystals
    (NaN where there is none), loose_gap (m,) in eV; twins say which computed crystals those are.
    fold (n,) is that of the authors of exp_icsd, -1 where there is none. composition and system
    name the composition and the chemical system of the n records, loose_composition and
    loose_system those of the m. features (c, p) describe all crystals; the first `shared` columns
    need the formula alone, and loose_features (m, shared) are those of the loose records.
    """

    name: str
    measured: str
    fidelities: tuple[str, ...]
    crystals: pd.DataFrame
    rows: np.ndarray
    gap: np.ndarray
    known: np.ndarray
    twins: gap_twins.Twins
    fold: np.ndarray
    composition: np.ndarray
    system: np.ndarray
    loose_gap: np.ndarray
    loose_composition: np.ndarray
    loose_system: np.ndarray
    features: np.ndarray
    loose_features: np.ndarray

    @property
    def shared(self):
        """Number of columns of `features` that need no structure."""
        return self.loose_features.shape[1]

    def groups(self, by):
        """Group name (n,) of the records with a crystal."""
        _check_by(by)
        return self.system if by == "system" else self.composition

    def loose_groups(self, by):
        """Group name (m,) of the records without one."""
        _check_by(by)
        return self.loose_system if by == "system" else self.loose_composition

    def kept_apart(self, apart):
        """Mask (c,) of the crystals whose computed gaps may not train, by one of APART.

        By "composition" those with the composition of a measured crystal of any set, by "crystal"
        the measured crystals alone.
        """
        if apart not in APART:
            raise InputError(f"apart is {apart!r}; expected one of {', '.join(APART)}")
        sets = [f"gap_{name}" for name in bandgap.measured(self.name)]
        measured = self.crystals[sets].notna().any(axis=1)
        if apart == "crystal":
            return measured.to_numpy()
        composition = self.crystals["composition"]
        return composition.isin(set(composition[measured])).to_numpy()

    def polymorph(self):
        """Row (m,) of the crystal of lowest formation energy with a loose record's composition.

        -1 where the data set has none.
        """
        energy = self.crystals["formation_energy_per_atom"].to_numpy(float)
        order = np.argsort(np.where(np.isfinite(energy), energy, np.inf), kind="stable")
        first = {}
        for row, key in zip(order, self.crystals["composition"].to_numpy()[order], strict=True):
            first.setdefault(key, row)
        return np.array([first.get(key, -1) for key in self.loose_composition])


@dataclass(frozen=True)
class Deal:
    """How the Records of a data set are dealt to folds by `seed`, and which of them may train.

    Records of one group, the chemical system or the composition, share a fold. share of the loose
    records and structured of those with a crystal are used, drawn at random, smaller shares inside
    larger. measured names the set of measured gaps, by default the first of the data set. dealing
    is one of DEALINGS; a "split" tests fold 0 alone and leaves a tenth of the records aside.
    """

    dataset: str
    hidden: float
    seed: int
    by: str = "system"
    share: float = 1.0
    structured: float = 1.0
    folds: int = 5
    measured: str | None = None
    dealing: str = "groups"

    def records(self) -> Records:
        """The records that are dealt."""
        return load(self.dataset, hidden=self.hidden, measured=self.measured)

    def fold(self) -> np.ndarray:
        """Fold (n,) of every record with a crystal; -1 for one that neither trains nor tests."""
        data = self.records()
        if self.dealing == "groups":
            groups = data.groups(self.by)
            return group_folds(groups, self.folds, spread=data.gap > 0, seed=self.seed)
        if self.dealing == "split":
            return self._split(len(data.gap))
        if self.dealing != "authors":
            raise InputError(f"dealing is {self.dealing!r}; expected one of {', '.join(DEALINGS)}")
        if data.fold.min() < 0 or data.fold.max() + 1 != self.folds:
            raise InputError(
                f"{data.measured} was not dealt to {self.folds} folds by its authors; take "
                "exp_icsd with folds=5, or dealing='groups'"
            )
        return data.fold

    def _split(self, count):
        """A tenth tests (0), a tenth is left aside (-1), the rest trains in folds from 1."""
        tenth = round(0.1 * count)
        fold = np.concatenate(
            [
                np.zeros(tenth, int),
                np.full(tenth, -1),
                1 + np.arange(count - 2 * tenth) % (self.folds - 1),
            ]
        )
        return fold[np.argsort(np.random.default_rng([self.seed, 80]).permutation(count))]

    def asked(self) -> tuple[int, ...]:
        """The folds that are tested."""
        return (0,) if self.dealing == "split" else tuple(range(self.folds))

    def learners(self, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Masks (n,) and (m,) of what may train when the records `held` (n,) bool are held out.

        No record of one of their groups does, of either kind.
        """
        data = self.records()
        groups, names = data.groups(self.by), data.loose_groups(self.by)
        extra = self._drawn(77, len(names), self.share) & ~np.isin(names, groups[held])
        return self.with_crystal() & ~np.isin(groups, groups[held]), extra

    def with_crystal(self) -> np.ndarray:
        """Mask (n,) of the records with a crystal that are used at all."""
        return self._drawn(78, len(self.records().gap), self.structured) & (self.fold() >= 0)

    def _drawn(self, stream, count, share):
        return np.random.default_rng([self.seed, stream]).permutation(count) < share * count


@registry.remembered(maxsize=2)
def load(name="auto", *, hidden=0.5, seed=0, measured=None):
    """The Records of a data set of `mfutils.datasets.bandgap`, of one of its measured sets.

    chen2021 has thousands of measured gaps without a crystal. `open` has none, so there the
    structure of a share `hidden` of its measured crystals is taken away, drawn by `seed`; a
    crystal that lost its measured gap keeps its computed ones.
    """
    if not 0 < hidden < 1:
        raise InputError(f"hidden is {hidden!r}; expected a share between 0 and 1")
    name = bandgap.resolve(name)
    table, features = _described(name)
    fidelities, sets = bandgap.computed(name), bandgap.measured(name)
    measured = sets[0] if measured is None else measured
    if measured not in sets:
        raise InputError(f"measured is {measured!r}; {name} has {', '.join(sets)}")
    gap = table[f"gap_{measured}"].to_numpy(float)
    rows = np.flatnonzero(np.isfinite(gap))
    if name == "open":
        drawn = np.random.default_rng([seed, 5]).permutation(len(rows))
        lost = np.sort(rows[drawn[: round(hidden * len(rows))]])
        rows = np.setdiff1d(rows, lost)
        formulas = table["formula"].to_numpy()[lost]
        loose = pd.DataFrame({"formula": formulas, "gap": gap[lost]})
    else:
        loose = _formulas_of_experiment()
    loose["composition"] = [composition_key(formula) for formula in loose["formula"]]
    with_crystal = table["composition"].to_numpy()[rows]
    loose = loose[~loose["composition"].isin(with_crystal)].drop_duplicates("composition")
    shared = gap_features.composition_features(list(loose["formula"]))
    columns = [*shared, *(column for column in features if column not in shared)]
    computed = table[[f"gap_{f}" for f in fidelities]].to_numpy(float)
    same = gap_twins.find(table, rows, np.isfinite(computed).any(axis=1))
    return Records(
        name=name,
        measured=measured,
        fidelities=fidelities,
        crystals=table.drop(columns="structure"),
        rows=rows,
        gap=gap[rows],
        known=np.where((same.row >= 0)[:, None], computed[same.row], np.nan),
        twins=same,
        fold=_folds_of_authors(table, measured)[rows],
        composition=with_crystal,
        system=np.array([_system(key) for key in with_crystal]),
        loose_gap=loose["gap"].to_numpy(float),
        loose_composition=loose["composition"].to_numpy(str),
        loose_system=np.array([_system(key) for key in loose["composition"]]),
        features=features[columns].to_numpy(np.float32),
        loose_features=shared.to_numpy(np.float32),
    )


@registry.remembered(maxsize=1)
def _described(name):
    """Table of all crystals with their composition, and their features; the same for every set."""
    table = bandgap.load(name)
    # the published atom table of the network ends before some actinides
    last = len(atom_features())
    table = table[[c.numbers.max() <= last for c in table["structure"]]].reset_index(drop=True)
    table["composition"] = [composition_key(formula) for formula in table["formula"]]
    return table, gap_features.structure_features(table)


def _folds_of_authors(table, measured):
    """Fold (c,) int64 to which the authors of exp_icsd dealt a crystal, else -1."""
    if measured != "exp_icsd":
        return np.full(len(table), -1)
    return table["fold"].fillna(-1).to_numpy(np.int64)


def _formulas_of_experiment():
    """formula and gap (eV) of every row of the table of measured gaps."""
    path, _ = originals.require("expt_gap_kingsbury")
    with originals.open_text(path) as stream:
        content = json.load(stream)
    table = pd.DataFrame(content["data"], columns=content["columns"])
    table = table.rename(columns={"expt_gap": "gap"})[["formula", "gap"]]
    return table[np.isfinite(table["gap"].to_numpy(float))]


def _system(key):
    return "-".join(sorted(part.split(":")[0] for part in key.split("|")))


def _check_by(by):
    if by not in BY:
        raise InputError(f"by is {by!r}; expected one of {', '.join(BY)}")
