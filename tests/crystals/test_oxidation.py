"""Charges of formulas against known chemistry."""

import numpy as np
import pytest

from mfutils.crystals.oxidation import assign_charges
from mfutils.errors import InputError


def test_known_formulas():
    given = ["NaCl", "Fe2O3", "Fe", "Ti2O4", "Fe3O4", "BaTiO3", "Ne", "CuAu"]
    found = assign_charges(given)
    kept = [given[row] for row in found.kept]
    # Elements have no partner, magnetite is mixed, an alloy has no charges
    assert kept == ["NaCl", "Fe2O3", "Ti2O4", "BaTiO3"]
    assert (found.counts @ found.charges == 0).all()
    text = dict(zip(kept, (_text(found, row) for row in found.counts), strict=True))
    assert text == {
        "NaCl": {"Na1+": 1, "Cl1-": 1},
        "Fe2O3": {"Fe3+": 2, "O2-": 3},
        "Ti2O4": {"Ti4+": 1, "O2-": 2},  # reduced
        "BaTiO3": {"Ba2+": 1, "Ti4+": 1, "O2-": 3},
    }
    # Cations first, the least electronegative in front
    assert found.names.index("Ba2+") < found.names.index("Ti4+") < found.names.index("O2-")


def _text(found, row):
    return {found.names[i]: int(row[i]) for i in np.flatnonzero(row)}


def test_rare_species_and_large_cells_are_left_out():
    given = ["NaCl", "KCl", "NaBr", "CsF", "Al2(SO4)3"]
    assert [given[r] for r in assign_charges(given, n_max=10).kept] == given[:4]
    # Without CsF, and then K and Br, only NaCl is left, whose species are now rare as well
    with pytest.raises(InputError, match="none of 5"):
        assign_charges(given, n_max=10, least=2)
    twice = assign_charges([*given, "KBr"], n_max=10, least=2)
    assert [([*given, "KBr"])[r] for r in twice.kept] == ["NaCl", "KCl", "NaBr", "KBr"]


def test_bad_input():
    with pytest.raises(InputError, match=r"formula 1 \('Xx2O'\)"):
        assign_charges(["NaCl", "Xx2O"])
    with pytest.raises(InputError, match="nothing to learn from"):
        assign_charges(["Fe", "CuAu"])
