"""The runs of section 3.2: what trains, what tests, and when the two must not meet."""

import random
import warnings

import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.preprocessing import StandardScaler

from mfutils.code_hash import code_hash, imported_modules
from mfutils.compendium import sweep
from mfutils.datasets import bandgap
from mfutils.errors import InputError
from mfutils.gp import descriptor_gp
from mfutils.gp.descriptor_gp import fit_descriptor_gp
from mfutils.gp.sparse import SparseGaussianProcess
from mfutils.networks.labels import TargetScaler
from mfutils.study import gap_graphs
from mfutils.study.s03_2 import members
from mfutils.study.s03_2.processes import exact_process

SMALL = {"features": 12, "convolutions": 1, "hidden": 12}
JOB = {
    "dataset": "open", "architecture": "cgcnn", "fidelity": "oqmd_pbe", "seed": 42,
    "samples": 60, "training": {"epochs": 4, "patience": 4}, "model": SMALL,
}  # fmt: skip


@pytest.fixture(scope="module")
def data():
    return gap_graphs.load("open", cutoff=8.0, max_neighbors=12)


def test_labels_of_several_fidelities(data):
    out = data.rows("exp")
    labels = data.labels(("mp_pbe", "oqmd_pbe"), np.random.default_rng(0), without=out, samples=300)
    assert np.isin(labels.index, out).sum() == 0
    names, counts = np.unique(labels.fidelity, return_counts=True)
    assert dict(zip(names, counts, strict=True)) == {"mp_pbe": 300, "oqmd_pbe": 300}
    for name in names:
        own = labels.fidelity == name
        assert np.array_equal(labels.target[own], data.gap(name)[labels.index[own]])
    everything = data.labels(("mp_pbe",), np.random.default_rng(0))
    assert np.array_equal(everything.index, data.rows("mp_pbe"))


def test_crystals_of_the_same_composition(data):
    rows = data.rows("exp")[:20]
    out = data.of_same_composition(rows)
    assert set(rows) <= set(out)
    formula = data.table["formula"].to_numpy()
    assert set(formula[out]) == set(formula[rows])
    rest = np.setdiff1d(np.arange(len(formula)), out)
    assert not set(formula[rest]) & set(formula[rows])


@pytest.fixture(scope="module")
def result():
    return members.member(**JOB)


def test_tables_and_graphs_are_side_by_side(data):
    assert len(data.table) == len(data.graphs) == 6317
    assert np.array_equal(data.table["material_id"].astype(str), data.graphs.ids)
    assert np.array_equal(data.table["nsites"], data.graphs.n_atoms)
    rows = data.rows("exp")
    assert np.isfinite(data.gap("exp")[rows]).all()
    assert len(data.rows("mp_pbe", without=rows)) == len(set(data.rows("mp_pbe")) - set(rows))


@pytest.mark.parametrize("fidelity", ["mp_pbe", "aflow_pbe", "oqmd_pbe"])
@pytest.mark.parametrize("seed", [42, 84])
def test_the_sound_protocol_never_trains_on_a_test_material(data, fidelity, seed):
    options = {"seed": seed, "samples": 472}
    tested = set(data.table["formula"].iloc[data.rows("exp")])
    train, validation = members.draw(data, fidelity, protocol="sound", **options)
    rows = np.concatenate([train, validation])
    assert not tested & set(data.table["formula"].iloc[rows])
    assert len(set(rows)) == 472
    assert len(train) == round(0.8 * 472)
    # the printed protocol does meet them, which is why there are two
    train, validation = members.draw(data, fidelity, protocol="thesis", **options)
    drawn = data.table["formula"].iloc[np.concatenate([train, validation])]
    assert tested & set(drawn)


def test_the_draw_is_pythons_random_sample(data):
    random.seed(84)
    expected = random.sample(list(data.rows("mp_pbe")), 472)
    parts = members.draw(data, "mp_pbe", seed=84, samples=472, protocol="thesis")
    assert np.concatenate(parts).tolist() == expected


def test_all_rows_where_there_are_fewer_and_an_error_where_there_are_too_few(data):
    parts = members.draw(data, "exp", seed=1, samples=10**6, protocol="thesis")
    assert sorted(np.concatenate(parts)) == data.rows("exp").tolist()
    with pytest.raises(InputError, match=r"0 exp gaps are left to train on .sound protocol."):
        members.draw(data, "exp", seed=1, samples=472, protocol="sound")
    with pytest.raises(InputError, match="protocol is 'quick'"):
        members.draw(data, "exp", seed=1, samples=472, protocol="quick")
    with pytest.raises(InputError, match="no fidelity 'hse' in open; it has mp_pbe"):
        members.draw(data, "hse", seed=1, samples=472, protocol="thesis")


