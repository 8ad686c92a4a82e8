"""Hull and tie lines against pymatgen; rules of the formation energy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition
from scipy.optimize import linprog

from mfutils.errors import InputError
from mfutils.screening.hull import Phases, formation_energy, lever_rule

ELEMENTS = ["Li", "Fe", "P", "O"]


def random_system(seed):
    """Random phases of 2 to 4 elements (polymorphs included): counts and energies per atom."""
    rng = np.random.default_rng(seed)
    elements = ELEMENTS[: 2 + seed % 3]
    drawn = rng.integers(0, 6, (rng.integers(3, 25), len(elements)))
    counts = [{e: int(n) for e, n in zip(elements, row, strict=True) if n} for row in drawn]
    counts = [c for c in counts if c] + [{e: 1} for e in elements]
    return counts, rng.normal(-0.3, 0.4, len(counts))


def entries_of(counts, energies):
    return [
        PDEntry(Composition(c), e * sum(c.values())) for c, e in zip(counts, energies, strict=True)
    ]


@pytest.mark.parametrize("seed", range(100))
def test_hull_is_that_of_pymatgen(seed):
    counts, energies = random_system(seed)
    phases, entries = Phases.from_counts(counts, energies), entries_of(counts, energies)
    diagram = PhaseDiagram(entries)
    theirs = [diagram.get_e_above_hull(e) for e in entries]
    np.testing.assert_allclose(phases.above_hull(), theirs, atol=1e-8)
    stable = {Composition(counts[r]).reduced_formula for r in phases.stable()}
    assert stable == {e.composition.reduced_formula for e in diagram.stable_entries}
    lines = {
        frozenset(Composition(counts[r]).reduced_formula for r in pair)
        for pair in phases.tie_lines()
    }
    names = [e.composition.reduced_formula for e in diagram.qhull_entries]
    edges = {frozenset((names[i], names[j])) for f in diagram.facets for i in f for j in f if i < j}
    assert lines == edges
    for row in range(len(phases)):
        ours = phases.decompose(phases.fractions[row])
        shares = diagram.get_decomposition(Composition(counts[row]))
        theirs = {e.composition.reduced_formula: a for e, a in shares.items() if a > 1e-8}
        mixed = {
            Composition(counts[p]).reduced_formula: s
            for p, s in zip(ours.phases, ours.shares, strict=True)
        }
        assert mixed == pytest.approx(theirs, abs=1e-8)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_decomposition_is_the_optimum_of_the_linear_programme(seed):
    counts, energies = random_system(seed)
    phases = Phases.from_counts(counts, energies)
    x = np.random.default_rng(seed).dirichlet(np.ones(len(phases.elements)))
    found = phases.decompose(x)
    best = linprog(energies, A_eq=phases.fractions.T, b_eq=x, method="highs-ds")
    assert found.energy == pytest.approx(best.fun, abs=1e-8)
    np.testing.assert_allclose(found.shares @ phases.fractions[found.phases], x, atol=1e-12)
    # duality: the plane touches the mixture and no phase lies below
    assert found.chemical_potentials @ x == pytest.approx(found.energy, abs=1e-12)
    assert (energies - phases.fractions @ found.chemical_potentials).min() > -1e-9


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_decomposition_energy_leaves_the_own_composition_out(seed):
    counts, energies = random_system(seed)
    phases = Phases.from_counts(counts, energies)
    for row in range(len(phases)):
        same = (abs(phases.fractions - phases.fractions[row]) < 1e-9).all(axis=1)
        if len(counts[row]) == 1:
            assert np.isnan(phases.decomposition_energy(row))
            continue
        others = Phases.from_counts(
            [c for c, s in zip(counts, same, strict=True) if not s], energies[~same]
        )
        expected = energies[row] - others.decompose(phases.fractions[row]).energy
        assert phases.decomposition_energy(row) == pytest.approx(expected, abs=1e-10)


def test_degenerate_systems_end():
    # many phases exactly on one plane, and copies: every pivot is a tie
    counts = [{"Li": i, "Fe": j, "O": 6 - i - j} for i in range(7) for j in range(7 - i)]
    counts = [{e: n for e, n in c.items() if n} for c in counts]
    phases = Phases.from_counts(counts * 2, [0.0] * (2 * len(counts)))
    np.testing.assert_allclose(phases.above_hull(), 0, atol=1e-12)
    phases = Phases.from_counts(counts * 2, [0.0] * len(counts) + [-1.0] * len(counts))
    np.testing.assert_allclose(phases.above_hull()[: len(counts)], 1, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.dictionaries(st.sampled_from(ELEMENTS), st.integers(1, 9), min_size=1),
    total=st.floats(-100, 100),
    cells=st.integers(2, 5),
    seed=st.integers(0, 1000),
)
def test_formation_energy_is_intensive_and_zero_for_elements(counts, total, cells, seed):
    potentials = dict(zip(ELEMENTS, np.random.default_rng(seed).normal(-3, 2, 4), strict=True))
    one = formation_energy(total, counts, potentials)
    many = formation_energy(total * cells, {e: n * cells for e, n in counts.items()}, potentials)
    assert many == pytest.approx(one, abs=1e-9)
    for element in counts:
        alone = formation_energy(3 * potentials[element], {element: 3}, potentials)
        assert alone == pytest.approx(0, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**5))
def test_one_set_of_potentials_whatever_it_is_gives_one_hull(seed):
    counts, energies = random_system(seed)
    rng = np.random.default_rng(seed)
    shift = dict(zip(ELEMENTS, rng.normal(0, 2, 4), strict=True))
    moved = [
        formation_energy(e * sum(c.values()), c, shift)
        for c, e in zip(counts, energies, strict=True)
    ]
    first, second = Phases.from_counts(counts, energies), Phases.from_counts(counts, moved)
    np.testing.assert_allclose(first.above_hull(), second.above_hull(), atol=1e-9)


def test_lever_rule():
    assert lever_rule(0.3, 0.2, 0.6) == pytest.approx((0.75, 0.25))
    phases = Phases.from_counts(
        [{"Fe": 1, "O": 1}, {"Fe": 2, "O": 3}], [-1.4, -1.6], add=["Fe", "O"]
    )
    mixture = phases.decompose([1 - 4 / 7, 4 / 7] if phases.elements[0] == "Fe" else [4 / 7, 3 / 7])
    share = dict(zip([phases.names[p] for p in mixture.phases], mixture.shares, strict=True))
    assert share["FeO"] == pytest.approx(lever_rule(4 / 7, 0.5, 0.6)[0])


def test_bad_input_is_one_clear_line():
    phases = Phases.from_counts([{"Fe": 1, "O": 1}], [-1.0], add=["Fe", "O"])
    cases = [
        (
            lambda: formation_energy(-1, {"Fe": 1, "O": 1}, {"Fe": -8}),
            "no chemical potential for O",
        ),
        (lambda: formation_energy(-1, {"Fe": 0}, {"Fe": -8}), "expected numbers above 0"),
        (lambda: Phases.from_counts([{"Fe": 1, "O": 1}], [-1.0], add=["Fe"]), "no phase of pure O"),
        (lambda: Phases.from_counts([{"Xx": 1}], [-1.0]), "unknown element 'Xx'"),
        (lambda: Phases.from_counts([{"Fe": 1}], [np.nan]), r"phase Fe \(row 0\) has no finite"),
        (lambda: Phases(["Fe"], [[0.9]], [0.0]), r"fractions \[0.9\]"),
        (lambda: Phases(["Fe"], [[1.0]], [0.0, 1.0]), r"expected \(n, d\)"),
        (lambda: phases.decompose([0.5, 0.6]), "is no mixture of O, Fe"),
        (lambda: phases.decompose([1.0]), "expected 2 fractions"),
        (lambda: lever_rule(0.7, 0.2, 0.6), "does not lie between 0.2 and 0.6"),
    ]
    for call, message in cases:
        with pytest.raises(InputError, match=message):
            call()
