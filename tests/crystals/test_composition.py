"""Composition features against pymatgen's own sums."""

import numpy as np
import pytest
from pymatgen.core import Composition, Element, Structure

from mfutils.crystals import composition
from mfutils.crystals.structure import from_arrays
from mfutils.datasets import bandgap
from mfutils.errors import InputError

LATTICE = np.array([[4.0, 0, 0], [0.5, 4.2, 0], [0.1, 0.2, 5.0]])
COORDS = [[0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0.1, 0.6]]


@pytest.fixture
def rutile_like():
    return from_arrays(LATTICE, COORDS, [22, 8, 8])


def test_values_agree_with_pymatgen(rutile_like):
    row = composition.features([rutile_like]).iloc[0]
    formula = Composition("TiO2")
    for attribute, name in composition.PROPERTIES.items():
        values = {s: float(getattr(Element(s), attribute)) for s in ("Ti", "O")}
        mean = formula.get_atomic_fraction("Ti") * values["Ti"] + 2 / 3 * values["O"]
        deviation = (abs(values["Ti"] - mean) + 2 * abs(values["O"] - mean)) / 3
        assert row[f"{name}_mean"] == pytest.approx(mean)
        assert row[f"{name}_deviation"] == pytest.approx(deviation)
        assert row[f"{name}_min"] == min(values.values())
        assert row[f"{name}_max"] == max(values.values())
    structure = Structure(LATTICE, ["Ti", "O", "O"], COORDS)
    assert row["volume_per_atom"] == pytest.approx(structure.volume / 3)
    assert row["density"] == pytest.approx(structure.density, rel=1e-5)
    assert row["n_elements"] == 2


def test_supercell_changes_size_only(rutile_like):
    structure = Structure(LATTICE, ["Ti", "O", "O"], COORDS) * (2, 1, 3)
    large = from_arrays(structure.lattice.matrix, structure.frac_coords, structure.atomic_numbers)
    one, many = (composition.features([c]).drop(columns="log_sites") for c in (rutile_like, large))
    np.testing.assert_allclose(one, many, rtol=1e-12)


def test_every_embedded_crystal_has_finite_features():
    structures = bandgap.load("open", columns=["structure"])["structure"]
    table = composition.features(list(structures))
    assert table.shape == (6317, 41)
    assert np.isfinite(table.to_numpy()).all()
    assert composition.features(list(structures[:5]), cell=False).shape == (5, 37)
    with pytest.raises(InputError, match="no crystals"):
        composition.features([])