def test_a_member_says_everything_about_its_test(data, result):
    tested = data.rows("exp")
    assert np.array_equal(result.test, tested)
    assert list(result.measured) == ["exp"]
    np.testing.assert_array_equal(result.measured["exp"], data.gap("exp")[tested])
    mean, std = result.scaler.mean, result.scaler.std
    drawn = data.gap("oqmd_pbe")[result.train]
    assert (mean, std) == pytest.approx((drawn.mean(), drawn.std(ddof=1)))
    said = result.right
    np.testing.assert_allclose(said.test, mean + std * said.standardised, rtol=1e-12)
    assert said.descriptor_test.shape == (len(tested), SMALL["hidden"])
    assert said.descriptor_drawn.shape == (60, SMALL["hidden"])
    assert said.drawn.shape == (60,)
    np.testing.assert_array_equal(result.target, data.gap("oqmd_pbe")[result.drawn])
    assert result.as_published is None
    with pytest.raises(InputError, match="no reading 'as_published'; expected 'right'"):
        result.process_job("as_published")
    assert len(result.history["train_loss"]) == result.epochs == 4


def test_the_process_of_a_member(result):
    job = result.process_job()
    fitted = exact_process(**job)
    noise = np.sqrt(fitted.std**2 - fitted.std_noiseless**2)
    np.testing.assert_allclose(noise, fitted.noise_std, rtol=1e-6)
    kernel = ConstantKernel() * RBF(np.sqrt(SMALL["hidden"])) + WhiteKernel()
    peer = GaussianProcessRegressor(
        kernel, normalize_y=True, n_restarts_optimizer=4, random_state=0
    )
    x = StandardScaler().fit(job["descriptor_drawn"].astype(float))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a bound reached in one of the restarts
        peer.fit(x.transform(job["descriptor_drawn"].astype(float)), job["target_drawn"])
    mean, std = peer.predict(x.transform(job["descriptor_test"].astype(float)), return_std=True)
    scale = np.std(job["target_drawn"])
    np.testing.assert_allclose(fitted.mean, mean, atol=0.02 * scale)
    np.testing.assert_allclose(fitted.std, std, atol=0.02 * scale)


def test_stored_networks_know_the_code_of_the_layers_but_not_of_the_process():
    behind = imported_modules("from mfutils.study.s03_2 import members", "a test")
    assert {
        "mfutils.networks.cgcnn",
        "mfutils.networks.cgcnn_kernel",
        "mfutils.networks.megnet",
        "mfutils.networks.megnet_ops",
    } <= set(behind)
    assert not {"mfutils.gp.exact", "mfutils.gp.descriptor_gp"} & set(behind)
    assert code_hash(members.member) != code_hash(exact_process)


def test_a_run_is_stored_and_found_again(tmp_path, result):
    jobs = members.member_jobs(
        **{name: JOB[name] for name in ("dataset", "architecture", "samples", "training", "model")},
        fidelities=["oqmd_pbe"], seeds=[42, 84],
    )  # fmt: skip
    assert [job["seed"] for job in jobs] == [42, 84]
    first = sweep.run(members.member, jobs, workers=1, folder=tmp_path)
    again = sweep.run(members.member, jobs, workers=1, folder=tmp_path)
    stored, same, expected, second = (
        (r.right.test, r.right.descriptor_test, r.train)
        for r in (first[0], again[0], result, first[1])
    )
    for a, b, c, other in zip(stored, same, expected, second, strict=True):
        assert np.array_equal(a, b)
        assert np.array_equal(a, c)  # same seed, same numbers
        assert not np.array_equal(a, other)  # two seeds differ
    assert len(list(tmp_path.iterdir())) == 2


def test_one_network_for_all_fidelities(data):
    options = {
        "dataset": "open", "architecture": "cgcnn", "fidelities": ["mp_pbe", "oqmd_pbe"],
        "seed": 0, "samples": 80, "training": {"epochs": 2, "patience": 2}, "model": SMALL,
        "share": 0.8,
    }  # fmt: skip
    result = members.multi_fidelity(**options)
    tested = set(data.rows("exp"))
    train, validation = set(result.train), set(result.validation)
    assert not tested & train
    assert not tested & validation
    assert not train & validation
    assert len(result.train) + len(result.validation) == 160
    assert set(result.network) == {"mp_pbe", "oqmd_pbe"}
    a, b = result.network.values()
    assert np.isfinite(a).all()
    assert not np.array_equal(a, b)
    again = members.multi_fidelity(**options)
    assert np.array_equal(a, again.network["mp_pbe"])


