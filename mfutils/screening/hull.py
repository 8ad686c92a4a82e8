"""Formation energies, the convex hull and what a phase decomposes into.

A phase j has atomic fractions x_j and an energy E_j per atom. The formation energy takes the
elements off: dE_f = (E_tot - sum_i n_i mu_i) / sum_i n_i, with one mu_i per element for all
phases. A mixture of phases with shares w reaches the composition x at the energy sum_j w_j E_j,
and the hull is the cheapest one:

    E_hull(x) = min { sum_j w_j E_j : sum_j w_j x_j = x, w >= 0 }.

The shares are the lever rule, the phases with w > 0 the tie line or triangle, and the dual
variables are chemical potentials: no phase lies below the plane mu . x. This is a linear programme,
solved here by the simplex method from the elements on: exchange a phase for the one that lies
deepest below the present plane until none does. `scipy.optimize.linprog` takes eight times as long
and passes over phases that lie less than 1e-7 eV/atom below the plane. Serves section 6.3.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from mfutils.crystals.structure import ATOMIC_NUMBERS
from mfutils.errors import InputError

__all__ = ["Decomposition", "Phases", "formation_energy", "lever_rule"]

TOLERANCE = 1e-10  # eV/atom; a phase is above the plane if it is not this far below
_GREEDY = 200  # exchanges by steepest descent before Bland's rule, which cannot cycle


def formation_energy(
    total: float, counts: Mapping[str, float], chemical_potentials: Mapping[str, float]
) -> float:
    """Formation energy per atom (eV) of `counts` {element: atoms} at the energy `total` (eV).

    `chemical_potentials` {element: eV per atom} must hold every element; it can hold more.
    Raises InputError naming the element that has none.
    """
    if missing := sorted(set(counts) - set(chemical_potentials)):
        raise InputError(
            f"no chemical potential for {', '.join(missing)}; give one per element, from one source"
        )
    atoms = sum(counts.values())
    if not atoms > 0 or min(counts.values()) < 0:
        raise InputError(f"atom counts {dict(counts)}; expected numbers above 0")
    reference = sum(n * chemical_potentials[e] for e, n in counts.items())
    return (total - reference) / atoms


def lever_rule(x: float, x_first: float, x_second: float) -> tuple[float, float]:
    """Shares (first, second) of two phases whose mixture has the fraction `x` of a component.

    Raises InputError when x is not between the two, where a mixture cannot reach it.
    """
    if x_first == x_second or not min(x_first, x_second) <= x <= max(x_first, x_second):
        raise InputError(
            f"x = {x:g} does not lie between {x_first:g} and {x_second:g}; expected a composition "
            "on the tie line"
        )
    second = (x - x_first) / (x_second - x_first)
    return 1.0 - second, second


@dataclass(frozen=True)
class Decomposition:
    """The cheapest mixture at one composition.

    energy in eV/atom; phases (k,) indices and shares (k,) of atoms, all above 0;
    chemical_potentials (d,) in eV per atom: the plane through the phases.
    """

    energy: float
    phases: np.ndarray
    shares: np.ndarray
    chemical_potentials: np.ndarray


class Phases:
    """The phases of a chemical system of d elements: fractions (n, d), energies (n,) eV/atom.

    `elements` names the columns, `names` the rows. Every element needs a phase of its own, at
    whatever energy the others are measured from (0 for formation energies).
    """

    def __init__(
        self, elements: Iterable[str], fractions: npt.ArrayLike, energies: npt.ArrayLike, *,
        names: Iterable[str] | None = None,
    ):  # fmt: skip
        self.elements = tuple(elements)
        self.fractions = np.asarray(fractions, dtype=float)
        self.energies = np.asarray(energies, dtype=float)
        n, d = len(self.energies), len(self.elements)
        self.names = tuple(map(str, range(n))) if names is None else tuple(names)
        if self.fractions.shape != (n, d) or self.energies.shape != (n,) or len(self.names) != n:
            raise InputError(
                f"fractions {self.fractions.shape}, energies {self.energies.shape}, "
                f"{len(self.names)} names, {d} elements; expected (n, d), (n,), n and d"
            )
        if not np.isfinite(self.energies).all() or not np.isfinite(self.fractions).all():
            bad = int(np.argmin(np.isfinite(self.energies) & np.isfinite(self.fractions).all(1)))
            raise InputError(f"phase {self.names[bad]} (row {bad}) has no finite energy; drop it")
        off = (abs(self.fractions.sum(axis=1) - 1) > 1e-9) | (self.fractions.min(axis=1) < 0)
        if off.any():
            bad = int(off.argmax())
            raise InputError(
                f"phase {self.names[bad]} (row {bad}) has fractions {self.fractions[bad]}; "
                "expected numbers of 0 or more that add up to 1"
            )
        self._pure = np.full(d, -1)
        for row in np.flatnonzero((self.fractions == 1).any(axis=1)):
            column = int(self.fractions[row].argmax())
            best = self._pure[column]
            if best < 0 or self.energies[row] < self.energies[best]:
                self._pure[column] = row
        if (self._pure < 0).any():
            missing = [e for e, row in zip(self.elements, self._pure, strict=True) if row < 0]
            raise InputError(
                f"no phase of pure {', '.join(missing)}; add one (energy 0 for formation energies)"
            )

    @classmethod
    def from_counts(
        cls, counts: Sequence[Mapping[str, float]], energies: Iterable[float], *,
        names: Iterable[str] | None = None, add: Sequence[str] = (),
    ) -> "Phases":  # fmt: skip
        """Phases from atom counts {element: number} per phase and energies per atom (eV/atom).

        Elements come in order of atomic number. `add` lists elements that get a phase of energy
        0, named after the element: right when `energies` are formation energies.
        """
        elements = sorted({e for c in counts for e in c} | set(add), key=_number)
        rows = list(counts) + [{e: 1} for e in add]
        names = list(names) if names is not None else [_formula(c) for c in counts]
        fractions = np.array([[c.get(e, 0) / sum(c.values()) for e in elements] for c in rows])
        return cls(elements, fractions, [*energies, *[0.0] * len(add)], names=[*names, *add])

    def __len__(self) -> int:
        return len(self.energies)

    def decompose(self, x: npt.ArrayLike, *, without: npt.ArrayLike | None = None) -> Decomposition:
        """The cheapest mixture at the fractions `x` (d,), as a Decomposition.

        `without` (n,) bool marks phases that may not take part; elements always may.
        Raises InputError for fractions that do not add up to 1.
        """
        x = np.asarray(x, dtype=float)
        if x.shape != (len(self.elements),) or abs(x.sum() - 1) > 1e-9 or x.min() < 0:
            raise InputError(
                f"composition {x} is no mixture of {', '.join(self.elements)}; expected "
                f"{len(self.elements)} fractions of 0 or more that add up to 1"
            )
        present = np.flatnonzero(x > 0)
        absent = np.flatnonzero(x == 0)
        # A phase with an element that x lacks can have no share
        usable = (self.fractions[:, absent] == 0).all(axis=1)
        if without is not None:
            usable &= ~np.asarray(without, dtype=bool)
        usable[self._pure[present]] = True
        rows = np.flatnonzero(usable)
        columns = self.fractions[np.ix_(rows, present)]
        start = np.searchsorted(rows, self._pure[present])
        basis, shares, mu = _simplex(columns, self.energies[rows], x[present], start)
        potentials = np.full(len(x), np.nan)  # an element that is not there has no potential
        potentials[present] = mu
        used = shares > 1e-12
        order = np.argsort(-shares[used], kind="stable")
        phases, kept = rows[basis][used][order], shares[used][order]
        return Decomposition(float(kept @ self.energies[phases]), phases, kept, potentials)

    def above_hull(self, rows: Iterable[int] | None = None) -> np.ndarray:
        """Energy of every phase (or of `rows`) over the hull of all, in eV/atom; 0 on the hull."""
        rows = range(len(self)) if rows is None else list(rows)
        hull = np.array([self.decompose(self.fractions[r]).energy for r in rows])
        return np.maximum(self.energies[list(rows)] - hull, 0.0)

    def decomposition_energy(self, row: int, *, tolerance: float = 1e-9) -> float:
        """Energy of a phase over the mixture of all *other* compositions (eV/atom).

        Below 0 for a stable phase: what it gains, or how far it can rise before it decomposes.
        Other phases at the same composition are left out as well. An element has none (NaN).
        """
        same = (abs(self.fractions - self.fractions[row]) < tolerance).all(axis=1)
        if same[self._pure].any():
            return float("nan")
        hull = self.decompose(self.fractions[row], without=same).energy
        return float(self.energies[row] - hull)

    def stable(self, *, tolerance: float = 1e-8) -> np.ndarray:
        """Rows on the hull, one per composition, to `tolerance` in eV/atom."""
        rows = np.flatnonzero(self.above_hull() <= tolerance)
        _, first = np.unique(self.fractions[rows].round(9), axis=0, return_index=True)
        return rows[np.sort(first)]

    def tie_lines(self) -> list[tuple[int, int]]:
        """Pairs of stable phases (row, row) that coexist: half of each is its own decomposition.

        Where four phases lie in one plane of a ternary system, both diagonals are such pairs.
        """
        lines, stable = [], self.stable()
        for i, j in combinations(stable, 2):
            half = (self.fractions[i] + self.fractions[j]) / 2
            mixed = (self.energies[i] + self.energies[j]) / 2
            crossed = self.decompose(half / half.sum()).energy < mixed - 1e-9
            if not crossed and not self._passes_another(i, j, stable):
                lines.append((int(i), int(j)))
        return lines

    def _passes_another(self, i, j, stable):
        """Whether another stable composition lies on the segment from i to j."""
        along = self.fractions[j] - self.fractions[i]
        offset = self.fractions[stable] - self.fractions[i]
        t = offset @ along / (along @ along)
        on_line = abs(offset - t[:, None] * along).max(axis=1) < 1e-9
        return bool((on_line & (t > 1e-9) & (t < 1 - 1e-9)).any())


def _simplex(fractions, energies, x, basis):
    """Minimise w . energies over w >= 0 with w @ fractions = x, from the unit basis of elements."""
    basis = np.array(basis)
    steps = 0
    while True:
        matrix = fractions[basis].T
        shares = np.linalg.solve(matrix, x)
        mu = np.linalg.solve(matrix.T, energies[basis])
        above = energies - fractions @ mu
        above[basis] = 0.0
        below = np.flatnonzero(above < -TOLERANCE)
        if not len(below):
            return basis, np.clip(shares, 0.0, None), mu
        greedy = steps < _GREEDY
        entering = below[above[below].argmin()] if greedy else below[0]
        direction = np.linalg.solve(matrix, fractions[entering])
        falling = np.flatnonzero(direction > 1e-12)
        ratios = np.clip(shares[falling], 0.0, None) / direction[falling]
        ties = falling[ratios <= ratios.min() + 1e-14]
        # The largest pivot keeps the basis well conditioned; the smallest index cannot cycle
        leaving = ties[direction[ties].argmax()] if greedy else ties[basis[ties].argmin()]
        basis[leaving] = entering
        steps += 1


def _number(element):
    if element not in ATOMIC_NUMBERS:
        raise InputError(f"unknown element {element!r}; expected a symbol from H to Og")
    return ATOMIC_NUMBERS[element]


def _formula(counts):
    return "".join(f"{e}{n:g}" if n != 1 else e for e, n in counts.items())
