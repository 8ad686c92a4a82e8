"""Finite Markov decision processes: exact optimum and learning by trial (section 7.8).

In state s an action a earns r(s, a) and leads to s' with probability p(s' | s, a). The best value
satisfies Bellman's equation

    v(s) = max_a q(s, a),   q(s, a) = r(s, a) + gamma sum_s' p(s' | s, a) v(s').

Policy iteration solves it: evaluate a policy by one linear system, improve it greedily, stop when
nothing changes. Value iteration applies the equation until it moves less than a bound. Q-learning
knows neither r nor p: it plays, and moves q(s, a) towards what it saw. What a policy loses
against v is its regret.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import spsolve

from mfutils.compiled import compiled
from mfutils.errors import InputError

__all__ = ["Learning", "Process", "model_based", "q_learning"]


@dataclass(frozen=True, eq=False)
class Process:
    """n states, k actions: transition sparse (n k, n), row s k + a; reward (n, k); discount.

    Rows of transition sum to 1. State `end` is where an episode is over: it leads to itself and
    earns nothing. Raises InputError for other shapes, negative or lacking probability, rewards
    that are not finite, or a discount outside (0, 1).
    """

    transition: sparse.csr_array
    reward: np.ndarray
    discount: float
    end: int

    def __post_init__(self):
        reward = np.asarray(self.reward, dtype=float)
        transition = sparse.csr_array(self.transition)
        transition.sum_duplicates()
        n, k = reward.shape if reward.ndim == 2 else (0, 0)
        if not n or transition.shape != (n * k, n):
            raise InputError(
                f"transition {transition.shape} and reward {reward.shape}; expected (n k, n) and "
                "(n, k) for n states and k actions"
            )
        if not 0 < self.discount < 1:
            raise InputError(f"discount is {self.discount!r}; expected a number in (0, 1)")
        if not np.isfinite(reward).all():
            s, a = np.argwhere(~np.isfinite(reward))[0]
            raise InputError(f"reward of action {a} in state {s} is not finite; correct it")
        total = transition.sum(axis=1)
        bad = np.flatnonzero(np.abs(total - 1) > 1e-9)
        if (transition.data < 0).any() or len(bad):
            row = bad[0] if len(bad) else int(np.argmin(transition.min(axis=1).toarray()))
            raise InputError(
                f"probabilities of action {row % k} in state {row // k} sum to {total[row]:.6g} "
                "or are negative; expected a distribution"
            )
        stays = transition[self.end * k : (self.end + 1) * k, self.end].toarray()
        if not 0 <= self.end < n or (stays < 1 - 1e-9).any() or reward[self.end].any():
            raise InputError(f"state {self.end} must lead to itself and earn 0 to be the end")
        object.__setattr__(self, "transition", transition)
        object.__setattr__(self, "reward", reward)

    def backup(self, value: np.ndarray) -> np.ndarray:
        """Action values q (n, k) of one step before values (n,)."""
        return self.reward + self.discount * (self.transition @ value).reshape(self.reward.shape)

    def evaluate(self, policy: npt.ArrayLike) -> np.ndarray:
        """Values (n,) of a policy (n,) of action numbers, by one sparse linear system."""
        policy = np.asarray(policy)
        n, k = self.reward.shape
        if policy.shape != (n,) or policy.min() < 0 or policy.max() >= k:
            raise InputError(f"policy {policy.shape}; expected {n} actions from 0 to {k - 1}")
        rows = np.arange(n) * k + policy
        matrix = sparse.eye_array(n, format="csr") - self.discount * self.transition[rows]
        return spsolve(matrix.tocsc(), self.reward[np.arange(n), policy])

    def policy_iteration(
        self, *, start: npt.ArrayLike | None = None
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """(values (n,), policy (n,), rounds) of the optimum; an action changes for a real gain."""
        n = len(self.reward)
        policy = np.zeros(n, dtype=int) if start is None else np.asarray(start, dtype=int)
        for rounds in range(1, 1000):
            value = self.evaluate(policy)
            q = self.backup(value)
            best = q.argmax(axis=1)
            gain = q[np.arange(n), best] - q[np.arange(n), policy]
            # Rounding alone must not make the search go round in circles
            better = gain > 1e-10 * (1 + np.abs(value))
            if not better.any():
                return value, policy, rounds
            policy = np.where(better, best, policy)
        raise InputError("policy iteration found no end in 1,000 rounds; check the rewards' scale")

    def value_iteration(
        self, *, tolerance: float = 1e-10, start: npt.ArrayLike | None = None,
        rounds: int = 100_000,
    ) -> np.ndarray:  # fmt: skip
        """Values (n,) within `tolerance` of the optimum, by applying Bellman's equation."""
        value = np.zeros(len(self.reward)) if start is None else np.asarray(start, dtype=float)
        stop = tolerance * (1 - self.discount) / (2 * self.discount)
        for _ in range(rounds):
            new = self.backup(value).max(axis=1)
            change = np.abs(new - value).max()
            value = new
            if change <= stop:
                return value
        raise InputError(f"value iteration still moves by {change:.3g} after {rounds} rounds")


