"""Buying labels of several fidelities under a budget, and what the targets gain (section 5.2, 3).

A campaign owns some (crystal, fidelity) labels and buys more, each at the cost of its fidelity,
until the next checkpoint; there co-kriging (`mfutils.gp.cokriging`) is fitted anew to all that is
owned and judged by the highest fidelity of the targets, which can never be bought. Rules:

    high        the highest fidelity of a random crystal
    pairs       a random crystal at every fidelity that it has
    cheap first the lowest fidelity of the targets, then pairs: what an expert would do
    variance, variance reduction, information    see `mfutils.gp.information_gain`, per cost

Arguments are plain, for `mfutils.compendium.sweep.run`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mfutils.errors import InputError
from mfutils.gp.cokriging import fit_cokriging
from mfutils.gp.information_gain import RULES, Design
from mfutils.gp.likelihood import factorise

__all__ = ["BASELINES", "CampaignStep", "draw_start", "run_campaign"]

BASELINES = ("high", "pairs", "cheap first")


@dataclass(frozen=True)
class CampaignStep:
    """A checkpoint: the budget and what was spent of it; mean absolute error, mean predicted std
    (eV) and coverage of central 95 % intervals at the targets; labels bought so far per fidelity,
    those of the targets apart."""

    budget: float
    spent: float
    mae: float
    std: float
    coverage: float
    bought: tuple[int, ...]
    bought_at_targets: tuple[int, ...]


def draw_start(
    gap: npt.ArrayLike,
    group: npt.ArrayLike,
    *,
    targets: int,
    pairs: int,
    seed: int,
    cheap_known: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Targets (n,) bool and owned labels (n, L) bool of a campaign on gaps (n, L), NaN = none.

    The targets are about `targets` crystals with the highest fidelity, whole groups (n,) of equal
    composition at a time; `pairs` other crystals are owned at every fidelity that they have.
    cheap_known: the lowest fidelity of every crystal is owned as well. Raises InputError when
    fewer crystals are left than pairs.
    """
    gap, group = np.asarray(gap, dtype=float), np.asarray(group)
    generator = np.random.default_rng([seed, 5])
    chosen = np.zeros(len(gap), dtype=bool)
    has_high = np.isfinite(gap[:, -1])
    for name in generator.permutation(np.unique(group)):
        if chosen.sum() >= targets:
            break
        chosen |= (group == name) & has_high
    complete = np.isfinite(gap).all(axis=1) & ~chosen & ~np.isin(group, group[chosen])
    if complete.sum() < pairs:
        raise InputError(
            f"{complete.sum()} crystals have every fidelity and no target's composition: expected "
            f"at least {pairs}; take fewer pairs or targets"
        )
    owned = np.zeros(gap.shape, dtype=bool)
    owned[generator.permutation(np.flatnonzero(complete))[:pairs]] = True
    if cheap_known:
        owned[:, 0] = np.isfinite(gap[:, 0])
    return chosen, owned


