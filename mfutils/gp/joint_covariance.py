"""One Gaussian process over several fidelities: the covariances behind co-kriging (section 4.1).

Kennedy and O'Hagan (2000): f_t(x) = rho_t f_{t-1}(x) + delta_t(x), level by level, with independent
processes delta_t (delta_0 = f_0). So f_t = sum_s c_ts delta_s with c_ts = rho_{s+1} ... rho_t, and
cov(f_t(x), f_u(x')) = sum_s c_ts c_us s_s^2 r_s(x, x'). Each level has its own noise. Inputs need
not be nested: the covariance is defined for any set of points at any levels. With
`pooled=True` all levels see the same function and differ in their noise alone.
"""

import numpy as np

from mfutils.gp.kernels import Pullback, make_kernel

__all__ = ["JointCovariance", "Layout"]


class Layout:
    """Where each parameter of a joint model sits in the vector theta of logs (rho is plain).

    Order: for every component its lengthscales and log signal std; then rho_1...; then the log
    std of the constant shift of each level above the lowest; then per level the log noise std;
    then, with proportional noise, per level the log of its relative part.
    """

    def __init__(
        self, levels: int, lengthscales: int, *, pooled: bool = False, proportional: bool = False
    ):
        self.levels, self.components = levels, 1 if pooled else levels
        at = 0
        self.scale, self.signal = [], []
        for _ in range(self.components):
            self.scale.append(slice(at, at + lengthscales))
            self.signal.append(at + lengthscales)
            at += lengthscales + 1
        self.rho = slice(at, at + self.components - 1)
        self.shift = slice(self.rho.stop, self.rho.stop + self.components - 1)
        at = self.shift.stop
        self.noise = slice(at, at + levels)
        at += levels
        self.relative = slice(at, at + (levels if proportional else 0))
        self.size = self.relative.stop

    def factors(self, theta: np.ndarray) -> np.ndarray:
        """c (levels, components): how much of component s enters level t."""
        rho = theta[self.rho]
        out = np.zeros((self.levels, self.components))
        for t in range(self.levels):
            for s in range(min(t + 1, self.components)):
                out[t, s] = np.prod(rho[s:t])
        return out

    def factors_by_rho(self, theta: np.ndarray) -> np.ndarray:
        """d c / d rho: (number of rho, levels, components)."""
        rho = theta[self.rho]
        out = np.zeros((len(rho), self.levels, self.components))
        for k in range(len(rho)):
            for t in range(k + 1, self.levels):
                for s in range(k + 1):
                    out[k, t, s] = np.prod(np.delete(rho[s:t], k - s))
        return out


