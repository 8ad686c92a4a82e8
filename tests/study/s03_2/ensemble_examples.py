"""A made ensemble: two fidelities, one that knows metals and one that gives each a gap."""

import numpy as np

from mfutils.study.s03_2.ensembles import Ensemble


def made(m=6, n=80, seed=0, fidelities=("hse", "gllb-sc")) -> Ensemble:
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 2, rng.uniform(1, 5, n), 0.0)
    bias = {"hse": 0.0, "pbe": -0.1, "scan": 0.6, "gllb-sc": 1.5}
    mean, std = {}, {}
    for kind in ("network", "z-score", "exact", "sparse"):
        mean[kind] = {f: y + bias[f] * (y == 0) + rng.normal(0, 0.4, (m, n)) for f in fidelities}
        std[kind] = {f: rng.uniform(0.4, 0.9, (m, n)) for f in fidelities}
    std = {kind: std[kind] for kind in ("exact", "sparse")}
    group = np.array([f"A{i // 2}" for i in range(n)])
    return Ensemble("made", y, group, mean, std, std)
