"""Chemical systems, and folds of whole groups beside those of scikit-learn."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold

from mfutils.crystals.graph_data import build_dataset
from mfutils.crystals.structure import from_arrays
from mfutils.errors import InputError
from mfutils.uncertainty.groups import chemical_systems, group_folds


def test_chemical_systems_are_sets_of_elements():
    cells = [[22, 8, 8], [8, 22], [14]]
    crystals = [
        from_arrays(4 * np.eye(3), np.linspace(0, 0.6, len(z))[:, None] * np.ones(3), z)
        for z in cells
    ]
    graphs = build_dataset(crystals, cutoff=5.0, max_neighbors=4, progress=False)
    assert chemical_systems(graphs).tolist() == ["O-Ti", "O-Ti", "Si"]


@pytest.fixture(scope="module")
def families():
    """1000 rows of 200 groups of very unequal sizes, one row in twenty scarce."""
    rng = np.random.default_rng(0)
    groups = rng.choice(200, 1000, p=rng.dirichlet(np.full(200, 0.5))).astype(str)
    return groups, rng.random(1000) < 0.05


def whole(fold, groups):
    return all(len(set(fold[groups == g])) == 1 for g in np.unique(groups))


def test_folds_hold_whole_groups_and_as_many_of_each_kind(families):
    groups, scarce = families
    fold = group_folds(groups, 5, spread=scarce, seed=1)
    assert set(fold) == set(range(5))
    assert whole(fold, groups)
    rare = set(groups[scarce])
    dealt = np.array([[g in rare, fold[groups == g][0]] for g in np.unique(groups)])
    for kind in (0, 1):  # groups without and with a scarce row: counts differ by one at most
        assert np.ptp(np.bincount(dealt[dealt[:, 0] == kind, 1], minlength=5)) <= 1
    assert not np.array_equal(fold, group_folds(groups, 5, spread=scarce, seed=2))


def test_folds_are_random_where_those_of_scikit_learn_are_even(families):
    """Both keep groups whole; ours deals groups by lot, theirs evens out the rows."""
    groups, scarce = families
    ours = group_folds(groups, 5, spread=scarce, seed=1)
    theirs = np.empty(len(groups), dtype=int)
    splitter = StratifiedGroupKFold(5, shuffle=True, random_state=1)
    for number, (_, test) in enumerate(splitter.split(groups, scarce, groups)):
        theirs[test] = number
    assert whole(theirs, groups)
    rows = [np.ptp(np.bincount(fold)) for fold in (ours, theirs)]
    assert rows[1] < rows[0] < 0.25 * len(groups)


def test_folds_refuse_what_cannot_be_dealt():
    groups = np.array(["a", "a", "b", "c"])
    with pytest.raises(InputError, match="expected 2 to 1"):
        group_folds(groups, 2, spread=groups == "a", seed=0)
    with pytest.raises(InputError, match="shapes"):
        group_folds(groups, 2, spread=np.ones(3, bool), seed=0)
