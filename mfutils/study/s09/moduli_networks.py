"""The graph networks of section 9, one call per training run, with plain values in and out.

The supplement trains CGCNN by Adam for 30 epochs and keeps the weights of the best validation
epoch; `PRINTED` is that. Every figure and table that shows a network asks for runs by their
arguments, and `mfutils.compendium.sweep.run` stores each run, so one network serves them all.
"""

import time
from dataclasses import dataclass

import numpy as np

from mfutils.crystals import graph_cache
from mfutils.datasets import registry, tables
from mfutils.gp.descriptor_gp import fit_descriptor_gp
from mfutils.networks.architectures import build_model
from mfutils.networks.atom_features import atom_features
from mfutils.networks.labels import Labels
from mfutils.networks.training import Settings, fit
from mfutils.study.s09 import moduli

__all__ = ["PRINTED", "NetworkRun", "Survey", "network", "survey"]

# Adam, its rate and 30 epochs are printed; the batch size is not
PRINTED = {
    "cgcnn": {
        "optimizer": "adam", "learning_rate": 0.001, "schedule": "constant", "batch_size": 64,
        "epochs": 30, "patience": 1000,
    },
    "megnet": {
        "optimizer": "adam", "learning_rate": 0.001, "schedule": "constant", "batch_size": 32,
        "epochs": 30, "patience": 1000,
    },
}  # fmt: skip
# The supplement's final choice for both moduli
MODEL = {"cgcnn": {"convolutions": 3, "hidden_layers": 2}, "megnet": {}}


@dataclass(frozen=True, eq=False, kw_only=True)
class NetworkRun(moduli.Predictions):
    """Predictions of one trained network, and how its training went.

    validation_mae in log10 GPa; weights: how many the network has; validation_history (epochs,);
    gp_mean and gp_std (n,) of the test rows when a process was fitted on its descriptors.
    """

    validation_mae: float
    best_epoch: int
    weights: int
    validation_history: np.ndarray
    gp_mean: np.ndarray | None = None
    gp_std: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Survey:
    """Predicted log10 GPa (m,) of crystals without a tensor; skipped: how many have no graph."""

    material_id: np.ndarray
    spacegroup: np.ndarray
    prediction: np.ndarray
    skipped: int


def network(
    *, dataset: str, property: str, fold: int, folds: int = 10, split_seed: int = 0,
    grouped: bool = False, train_size: int | None = None, architecture: str = "cgcnn",
    seed: int = 0, select: bool = True, training: dict | None = None, model: dict | None = None,
    gp: bool = False,
) -> NetworkRun:  # fmt: skip
    """Train one network on one split of `moduli.split_rows`.

    select=False keeps the last weights instead of the best validation epoch's. training and
    model override PRINTED and MODEL. gp=True fits a Gaussian process on the descriptors of the
    training and validation rows.
    """
    settings = Settings(**{**PRINTED[architecture], "seed": seed, **(training or {})})
    net = build_model(architecture, **{"seed": seed, **MODEL[architecture], **(model or {})})
    data = moduli.load_moduli(dataset, property)
    graphs = _graphs(dataset, property, net.cutoff, net.max_neighbors)
    parts = moduli.split_rows(
        data, fold, folds=folds, seed=split_seed, grouped=grouped, train_size=train_size
    )
    rows = dict(zip(moduli.PARTS, parts, strict=True))
    train, validation, _ = (Labels(part, data.target[part]) for part in parts)
    start = time.process_time()
    trained = fit(
        net, graphs, train, validation if select else None,
        settings=settings, target=f"log10 {property} modulus", unit="log10 GPa", progress=False,
    )  # fmt: skip
    seconds = time.process_time() - start
    predicted = {part: trained.predict(graphs, r) for part, r in rows.items()}
    gp_mean = gp_std = None
    if gp:
        drawn = np.concatenate(parts[:2])
        process = fit_descriptor_gp(trained.descriptor(graphs, drawn), data.target[drawn])
        gp_mean, gp_std = process.predict(trained.descriptor(graphs, rows["test"]))
    return NetworkRun(
        rows=rows,
        predicted=predicted,
        cpu_seconds=seconds,
        validation_mae=float(
            np.abs(predicted["validation"] - data.target[rows["validation"]]).mean()
        ),
        best_epoch=trained.best_epoch,
        weights=sum(p.numel() for p in net.parameters()),
        validation_history=np.array(trained.history["validation_mae"]),
        gp_mean=gp_mean,
        gp_std=gp_std,
    )


def survey(*, property: str, seed: int = 0, training: dict | None = None) -> Survey:
    """Predict log10 moduli of the embedded crystals that have no tensor, by one CGCNN.

    Nine tenths of the embedded moduli train, one tenth validates.
    """
    settings = Settings(**{**PRINTED["cgcnn"], "seed": seed, **(training or {})})
    net = build_model("cgcnn", seed=seed, **MODEL["cgcnn"])
    data = moduli.load_moduli("open", property)
    train, validation, test = moduli.split_rows(data, 0, seed=seed)
    train = np.concatenate([train, test])
    trained = fit(
        net, _graphs("open", property, net.cutoff, net.max_neighbors),
        *(Labels(rows, data.target[rows]) for rows in (train, validation)),
        settings=settings, progress=False,
    )  # fmt: skip
    columns = ["material_id", "spacegroup", "structure"]
    table = tables.read(registry.path("open_bandgap"), columns=columns)
    table = table[~table["material_id"].isin(data.table["material_id"])].reset_index(drop=True)
    graphs = _built(table, net.cutoff, net.max_neighbors)
    known = np.isin(graphs.rows, np.flatnonzero(_has_features(table)))
    rows = np.flatnonzero(known)
    kept = table.iloc[graphs.rows[rows]]
    return Survey(
        kept["material_id"].to_numpy(str),
        kept["spacegroup"].to_numpy(int),
        trained.predict(graphs, rows),
        len(table) - len(kept),
    )


@registry.remembered(maxsize=4)
def _graphs(dataset, property, cutoff, max_neighbors):
    """Graphs of a ModuliSet, row for row."""
    return _built(
        moduli.load_moduli(dataset, property).table, cutoff, max_neighbors, on_error="raise"
    )


def _built(table, cutoff, max_neighbors, **options):
    return graph_cache.load_or_build(
        table["structure"], ids=table["material_id"], cutoff=cutoff, max_neighbors=max_neighbors,
        short="keep" if max_neighbors is None else "grow", progress=False, **options,
    )  # fmt: skip


def _has_features(table):
    """Mask of crystals whose elements are all in CGCNN's table."""
    last = len(atom_features())
    return np.array([crystal.numbers.max() <= last for crystal in table["structure"]])
