"""Dominance and the Pareto front: what remains when nothing can be had for free (section 7.2).

With every objective to be minimised, a dominates b when a_j <= b_j for all j and a_j < b_j for
one. The front holds the points that nothing dominates; equal points do not dominate each other,
so copies of a front point are all on it. In two objectives one sort suffices: after ordering by
(f1, f2) a point is dominated exactly when an earlier, different one has f2 no larger. Peeling the
front off again and again gives the layers, in 2-D also by one sort and binary search.
"""

from bisect import bisect_right

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError

__all__ = ["hypervolume", "pareto_front", "pareto_layers"]


def pareto_front(objectives: npt.ArrayLike, *, maximise: npt.ArrayLike | None = None) -> np.ndarray:
    """Mask (n,) of the rows of objectives (n, d) that no other row dominates.

    O(n log n) for one or two objectives, O(n m) for more, with m points on the front.
    maximise: one bool or one per objective. Raises InputError on NaN, infinities or a wrong shape.
    """
    points = _minimised(objectives, maximise)
    if points.shape[1] > 2:
        return _front_by_filter(points)
    if points.shape[1] == 1:
        return points[:, 0] == points[:, 0].min()
    order = np.lexsort((points[:, 1], points[:, 0]))
    first, second = points[order].T
    # Least f2 among points strictly before the run of copies that a point belongs to
    least = np.minimum.accumulate(second)
    before = np.concatenate([[np.inf], least[:-1]])
    new = np.ones(len(points), dtype=bool)
    new[1:] = (np.diff(first) != 0) | (np.diff(second) != 0)
    run = np.maximum.accumulate(np.where(new, np.arange(len(points)), 0))
    mask = np.empty(len(points), dtype=bool)
    mask[order] = second < before[run]
    return mask


def pareto_layers(
    objectives: npt.ArrayLike, *, maximise: npt.ArrayLike | None = None
) -> np.ndarray:
    """Layer (n,) of each row: 0 on the front, 1 on the front of what is left, and so on.

    O(n log n) for one or two objectives: a point belongs to the first layer whose least f2 so far
    is above its own. More objectives are peeled layer by layer.
    """
    points = _minimised(objectives, maximise)
    if points.shape[1] == 1:
        return np.unique(points[:, 0], return_inverse=True)[1]
    layers = np.empty(len(points), dtype=int)
    if points.shape[1] > 2:
        left = np.arange(len(points))
        layer = 0
        while len(left):
            front = _front_by_filter(points[left])
            layers[left[front]] = layer
            left, layer = left[~front], layer + 1
        return layers
    least: list[float] = []  # per layer; never decreases along the list
    previous, layer = None, 0
    for row in np.lexsort((points[:, 1], points[:, 0])).tolist():
        point = (float(points[row, 0]), float(points[row, 1]))
        if point != previous:
            layer = bisect_right(least, point[1])
            if layer == len(least):
                least.append(point[1])
            else:
                least[layer] = point[1]
            previous = point
        layers[row] = layer
    return layers


def hypervolume(
    objectives: npt.ArrayLike, reference: npt.ArrayLike, *, maximise: npt.ArrayLike | None = None
) -> float:
    """Area that points (n, 2) dominate inside the corner `reference` (2,): one number for a front.

    Points beyond the reference count for nothing. Raises InputError unless d is 2.
    """
    points = _minimised(objectives, maximise)
    corner = np.asarray(reference, float)
    if points.shape[1] != 2 or corner.shape != (2,):
        raise InputError(
            f"points of shape {points.shape}, reference of shape {corner.shape}: "
            "expected (n, 2) and (2,)"
        )
    corner = _minimised(corner[None, :], maximise)[0]
    front = np.unique(points[pareto_front(points) & (points < corner).all(axis=1)], axis=0)
    if not len(front):
        return 0.0
    widths = np.diff(np.append(front[:, 0], corner[0]))
    return float((widths * (corner[1] - front[:, 1])).sum())


def _front_by_filter(points):
    """Front for any number of objectives: after a sort only earlier front points can dominate."""
    unique, copies = np.unique(points, axis=0, return_inverse=True)
    keep = np.zeros(len(unique), dtype=bool)
    front = np.empty_like(unique)
    size = 0
    # Lexicographic order: a later row never dominates an earlier one
    for row, point in enumerate(unique):
        if not (front[:size] <= point).all(axis=1).any():
            front[size] = point
            size += 1
            keep[row] = True
    return keep[copies.reshape(-1)]


def _minimised(objectives, maximise):
    """Objectives as float64 (n, d), those to be maximised with the other sign."""
    points = np.asarray(objectives, dtype=float)
    if points.ndim != 2 or not points.size:
        raise InputError(f"objectives have shape {points.shape}: expected (n, d), one row per item")
    bad = ~np.isfinite(points).all(axis=1)
    if bad.any():
        raise InputError(
            f"objectives: {int(bad.sum())} row(s) hold NaN or infinities, first row "
            f"{int(np.flatnonzero(bad)[0])}: drop them"
        )
    if maximise is None:
        return points
    up = np.asarray(maximise)
    if up.dtype != bool or up.shape not in ((), (points.shape[1],)):
        raise InputError(
            f"maximise is {maximise!r}: expected a bool, or one for each of the "
            f"{points.shape[1]} objectives"
        )
    return np.where(up, -points, points)
