"""A trained graph network with everything needed to use it: graphs, scaler, target and unit.

The network predicts standardised targets z; what counts is y = mean + std z in the unit of the
target. That last step is easily forgotten, so the scaler travels with the weights, in memory and
in the file. A file holds tensors and plain values
only and is read without running any code from it.
"""

import io
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from mfutils import files
from mfutils.crystals.graph_data import GraphDataset
from mfutils.errors import DataError, InputError
from mfutils.networks.architectures import build_model
from mfutils.networks.base import GraphModel
from mfutils.networks.labels import TargetScaler

__all__ = ["TrainedModel", "load_model"]

_FORMAT = "mfutils graph model 1"
_CHECKED = ("architecture", "cutoff", "max_neighbors", "fidelities", "target", "unit")


@dataclass(eq=False)
class TrainedModel:
    """A GraphModel with the scaler and meaning of its target, made by `training.fit`.

    history holds one list per recorded quantity, one entry per epoch; best_epoch (from 0) and
    validation_mae (unit of the target) belong to the weights that are kept.
    """

    model: GraphModel
    scaler: TargetScaler
    target: str = "target"
    unit: str = ""
    best_epoch: int = -1
    validation_mae: float = float("nan")
    history: dict = field(default_factory=dict)

    def predict(
        self, dataset: GraphDataset, index: npt.ArrayLike | None = None, *,
        fidelity: npt.ArrayLike | None = None, batch_size: int = 256, standardised: bool = False,
    ) -> np.ndarray:  # fmt: skip
        """Predictions (n,) float64 in the unit of the target, for graphs `index` (default: all).

        fidelity is one name or n names for a model of several. standardised=True returns z, as
        the network gives it.
        """
        z = self._evaluate(self.model, dataset, index, fidelity, batch_size)
        return z if standardised else self.scaler.inverse(z)

    def descriptor(
        self, dataset: GraphDataset, index: npt.ArrayLike | None = None, *,
        fidelity: npt.ArrayLike | None = None, batch_size: int = 256,
    ) -> np.ndarray:  # fmt: skip
        """Descriptors (n, d) float64 of the graphs `index` (default: all)."""
        return self._evaluate(self.model.descriptor, dataset, index, fidelity, batch_size)

    @torch.no_grad()
    def _evaluate(self, function, dataset, index, fidelity, batch_size):
        self.model.check_dataset(dataset)
        index = np.arange(len(dataset)) if index is None else np.asarray(index)
        codes = self.model.codes(fidelity, len(index))
        device = next(self.model.parameters()).device
        training = self.model.training
        self.model.eval()
        try:
            parts = []
            for first in range(0, len(index), batch_size):
                part = slice(first, first + batch_size)
                batch = dataset.batch(index[part]).to_torch(device)
                extra = () if codes is None else (torch.from_numpy(codes[part]).to(device),)
                parts.append(function(batch, *extra).double().cpu().numpy())
        finally:
            self.model.train(training)
        if not parts:
            raise InputError("no graphs to predict: the index is empty")
        return np.concatenate(parts)

    def save(self, path: str | Path) -> None:
        """Write the model file `path` in one step."""
        content = {
            "format": _FORMAT,
            "architecture": self.model.architecture,
            "config": {**self.model.config, "fidelities": list(self.model.fidelities)},
            "state": self.model.state_dict(),
            "scaler": [self.scaler.mean, self.scaler.std],
            "target": self.target,
            "unit": self.unit,
            "best_epoch": self.best_epoch,
            "validation_mae": self.validation_mae,
            "history": self.history,
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        files.write_bytes(Path(path), buffer.getvalue())


def load_model(path: str | Path, **expected) -> TrainedModel:
    """The TrainedModel in the file `path`; no code from the file is run.

    Any of cutoff, max_neighbors, fidelities, architecture, target and unit can be given as
    expected and must then agree with the file. Raises DataError with one line when the file is
    missing, is no model file, was cut short, or disagrees.
    """
    unknown = set(expected) - set(_CHECKED)
    if unknown:
        raise InputError(f"{min(unknown)} cannot be checked; expected {', '.join(_CHECKED)}")
    content = read_tensors(path, _FORMAT)
    try:
        model = build_model(content["architecture"], **content["config"])
        stated = {name: getattr(model, name) for name in _CHECKED[:4]}
        stated |= {name: content[name] for name in _CHECKED[4:]}
        for name, value in expected.items():
            value = tuple(value) if name == "fidelities" else value
            if stated[name] != value:
                raise DataError(
                    f"{path}: {name} is {stated[name]!r}, expected {value!r}; use the model that "
                    "was trained for it, or train one"
                )
        model.load_state_dict(content["state"])
        return TrainedModel(
            model.eval(),
            TargetScaler(*map(float, content["scaler"])),
            content["target"],
            content["unit"],
            content["best_epoch"],
            content["validation_mae"],
            content["history"],
        )
    except DataError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise DataError(
            f"{path}: not a usable model file ({_one_line(error)}); train the model again"
        ) from error


def read_tensors(path: str | Path, kind: str) -> dict:
    """The dict in a file of tensors and plain values with "format" `kind`; or DataError."""
    path = Path(path)
    try:
        # torch does not compare the checksums of its archive: a flipped bit would be a weight
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"{damaged} is damaged")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; train the model, or give its path") from None
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: unreadable or cut short ({_one_line(error)})") from error
    except Exception as error:  # the unpickler has its own errors, for foreign objects too
        raise DataError(
            f"{path}: holds more than tensors and plain values ({_one_line(error)}); refused"
        ) from error
    if not isinstance(content, dict) or content.get("format") != kind:
        raise DataError(f"{path}: not a file of the kind {kind!r}")
    return content


def _one_line(error):
    return " ".join(str(error).split())[:120]
