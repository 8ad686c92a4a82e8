"""Random and high-symmetry crystals for the tests of graphs and readers."""

import numpy as np

from mfutils.crystals.structure import Crystal, from_arrays

KINDS = ("one_atom", "tiny", "skewed", "ordinary", "outside")


def spread_out(rng, lattice, n, least=0.7):
    """Fractional coordinates of n atoms, no two closer than `least` Angstrom (images too)."""
    shifts = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), -1).reshape(-1, 3)
    kept = []
    for _ in range(200 * n):
        trial = rng.random(3)
        if all(
            np.linalg.norm((trial - other + shifts) @ lattice, axis=1).min() > least
            for other in kept
        ):
            kept.append(trial)
        if len(kept) == n:
            break
    return np.array(kept)


def random_crystal(seed, kind):
    """A crystal of one of KINDS; cells of the first three kinds are smaller than 8 Angstrom."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    edge, n = {
        "one_atom": (rng.uniform(2.0, 4.5), 1),
        "tiny": (rng.uniform(2.2, 3.5), rng.integers(1, 4)),
        "skewed": (rng.uniform(3.0, 5.0), rng.integers(1, 6)),
        "ordinary": (rng.uniform(5.0, 9.0), rng.integers(2, 14)),
        "outside": (rng.uniform(3.5, 6.0), rng.integers(2, 7)),
    }[kind]
    lattice = edge * (np.eye(3) + rng.uniform(-0.25, 0.25, (3, 3)))
    frac = spread_out(rng, lattice, n)
    if kind == "skewed":
        # the same crystal in a cell whose vectors lie far off: angles down to a few degrees
        shear = np.eye(3)
        shear[1, 0], shear[2, 0], shear[2, 1] = rng.integers(-3, 4, 3)
        shear[0] += rng.integers(-2, 3) * shear[2]
        lattice, frac = shear @ lattice, frac @ np.linalg.inv(shear)
    if kind == "outside":
        frac = frac + rng.integers(-3, 4, frac.shape)
    return from_arrays(lattice, frac, rng.integers(1, 90, len(frac)))


def symmetric_crystals():
    """Name -> crystal with many equal distances, where the order of neighbours is all ties."""
    halves = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    third = 1 / 3
    hexagonal = np.array([[1, 0, 0], [-0.5, np.sqrt(0.75), 0], [0, 0, 1.633]]) * 2.95
    made = {
        "simple cubic": (np.eye(3) * 3.35, [[0, 0, 0]], [84]),
        "fcc primitive": ((np.ones((3, 3)) - np.eye(3)) * 1.8, [[0, 0, 0]], [29]),
        "fcc": (np.eye(3) * 3.6, halves, [29] * 4),
        "bcc": (np.eye(3) * 2.87, [[0, 0, 0], [0.5, 0.5, 0.5]], [26] * 2),
        "hcp": (hexagonal, [[third, 2 * third, 0.25], [2 * third, third, 0.75]], [22] * 2),
        "rock salt": (np.eye(3) * 5.64, np.vstack([halves, halves + 0.5]), [11] * 4 + [17] * 4),
        "zinc blende": (np.eye(3) * 5.65, np.vstack([halves, halves + 0.25]), [31] * 4 + [33] * 4),
        "perovskite": (
            np.eye(3) * 3.905,
            [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
            [38, 22, 8, 8, 8],
        ),
    }
    return {name: from_arrays(*arrays) for name, arrays in made.items()}


def translated(crystal, by):
    """The crystal moved by the fractional vector `by`, wrapped into the cell."""
    return Crystal(crystal.lattice, (crystal.frac_coords + by) % 1.0, crystal.numbers)


def rotated(crystal, rotation):
    """The crystal turned by the orthogonal matrix (3, 3)."""
    return Crystal(crystal.lattice @ rotation.T, crystal.frac_coords, crystal.numbers)


def permuted(crystal, order):
    """The crystal with its atoms in another order."""
    return Crystal(crystal.lattice, crystal.frac_coords[order], crystal.numbers[order])


def supercell(crystal, times):
    """times = (p, q, r) cells along the lattice vectors; the copies of atom i are i::n."""
    cells = np.stack(np.meshgrid(*[np.arange(t) for t in times], indexing="ij"), -1)
    frac = (cells.reshape(-1, 1, 3) + crystal.frac_coords).reshape(-1, 3) / times
    numbers = np.tile(crystal.numbers, len(frac) // len(crystal))
    return Crystal(crystal.lattice * np.asarray(times)[:, None], frac, numbers)


def random_rotation(rng):
    """A random orthogonal matrix, from the QR decomposition of a Gaussian one."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.sign(np.diag(r))
