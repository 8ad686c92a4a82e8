"""One Gaussian process over several fidelities: the covariances behind co-kriging (section 4.1).

Kennedy and O'Hagan (2000): f_t(x) = rho_t f_{t-1}(x) + delta_t(x), level by level, with independent
processes delta_t (delta_0 = f_0). So f_t = sum_s c_ts delta_s with c_ts = rho_{s+1} ... rho_t, and
cov(f_t(x), f_u(x')) = sum_s c_ts c_us s_s^2 r_s(x, x'). Each level has its own noise. Inputs need
not be nested: the covariance is defined for any set of points at any levels. With
`pooled=True` all levels see the same function and differ in their noise alone.
"""

import numpy as np

from mfutils.gp.kernels import make_kernel

__all__ = ["JointCovariance", "Layout"]


class Layout:
    """Where each parameter of a joint model sits in the vector theta of logs (rho is plain).

    Order: for every component its lengthscales and log signal std; then rho_1...; then the log
    std of the constant shift of each level above the lowest; then per level the log noise std;
    then, with proportional noise, per level the log of its relative part.
    """

    def __init__(self, levels, lengthscales, *, pooled=False, proportional=False):
        self.levels, self.components = levels, 1 if pooled else levels
        self.width = lengthscales
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

    def factors(self, theta):
        """c (levels, components): how much of component s enters level t."""
        rho = theta[self.rho]
        out = np.zeros((self.levels, self.components))
        for t in range(self.levels):
            for s in range(min(t + 1, self.components)):
                out[t, s] = np.prod(rho[s:t])
        return out

    def factors_by_rho(self, theta):
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
        self, x, level, *, kernel="rbf", ard=False, pooled=False, magnitude=None, trend=0.0
    ):
        self.x, self.level = x, level
        levels = int(level.max()) + 1
        self.rows = [np.flatnonzero(level >= s) for s in range(1 if pooled else levels)]
        self.kernels = [make_kernel(kernel, np.ascontiguousarray(x[r]), ard=ard) for r in self.rows]
        self.layout = Layout(
            levels,
            self.kernels[0].n_parameters,
            pooled=pooled,
            proportional=magnitude is not None,
        )
        self.square = None if magnitude is None else np.square(magnitude)
        self.trend = float(trend)
        self.member = level[:, None] == np.arange(levels)

    def constants(self, theta):
        """Variance of the constant part of each component."""
        return np.concatenate([[self.trend**2], np.exp(2.0 * theta[self.layout.shift])])

    def noise(self, theta):
        """Noise variance of each level, and its relative part (zeros when noise is constant)."""
        lay = self.layout
        relative = np.exp(2.0 * theta[lay.relative]) if self.square is not None else 0.0
        return np.exp(2.0 * theta[lay.noise]), np.broadcast_to(relative, (lay.levels,))

    def matrix(self, theta):
        lay = self.layout
        self._theta, self._factors = theta, lay.factors(theta)
        self._constants = self.constants(theta)
        n = len(self.x)
        out = np.zeros((n, n))
        self._shape = []
        for s in range(lay.components):
            shape = self.kernels[s].matrix(theta[lay.scale[s]])
            self._shape.append(shape)
            rows = self.rows[s]
            weight = self._factors[self.level[rows], s]
            block = np.exp(2.0 * theta[lay.signal[s]]) * shape
            block += self._constants[s]
            block *= weight[:, None]
            block *= weight
            if len(rows) == n:
                out += block
            else:
                out[np.ix_(rows, rows)] += block
        floor, relative = self.noise(theta)
        extra = floor[self.level]
        if self.square is not None:
            extra = extra + relative[self.level] * self.square
        out[np.diag_indices(n)] += extra
        return out

    def contract(self, weight):
        """Gradient of sum(weight * matrix) by theta."""
        lay, theta = self.layout, self._theta
        out = np.zeros(lay.size)
        by_factor = np.zeros((lay.levels, lay.components))
        for s in range(lay.components):
            rows = self.rows[s]
            part = weight if len(rows) == len(self.x) else weight[np.ix_(rows, rows)]
            factor = self._factors[self.level[rows], s]
            signal = np.exp(2.0 * theta[lay.signal[s]])
            scaled = part * factor[:, None] * factor
            out[lay.scale[s]] = signal * self.kernels[s].contract(scaled)
            out[lay.signal[s]] = 2.0 * signal * np.vdot(scaled, self._shape[s])
            if s:
                out[lay.shift.start + s - 1] = 2.0 * self._constants[s] * scaled.sum()
            if lay.components > 1:
                pull = 2.0 * ((part * (signal * self._shape[s] + self._constants[s])) @ factor)
                np.add.at(by_factor[:, s], self.level[rows], pull)
        for k, change in enumerate(lay.factors_by_rho(theta)):
            out[lay.rho.start + k] = np.sum(change * by_factor)
        diagonal = np.diagonal(weight)
        floor, relative = self.noise(theta)
        out[lay.noise] = 2.0 * floor * (diagonal @ self.member)
        if self.square is not None:
            out[lay.relative] = 2.0 * relative * ((diagonal * self.square) @ self.member)
        return out

    def cross(self, theta, x_new, target):
        """Covariance of f_target at x_new (m, d) with the data (m, n)."""
        lay = self.layout
        factors, constants = lay.factors(theta), self.constants(theta)
        out = np.zeros((len(x_new), len(self.x)))
        for s in range(min(target + 1, lay.components)):
            rows = self.rows[s]
            shape = self.kernels[s].cross(theta[lay.scale[s]], x_new)
            block = np.exp(2.0 * theta[lay.signal[s]]) * shape + constants[s]
            out[:, rows] += factors[target, s] * factors[self.level[rows], s] * block
        return out

    def diagonal(self, theta, x_new, target):
        """Prior variance of f_target at x_new: (m,)."""
        lay = self.layout
        factors, constants = lay.factors(theta), self.constants(theta)
        out = np.zeros(len(x_new))
        for s in range(min(target + 1, lay.components)):
            prior = self.kernels[s].diagonal(theta[lay.scale[s]], x_new)
            variance = np.exp(2.0 * theta[lay.signal[s]]) * prior + constants[s]
            out += factors[target, s] ** 2 * variance
        return out
