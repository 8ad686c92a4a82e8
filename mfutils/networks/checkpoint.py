"""A training run on disk, so that a killed run goes on where it stopped.

The file holds weights, optimiser state, the best weights so far and the history, as tensors and
plain values, under the SHA-256 of everything that determines the run: settings, first weights,
graphs and labels. A checkpoint of another run is refused, never continued.
"""

import dataclasses
import hashlib
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mfutils import files
from mfutils.errors import InputError
from mfutils.networks.trained_model import read_tensors

__all__ = ["Checkpoint", "run_key"]

_FORMAT = "mfutils checkpoint 1"


class Checkpoint:
    """The state of a run of `training.fit` on disk, under a key of all that determines it."""

    def __init__(self, path: Path, run: Any, every: float) -> None:
        self.path, self.run, self.every = path, run, every
        self.key = run_key(run)
        if path.exists():
            self._read()
        self._written = time.monotonic()

    def maybe_write(self) -> None:
        """Write when the last time is long ago."""
        if time.monotonic() - self._written >= self.every:
            self.write()

    def write(self) -> None:
        """Write the state in one step."""
        run = self.run
        content = {
            "format": _FORMAT,
            "key": self.key,
            "model": run.model.state_dict(),
            "optimizer": run.optimizer.state_dict(),
            "epoch": run.epoch,
            "best": [run.best_epoch, run.best_mae],
            "best_state": run.best_state,
            "history": run.history,
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        files.write_bytes(self.path, buffer.getvalue())
        self._written = time.monotonic()

    def _read(self):
        content = read_tensors(self.path, _FORMAT)
        if content["key"] != self.key:
            raise InputError(
                f"{self.path}: checkpoint of another run (other data, model or settings); delete "
                "it or give another path"
            )
        run = self.run
        run.model.load_state_dict(content["model"])
        run.optimizer.load_state_dict(content["optimizer"])
        run.epoch, run.history = content["epoch"], content["history"]
        run.best_epoch, run.best_mae = content["best"]
        run.best_state = content["best_state"]


def run_key(run: Any) -> str:
    """Hex SHA-256 of settings, initial weights, graphs and labels."""
    digest = hashlib.sha256()
    plain = [dataclasses.asdict(run.settings), run.model.config, dataclasses.asdict(run.scaler)]
    digest.update(json.dumps(plain, sort_keys=True, default=str).encode())
    arrays = [run.dataset.numbers, run.dataset.distance]
    for part in (run.train, run.validation):
        for name in ("index", "target", "fidelity", "weight"):
            value = None if part is None else getattr(part, name)
            arrays.append(np.zeros(0) if value is None else value)
    for value in [*arrays, *(v.cpu().numpy() for v in run.model.state_dict().values())]:
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()