@dataclass(frozen=True, eq=False)
class Learning:
    """A learner's history: episodes (c,) at which q (c, n, k) was kept; returns (episodes,).

    returns are the discounted sums of what each episode earned while it was played.
    """

    episodes: np.ndarray
    q: np.ndarray
    returns: np.ndarray

    def regret(self, process: Process, start: int) -> np.ndarray:
        """v*(start) less the value of the greedy policy at each kept episode, (c,)."""
        best = process.policy_iteration()[0][start]
        loss = [best - process.evaluate(q.argmax(axis=1))[start] for q in self.q]
        return np.maximum(loss, 0.0)


@compiled
def _play(
    pointer, states, cumulative, reward, discount, end, start, q, first, stop,
    explore, decay, rate, power, limit, visits, returns, generator,
):  # fmt: skip
    actions = reward.shape[1]
    for episode in range(first, stop):
        epsilon = explore / (1.0 + episode / decay)
        s, factor, total = start, 1.0, 0.0
        for _ in range(limit):
            a = np.argmax(q[s])
            if generator.random() < epsilon:
                a = int(actions * generator.random())
            row = s * actions + a
            low, high = pointer[row], pointer[row + 1]
            k = low + np.searchsorted(cumulative[low:high], generator.random(), side="right")
            s_next = states[min(k, high - 1)]
            visits[s, a] += 1
            step = rate / visits[s, a] ** power
            goal = reward[s, a] + (0.0 if s_next == end else discount * q[s_next].max())
            q[s, a] += step * (goal - q[s, a])
            total += factor * reward[s, a]
            factor *= discount
            s = s_next
            if s == end:
                break
        returns[episode] = total


def _cumulative(process):
    """Cumulative probabilities within each row of the transition."""
    matrix = process.transition
    total = np.cumsum(matrix.data)
    before = np.concatenate([[0.0], total])[matrix.indptr[:-1]]
    return total - np.repeat(before, np.diff(matrix.indptr))


def _checkpoints(process, start, episodes, checkpoints):
    """The episodes at which q is kept, sorted; InputError when they or the start do not exist."""
    if not (0 <= start < len(process.reward) and episodes >= 1):
        raise InputError(f"start {start}, episodes {episodes}; expected a state and at least 1")
    kept = np.unique(np.fromiter(checkpoints, dtype=int))
    if not len(kept) or kept[0] < 0 or kept[-1] > episodes:
        raise InputError(f"checkpoints must lie between 0 and {episodes} episodes")
    return kept


