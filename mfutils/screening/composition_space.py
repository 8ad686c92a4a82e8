"""The set of allowed compositions, counted exactly and sampled without a miss (section 7.3).

A composition is a vector c of non-negative integers over species with charges v_i. Allowed are
those with N atoms and no net charge, sum c_i = N and sum v_i c_i = 0. Written atom by atom in the
order of the species, every composition is one word, and the number of words that finish a partial
one follows by dynamic programming over species i, atoms left n and charge still needed q:
F(i, n, q) = F(i + 1, n, q) + F(i, n - 1, q - v_i), F(i, 0, q) = [q = 0].
A next atom is allowed exactly when its F is not zero. A model that is masked with it can neither
leave the set nor get stuck, whatever it has learnt.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError

__all__ = ["CompositionSpace", "draw"]

_MOST_LISTED = 2_000_000  # compositions in one `enumerate`


class CompositionSpace:
    """Charge-neutral compositions of up to `n_max` atoms over species with integer `charges` (E,).

    `names` (E,) are for messages and formulas. Raises InputError on charges that are not whole
    numbers, repeated names, or n_max below 1.
    """

    def __init__(self, charges: Sequence[int], *, n_max: int, names: Sequence[str] | None = None):
        given = np.asarray(charges)
        if given.ndim != 1 or not given.size or not np.isfinite(given.astype(float)).all():
            raise InputError(f"charges of shape {given.shape}: expected (E,), one per species")
        if (given != np.round(given.astype(float))).any():
            row = int(np.flatnonzero(given != np.round(given.astype(float)))[0])
            raise InputError(f"charge {row} is {given[row]}: expected whole numbers")
        if int(n_max) != n_max or n_max < 1:
            raise InputError(f"n_max is {n_max}: expected a whole number of atoms >= 1")
        self.charges = given.astype(int)
        self.n_max, self.size = int(n_max), len(given)
        self.names = tuple(names) if names is not None else tuple(map(str, range(self.size)))
        if len(self.names) != self.size or len(set(self.names)) != self.size:
            raise InputError(
                f"{len(self.names)} names for {self.size} species: one each, no copies"
            )
        self._reach = self.n_max * int(np.abs(self.charges).max())
        self._table = self._words()
        self._feasible = self._table > 0
        # Ratios of counts are all that sampling needs, and floats hold them to 16 digits
        self._weights = self._table.astype(float)

    def _words(self):
        """F as whole numbers of any length: (E + 1, n_max + 1, 2 reach + 1), object."""
        width = 2 * self._reach + 1
        table = np.zeros((self.size + 1, self.n_max + 1, width), dtype=object)
        table[:, 0, self._reach] = 1
        for i in range(self.size - 1, -1, -1):
            v = int(self.charges[i])
            for n in range(1, self.n_max + 1):
                table[i, n] = table[i + 1, n]
                taken = table[i, n - 1]
                if v >= 0:
                    table[i, n, v:] += taken[: width - v]
                else:
                    table[i, n, :v] += taken[-v:]
        return table

    def count(self, n_atoms: int, *, primitive: bool = False) -> int:
        """Exact number of allowed compositions of n_atoms atoms.

        primitive: only those that are not a whole multiple of a smaller one (Moebius inversion:
        sum over divisors d of mu(d) F(N / d)).
        """
        self._check_atoms(n_atoms)
        if not primitive:
            return int(self._table[0, n_atoms, self._reach])
        divisors = [d for d in range(1, n_atoms + 1) if n_atoms % d == 0]
        return sum(_moebius(d) * int(self._table[0, n_atoms // d, self._reach]) for d in divisors)

    def contains(
        self, counts: npt.ArrayLike, *, n_atoms: npt.ArrayLike | None = None
    ) -> np.ndarray:
        """Mask (m,): which rows of counts (m, E) are allowed, with n_atoms (number or (m,)) atoms
        or, without it, with 1 to n_max atoms."""
        counts = self._check_counts(counts)
        total = counts.sum(axis=1)
        right = (total >= 1) & (total <= self.n_max) if n_atoms is None else total == n_atoms
        return (counts >= 0).all(axis=1) & right & (counts @ self.charges == 0)

    def mask(self, last: npt.ArrayLike, left: npt.ArrayLike, charge: npt.ArrayLike) -> np.ndarray:
        """Allowed next species (m, E) of partial words.

        last (m,): species of the last atom (0 at the start); left (m,): atoms still to place;
        charge (m,): charge so far.
        """
        last, left, charge = (np.asarray(a, dtype=int)[:, None] for a in (last, left, charge))
        species = np.arange(self.size)[None, :]
        needed = self._reach - (charge + self.charges[None, :])
        return self._feasible[species, left - 1, needed] & (species >= last)

    def sample(self, n_atoms: int, size: int, *, seed: int = 0) -> np.ndarray:
        """Compositions (size, E), every allowed one equally likely. InputError when none exists."""
        self._check_atoms(n_atoms)
        if self.count(n_atoms) == 0:
            raise InputError(f"no neutral composition has {n_atoms} atoms: choose another number")
        rng = np.random.default_rng(seed)
        counts = np.zeros((size, self.size), dtype=int)
        last, charge, rows = np.zeros(size, int), np.zeros(size, int), np.arange(size)
        species = np.arange(self.size)[None, :]
        for left in range(n_atoms, 0, -1):
            needed = self._reach - (charge[:, None] + self.charges[None, :])
            weights = self._weights[species, left - 1, needed] * (species >= last[:, None])
            last = draw(weights, rng)
            counts[rows, last] += 1
            charge += self.charges[last]
        return counts

    def enumerate(self, n_atoms: int) -> np.ndarray:
        """All allowed compositions (count, E) of n_atoms atoms, in the order of their words.

        Raises InputError above two million: use `count` or `sample` then.
        """
        total = self.count(n_atoms)
        if total > _MOST_LISTED:
            raise InputError(f"{total} compositions of {n_atoms} atoms: too many to list; sample")
        counts = np.zeros((1, self.size), dtype=int)
        last, charge = np.zeros(1, int), np.zeros(1, int)
        for left in range(n_atoms, 0, -1):
            rows, chosen = np.nonzero(self.mask(last, np.full(len(counts), left), charge))
            counts = counts[rows]
            counts[np.arange(len(rows)), chosen] += 1
            last, charge = chosen, charge[rows] + self.charges[chosen]
        return counts

    def words(self, counts: npt.ArrayLike) -> list[np.ndarray]:
        """The word of each row of counts (m, E): species of its atoms, in order.

        Raises InputError for a row outside the space.
        """
        counts = self._check_counts(counts)
        inside = self.contains(counts)
        if not inside.all():
            row = int(np.flatnonzero(~inside)[0])
            raise InputError(
                f"row {row} ({self.formula(counts[row]) or 'empty'}) has {int(counts[row].sum())} "
                f"atoms and charge {int(counts[row] @ self.charges)}: expected 1 to {self.n_max} "
                "atoms and charge 0"
            )
        return [np.repeat(np.arange(self.size), row) for row in counts]

    def formula(self, counts: np.ndarray) -> str:
        """Text of one composition (E,): names with their numbers."""
        return " ".join(
            f"{self.names[i]}{counts[i] if counts[i] != 1 else ''}" for i in np.flatnonzero(counts)
        )

    def _check_atoms(self, n_atoms):
        if int(n_atoms) != n_atoms or not 1 <= n_atoms <= self.n_max:
            raise InputError(f"n_atoms is {n_atoms}: this space was built for 1 to {self.n_max}")

    def _check_counts(self, counts):
        counts = np.asarray(counts)
        if counts.ndim != 2 or counts.shape[1] != self.size or counts.dtype.kind not in "iu":
            raise InputError(
                f"counts of shape {counts.shape} and type {counts.dtype}: expected whole numbers "
                f"(m, {self.size}), one column per species"
            )
        return counts


def draw(weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One column (m,) per row of weights (m, E) >= 0, with probability in proportion to them."""
    total = np.cumsum(weights, axis=1)
    # From the closed top, so that a column of weight zero is never hit
    point = total[:, -1:] * (1.0 - rng.random((len(total), 1)))
    return (total < point).sum(axis=1)


def _moebius(n):
    """0 when a square divides n, else 1 or -1 with an even or odd number of prime factors."""
    sign, p = 1, 2
    while n > 1:
        if n % p == 0:
            n //= p
            if n % p == 0:
                return 0
            sign = -sign
        p += 1
    return sign