class JointCovariance:
    """Covariance of y at stacked points x (n, d) with levels (n,), for `likelihood.maximise`.

    trend: prior std of the constant part of the lowest level; rho scales it like the rest. Every
    delta has a constant part too, whose std is a parameter. magnitude (n,): |f| at each point
    when the noise of a level grows with it, variance = a + b f^2; None keeps it constant.
    """

    def __init__(
        self,
        x: np.ndarray,
        level: np.ndarray,
        *,
        kernel: str = "rbf",
        ard: bool = False,
        pooled: bool = False,
        magnitude: np.ndarray | None = None,
        trend: float = 0.0,
    ):
        self.x, self.level = x, level
        levels = int(level.max()) + 1
        self._rows = [np.flatnonzero(level >= s) for s in range(1 if pooled else levels)]
        self._kernels = [make_kernel(kernel, x[rows], ard=ard) for rows in self._rows]
        self.layout = Layout(
            levels,
            self._kernels[0].n_parameters,
            pooled=pooled,
            proportional=magnitude is not None,
        )
        self._square = None if magnitude is None else np.square(magnitude)
        self._trend = float(trend)
        self._options = {"kernel": kernel, "ard": ard, "pooled": pooled, "trend": trend}

    def at(self, x: np.ndarray, level: np.ndarray) -> "JointCovariance":
        """The same law at other points x (m, d) and levels (m,), where noise is constant."""
        return JointCovariance(x, level, **self._options)

    def _constants(self, theta):
        """Variance of the constant part of each component."""
        return np.concatenate([[self._trend**2], np.exp(2.0 * theta[self.layout.shift])])

    def noise(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Noise variance of each level, and its relative part (zeros when noise is constant)."""
        lay = self.layout
        relative = np.exp(2.0 * theta[lay.relative]) if self._square is not None else 0.0
        return np.exp(2.0 * theta[lay.noise]), np.broadcast_to(relative, (lay.levels,))

    def matrix(self, theta: np.ndarray) -> np.ndarray:
        """Covariance (n, n) of y, noise included."""
        return self.evaluate(theta)[0]

    def evaluate(self, theta: np.ndarray) -> tuple[np.ndarray, Pullback]:
        """The matrix (n, n), and its pullback as that of a `kernels.Kernel`."""
        lay = self.layout
        factors, constants = lay.factors(theta), self._constants(theta)
        n = len(self.x)
        out = np.zeros((n, n))
        # Per component: its rows, their factors c, its variance s^2, its shape r and the pullback
        parts = []
        for s, rows in enumerate(self._rows):
            shape, pull = self._kernels[s].evaluate(theta[lay.scale[s]])
            factor, signal = factors[self.level[rows], s], np.exp(2.0 * theta[lay.signal[s]])
            parts.append((rows, factor, signal, shape, pull))
            block = signal * shape
            block += constants[s]
            block *= factor[:, None]
            block *= factor
            if len(rows) == n:
                out += block
            else:
                out[np.ix_(rows, rows)] += block
        floor, relative = self.noise(theta)
        extra = floor[self.level]
        if self._square is not None:
            extra = extra + relative[self.level] * self._square
        out[np.diag_indices(n)] += extra

        def pullback(weight):
            slope = np.zeros(lay.size)
            by_factor = np.zeros((lay.levels, lay.components))
            for s, (rows, factor, signal, shape, pull) in enumerate(parts):
                part = weight if len(rows) == n else weight[np.ix_(rows, rows)]
                scaled = part * factor[:, None] * factor
                slope[lay.scale[s]] = signal * pull(scaled)
                slope[lay.signal[s]] = 2.0 * signal * np.vdot(scaled, shape)
                if s:
                    slope[lay.shift.start + s - 1] = 2.0 * constants[s] * scaled.sum()
                if lay.components > 1:
                    change = 2.0 * ((part * (signal * shape + constants[s])) @ factor)
                    np.add.at(by_factor[:, s], self.level[rows], change)
            for k, change in enumerate(lay.factors_by_rho(theta)):
                slope[lay.rho.start + k] = np.sum(change * by_factor)
            diagonal, member = np.diagonal(weight), self.level[:, None] == np.arange(lay.levels)
            slope[lay.noise] = 2.0 * floor * (diagonal @ member)
            if self._square is not None:
                slope[lay.relative] = 2.0 * relative * ((diagonal * self._square) @ member)
            return slope

        return out, pullback

    def cross(self, theta: np.ndarray, x_new: np.ndarray, target: int) -> np.ndarray:
        """Covariance of f_target at x_new (m, d) with the data (m, n)."""
        lay = self.layout
        factors, constants = lay.factors(theta), self._constants(theta)
        out = np.zeros((len(x_new), len(self.x)))
        for s, rows in enumerate(self._rows[: target + 1]):
            shape = self._kernels[s].cross(theta[lay.scale[s]], x_new)
            block = np.exp(2.0 * theta[lay.signal[s]]) * shape + constants[s]
            out[:, rows] += factors[target, s] * factors[self.level[rows], s] * block
        return out

    def diagonal(self, theta: np.ndarray, x_new: np.ndarray, target: int) -> np.ndarray:
        """Prior variance of f_target at x_new: (m,)."""
        lay = self.layout
        factors, constants = lay.factors(theta), self._constants(theta)
        out = np.zeros(len(x_new))
        for s, kernel in enumerate(self._kernels[: target + 1]):
            prior = kernel.diagonal(theta[lay.scale[s]], x_new)
            variance = np.exp(2.0 * theta[lay.signal[s]]) * prior + constants[s]
            out += factors[target, s] ** 2 * variance
        return out
