"""Graphs kept on disk, found again by the content that determines them.

The key of an entry is the SHA-256 of every structure and id in order, the settings of the graph,
and the source code that reads structures and builds edges. So a changed coordinate, cutoff or
algorithm can never meet an old graph, and no one has to remember to clear anything. Hits and
misses are logged; an entry that cannot be read in full is rebuilt; entries appear whole or not
at all.
"""

import hashlib
import json
import logging
import os
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mfutils import paths
from mfutils.code_hash import code_hash
from mfutils.crystals import graph, graph_data
from mfutils.crystals import structure as structures
from mfutils.errors import InputError

__all__ = ["content_key", "load_or_build", "read", "write"]

_log = logging.getLogger(__name__)
# name -> (type, number of axes) of every array of an entry; ids are text of any length
_ARRAYS = {
    "ids": ("U", 1), "rows": ("i8", 1), "lattices": ("f8", 3), "frac_coords": ("f8", 2),
    "numbers": ("i2", 1), "atom_pointer": ("i8", 1), "edge_pointer": ("i8", 1),
    "neighbor": ("i4", 1), "shift": ("i1", 2), "distance": ("f4", 1),
}  # fmt: skip


def load_or_build(
    structures: Iterable, *, cutoff: float, max_neighbors: int | None,
    ids: Iterable | None = None, short: str = "keep", on_error: str = "skip",
    progress: bool | None = None, folder: str | Path | None = None,
) -> graph_data.GraphDataset:  # fmt: skip
    """The GraphDataset of `structures`, from the cache when it was built before.

    Arguments and errors are those of `graph_data.build_dataset`; `folder` holds the
    entries (default `build/cache/graphs`). A folder that cannot be written costs a logged
    warning, not the result.
    """
    structures = list(structures)
    ids = [str(row) for row in range(len(structures))] if ids is None else list(ids)
    ids = graph_data.unique_ids(ids)
    settings = {"cutoff": cutoff, "max_neighbors": max_neighbors, "short": short}
    graph.check_settings(**settings)
    graph_data.check_on_error(on_error)
    key = content_key(structures, ids, **settings)
    path = Path(folder or paths.CACHE / "graphs") / f"{key}.npz"
    dataset = _read_or_none(path, key)
    if dataset is not None:
        _log.info("graph cache hit: %d graphs from %s", len(dataset), path.name)
        if dataset.skips and on_error == "raise":
            raise InputError(dataset.skips[0].reason)
        graph_data.report(dataset, len(structures))
        return dataset
    _log.info("graph cache miss: building %d graphs for %s", len(structures), path.name)
    dataset = graph_data.build_dataset(
        structures, ids=ids, on_error=on_error, progress=progress, **settings
    )
    try:
        write(path, dataset, key)
    except OSError as error:
        _log.warning("graph cache not written (%s); the graphs will be built again", error)
    return dataset


def content_key(
    structures: Iterable, ids: Sequence[str], *, cutoff: float,
    max_neighbors: int | None, short: str,
) -> str:  # fmt: skip
    """Hex SHA-256 of structures, ids, settings and the code that makes graphs of them."""
    digest = hashlib.sha256(code_hash(graph_data.build_dataset).encode())
    count = None if max_neighbors is None else int(max_neighbors)
    digest.update(json.dumps([float(cutoff), count, short, ids]).encode())
    for structure in structures:
        digest.update(_fingerprint(structure))
    return digest.hexdigest()


def _fingerprint(structure):
    """Digest of one structure; equal only for equal content in the same form."""
    if isinstance(structure, str):
        return hashlib.sha256(b"cif" + structure.encode("utf-8", "surrogatepass")).digest()
    digest = hashlib.sha256(type(structure).__name__.encode())
    if isinstance(structure, structures.Crystal):
        arrays = (structure.lattice, structure.frac_coords, structure.numbers)
    elif hasattr(structure, "lattice") and hasattr(structure, "frac_coords"):
        arrays = (structure.lattice.matrix, structure.frac_coords)
        digest.update("|".join(site.species_string for site in structure).encode())
    else:
        arrays = ()  # no structure at all: building will say so
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()


def write(path: Path, dataset: graph_data.GraphDataset, key: str) -> None:
    """Write `dataset` as the entry `path` in one step. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = {
        "key": key,
        "cutoff": dataset.cutoff,
        "max_neighbors": dataset.max_neighbors,
        "skips": [asdict(skip) for skip in dataset.skips],
    }
    arrays = {name: getattr(dataset, name) for name in _ARRAYS}
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        # Written straight to the file: a copy in memory would double the peak.
        with open(part, "wb") as handle:
            np.savez(handle, meta=np.array(json.dumps(meta)), **arrays)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _read_or_none(path, key):
    """The entry `path`, or None when it is absent or (logged) not usable."""
    try:
        return read(path, key)
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged archive can fail in any layer of its reader
        reason = " ".join(str(error).split())[:200]
        _log.warning("graph cache entry %s is corrupt (%s); rebuilding", path.name, reason)
        return None


def read(path: Path, key: str) -> graph_data.GraphDataset:
    """The GraphDataset stored as `path`.

    Raises FileNotFoundError, or ValueError (also from zip and JSON) when the content is not a
    whole entry with that key; the checksums of the archive cover every byte of the arrays.
    """
    # opened here, because numpy leaves a file open whose archive is damaged
    with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as archive:
        meta = json.loads(str(archive["meta"]))
        arrays = {name: archive[name] for name in _ARRAYS}
    if meta["key"] != key:
        raise ValueError(f"key is {meta['key'][:16]}..., expected {key[:16]}...")
    for name, (kind, axes) in _ARRAYS.items():
        array = arrays[name]
        right = array.dtype.kind == "U" if kind == "U" else array.dtype == np.dtype(kind)
        if array.ndim != axes or not right:
            raise ValueError(f"{name} is {array.dtype} with {array.ndim} axes")
    graphs_, atoms, edges = len(arrays["ids"]), len(arrays["numbers"]), len(arrays["neighbor"])
    lengths = {
        "rows": graphs_, "lattices": graphs_, "atom_pointer": graphs_ + 1,
        "frac_coords": atoms, "edge_pointer": atoms + 1, "shift": edges, "distance": edges,
    }  # fmt: skip
    for name, length in lengths.items():
        if len(arrays[name]) != length:
            raise ValueError(f"{name} has {len(arrays[name])} entries, expected {length}")
    for name, end in (("atom_pointer", atoms), ("edge_pointer", edges)):
        pointer = arrays[name]
        if pointer[0] != 0 or pointer[-1] != end or (np.diff(pointer) < 0).any():
            raise ValueError(f"{name} does not run from 0 to {end}")
    return graph_data.GraphDataset(
        **arrays,
        skips=tuple(structures.Skip(**skip) for skip in meta["skips"]),
        cutoff=meta["cutoff"],
        max_neighbors=meta["max_neighbors"],
    )
