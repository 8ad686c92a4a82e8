"""Which moduli count, how they are split, and what classical models are told about a crystal."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.elasticity import ElasticTensor
from pymatgen.core import Composition, Lattice, Structure
from pymatgen.symmetry.groups import SpaceGroup

from mfutils.crystals import shells
from mfutils.crystals.structure import from_pymatgen
from mfutils.datasets import elastic
from mfutils.errors import InputError
from mfutils.study.s09 import moduli


def cubic(c11, c12, c44):
    tensor = np.diag([c11] * 3 + [c44] * 3).astype(float)
    tensor[:3, :3] += c12 * (1 - np.eye(3))
    return tensor


@settings(max_examples=200, deadline=None)
@given(*[st.floats(-200, 500).map(lambda v: round(v, 2)) for _ in range(3)])
def test_stability_of_a_cubic_crystal_is_borns_three_conditions(c11, c12, c44):
    stable = c11 - c12 > 0 and c11 + 2 * c12 > 0 and c44 > 0
    margin = min(c11 - c12, c11 + 2 * c12, c44)
    smallest = moduli.smallest_stiffness(cubic(c11, c12, c44))
    if abs(margin) > 1e-9:
        assert (smallest > 0) == stable
    assert smallest == pytest.approx(margin, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10_000))
def test_stability_agrees_with_the_strain_energy(seed):
    """Positive for every strain, with pymatgen's factors of two in the Voigt strain."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(6, 6))
    tensor = root @ root.T + np.diag(rng.normal(0, 3, 6))
    strains = rng.normal(size=(500, 3, 3))
    strains = strains + strains.transpose(0, 2, 1)
    full = np.array(ElasticTensor.from_voigt(tensor))
    energy = np.einsum("nij,ijkl,nkl->n", strains, full, strains)
    if moduli.smallest_stiffness(tensor) > 0:
        assert (energy > 0).all()
    elif (energy > 0).all():
        # The soft strain is rare: follow its eigenvector
        soft = np.linalg.eigh(tensor)[1][:, 0]
        assert soft @ tensor @ soft <= 0


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (np.eye(3), "shape"),
        (np.full((6, 6), np.nan), "finite"),
        (np.triu(np.ones((6, 6))) + 9 * np.eye(6), "not symmetric"),
    ],
)
def test_tensors_that_are_no_stiffness(tensor, words):
    with pytest.raises(InputError, match=words):
        moduli.smallest_stiffness(tensor)


@pytest.mark.parametrize("number", range(1, 231))
def test_crystal_system_is_pymatgens(number):
    assert moduli.crystal_system(number) == SpaceGroup.from_int_number(number).crystal_system


@pytest.mark.parametrize("number", [0, 231])
def test_no_such_space_group(number):
    with pytest.raises(InputError, match="1 to 230"):
        moduli.crystal_system(number)


def test_bad_rows_are_listed_with_their_reason():
    good = cubic(300, 100, 80)
    frame = pd.DataFrame(
        {
            "material_id": list("abcdefg"),
            "formula": ["X"] * 7,
            "spacegroup": [225, 225, 225, 225, np.nan, 0, 225],
            "shear_modulus": [80.0, 80.0, -3.0, np.nan, 80.0, 80.0, 0.0],
            "elastic_tensor": [good, cubic(100, 200, 50), good, good, good, good, good],
        }
    )
    keep, out = moduli.screen(frame, "shear_modulus")
    assert keep.tolist() == [True] + [False] * 6
    assert out["material_id"].tolist() == list("bcdefg")
    reasons = out["reason"].tolist()
    assert reasons[0].startswith("unstable")
    assert "-100" in reasons[0]
    assert all("logarithm" in reasons[k] for k in (1, 2, 5))
    assert reasons[3] == reasons[4] == "no space group"
    keep, out = moduli.screen(frame.drop(columns="elastic_tensor"), "shear_modulus")
    assert keep.tolist() == [True, True] + [False] * 5
    assert len(out) == 5


def test_embedded_moduli_agree_with_pymatgen_from_the_tensor():
    raw = elastic.load("mp")
    data = moduli.load_moduli("open", "shear")
    bulk = moduli.load_moduli("open", "bulk")
    assert len(data) + len(data.left_out) == len(raw)
    picked = np.random.default_rng(0).choice(len(raw), 60, replace=False)
    for row in raw.iloc[picked].itertuples():
        tensor = ElasticTensor.from_voigt(row.elastic_tensor)
        ours = elastic.voigt_reuss_hill(row.elastic_tensor)
        assert ours == pytest.approx((tensor.k_vrh, tensor.g_vrh), rel=1e-9)
        at = data.table["material_id"] == row.material_id
        assert 10.0 ** data.target[at][0] == pytest.approx(tensor.g_vrh, abs=1e-2)
        assert 10.0 ** bulk.target[at][0] == pytest.approx(tensor.k_vrh, abs=1e-2)


