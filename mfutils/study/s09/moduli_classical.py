"""The classical models of section 9, one call per fit, on the splits of the networks."""

import time

import numpy as np

from mfutils.crystals import shells
from mfutils.datasets import registry
from mfutils.study.s09 import classical, moduli

__all__ = ["FEATURES", "classical_run"]

FEATURES = {"six": shells.six, "strong": shells.strong}


def classical_run(
    *, dataset, property, name, setting="default", features="six", fold, folds=10, split_seed=0,
    grouped=False, train_size=None, seed=0, count=12,
):  # fmt: skip
    """Fit one classical model on one split of `mfutils.study.s09.moduli.split`.

    Returns a dict: for each of train, validation and test the row numbers rows_<part> and
    predictions <part> (log10 GPa); parameters (the tuned ones) and cpu_seconds.
    """
    data = moduli.load(dataset, property)
    x, y = _inputs(dataset, property, features), data.target
    parts = moduli.split(
        data, fold, folds=folds, seed=split_seed, grouped=grouped, train_size=train_size
    )
    start = time.process_time()
    model, parameters = classical.fit(
        name, setting, x[parts[0]], y[parts[0]], seed=seed, count=count
    )
    result = {"cpu_seconds": time.process_time() - start, "parameters": parameters}
    for part, rows in zip(("train", "validation", "test"), parts, strict=True):
        result |= {f"rows_{part}": rows, part: np.asarray(model.predict(x[rows]), dtype=float)}
    return result


@registry.remembered(maxsize=4)
def _inputs(dataset, property, features):
    return FEATURES[features](moduli.load(dataset, property).table).to_numpy(float)
