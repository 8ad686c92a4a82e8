"""The graph networks of section 9, one call per training run, with plain values in and out.

The supplement trains CGCNN by Adam for 30 epochs and keeps the weights of the best validation
epoch; `PRINTED` is that. Every figure and table that shows a network asks for runs by their
arguments, and `mfutils.compendium.sweep.run` stores each run, so one network serves them all.
"""

import time

import numpy as np

from mfutils.crystals import graph_cache
from mfutils.datasets import registry, tables
from mfutils.gp.descriptor_gp import fit_descriptor_gp
from mfutils.networks.architectures import build_model
from mfutils.networks.atom_features import atom_features
from mfutils.networks.labels import Labels
from mfutils.networks.training import Settings, fit
from mfutils.study.s09 import moduli

__all__ = ["PRINTED", "network", "survey"]

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


def network(
    *, dataset, property, fold, folds=10, split_seed=0, grouped=False, train_size=None,
    architecture="cgcnn", seed=0, select=True, training=None, model=None, gp=False,
):  # fmt: skip
    """Train one network on one split of `mfutils.study.s09.moduli.split`.

    select=False keeps the last weights instead of the best validation epoch's. training and
    model override PRINTED and MODEL. gp=True fits a Gaussian process on the descriptors of the
    training and validation rows. Returns a dict: for each of train, validation and test the row
    numbers rows_<part> and predictions <part> (log10 GPa); gp_mean, gp_std of the test;
    validation_mae, best_epoch, parameters (count), cpu_seconds and the validation history.
    """
    settings = Settings(**{**PRINTED[architecture], "seed": seed, **(training or {})})
    net = build_model(architecture, **{"seed": seed, **MODEL[architecture], **(model or {})})
    data = moduli.load(dataset, property)
    graphs = _graphs(dataset, property, net.cutoff, net.max_neighbors)
    parts = moduli.split(
        data, fold, folds=folds, seed=split_seed, grouped=grouped, train_size=train_size
    )
    train, validation, _ = (Labels(rows, data.target[rows]) for rows in parts)
    start = time.process_time()
    trained = fit(
        net, graphs, train, validation if select else None,
        settings=settings, target=f"log10 {property} modulus", unit="log10 GPa", progress=False,
    )  # fmt: skip
    result = {"cpu_seconds": time.process_time() - start}
    for name, rows in zip(("train", "validation", "test"), parts, strict=True):
        result |= {f"rows_{name}": rows, name: trained.predict(graphs, rows)}
    if gp:
        drawn = np.concatenate(parts[:2])
        process = fit_descriptor_gp(trained.descriptor(graphs, drawn), data.target[drawn])
        result["gp_mean"], result["gp_std"] = process.predict(trained.descriptor(graphs, parts[2]))
    return result | {
        "validation_mae": float(
            np.abs(result["validation"] - data.target[result["rows_validation"]]).mean()
        ),
        "best_epoch": trained.best_epoch,
        "parameters": sum(p.numel() for p in net.parameters()),
        "history": np.array(trained.history["validation_mae"]),
    }


def survey(*, property, seed=0, training=None):
    """Predict log10 moduli of the embedded crystals that have no tensor, by one CGCNN.

    Nine tenths of the embedded moduli train, one tenth validates. Returns a dict of material_id,
    spacegroup and prediction (m,), and of skipped (ids without a graph).
    """
    settings = Settings(**{**PRINTED["cgcnn"], "seed": seed, **(training or {})})
    net = build_model("cgcnn", seed=seed, **MODEL["cgcnn"])
    data = moduli.load("open", property)
    train, validation, test = moduli.split(data, 0, seed=seed)
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
    return {
        "material_id": kept["material_id"].to_numpy(str),
        "spacegroup": kept["spacegroup"].to_numpy(int),
        "prediction": trained.predict(graphs, rows),
        "skipped": len(table) - len(kept),
    }


@registry.remembered(maxsize=4)
def _graphs(dataset, property, cutoff, max_neighbors):
    """Graphs of a ModuliSet, row for row."""
    return _built(moduli.load(dataset, property).table, cutoff, max_neighbors, on_error="raise")


def _built(table, cutoff, max_neighbors, **options):
    return graph_cache.load_or_build(
        table["structure"], ids=table["material_id"], cutoff=cutoff, max_neighbors=max_neighbors,
        short="keep" if max_neighbors is None else "grow", progress=False, **options,
    )  # fmt: skip


def _has_features(table):
    """Mask of crystals whose elements are all in CGCNN's table."""
    last = len(atom_features())
    return np.array([crystal.numbers.max() <= last for crystal in table["structure"]])
