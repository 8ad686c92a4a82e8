"""What a measurement tells about a set of targets, per cost, in closed form (section 5.2, 3).

Items are values that could be bought: a point at a fidelity. Under a Gaussian process with fixed
hyperparameters their joint covariance S is known before anything is bought, and buying item j with
noise variance v changes it by a rank-one update, S <- S - S_j S_j' / (S_jj + v). So, for targets T,

    variance reduction   sum_t S_tj^2 / (S_jj + v) / |T|       of the mean variance of the targets,
    information          I(y_j; f_T) = 1/2 log (S_jj + v) / (S_jj|T + v)       in nats,

where S|T is the covariance once the targets are known too. Both take every fidelity alike: a cheap
value counts by what it says about the expensive one (`CoKriging.prior_covariance` gives S). No
label enters, so as long as the hyperparameters stay, the choice could be made before the first
measurement.
"""

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError

__all__ = ["RULES", "Design"]

RULES = ("variance", "variance reduction", "information")
# Share of the prior variance that a target keeps when it counts as known: smooth kernels are
# singular to rounding without it
_JITTER = 1e-6


class Design:
    """Posterior covariance of items, updated as they are bought.

    covariance (n, n) of the noise-free values, noise (n,) variances of a measurement, cost
    (n,) > 0, targets: numbers of the items to learn about. Raises InputError for shapes that do
    not fit, costs that are not positive, negative noise or no targets.
    """

    def __init__(
        self,
        covariance: npt.ArrayLike,
        noise: npt.ArrayLike,
        cost: npt.ArrayLike,
        targets: npt.ArrayLike,
    ):
        self.covariance = np.array(covariance, dtype=float)
        n = len(self.covariance)
        self.noise, self.cost = np.asarray(noise, dtype=float), np.asarray(cost, dtype=float)
        self.targets = np.asarray(targets, dtype=int)
        if self.covariance.shape != (n, n) or self.noise.shape != (n,) or self.cost.shape != (n,):
            raise InputError(
                f"covariance {self.covariance.shape}, noise {self.noise.shape} and cost "
                f"{self.cost.shape}: expected (n, n), (n,) and (n,)"
            )
        if not (self.cost > 0).all() or not (self.noise >= 0).all():
            raise InputError("a cost is not positive or a noise variance negative; check both")
        if not len(self.targets) or self.targets.min() < 0 or self.targets.max() >= n:
            raise InputError(f"targets {self.targets}: expected item numbers from 0 to {n - 1}")
        self._floor = _JITTER * float(np.diagonal(self.covariance).mean())
        self._informed = self.covariance.copy()
        for target in self.targets:
            _update(self._informed, target, self._floor)

    def buy(self, item: int | np.integer) -> None:
        """Account for a measurement of the item; its value is not needed."""
        for matrix in (self.covariance, self._informed):
            _update(matrix, item, max(self.noise[item], self._floor))

    def score(self, rule: str) -> np.ndarray:
        """What each item (n,) is worth, not yet per cost.

        "variance" is the variance of the value itself, "variance reduction" and
        "information" are those of the module. Raises InputError for an unknown rule.
        """
        noise = np.maximum(self.noise, self._floor)
        total = np.maximum(np.diagonal(self.covariance), 0.0) + noise
        if rule == "variance":
            return total - noise
        if rule == "variance reduction":
            return np.square(self.covariance[self.targets]).mean(axis=0) / total
        if rule == "information":
            rest = np.maximum(np.diagonal(self._informed), 0.0) + noise
            return 0.5 * np.log(np.maximum(total / rest, 1.0))
        raise InputError(f"rule is {rule!r}: expected one of {', '.join(RULES)}")

    def greedy(self, rule: str, available: npt.ArrayLike, budget: float) -> list[int]:
        """Buy the available item of the largest score per cost until nothing fits the budget.

        available (n,) bool. Returns the items in order; they are bought in this design.
        """
        left, bought = np.array(available, dtype=bool), []
        while (fits := left & (self.cost <= budget + 1e-9)).any():
            value = np.where(fits, self.score(rule) / self.cost, -np.inf)
            item = int(value.argmax())
            self.buy(item)
            left[item] = False
            budget -= self.cost[item]
            bought.append(item)
        return bought


def _update(matrix, item, noise):
    """Condition a covariance on a measurement, in place."""
    column = matrix[item].copy()
    matrix -= np.outer(column, column / (column[item] + noise))
