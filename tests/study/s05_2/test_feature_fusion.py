"""The jobs of section 5.2 on some hundred real crystals: what each method trains on, no leaks."""

import numpy as np
import pandas as pd
import pytest

from mfutils.crystals.graph_data import build_dataset
from mfutils.datasets import bandgap
from mfutils.errors import InputError
from mfutils.study import gap_graphs
from mfutils.study.gap_graphs import GapGraphs
from mfutils.study.s05_2 import problem as problems
from mfutils.study.s05_2.feature_fusion import METHODS, fuse_features, pretrain_low_encoder
from mfutils.study.s05_2.stretched import align_stretched, stretched

SMALL = {"features": 8, "hidden": 8, "convolutions": 1}
LOWS = ["mp_pbe", "oqmd_pbe"]
FOLD = {"high": "exp", "lows": LOWS, "fold": 1, "folds": 4, "seed": 0, "low_labels": 150}
SHARED = {"dataset": "open", **FOLD, "model": SMALL}


@pytest.fixture(scope="module", autouse=True)
def data():
    """60 crystals with a measured gap and 140 without, in place of all."""
    table = bandgap.load("open")
    small = table.nsites < 10
    has = table.gap_exp.notna() & small
    table = pd.concat([table[has].head(60), table[~has & small].head(140)], ignore_index=True)
    graphs = build_dataset(
        list(table.structure), ids=table.material_id, short="grow", progress=False,
        **problems.GRAPHS,
    )  # fmt: skip
    small_set = GapGraphs("open", table.drop(columns="structure"), graphs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gap_graphs, "load", lambda *_, **__: small_set)
        problems._systems.cache_clear()
        yield small_set
    problems._systems.cache_clear()


@pytest.fixture(scope="module")
def start():
    return pretrain_low_encoder(**SHARED, training={"epochs": 3})


def test_no_chemical_system_trains_and_tests(data):
    systems = problems._systems("open")
    tested = []
    for fold in range(4):
        problem = problems.fusion_problem("open", **{**FOLD, "fold": fold})
        trained = set(systems[problem.low.index]) | set(systems[problem.pool])
        assert not trained & set(systems[np.append(problem.test, problem.rest)])
        assert set(problem.low.fidelity) == set(LOWS)
        assert np.isnan(data.gap("exp")[problem.rest]).all()
        tested.append(problem.test)
    assert np.array_equal(np.sort(np.concatenate(tested)), data.rows("exp"))


def test_every_method_predicts_the_test_crystals(data, start):
    for method in METHODS:
        size = 0 if method in ("low alone", "aligned") else 20
        run = fuse_features(
            **SHARED, method=method, size=size, start=start.state, training={"steps": 4},
            descriptors=12,
        )  # fmt: skip
        assert np.array_equal(run.target, data.gap("exp")[run.test])
        assert np.isfinite(run.predicted).all()
        assert not np.isin(run.test, start.pool).any()
        adversarial = "adversarial" in method or method == "aligned"
        assert (run.history["domain_loss"][1:] > 0).all() == adversarial
        described = run.descriptors
        same = np.array_equal(described.test, described.test_as_low)
        assert same == (method != "embedding")  # blind encoders give both labels one descriptor
        assert len(described.rest_rows) == len(described.rest) <= 12


def test_only_the_start_of_the_pool_is_used(start, data, monkeypatch):
    """Scarce labels beyond `size` may be anything."""
    run = {**SHARED, "method": "heads", "size": 10, "start": start.state}
    before = fuse_features(**run, training={"steps": 3}).predicted
    table = data.table.copy()
    table.loc[start.pool[10:], "gap_exp"] = 99.0
    changed = GapGraphs("open", table, data.graphs)
    monkeypatch.setattr(gap_graphs, "load", lambda *_, **__: changed)
    assert np.array_equal(before, fuse_features(**run, training={"steps": 3}).predicted)
    table.loc[start.pool[:10], "gap_exp"] = 99.0
    assert not np.array_equal(before, fuse_features(**run, training={"steps": 3}).predicted)


def test_stretched_graphs_are_the_same_with_longer_edges(data):
    both = stretched(data.graphs, 1.25)
    m = len(data.graphs)
    assert len(both) == 2 * m
    for i in (0, 7, m - 1):
        a, b = both.batch(np.array([i])), both.batch(np.array([i + m]))
        assert np.array_equal(a.numbers, b.numbers)
        assert np.array_equal(a.edge_index, b.edge_index)
        assert np.allclose(1.25 * a.distances, b.distances)
        assert np.allclose(both.graph(i + m).distances, b.distances, rtol=1e-5)
    with pytest.raises(InputError, match="above 0"):
        stretched(data.graphs, 0.0)


def test_control_starts_every_strength_from_the_same_weights():
    run = align_stretched(
        dataset="open", fidelity="mp_pbe", fold=0, folds=4, seed=0, labels=60, factor=1.3,
        adversaries=[0.0, 0.0, 1.0], epochs=3, steps=5, model=SMALL,
    )  # fmt: skip
    t = len(run.test)
    assert run.predicted.shape == (4, t)
    assert run.descriptor.shape == (4, 2 * t, 8)
    assert np.array_equal(run.predicted[1], run.predicted[2])
    assert not np.array_equal(run.predicted[1], run.predicted[3])
    assert not np.allclose(run.predicted[0], run.unmoved)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "magic"}, "method is 'magic'"),
        ({"method": "aligned"}, "size is 20"),
        ({"size": 9999}, "size is 9999"),
        ({"lows": ["exp", "mp_pbe"]}, "expected others"),
        ({"start": {"no": np.zeros(2)}}, "not the state of this CGCNN"),
    ],
)
def test_bad_input(change, words):
    with pytest.raises(InputError, match=words):
        fuse_features(**{**SHARED, "method": "mixed", "size": 20, **change})
