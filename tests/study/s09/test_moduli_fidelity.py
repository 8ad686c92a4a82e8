"""Two databases as fidelities: which crystals meet, and what a correction sees."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from mfutils.datasets import elastic
from mfutils.errors import InputError
from mfutils.study.s09 import moduli_fidelity
from mfutils.study.s09.moduli_fidelity import correct, draw_rows, load_databases

JOB = {"property": "bulk", "high": 25, "low": 80, "test": 60, "seed": 4, "draws": 0}


def test_both_values_are_those_of_the_table():
    data = load_databases("bulk")
    raw = elastic.load("both")
    both = raw[raw.bulk_modulus.notna() & raw.bulk_modulus_aflow.notna()]
    assert len(data.both) == len(both) == 631
    assert np.allclose(10.0 ** data.high[data.both], both.bulk_modulus)
    assert np.allclose(10.0 ** data.low[data.both], both.bulk_modulus_aflow)
    assert np.abs(data.x.mean(axis=0)).max() < 1e-9
    assert np.isfinite(data.x).all()


@pytest.mark.parametrize("known", [False, True])
def test_a_tested_crystal_never_trains(known):
    data = load_databases("shear")
    for seed in range(5):
        high, low, test = draw_rows(data, high=40, low=200, test=100, seed=seed, known=known)
        assert len(high) == 40
        assert len(test) == 100
        assert len(low) == 300 if known else 200
        assert set(high) <= set(low)
        assert (set(test) <= set(low)) == known
        formulas = data.table["formula"].to_numpy()
        rest = np.setdiff1d(low, test)
        assert not set(formulas[test]) & (set(formulas[high]) | set(formulas[rest]))
        assert np.isfinite(data.high[np.concatenate([high, test])]).all()
        assert np.isfinite(data.low[low]).all()


def test_too_many_crystals_are_refused():
    with pytest.raises(InputError, match="631 crystals have both"):
        draw_rows(load_databases("bulk"), high=600, low=700, test=100, seed=0, known=False)
    with pytest.raises(InputError, match="shear or bulk"):
        load_databases("young")


def test_baselines_are_what_they_say():
    run = correct(**JOB, known=True, protocol="maximum-likelihood", methods=["hf-only"])
    data = load_databases("bulk")
    high, _, test = draw_rows(data, high=25, low=80, test=60, seed=4, known=True)
    assert np.array_equal(run.rows, test)
    line = LinearRegression().fit(data.low[high, None], data.high[high])
    baselines = run.baselines
    assert np.allclose(baselines["line"], line.predict(data.low[test, None]))
    assert np.array_equal(baselines["as it is"], data.low[test])
    shift = (data.high[high] - data.low[high]).mean()
    assert np.allclose(baselines["shifted"] - data.low[test], shift)
    assert np.isfinite(baselines["difference"]).all()


@pytest.mark.parametrize("protocol", ["thesis", "maximum-likelihood"])
def test_methods_predict_the_tested_crystals(protocol):
    methods = ["hf-only", "additive", "comprehensive"]
    run = correct(**JOB, known=False, protocol=protocol, methods=methods)
    assert run.baselines == {}
    assert set(run.mean) == set(methods)
    spread = np.abs(run.target - run.target.mean()).mean()
    for method in methods[1:]:
        assert np.abs(run.mean[method] - run.target).mean() < spread
        assert (run.std[method] >= 0).all()


def test_without_a_high_fidelity_signal_only_the_low_one_helps(monkeypatch):
    """When high is low plus a constant, the additive correction finds the constant."""
    data = load_databases("bulk")
    changed = moduli_fidelity.TwoDatabases("bulk", data.table, data.x)
    changed.high = np.where(np.isfinite(changed.high), changed.low + 0.3, np.nan)
    monkeypatch.setattr(moduli_fidelity, "load_databases", lambda property: changed)
    job = {**JOB, "low": 200, "known": True, "protocol": "maximum-likelihood"}
    run = correct(**job, methods=["hf-only", "additive"])
    assert np.allclose(run.baselines["shifted"], run.target)
    assert np.allclose(run.baselines["line"], run.target)
    assert np.allclose(run.baselines["difference"], run.target)
    error = {m: np.abs(v - run.target).mean() for m, v in run.mean.items()}
    assert error["additive"] < 0.6 * error["hf-only"]