@pytest.mark.parametrize("grouped", [False, True])
def test_ten_folds_test_every_crystal_once(grouped):
    data = moduli.load_moduli("open", "bulk")
    tested = []
    for fold in range(10):
        train, validation, test = moduli.split_rows(data, fold, seed=3, grouped=grouped)
        together = np.concatenate([train, validation, test])
        assert np.array_equal(np.sort(together), np.arange(len(data)))
        assert 0.6 * len(data) < len(train) < 0.9 * len(data)
        if grouped:
            formulas = data.table["formula"].to_numpy()
            assert not set(formulas[train]) & set(formulas[test])
            assert not set(formulas[validation]) & set(formulas[test])
        tested.append(test)
    assert np.array_equal(np.sort(np.concatenate(tested)), np.arange(len(data)))


def test_smaller_training_sets_are_nested_in_larger_ones():
    data = moduli.load_moduli("open", "bulk")
    whole, *others = moduli.split_rows(data, 1)
    small, *same = moduli.split_rows(data, 1, train_size=100)
    larger, *_ = moduli.split_rows(data, 1, train_size=300)
    assert set(small) < set(larger) < set(whole)
    assert len(small) == 100
    assert all(np.array_equal(a, b) for a, b in zip(others, same, strict=True))
    for wrong in (1, len(whole) + 1):
        with pytest.raises(InputError, match="train_size"):
            moduli.split_rows(data, 1, train_size=wrong)
    with pytest.raises(InputError, match="fold"):
        moduli.split_rows(data, 10)


def test_unknown_names():
    with pytest.raises(InputError, match="shear or bulk"):
        moduli.load_moduli("open", "young")
    with pytest.raises(InputError, match="open or matbench"):
        moduli.load_moduli("nowhere", "bulk")


@pytest.fixture(scope="module")
def rocksalt():
    structure = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.2), ["Mg", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    fluorite = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.46), ["Ca", "F"], [[0, 0, 0], [0.25, 0.25, 0.25]]
    )
    crystals = [from_pymatgen(s) for s in (structure, fluorite)]
    table = pd.DataFrame(
        {"material_id": ["a", "b"], "structure": crystals, "spacegroup": [225, 225]}
    )
    return [structure, fluorite], table


def test_six_features_against_pymatgen(rocksalt):
    structures, table = rocksalt
    six = shells.six(table)
    for structure, (_, row) in zip(structures, six.iterrows(), strict=True):
        composition = Composition(structure.formula)
        fractions = composition.fractional_composition
        assert row["mean atomic number"] == pytest.approx(
            sum(x * e.Z for e, x in fractions.items())
        )
        assert row["mean atomic mass"] == pytest.approx(
            composition.weight / composition.num_atoms, rel=1e-6
        )
        assert row["mean electronegativity"] == pytest.approx(composition.average_electroneg)
        assert row["density"] == pytest.approx(float(structure.density), rel=1e-5)
        assert row["volume per atom"] == pytest.approx(structure.volume / len(structure))
        assert row["space group number"] == 225


def test_first_shells_of_known_structures(rocksalt):
    _, table = rocksalt
    strong = shells.strong(table)
    assert np.isfinite(strong.to_numpy(float)).all()
    # MgO: every atom has six. CaF2: Ca eight, F four and, 15 % beyond, the six next F
    assert strong.loc[0, ["coordination_min", "coordination_max"]].tolist() == [6, 6]
    assert strong.loc[0, "nearest_mean"] == pytest.approx(2.1, rel=1e-6)
    assert strong.loc[0, "bond_polarity_mean"] == pytest.approx(3.44 - 1.31)
    assert strong.loc[0, "bond_polarity_std"] == pytest.approx(0, abs=1e-9)
    assert strong.loc[1, "nearest_mean"] == pytest.approx(5.46 * 3**0.5 / 4, rel=1e-6)
    counts = [8, 8, 8, 8] + [10] * 8
    assert strong.loc[1, "coordination_mean"] == pytest.approx(np.mean(counts))
    assert strong.loc[1, "coordination_std"] == pytest.approx(np.std(counts))


def test_strong_features_of_many_crystals_match_a_plain_loop():
    from mfutils.crystals.graph import build_graph

    data = moduli.load_moduli("open", "bulk")
    table = data.table.iloc[5:25].reset_index(drop=True)
    strong = shells.strong(table)
    for row, crystal in enumerate(table["structure"]):
        graph = build_graph(crystal, cutoff=8.0, max_neighbors=12, short="grow")
        nearest, shell = [], []
        for atom in range(len(crystal)):
            lengths = graph.distances[graph.edge_index[0] == atom]
            nearest.append(lengths.min())
            shell.append((lengths <= 1.25 * lengths.min() * (1 - 1e-7)).sum())
        assert strong.loc[row, "nearest_mean"] == pytest.approx(np.mean(nearest), rel=1e-6)
        assert strong.loc[row, "coordination_mean"] == pytest.approx(np.mean(shell), abs=0.35)