def test_descriptors_that_cannot_carry_a_process():
    y = np.arange(6.0)
    with pytest.raises(InputError, match="all 6 descriptors are equal"):
        fit_descriptor_gp(np.ones((6, 3)), y)
    with pytest.raises(InputError, match=r"expected \(n, d\)"):
        fit_descriptor_gp(np.ones(6), y)
    broken = np.random.default_rng(0).normal(size=(6, 3))
    broken[2, 1] = np.nan
    with pytest.raises(InputError, match="first in row 2"):
        fit_descriptor_gp(broken, y)


def test_a_constant_descriptor_among_others_does_no_harm():
    rng = np.random.default_rng(0)
    x, new = rng.normal(size=(40, 2)), rng.normal(size=(5, 2))
    y = np.sin(x[:, 0]) + 0.1 * rng.normal(size=40)
    plain = fit_descriptor_gp(x, y).predict(new)
    padded = fit_descriptor_gp(np.column_stack([x, np.full(40, 3.0)]), y).predict(
        np.column_stack([new, np.full(5, 3.0)])
    )
    np.testing.assert_allclose(padded, plain, atol=0.05)


def test_many_descriptors_take_the_sparse_process(monkeypatch):
    rng = np.random.default_rng(0)
    x, new = rng.normal(size=(60, 1)), rng.normal(size=(10, 1))
    y = np.sin(x[:, 0]) + 0.1 * rng.normal(size=60)
    exact = fit_descriptor_gp(x, y)
    monkeypatch.setattr(descriptor_gp, "EXACT_POINTS", 50)
    sparse = fit_descriptor_gp(x, y, inducing=15)
    assert isinstance(sparse, SparseGaussianProcess)
    for a, b in zip(sparse.predict(new), exact.predict(new), strict=True):
        np.testing.assert_allclose(a, b, atol=0.05)


def test_megnet_members_repeat_and_differ_by_seed():
    job = JOB | {
        "architecture": "megnet", "samples": 20, "training": {"epochs": 1},
        "model": {"blocks": 1, "dense": (8,), "update": (8, 8), "head": (8,), "gaussians": 10},
    }  # fmt: skip
    runs = [members.member(**job | {"seed": s}) for s in (42, 42, 84)]
    said, again, other = (run.right for run in runs)
    assert np.array_equal(said.test, again.test)
    assert np.array_equal(said.descriptor_test, again.descriptor_test)
    assert not np.array_equal(said.test, other.test)
    # the study trains MEGNet on eV, so there is one evaluation only
    assert runs[0].scaler == TargetScaler(0.0, 1.0)
    assert np.array_equal(said.test, said.standardised)
    # under the study's numbering most elements are read as others, in training too
    wrong = runs[0].as_published
    assert not np.allclose(wrong.test, said.test)
    assert not np.allclose(wrong.drawn, said.drawn)
    job = runs[0].process_job("as_published")
    assert np.array_equal(job["descriptor_test"], wrong.descriptor_test)


def test_an_unknown_architecture_is_one_clear_line():
    with pytest.raises(
        InputError, match="unknown architecture 'alignn'; expected one of cgcnn, meg"
    ):
        members.member(**JOB | {"architecture": "alignn"})


@pytest.mark.data
def test_nothing_leaks_on_the_studys_own_data():
    if not bandgap.available("chen2021"):
        pytest.skip("the originals are not in the data directory")
    data = gap_graphs.load("chen2021", cutoff=8.0, max_neighbors=12)
    ids = data.table["material_id"].to_numpy()
    assert len(data.rows("exp_mp")) == 1280
    zeros = {name: (data.gap(name)[data.rows(name)] == 0).mean() for name in data.measured}
    assert zeros["exp_mp"] == pytest.approx(0.679, abs=5e-4)
    assert zeros.get("exp_icsd", 0.512) == pytest.approx(0.512, abs=5e-4)
    formulas = data.table["formula"].to_numpy()
    tested = set(formulas[members.tested_rows(data)])
    for fidelity in ("pbe", "hse", "scan", "gllb-sc"):
        for seed in members.SEEDS:
            parts = members.draw(data, fidelity, seed=seed, samples=472, protocol="sound")
            drawn = np.concatenate(parts)
            assert not tested & set(formulas[drawn])
            assert len(set(ids[drawn])) == len(drawn)
