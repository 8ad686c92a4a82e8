"""Transfer on a few hundred real crystals: what each mode fits, and that nothing leaks."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mfutils.crystals.graph_data import build_dataset
from mfutils.datasets import bandgap
from mfutils.errors import InputError
from mfutils.gp.exact import fit_gp
from mfutils.networks.labels import TargetScaler
from mfutils.networks.trained_model import TrainedModel
from mfutils.study.gap_graphs import GapGraphs
from mfutils.study.s07 import transfer

SOURCE, TARGET = "formation_energy_per_atom", "log10 bulk_modulus"
SMALL = {"features": 16, "hidden": 16, "convolutions": 2}


@pytest.fixture(scope="module", autouse=True)
def data():
    """120 crystals with a modulus and 240 without, in place of all."""
    table = bandgap.load("open")
    has = table.bulk_modulus.notna() & (table.nsites < 12)
    rest = table.bulk_modulus.isna() & (table.nsites < 12) & table[SOURCE].notna()
    table = pd.concat([table[has].head(120), table[rest].head(240)], ignore_index=True)
    graphs = build_dataset(
        list(table.structure),
        ids=table.material_id,
        cutoff=transfer.MODEL["cutoff"],
        max_neighbors=transfer.MODEL["max_neighbors"],
        short="grow",
        progress=False,
    )
    small = GapGraphs("open", table.drop(columns="structure"), graphs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "_data", lambda dataset: small)
        yield small


@pytest.fixture(scope="module")
def pretrained(data):
    rows = transfer.disjoint_rows("open", SOURCE, [TARGET])
    return transfer.pretrain_property_encoder(
        dataset="open",
        source=SOURCE,
        rows=rows,
        seed=0,
        model=SMALL,
        training={"epochs": 20, "batch_size": 16},
    )


def _adapt(mode, pretrained=None, n=40, **options):
    order, test = transfer.split_formulas("open", TARGET, test=40, seed=0)
    given = {"model": SMALL, "training": {"epochs": 5}, "seed": 0} | options
    if pretrained is not None:
        given |= {"config": pretrained.config, "state": pretrained.state}
    return transfer.fit_scarce_property(
        dataset="open", target=TARGET, train=order[:n], test=test, mode=mode,
        **given,
    )  # fmt: skip


def test_pretraining_learns(pretrained):
    assert pretrained.validation_mae < 0.7 * pretrained.spread


def test_no_formula_is_on_both_sides(data):
    formula = data.table.formula.to_numpy()
    rows = transfer.disjoint_rows("open", SOURCE, [TARGET])
    small = np.flatnonzero(data.table.bulk_modulus.notna())
    assert not set(formula[rows]) & set(formula[small])
    wanted = data.table[SOURCE].notna() & ~data.table.formula.isin(formula[small])
    assert rows.tolist() == np.flatnonzero(wanted).tolist()
    for seed in range(5):
        order, test = transfer.split_formulas("open", TARGET, test=40, seed=seed)
        assert not set(formula[order]) & set(formula[test])
        assert sorted([*order, *test]) == small.tolist()
        assert 40 <= len(test) < 45


def test_targets_are_the_columns(data):
    values = transfer.target_values("open", TARGET)
    column = data.table.bulk_modulus.to_numpy()
    known = np.isfinite(column)
    assert np.allclose(10 ** values[known], column[known])
    assert np.isnan(values[~known]).all()


def test_frozen_is_ridge_regression_on_descriptors(data, pretrained):
    result = _adapt("frozen", pretrained)
    order, test = transfer.split_formulas("open", TARGET, test=40, seed=0)
    network = transfer._network(pretrained.config, pretrained.state)
    bare = TrainedModel(network.eval(), TargetScaler())
    values = transfer.target_values("open", TARGET)
    peer = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 4, 15)))
    peer.fit(bare.descriptor(data.graphs, order[:40]), values[order[:40]])
    expected = peer.predict(bare.descriptor(data.graphs, test))
    assert np.allclose(result.predicted, expected, atol=1e-4)
    assert result.mae == pytest.approx(np.abs(expected - values[test]).mean(), abs=1e-4)
    assert result.drift == 0


def test_frozen_gp_is_a_process_on_descriptors(data, pretrained):
    result = _adapt("frozen-gp", pretrained)
    order, test = transfer.split_formulas("open", TARGET, test=40, seed=0)
    bare = TrainedModel(
        transfer._network(pretrained.config, pretrained.state).eval(), TargetScaler()
    )
    values = transfer.target_values("open", TARGET)
    process = fit_gp(bare.descriptor(data.graphs, order[:40]), values[order[:40]])
    expected = process.predict(bare.descriptor(data.graphs, test))[0]
    assert np.allclose(result.predicted, expected, atol=1e-6)


def test_fine_tuning_moves_the_encoder_and_leaves_the_original_alone(pretrained):
    before = {k: v.copy() for k, v in pretrained.state.items()}
    still = _adapt("fine-tuned", pretrained, training={"epochs": 5, "learning_rate": 1e-9})
    moved = _adapt("fine-tuned", pretrained, training={"epochs": 5, "learning_rate": 1e-2})
    assert still.drift < 1e-6 < 1e-5 < moved.drift
    for name, value in pretrained.state.items():
        assert np.array_equal(value, before[name])


def test_runs_repeat_themselves(pretrained):
    for mode, encoder in (("scratch", None), ("fine-tuned", pretrained)):
        one, two = _adapt(mode, encoder), _adapt(mode, encoder)
        assert np.array_equal(one.predicted, two.predicted)


def test_bad_input(data, pretrained):
    with pytest.raises(InputError, match="one of scratch, fine-tuned, frozen"):
        _adapt("thawed", pretrained)
    with pytest.raises(InputError, match="needs an encoder"):
        _adapt("frozen")
    with pytest.raises(InputError, match="takes no encoder"):
        _adapt("scratch", pretrained)
    with pytest.raises(InputError, match="no property 'hardness'"):
        transfer.target_values("open", "hardness")
    with pytest.raises(InputError, match="a logarithm needs > 0"):
        transfer.target_values("open", f"log10 {SOURCE}")
    with pytest.raises(InputError, match="expected less than the 120 rows"):
        transfer.split_formulas("open", TARGET, test=120, seed=0)
    order, _ = transfer.split_formulas("open", TARGET, test=40, seed=0)
    with pytest.raises(InputError, match="keep them apart"):
        transfer.fit_scarce_property(
            dataset="open", target=TARGET, train=order, test=order, mode="scratch", seed=0
        )
    broken = replace(pretrained, state={})
    with pytest.raises(InputError, match="not the state of this CGCNN"):
        _adapt("frozen", broken)
    with pytest.raises(InputError, match="no crystal with"):
        transfer.disjoint_rows("open", SOURCE, [SOURCE])
