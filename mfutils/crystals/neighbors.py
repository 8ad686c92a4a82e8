"""Neighbours of every atom of a periodic crystal, by compiled loops over its images.

Atom j in the cell shifted by the integers s lies at (f_j + s) A, where f are fractional
coordinates and the rows of A the lattice vectors, so the pair distance is
d = |(f_j + s - f_i) A|. Rotated so that A is lower triangular, the third component of s
alone fixes z, the second then y, the first then x: walking s in that order visits the images
inside a sphere and no others, however skewed the cell and however small against the radius.

The neighbours of an atom stand in an order that does not depend on rounding. Distances closer
than `TIE` belong to one shell; inside a shell neighbours are sorted by atomic number, then by
their offset along the three lattice vectors in Angstrom. That order, and with it the choice of
the k nearest where shell k is cut, is the same after a translation, a rotation, a permutation
of the atoms and in a supercell along the lattice vectors. Another choice of lattice vectors for
the same crystal can keep different members of a cut shell: equal in distance and element.
"""

import math

import numpy as np

from mfutils.compiled import compiled

__all__ = ["MIN_DISTANCE", "TIE", "closest_pair", "neighbor_lists"]

TIE = 1e-5  # Angstrom; distances closer than this count as equal
MIN_DISTANCE = 0.1  # Angstrom; atoms closer than this lie on top of each other
_EDGE = 1e-8  # Angstrom; the cutoff sphere includes its surface in spite of rounding
# Grid of the tie-break, no divisor of usual coordinates: few values lie on its borders.
_GRID = 1.1713e-4
_GROWTH = 1.25


@compiled
def _triangular(lattice):
    """Lattice rows in the rotated frame: (ax, bx, by, cx, cy, cz), by Gram-Schmidt."""
    a, b, c = lattice[0], lattice[1], lattice[2]
    ax = math.sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2])
    e0, e1, e2 = a[0] / ax, a[1] / ax, a[2] / ax
    bx = b[0] * e0 + b[1] * e1 + b[2] * e2
    g0, g1, g2 = b[0] - bx * e0, b[1] - bx * e1, b[2] - bx * e2
    by = math.sqrt(g0 * g0 + g1 * g1 + g2 * g2)
    g0, g1, g2 = g0 / by, g1 / by, g2 / by
    cx = c[0] * e0 + c[1] * e1 + c[2] * e2
    cy = c[0] * g0 + c[1] * g1 + c[2] * g2
    h0, h1, h2 = c[0] - cx * e0 - cy * g0, c[1] - cx * e1 - cy * g1, c[2] - cx * e2 - cy * g2
    return ax, bx, by, cx, cy, math.sqrt(h0 * h0 + h1 * h1 + h2 * h2)


@compiled
def _within(cell, frac, i, radius, distance, neighbor, shift):
    """Write the images within `radius` of atom i into the scratch arrays; return how many.

    Counts on when the scratch arrays are full, so that the caller knows the size to provide.
    """
    ax, bx, by, cx, cy, cz = cell
    capacity = len(distance)
    square = radius * radius
    count = 0
    for j in range(len(frac)):
        d0 = frac[j, 0] - frac[i, 0]
        d1 = frac[j, 1] - frac[i, 1]
        d2 = frac[j, 2] - frac[i, 2]
        for s2 in range(math.ceil(-radius / cz - d2), math.floor(radius / cz - d2) + 1):
            f2 = d2 + s2
            part2 = (f2 * cz) ** 2
            left2 = square - part2
            if left2 < 0.0:
                continue
            ry, y2 = math.sqrt(left2), f2 * cy
            for s1 in range(math.ceil((-ry - y2) / by - d1), math.floor((ry - y2) / by - d1) + 1):
                f1 = d1 + s1
                part1 = part2 + (f1 * by + y2) ** 2
                left1 = square - part1
                if left1 < 0.0:
                    continue
                rx, x12 = math.sqrt(left1), f1 * bx + f2 * cx
                low = math.ceil((-rx - x12) / ax - d0)
                high = math.floor((rx - x12) / ax - d0)
                for s0 in range(low, high + 1):
                    if i == j and s0 == 0 and s1 == 0 and s2 == 0:
                        continue
                    if count < capacity:
                        x = (d0 + s0) * ax + x12
                        distance[count] = math.sqrt(part1 + x * x)
                        neighbor[count] = j
                        shift[count, 0] = s0
                        shift[count, 1] = s1
                        shift[count, 2] = s2
                    count += 1
    return count


@compiled
def _sort_by_distance(distance, order, bucket, count):
    """Fill order[:count] with the positions of distance[:count] in ascending order.

    Neighbours fill a sphere evenly, so buckets of equal volume leave little to sort.
    """
    top = 0.0
    for t in range(count):
        order[t] = t
        top = max(top, distance[t])
    if count > 16:
        scale = (count - 1) / top**3
        bucket[: count + 1] = 0
        for t in range(count):
            bucket[int(distance[t] ** 3 * scale) + 1] += 1
        for t in range(count):
            bucket[t + 1] += bucket[t]
        for t in range(count):
            home = int(distance[t] ** 3 * scale)
            order[bucket[home]] = t
            bucket[home] += 1
    for t in range(1, count):
        item = order[t]
        value = distance[item]
        u = t - 1
        while u >= 0 and distance[order[u]] > value:
            order[u + 1] = order[u]
            u -= 1
        order[u + 1] = item


@compiled
def _precedes(a, b, place):
    """Whether place[a] comes before place[b] in lexicographic order."""
    for axis in range(4):
        if place[a, axis] != place[b, axis]:
            return place[a, axis] < place[b, axis]
    return False


