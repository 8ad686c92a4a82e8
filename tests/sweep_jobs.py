"""Importable functions for the tests of the sweep (worker processes import them by name)."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mfutils import files
from mfutils.datasets import registry


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


@dataclass(frozen=True)
class Outcome:
    value: int
    powers: list[int]


def outcome(value):
    return Outcome(value, [value, value**2])


@registry.remembered(maxsize=1)
def loaded():
    return float(registry.path("small").read_text())


def times_data(factor, log):
    """factor times the number in the registered file `small`; a line in `log` per computation."""
    with open(log, "a", encoding="utf-8") as handle:
        handle.write(f"{factor}\n")
    return factor * loaded()


def number_in(file, log):
    """The number in an original; a line in `log` per computation."""
    with open(log, "a", encoding="utf-8") as handle:
        handle.write("computed\n")
    registry.note(Path(file), sha256=files.sha256_of(Path(file)))
    return float(Path(file).read_text())
