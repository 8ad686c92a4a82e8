"""The jobs of section 5.2 on some hundred real crystals: what each method trains on, no leaks."""

import numpy as np
import pandas as pd
import pytest

from mfutils.crystals.graph_data import build_dataset
from mfutils.datasets import bandgap
from mfutils.errors import InputError
from mfutils.study import gap_graphs
from mfutils.study.gap_graphs import GapGraphs
from mfutils.study.s05_2 import feature_fusion

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
        **feature_fusion.GRAPHS,
    )  # fmt: skip
    found = GapGraphs("open", table.drop(columns="structure"), graphs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gap_graphs, "load", lambda *_, **__: found)
        feature_fusion._systems.cache_clear()
        yield found
    feature_fusion._systems.cache_clear()


@pytest.fixture(scope="module")
def start():
    return feature_fusion.pretrain(**SHARED, training={"epochs": 3})


def test_no_chemical_system_trains_and_tests(data):
    systems = feature_fusion._systems("open")
    tested = []
    for fold in range(4):
        found = feature_fusion.problem("open", **{**FOLD, "fold": fold})
        trained = set(systems[found.low.index]) | set(systems[found.pool])
        assert not trained & set(systems[np.append(found.test, found.rest)])
        assert set(found.low.fidelity) == set(LOWS)
        assert np.isnan(data.gap("exp")[found.rest]).all()
        tested.append(found.test)
    assert np.array_equal(np.sort(np.concatenate(tested)), data.rows("exp"))


def test_every_method_predicts_the_test_crystals(data, start):
    for method in feature_fusion.METHODS:
        size = 0 if method in ("low alone", "aligned") else 20
        found = feature_fusion.fuse(
            **SHARED, method=method, size=size, start=start["state"], training={"steps": 4},
            descriptors=12,
        )  # fmt: skip
        assert np.array_equal(found["target"], data.gap("exp")[found["test"]])
        assert np.isfinite(found["predicted"]).all()
        assert not np.isin(found["test"], start["pool"]).any()
        adversarial = "adversarial" in method or method == "aligned"
        assert (found["history"]["domain_loss"][1:] > 0).all() == adversarial
        same = np.array_equal(found["descriptor"]["test"], found["descriptor"]["test_as_low"])
        assert same == (method != "embedding")  # blind encoders give both labels one descriptor
        assert len(found["rest_rows"]) == len(found["descriptor"]["rest"]) <= 12


def test_only_the_start_of_the_pool_is_used(start, data, monkeypatch):
    """Scarce labels beyond `size` may be anything."""
    run = {**SHARED, "method": "heads", "size": 10, "start": start["state"]}
    before = feature_fusion.fuse(**run, training={"steps": 3})["predicted"]
    table = data.table.copy()
    table.loc[start["pool"][10:], "gap_exp"] = 99.0
    changed = GapGraphs("open", table, data.graphs)
    monkeypatch.setattr(gap_graphs, "load", lambda *_, **__: changed)
    assert np.array_equal(before, feature_fusion.fuse(**run, training={"steps": 3})["predicted"])
    table.loc[start["pool"][:10], "gap_exp"] = 99.0
    assert not np.array_equal(
        before, feature_fusion.fuse(**run, training={"steps": 3})["predicted"]
    )


def test_stretched_graphs_are_the_same_with_longer_edges(data):
    both = feature_fusion.stretched(data.graphs, 1.25)
    m = len(data.graphs)
    assert len(both) == 2 * m
    for i in (0, 7, m - 1):
        a, b = both.batch(np.array([i])), both.batch(np.array([i + m]))
        assert np.array_equal(a.numbers, b.numbers)
        assert np.array_equal(a.edge_index, b.edge_index)
        assert np.allclose(1.25 * a.distances, b.distances)
        assert np.allclose(both.graph(i + m).distances, b.distances, rtol=1e-5)
    with pytest.raises(InputError, match="above 0"):
        feature_fusion.stretched(data.graphs, 0.0)


def test_control_starts_every_strength_from_the_same_weights():
    found = feature_fusion.moved(
        dataset="open", fidelity="mp_pbe", fold=0, folds=4, seed=0, labels=60, factor=1.3,
        adversaries=[0.0, 0.0, 1.0], epochs=3, steps=5, model=SMALL,
    )  # fmt: skip
    t = len(found["test"])
    assert found["predicted"].shape == (4, t)
    assert found["descriptor"].shape == (4, 2 * t, 8)
    assert np.array_equal(found["predicted"][1], found["predicted"][2])
    assert not np.array_equal(found["predicted"][1], found["predicted"][3])
    assert not np.allclose(found["predicted"][0], found["unmoved"])


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
        feature_fusion.fuse(**{**SHARED, "method": "mixed", "size": 20, **change})