@compiled
def _sort_shells(i, frac, numbers, lengths, distance, neighbor, shift, order, place, count, wanted):
    """Reorder every run of equal distances in order[:count] that reaches into order[:wanted]."""
    start = 0
    while start < wanted:
        stop = start + 1
        while stop < count and distance[order[stop]] - distance[order[stop - 1]] <= TIE:
            stop += 1
        for t in range(start, stop if stop > start + 1 else start):
            item = order[t]
            j = neighbor[item]
            place[item, 0] = numbers[j]
            for axis in range(3):
                along = (frac[j, axis] - frac[i, axis] + shift[item, axis]) * lengths[axis]
                place[item, axis + 1] = math.floor(along / _GRID + 0.371)
            u = t - 1
            while u >= start and _precedes(item, order[u], place):
                order[u + 1] = order[u]
                u -= 1
            order[u + 1] = item
        start = stop


@compiled
def _extended(array, size):
    """A copy of `array` with room for `size` entries along its first axis."""
    out = np.empty((size, *array.shape[1:]), array.dtype)
    out[: len(array)] = array
    return out


@compiled
def _neighbor_lists(lattice, frac, numbers, cutoff, k, grow):
    n = len(frac)
    cell = _triangular(lattice)
    ax, bx, by, cx, cy, cz = cell
    lengths = (ax, math.sqrt(bx * bx + by * by), math.sqrt(cx * cx + cy * cy + cz * cz))
    full = cutoff + _EDGE
    first = full
    if k > 0:
        # a sphere that holds 1.5 k atoms at the mean density; growing costs more than room
        dense = (1.5 * k * ax * by * cz / (4.18879 * n)) ** (1.0 / 3.0) + 10 * TIE
        first = min(full, dense)
    expected = int(4.18879 * (first + 1.0) ** 3 * n / (ax * by * cz)) + 16
    distance = np.empty(expected)
    neighbor = np.empty(expected, np.int32)
    shift = np.empty((expected, 3), np.int32)
    order = np.empty(expected, np.int64)
    bucket = np.empty(expected + 1, np.int64)
    place = np.empty((expected, 4), np.int64)
    room = n * k if k > 0 else n * expected
    out_distance = np.empty(room)
    out_neighbor = np.empty(room, np.int32)
    out_shift = np.empty((room, 3), np.int32)
    pointer = np.zeros(n + 1, np.int64)
    total = 0
    for i in range(n):
        radius = first
        while True:
            inside = _within(cell, frac, i, radius, distance, neighbor, shift)
            if inside > len(distance):
                size = 2 * inside
                distance, neighbor = np.empty(size), np.empty(size, np.int32)
                shift, order = np.empty((size, 3), np.int32), np.empty(size, np.int64)
                place, bucket = np.empty((size, 4), np.int64), np.empty(size + 1, np.int64)
                continue
            _sort_by_distance(distance, order, bucket, inside)
            # the k-th shell must lie inside the sphere as a whole before it may be cut
            short = k > 0 and (inside < k or distance[order[k - 1]] > radius - 10 * TIE)
            if not short or (radius >= full and not grow) or (radius == full and inside >= k):
                break
            # the cutoff itself is a step: growing beyond it is only for those in need
            radius = min(radius * _GROWTH, full) if radius < full else radius * _GROWTH
        kept = min(inside, k) if k > 0 else inside
        _sort_shells(
            i, frac, numbers, lengths, distance, neighbor, shift, order, place, inside, kept
        )
        if total + kept > room:
            room = 2 * (total + kept)
            out_distance = _extended(out_distance, room)
            out_neighbor = _extended(out_neighbor, room)
            out_shift = _extended(out_shift, room)
        for t in range(kept):
            item = order[t]
            out_distance[total + t] = distance[item]
            out_neighbor[total + t] = neighbor[item]
            out_shift[total + t] = shift[item]
        total += kept
        pointer[i + 1] = total
    return pointer, out_neighbor[:total], out_shift[:total], out_distance[:total]


def neighbor_lists(
    lattice: np.ndarray, frac: np.ndarray, numbers: np.ndarray, *, cutoff: float,
    max_neighbors: int | None = None, grow: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Neighbours of every atom within `cutoff` (Angstrom), or only the nearest of them.

    lattice (3, 3) in Angstrom, frac (n, 3) float64 (any image; it need not lie in the cell),
    numbers (n,) int64. With `grow`, atoms that have fewer than `max_neighbors` inside the cutoff
    look beyond it. Returns pointer (n + 1,), neighbor (e,), shift (e, 3), distance (e,): the
    neighbours of atom i are the slice pointer[i]:pointer[i + 1], in the order of the module text.
    The input is taken as checked; see `mfutils.crystals.structure.check`.
    """
    k = 0 if max_neighbors is None else max_neighbors
    return _neighbor_lists(lattice, frac, numbers, float(cutoff), k, grow)


@compiled
def closest_pair(lattice, frac):
    """The first pair of atoms closer than MIN_DISTANCE: (i, j, distance), or (-1, -1, inf).

    lattice (3, 3), frac (n, 3); i == j when an atom lies on an image of itself.
    """
    cell = _triangular(lattice)
    distance = np.empty(1)
    neighbor = np.empty(1, np.int32)
    shift = np.empty((1, 3), np.int32)
    for i in range(len(frac)):
        if _within(cell, frac, i, MIN_DISTANCE, distance, neighbor, shift) > 0:
            return i, int(neighbor[0]), distance[0]
    return -1, -1, np.inf
