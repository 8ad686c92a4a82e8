"""All leave-one-out networks of section 3.1 in one batch, against the loop that trains one by one.

Both sides train 63 folds times 20 seeds by the study's protocol (patience on the held-out row).
The loop is the usual one: torch.nn layers, torch.optim.Adam, one fold after the other. In every
round the batch trains all seeds and the loop another one of them, whose time is scaled to all by
the epochs. Times are CPU times of one thread, so a busy machine does not bend the ratio.
"""

import argparse
import json
import statistics
import time

import numpy as np
import torch
from turns import entry

from mfutils.datasets import battery
from mfutils.study.s03_1 import folds as cv
from mfutils.study.s03_1 import mlp

SEEDS = range(42, 62)
# Largest difference allowed between the two sides, Wh/kg; the energies span 0.2 to 496
TOLERANCE = 0.05
PATIENCE = 10


def train_one(network, x, y, fold):
    """Train one network without row `fold`; returns (epochs, prediction of that row)."""
    keep = torch.arange(len(y)) != fold
    x_train, y_train = x[keep], y[keep]
    x_held, y_held = x[fold : fold + 1], y[fold]
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    best, left, epochs = float("inf"), PATIENCE, 0
    while left:
        loss = torch.nn.functional.mse_loss(network(x_train).squeeze(1), y_train)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        epochs += 1
        with torch.no_grad():
            held = network(x_held).squeeze()
        error = float(torch.abs(held - y_held))
        best, left = (error, PATIENCE) if error < best else (best, left - 1)
    return epochs, float(held)


def loop(x, y, seed):
    """All folds of one seed, one after the other: (epochs (n,), predictions (n,))."""
    torch.manual_seed(seed)
    results = []
    for fold in range(len(y)):
        network = torch.nn.Sequential(torch.nn.Linear(9, 4), torch.nn.ELU(), torch.nn.Linear(4, 1))
        results.append(train_one(network, x, y, fold))
    epochs, predictions = zip(*results, strict=True)
    return np.array(epochs), np.array(predictions)


def batch(x, y, held_out):
    """All folds of all seeds at once: (epochs (seeds, n), predictions (seeds, n))."""
    start = mlp.initialise(SEEDS, per_seed=len(y))
    stacked = np.tile(held_out, (len(SEEDS), 1))
    watched = mlp.train_watched(start, x, y, held_out=stacked, patience=PATIENCE)
    shape = (len(SEEDS), len(y), len(y))
    return watched.epochs.reshape(shape[:2]), cv.collect(
        watched.predictions.reshape(shape), held_out
    )


def cpu_time(call):
    """(result of a call, its CPU seconds)."""
    begin = time.process_time()
    return call(), time.process_time() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="each runs the loop for one seed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    x, y = battery.features(battery.load())
    x32, y32 = torch.as_tensor(x).float(), torch.as_tensor(y).float()
    held_out = cv.leave_one_out(len(y))
    batch(x, y, held_out)  # warm up
    ours_s, peer_s, peer_epochs, gaps = [], [], [], []
    for place, seed in enumerate(list(SEEDS)[: options.rounds]):
        (epochs, ours), seconds = cpu_time(lambda: batch(x, y, held_out))
        ours_s.append(seconds)
        (counted, theirs), seconds = cpu_time(lambda seed=seed: loop(x32, y32, seed))
        # To all seeds by their epochs, which the batched run counts exactly
        peer_s.append(seconds * epochs.sum() / counted.sum())
        peer_epochs.append(int(counted.sum()))
        gaps.append(100 * np.abs(ours[place] - theirs).max())
    if max(gaps) > TOLERANCE:
        raise SystemExit(f"error: predictions differ by {max(gaps):.3g} Wh/kg, over {TOLERANCE}")
    name = (
        f"torch.nn + torch.optim.Adam loop, {len(peer_s)} of {len(SEEDS)} seeds run, scaled by "
        f"epochs ({sum(peer_epochs):,} of {epochs.sum():,})"
    )
    equal_to = f"{max(gaps):.2g} Wh/kg on held-out predictions (tolerance {TOLERANCE})"
    times = statistics.median(ours_s), statistics.median(peer_s)
    print(json.dumps(entry("mlp_loo_vs_loop", *times, name, equal_to), indent=1))


if __name__ == "__main__":
    main()