def q_learning(
    process: Process, *, start: int, episodes: int, checkpoints: Iterable[int],
    explore: float = 0.3, decay: float = math.inf, rate: float = 1.0, power: float = 0.6,
    initial: npt.ArrayLike = 0.0, limit: int = 200, seed: int = 0,
) -> Learning:  # fmt: skip
    """Tabular Q-learning from `start`, with q kept at the episodes `checkpoints`.

    explore is the share of random actions, divided by 1 + episode / decay. The step of the v-th
    visit is rate / v^power. initial is q at the beginning, one number or (n, k); a value above
    what can be earned makes every untried action worth a try. limit ends an episode.
    """
    n, k = process.reward.shape
    kept = _checkpoints(process, start, episodes, checkpoints)
    if not (0 <= explore <= 1 and decay > 0 and rate > 0 and 0 <= power <= 1):
        raise InputError("expected explore and power in [0, 1], decay and rate > 0")
    q = np.broadcast_to(np.asarray(initial, dtype=float), (n, k)).copy()
    q[process.end] = 0.0
    visits, returns = np.zeros((n, k)), np.zeros(episodes)
    matrix, cumulative = process.transition, _cumulative(process)
    generator, snapshots, done = np.random.default_rng(seed), [], 0
    for stop in [*kept, episodes]:
        _play(
            matrix.indptr, matrix.indices, cumulative, process.reward, process.discount,
            process.end, start, q, done, stop, float(explore), float(decay), float(rate),
            float(power), limit, visits, returns, generator,
        )  # fmt: skip
        done = stop
        snapshots.append(q.copy())
    return Learning(kept, np.array(snapshots[: len(kept)]), returns)


def model_based(
    process: Process, *, start: int, episodes: int, checkpoints: Iterable[int], optimism: float,
    trials: int = 1, every: int = 1, limit: int = 200, seed: int = 0,
) -> Learning:  # fmt: skip
    """Learning that counts transitions, plans in the counted model and acts on the plan.

    An action tried fewer than `trials` times is taken to earn `optimism` and end (as in R-max),
    so that the plan itself leads to what is not known yet. It plans every `every` episodes.
    """
    n, k = process.reward.shape
    kept = _checkpoints(process, start, episodes, checkpoints)
    generator = np.random.default_rng(seed)
    matrix, cumulative = process.transition, _cumulative(process)
    counts = sparse.dok_array((n * k, n))
    tried, returns, snapshots = np.zeros((n, k)), np.zeros(episodes), []
    value = np.zeros(n)
    for episode in range(episodes + 1):
        if episode % every == 0 or episode in kept:
            q, value = _plan(process, counts, tried, trials, optimism, value)
        if episode in kept:
            snapshots.append(q.copy())
        if episode == episodes:
            break
        s, factor = start, 1.0
        for _ in range(limit):
            a = int(q[s].argmax())
            low, high = matrix.indptr[s * k + a : s * k + a + 2]
            hit = np.searchsorted(cumulative[low:high], generator.random(), side="right")
            after = int(matrix.indices[min(low + hit, high - 1)])
            counts[s * k + a, after] += 1
            tried[s, a] += 1
            returns[episode] += factor * process.reward[s, a]
            factor *= process.discount
            s = after
            if s == process.end:
                break
    return Learning(kept, np.array(snapshots), returns)


def _plan(process, counts, tried, trials, optimism, value):
    """(q, values) of the counted model, from the last plan's values on."""
    n, k = process.reward.shape
    known = tried >= trials
    share = counts.tocsr()
    scale = np.zeros(n * k)
    scale[known.ravel()] = 1 / tried[known]
    share = sparse.diags_array(scale) @ share
    reward = np.where(known, process.reward, optimism)
    reward[process.end] = 0.0
    for _ in range(1000):
        q = reward + process.discount * (share @ value).reshape(n, k)
        new = q.max(axis=1)
        change = np.abs(new - value).max()
        value = new
        if change < 1e-6:
            break
    return q, value
