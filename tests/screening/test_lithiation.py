"""Hosts and lithiated phases of a small table, by hand and through pymatgen's electrode."""

import pandas as pd
import pytest
from pymatgen.apps.battery.insertion_battery import InsertionElectrode
from pymatgen.core import Lattice, Structure
from pymatgen.entries.computed_entries import ComputedStructureEntry

from mfutils.errors import InputError
from mfutils.screening.lithiation import lithiated_phases, system_amounts
from mfutils.screening.voltages import voltage_steps

TABLE = pd.DataFrame(
    {
        "formula": [
            "FePO4",
            "LiFePO4",
            "LiFe2(PO4)2",
            "LiFePO4",
            "Sn",
            "Li5Sn2",
            "NaCl",
            "O2",
            "LiO2",
        ],
        "formation_energy_per_atom": [-2.4, -2.5, -2.45, -2.52, 0.0, -0.4, -2.1, 0.0, -1.0],
    }
)


def test_phases_by_hand():
    phases = lithiated_phases(TABLE)
    assert phases.host.tolist() == ["FePO4"] * 3 + ["O2"] * 2 + ["Sn"] * 2
    iron = phases[phases.host == "FePO4"]
    assert iron.x.tolist() == [0, 0.5, 1]
    assert iron.atoms.tolist() == [6, 6.5, 7]
    assert iron.energy.tolist() == pytest.approx([-14.4, -15.925, -17.64])
    assert iron.row.tolist() == [0, 2, 3]  # the lower of the two LiFePO4
    assert phases[phases.host == "Sn"].x.tolist() == [0, 2.5]
    assert phases[phases.host == "O2"].energy.tolist() == pytest.approx([0.0, -3.0])


def test_voltages_are_those_of_pymatgen():
    """The same phases as entries of an insertion electrode."""
    phases = lithiated_phases(TABLE).query("host == 'FePO4'")
    entries = []
    for _, phase in phases.iterrows():
        species = ["Li"] * int(2 * phase.x) + ["Fe", "P"] * 2 + ["O"] * 8
        sites = [[i / len(species), 0.1, 0.2] for i in range(len(species))]
        structure = Structure(Lattice.cubic(10), species, sites)
        entries.append(ComputedStructureEntry(structure, 2 * phase.energy))
    metal = ComputedStructureEntry(Structure(Lattice.cubic(3), ["Li"], [[0, 0, 0]]), 0.0)
    electrode = InsertionElectrode.from_entries(entries, metal)
    steps = voltage_steps(phases.x.to_numpy(), phases.energy.to_numpy())
    theirs = sorted((pair.voltage for pair in electrode.voltage_pairs), reverse=True)
    assert steps.voltage.tolist() == pytest.approx(theirs, abs=1e-9)


def test_noble_gases_pass_without_a_warning():
    with_neon = pd.concat(
        [TABLE, TABLE.head(1).assign(formula="Ne", formation_energy_per_atom=0.0)]
    )
    assert len(lithiated_phases(with_neon)) == len(lithiated_phases(TABLE))


def test_a_system_holds_its_elements_first():
    amounts, energies, rows = system_amounts(TABLE, ["Li", "Sn"])
    assert amounts.tolist() == [[1, 0], [0, 1], [5, 2]]
    assert energies.tolist() == pytest.approx([0, 0, -2.8])
    assert rows.tolist() == [-1, -1, 5]


def test_bad_input():
    with pytest.raises(InputError, match="lacks formation_energy_per_atom"):
        lithiated_phases(TABLE[["formula"]])
    with pytest.raises(InputError, match=r"formula 'Xx2' in row .* names no known element"):
        lithiated_phases(TABLE.assign(formula="Xx2"))
