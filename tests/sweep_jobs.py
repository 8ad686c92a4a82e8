"""Importable functions for the tests of the sweep (worker processes import them by name)."""

import os
import time
from pathlib import Path

import numpy as np


def square(value, log=None):
    """value squared; leaves one line per real computation in the file `log`."""
    if log is not None:
        with open(log, "a", encoding="utf-8") as handle:
            handle.write(f"{value} {os.getpid()}\n")
    return {"value": value * value}


def fragile(value, gate):
    """Fails for value 3 until the file `gate` exists."""
    if value == 3 and not Path(gate).exists():
        raise RuntimeError("the machine went away")
    return value


def total(array):
    return float(array.sum())


def slow_fit(seed, folder, seconds):
    """A fitted Gaussian process on made data; leaves files <seed>.<pid>.begun and .done."""
    from mfutils.gp.exact import fit_gp

    mark = Path(folder) / f"{seed}.{os.getpid()}"
    mark.with_suffix(f"{mark.suffix}.begun").touch()
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(30, 2))
    model = fit_gp(x, np.sin(5 * x[:, 0]) + rng.normal(0, 0.1, 30), seed=seed)
    time.sleep(seconds)
    mark.with_suffix(f"{mark.suffix}.done").touch()
    return np.stack(model.predict(x))


def sleep(seconds, folder):
    """Sleeps; leaves a file named after the process."""
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(seconds)
