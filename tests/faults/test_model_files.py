"""Files from elsewhere hold weights only: no code in them is ever run.

Each trap would create a file when anything of it is executed. The plain cases, and files that
were cut short, are in tests/networks/test_training.py.
"""

import io
import os
import pickle
import random
import zipfile
from collections import Counter

import numpy as np
import pytest
import torch
from crystal_examples import KINDS, random_crystal
from trials import cpu_limit, damages, keep, one_line, trials

from mfutils.crystals import graph_cache
from mfutils.errors import DataError, InputError
from mfutils.networks.cgcnn import CGCNN
from mfutils.networks.labels import TargetScaler
from mfutils.networks.trained_model import TrainedModel, load_model, read_tensors

CRYSTALS = [random_crystal(0, kind) for kind in KINDS]
FORMAT = "mfutils graph model 1"


def small():
    return CGCNN(seed=0, features=16, convolutions=1, hidden=16)


class _Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class _Setter:
    """Pickles as an object whose state is set by code of its class."""

    def __setstate__(self, state):
        open(state["path"], "w").close()

    def __getstate__(self):
        return {"path": "exploded"}


def traps():
    """Name -> object whose unpickling would leave the file `exploded`."""
    touch = "open('exploded', 'w').close()"
    return {
        "os.system": _Call(os.system, "touch exploded"),
        "eval": _Call(eval, touch),
        "exec": _Call(exec, touch),
        "subprocess": _Call(__import__("subprocess").call, ["touch", "exploded"]),
        "open": _Call(open, "exploded", "w"),
        "getattr chain": _Call(getattr, _Call(__import__, "os"), "system"),
        "nested pickle": _Call(pickle.loads, pickle.dumps(_Call(os.system, "touch exploded"))),
        "torch.load": _Call(torch.load, "inner.pt", None, None),
        "numpy.load": _Call(np.load, "inner.npy", None, True),
        "__setstate__": _Setter(),
        "object array": np.array([_Call(os.system, "touch exploded")], dtype=object),
    }


def content(trap):
    """A model file in which everything is right but for the trap in one place."""
    return {
        "format": FORMAT, "architecture": "cgcnn", "config": {}, "state": {"weight": trap},
        "scaler": [0.0, 1.0], "target": "t", "unit": "", "best_epoch": 0, "validation_mae": 0.0,
        "history": {},
    }  # fmt: skip


def swapped(whole: bytes, new: bytes) -> bytes:
    """A true model file whose pickle is replaced by `new`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(buffer, "w") as out:
        for item in old.infolist():
            out.writestr(
                item.filename, new if item.filename.endswith("data.pkl") else old.read(item)
            )
    return buffer.getvalue()


def test_no_trap_goes_off(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner.pt").write_bytes(pickle.dumps(_Call(os.system, "touch exploded")))
    np.save(tmp_path / "inner.npy", traps()["object array"], allow_pickle=True)
    assert not (tmp_path / "exploded").exists()
    path = tmp_path / "model.pt"
    TrainedModel(small(), TargetScaler()).save(path)
    whole = path.read_bytes()
    outcomes = Counter()
    for trap in traps().values():
        new, old = io.BytesIO(), io.BytesIO()
        torch.save(content(trap), new)
        torch.save(content(trap), old, _use_new_zipfile_serialization=False)
        pickled = [pickle.dumps(content(trap), protocol=p) for p in (0, 2, 4)]
        forms = [new.getvalue(), old.getvalue(), *pickled, swapped(whole, pickled[1])]
        for form in forms:
            path.write_bytes(form)
            for read in (load_model, lambda p: read_tensors(p, "mfutils checkpoint 1")):
                with pytest.raises(DataError) as caught:
                    read(path)
                one_line(str(caught.value))
                assert not (tmp_path / "exploded").exists()
                outcomes["refused in one line, no code ran"] += 1
    keep("model files and checkpoints with code in them", "models-traps", outcomes)


def test_the_traps_are_real(tmp_path, monkeypatch):
    """An ordinary unpickling sets them off, so the test above is not empty."""
    monkeypatch.chdir(tmp_path)
    for name in ("os.system", "eval", "__setstate__", "object array"):
        pickle.loads(pickle.dumps(content(traps()[name])))
        assert (tmp_path / "exploded").exists()
        (tmp_path / "exploded").unlink()


def test_a_graph_cache_runs_no_code_either(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {"cutoff": 4.0, "max_neighbors": 4, "progress": False, "folder": tmp_path / "c"}
    built = graph_cache.load_or_build(CRYSTALS[:3], **options)
    (entry,) = (tmp_path / "c").iterdir()
    with np.load(entry) as archive:
        arrays = dict(archive)
    trap = np.array([_Call(os.system, "touch exploded")] * 3, dtype=object)
    for name in arrays:
        np.savez(entry, allow_pickle=True, **arrays | {name: trap})
        again = graph_cache.load_or_build(CRYSTALS[:3], **options)
        assert np.array_equal(again.distance, built.distance)
        assert not (tmp_path / "exploded").exists()
    outcomes = Counter({"rebuilt, no code ran": len(arrays)})
    keep("graph cache entries with code in them", "models-graphs", outcomes)


def test_damaged_model_files(tmp_path):
    """Damage is refused in one line, or sits between the members and changes no weight."""
    path = tmp_path / "model.pt"
    model = TrainedModel(small(), TargetScaler(), target="gap", unit="eV")
    model.save(path)
    whole = path.read_bytes()
    weights = {k: v.clone() for k, v in model.model.state_dict().items()}
    outcomes = Counter()
    for damaged in damages(whole, random.Random(6), trials(40, 2000)):
        path.write_bytes(damaged)
        try:
            with cpu_limit(20):
                found = load_model(path)
        except InputError as error:
            one_line(str(error))
            outcomes["refused in one line"] += 1
            continue
        state = found.model.state_dict()
        same = all(torch.equal(state[k], v) for k, v in weights.items())
        assert same, "a damaged file gave other weights"
        outcomes["same weights"] += 1
    keep("model files with flipped, cut and added bytes", "models-damaged", outcomes)