def run_campaign(
    *,
    x: npt.ArrayLike,
    gap: npt.ArrayLike,
    target: npt.ArrayLike,
    owned: npt.ArrayLike,
    cost: npt.ArrayLike,
    rule: str,
    budgets: npt.ArrayLike,
    seed: int,
    noise: list[float | None] | None = None,
) -> list[CampaignStep]:
    """Spend up to each of `budgets` (rising, on top of what is owned) and judge the targets.

    x (n, d) features, gap (n, L) in eV from the lowest to the highest fidelity with NaN where a
    crystal has none, target (n,) bool, owned (n, L) bool, cost (L,), noise: as `fit_cokriging`.
    The start is the first step. Raises InputError for an unknown rule or a target whose highest
    fidelity is owned.
    """
    x, gap = np.asarray(x, dtype=float), np.asarray(gap, dtype=float)
    target, owned = np.asarray(target, dtype=bool), np.array(owned, dtype=bool)
    cost = np.asarray(cost, dtype=float)
    levels = gap.shape[1]
    if rule not in BASELINES + RULES:
        raise InputError(f"rule is {rule!r}: expected one of {', '.join(BASELINES + RULES)}")
    if (owned & ~np.isfinite(gap)).any() or owned[target, -1].any():
        raise InputError(
            "an owned label has no value, or a target owns its highest fidelity, which scores"
        )
    budgets = np.concatenate([[0.0], np.asarray(budgets, dtype=float)])
    if (np.diff(budgets) <= 0).any() or cost.shape != (levels,):
        raise InputError(f"budgets {budgets[1:]} must rise above 0 and need {levels} costs")
    generator = np.random.default_rng([seed, 6])
    queue = _queue(rule, gap, target, generator) if rule in BASELINES else None
    start, spent, model, steps = owned.copy(), 0.0, None, []
    for budget in budgets:
        if budget:
            left = budget - spent
            if queue is not None:
                bought = _from_queue(queue, owned, cost, left)
            else:
                bought = _designed(model, x, gap, target, owned, cost, rule, left)
            for crystal, level in bought:
                owned[crystal, level] = True
                spent += cost[level]
        model = fit_cokriging(
            [x[owned[:, t]] for t in range(levels)],
            [gap[owned[:, t], t] for t in range(levels)],
            noise=noise, base=model, draws=0,
        )  # fmt: skip
        mean, std = model.predict(x[target], noiseless=False)
        error = np.abs(mean - gap[target, -1])
        new = owned & ~start
        steps.append(
            CampaignStep(
                budget=float(budget),
                spent=float(spent),
                mae=float(error.mean()),
                std=float(std.mean()),
                coverage=float((error <= 1.959963984540054 * std).mean()),
                bought=tuple(new[~target].sum(axis=0).tolist()),
                bought_at_targets=tuple(new[target].sum(axis=0).tolist()),
            )
        )
    return steps


def _buyable(gap, target, owned):
    out = np.isfinite(gap) & ~owned
    out[target, -1] = False
    return out


def _queue(rule, gap, target, generator):
    """Items (crystal, level) in the order of a baseline."""
    levels = gap.shape[1]
    pool = generator.permutation(np.flatnonzero(~target & np.isfinite(gap[:, -1])))
    if rule == "high":
        return [(i, levels - 1) for i in pool]
    items = [(i, t) for i in pool for t in range(levels) if np.isfinite(gap[i, t])]
    if rule == "cheap first":
        known = generator.permutation(np.flatnonzero(target & np.isfinite(gap[:, 0])))
        items = [(i, 0) for i in known] + items
    return items


def _from_queue(queue, owned, cost, left):
    """Take items in order while the next one fits; what is owned is passed over."""
    bought = []
    while queue:
        crystal, level = queue[0]
        if not owned[crystal, level]:
            if cost[level] > left + 1e-9:
                break
            left -= cost[level]
            bought.append((crystal, level))
        queue.pop(0)
    return bought


def _designed(model, x, gap, target, owned, cost, rule, left):
    """Items by the closed form, given the covariance that the data so far have taught."""
    levels = gap.shape[1]
    top = np.zeros(gap.shape, dtype=bool)
    top[target, -1] = True
    crystal, level = np.nonzero(np.isfinite(gap) | top)
    covariance, noise = model.prior_covariance(x[crystal], level)
    have = owned[crystal, level]
    aim = target[crystal] & (level == levels - 1)
    available = _buyable(gap, target, owned)[crystal, level]
    # What is owned is conditioned on at once; the design then holds what is left to decide
    inner = covariance[np.ix_(have, have)] + np.diag(noise[have])
    half = factorise(inner).half_solve(np.asfortranarray(covariance[np.ix_(have, aim | available)]))
    crystal, level, noise = (values[aim | available] for values in (crystal, level, noise))
    rest = covariance[np.ix_(aim | available, aim | available)] - half.T @ half
    design = Design(rest, noise, cost[level], np.flatnonzero(aim[aim | available]))
    bought = design.greedy(rule, available[aim | available], left)
    return [(crystal[i], level[i]) for i in bought]
