"""Features of gap tables: against pymatgen and by hand, and what they refuse."""

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Composition

from mfutils.crystals.gap_features import composition_features, structure_features
from mfutils.crystals.structure import Crystal
from mfutils.datasets import bandgap
from mfutils.errors import InputError

FORMULAS = ["MgO", "GaAs", "Fe2O3", "NaCl", "TiO2", "Fe", "Ca3(PO4)2", "LaNi5", "Al0.15Ga0.85As1"]


@pytest.fixture(scope="module")
def described():
    return composition_features(FORMULAS).set_axis(FORMULAS)


def test_means_and_fractions_follow_pymatgen(described):
    for formula, row in described.iterrows():
        fractions = Composition(formula).fractional_composition.get_el_amt_dict()
        for symbol, share in fractions.items():
            assert row[f"x_{symbol}"] == pytest.approx(share, abs=1e-4)
        assert row.filter(like="x_").sum() == pytest.approx(1)
        assert row["electronegativity_mean"] == pytest.approx(
            Composition(formula).average_electroneg, abs=1e-3
        )
        electrons = Composition(formula).total_electrons / Composition(formula).num_atoms
        assert row["number_mean"] == pytest.approx(electrons, abs=1e-2)


def test_electron_counts_by_hand(described):
    assert described.loc["MgO", ["valence_s", "valence_p", "valence_d"]].tolist() == [2, 2, 0]
    assert described.loc["GaAs", "valence_d"] == 10
    assert described.loc["Fe", ["valence_d", "holes_d"]].tolist() == [6, 4]
    octets = ["MgO", "GaAs", "NaCl", "TiO2", "Ca3(PO4)2", "Al0.15Ga0.85As1"]
    assert described.loc[octets, "electrons_per_anion"].to_numpy() == pytest.approx(8, abs=1e-9)
    assert described.loc["Fe2O3", "electrons_per_anion"] == pytest.approx((2 * 8 + 3 * 6) / 3)
    # Na has 11 electrons and Cl 17; La 57 and five Ni 28 each
    assert described.loc[["NaCl", "LaNi5"], "odd_electrons"].tolist() == [0, 1]


def test_levels_and_charges_by_hand(described):
    # eight electrons of MgO fill O 2s and 2p; the first free level is Mg 3s
    assert described.loc["MgO", ["filled_is_p", "free_is_s"]].tolist() == [1, 1]
    assert described.loc["MgO", "level_gap"] == pytest.approx(-4.773 + 9.208, abs=2e-3)
    # the p levels of GaAs and the d level of iron are filled in part
    assert described.loc[["GaAs", "Fe"], "level_gap"].tolist() == [0, 0]
    neutral = described["charge_neutral"]
    assert neutral[["MgO", "GaAs", "Fe2O3", "TiO2", "Ca3(PO4)2"]].tolist() == [1] * 5
    assert neutral[["Fe", "LaNi5"]].tolist() == [0, 0]
    # 2 of 5 atoms give 3 electrons, 3 of 5 take 2
    assert described.loc["Fe2O3", "charge_moved"] == pytest.approx(12 / 5)


def test_neutral_formulas_agree_with_the_guesses_of_pymatgen():
    formulas = bandgap.load("open", columns=["formula"])["formula"].iloc[::97].tolist()
    neutral = composition_features(formulas)["charge_neutral"].to_numpy()
    for formula, ours in zip(formulas, neutral, strict=True):
        composition = Composition(formula)
        states = {e.symbol: e.common_oxidation_states or e.oxidation_states for e in composition}
        if len(composition) == 1 or not all(states.values()):
            continue
        guesses = composition.oxi_state_guesses(oxi_states_override=states)
        anion = max(composition, key=lambda e: e.X).symbol
        fits = any(g[anion] < 0 for g in guesses) or (bool(guesses) and min(states[anion]) > 0)
        # pymatgen also mixes two states of one element (Fe3O4), which a single state cannot
        whole = [g for g in guesses if all(float(v).is_integer() for v in g.values())]
        if ours:
            assert fits, formula
        elif fits:
            assert not any(
                all(v in states[s] for s, v in g.items()) and g[anion] < 0 for g in whole
            ), formula


def test_spelling_does_not_matter_and_the_columns_are_always_the_same(described):
    again = composition_features(["O3Fe2", "Fe4O6"])
    np.testing.assert_allclose(again.iloc[0], described.loc["Fe2O3"])
    np.testing.assert_allclose(again.iloc[1], described.loc["Fe2O3"])
    assert list(again) == list(described)
    heavy = composition_features(["Xe", "CfO2", "Bi0.002Te0.003Pb0.999Se0.999"])
    assert np.isfinite(heavy.to_numpy(float)).all()


def test_structure_features_extend_those_of_the_formula():
    table = bandgap.load("open").iloc[::300].reset_index(drop=True)
    crystals = structure_features(table)
    formulas = composition_features(table["formula"])
    pd.testing.assert_frame_equal(crystals[list(formulas)], formulas)
    volume = [crystal.volume / len(crystal) for crystal in table["structure"]]
    np.testing.assert_allclose(crystals["volume_per_atom"], volume)
    assert np.isfinite(crystals.to_numpy(float)).all()
    assert {"coordination_mean", "bond_polarity_max"} <= set(crystals) - set(formulas)


def test_what_cannot_be_described_is_refused():
    with pytest.raises(InputError, match="Qq"):
        composition_features(["NaCl", "Qq2"])
    with pytest.raises(InputError, match="at least one"):
        composition_features([])
    with pytest.raises(InputError, match="Rf"):
        composition_features(["RfO2"])
    with pytest.raises(InputError, match="at least one row"):
        structure_features(pd.DataFrame({"material_id": [], "structure": []}))
    # two atoms on one place, which the readers of data sets refuse earlier
    broken = Crystal(4 * np.eye(3), np.zeros((2, 3)), np.array([11, 17]))
    whole = Crystal(4 * np.eye(3), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), broken.numbers)
    pair = pd.DataFrame({"material_id": ["a", "b"], "structure": [broken, whole]})
    with pytest.raises(InputError, match=r"2 crystals but features of 1.*neighbour graph"):
        structure_features(pair)
