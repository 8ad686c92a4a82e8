"""Forests that predict a distribution: training targets weighted by shared leaves.

Meinshausen (2006): a tree sends x to a leaf, and every training row in that leaf has the weight
1 / (rows in it). The mean over trees gives weights w_i(x) >= 0 with sum 1, so that

    F(t | x) = sum_i w_i(x) [y_i <= t],

whose mean is the forest's own prediction and whose median minimises the expected absolute error.
Targets with an atom at zero keep it: the forest can say "0 with probability 0.8". The trees here
are extremely randomised (Geurts et al. 2006) and see every row, so no weight is lost to resampling.
"""

import numpy as np
import numpy.typing as npt
from scipy import sparse
from sklearn.ensemble import ExtraTreesRegressor

from mfutils.errors import InputError

__all__ = ["QuantileForest"]


class QuantileForest:
    """An extra-trees forest that keeps its training targets; x may hold NaN where unknown.

    trees, leaf (fewest rows in a leaf) and share (of the features tried at a split) are the
    settings; fit takes x (n, d), y (n,) and optional weights (n,) of the rows.
    """

    def __init__(self, *, trees: int = 200, leaf: int = 2, share: float = 0.3, seed: int = 0):
        self.forest = ExtraTreesRegressor(
            trees, min_samples_leaf=leaf, max_features=share, random_state=seed, n_jobs=1
        )
        self._members = None

    def fit(
        self, x: npt.ArrayLike, y: npt.ArrayLike, weight: npt.ArrayLike | None = None
    ) -> "QuantileForest":
        """Grow the trees; returns self. Raises InputError for shapes that do not fit."""
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        weight = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=float)
        if x.ndim != 2 or y.shape != x.shape[:1] or weight.shape != y.shape or not len(y):
            raise InputError(
                f"x has shape {x.shape}, y {y.shape}, weights {weight.shape}; expected (n, d), "
                "(n,) and (n,) with n above 0"
            )
        if not np.isfinite(y).all() or not (weight > 0).all():
            raise InputError("y must be finite and weights above 0; leave other rows out")
        self.forest.fit(x, y, weight)
        self.y, self.order = y, np.argsort(y, kind="stable")
        self.offsets = np.cumsum([0, *(t.tree_.node_count for t in self.forest.estimators_)])
        inside = self._leaves(x)
        inside = inside.multiply(weight[:, None]).tocsr()
        total = np.asarray(inside.sum(axis=0)).ravel()
        inverse = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
        self._members = inside.multiply(inverse[None]).tocsr()
        return self

    def _leaves(self, x: np.ndarray) -> sparse.csr_matrix:
        """Sparse (n, nodes of all trees), 1 where a row ends."""
        leaves = self.forest.apply(x) + self.offsets[:-1]
        rows = np.repeat(np.arange(len(x)), leaves.shape[1])
        ones = np.ones(leaves.size)
        return sparse.csr_matrix((ones, (rows, leaves.ravel())), (len(x), self.offsets[-1]))

    def weights(self, x: npt.ArrayLike) -> np.ndarray:
        """Weights (m, n) of the n training rows for m new rows x (m, d); each row sums to 1."""
        if self._members is None:
            raise InputError("the forest is not grown yet; call fit first")
        shared = self._leaves(np.asarray(x, dtype=float)) @ self._members.T
        return shared.toarray() / len(self.forest.estimators_)

    def draws(self, x: npt.ArrayLike, count: int = 200) -> np.ndarray:
        """Sorted, equally likely values (m, count): quantiles at (k + 1/2) / count."""
        cumulative = np.cumsum(self.weights(x)[:, self.order], axis=1)
        levels = (np.arange(count) + 0.5) / count
        values = self.y[self.order]
        place = np.stack([np.searchsorted(row, levels - 1e-12) for row in cumulative])
        return values[np.minimum(place, len(values) - 1)]
