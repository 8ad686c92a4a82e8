"""The figures of section 3.2: results in, a figure and the data that it shows out."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mfutils.compendium import plots
from mfutils.compendium.diagrams import Diagram
from mfutils.networks.base import GraphModel
from mfutils.study.gap_graphs import GapGraphs
from mfutils.study.s03_2.ensembles import Ensemble
from mfutils.study.s03_2.tables import NAMES
from mfutils.uncertainty import scores

__all__ = [
    "PALETTE", "averaging", "coverage", "descriptors", "distributions", "errors", "evaluations",
    "flow", "numberings", "subsets",
]  # fmt: skip

PALETTE = ("green", "vermillion", "blue", "purple")


def _colors(fidelities: Sequence[str]) -> dict[str, str]:
    return {NAMES[f]: plots.COLORS[c] for f, c in zip(fidelities, PALETTE, strict=False)}


def distributions(data: GapGraphs, fidelities: Sequence[str]) -> tuple[Figure, pd.DataFrame]:
    """Fig 3.6: the gaps of every fidelity and measured set; exact zeros stand left of 0."""
    edges = np.arange(0, 10.01, 0.5)
    shown = [*fidelities, *data.measured]
    fig, axes = plots.figure("wide", height=1.9, ncols=len(shown), sharey=True)
    rows = []
    for axis, name in zip(axes, shown, strict=True):
        gap = data.gap(name)[data.rows(name)]
        legend = "center right" if name == shown[-1] else None
        plots.distribution(axis, gap, edges=edges, legend=legend)
        axis.set_title(f"{NAMES[name].replace(' (', chr(10) + '(')}\nn = {len(gap):,}", fontsize=8)
        axis.set(xlabel="gap (eV)", xlim=(-0.8, 9))
        share = np.histogram(gap[gap > 0], edges)[0] / len(gap)
        rows.append(pd.DataFrame({"fidelity": name, "from": edges[:-1], "share": share}))
        rows.append(pd.DataFrame({"fidelity": [name], "from": -0.5, "share": (gap == 0).mean()}))
    axes[0].set_ylabel("share of crystals")
    return fig, pd.concat(rows)


def descriptors(megnet: GraphModel, cgcnn: GraphModel) -> tuple[Figure, pd.DataFrame]:
    """Fig 3.7: where the descriptors are taken; sizes are read off the modules."""
    drawing = Diagram(7.2, 2.5)
    drawing.label("(a) MEGNet", 0.15, 0.2, bold=True)
    drawing.label("(b) CGCNN", 0.15, 1.45, bold=True)
    blocks = f"{megnet.config['blocks']} blocks\nedges, atoms, state"
    layers = f"{cgcnn.config['convolutions']} convolutions\n{cgcnn.config['features']} per atom"
    steps = {
        0.7: [
            blocks,
            "set2set of atoms\nand edges, state",
            f"descriptor\n{megnet.descriptor_size}",
        ],
        1.95: [layers, "mean over atoms,\nhidden layer", f"descriptor\n{cgcnn.descriptor_size}"],
    }
    for height, (first, second, tap) in steps.items():
        places = [(f"graph {height}", "crystal graph", "sky"), (f"net {height}", first, "orange")]
        places += [(f"pool {height}", second, "purple"), (f"tap {height}", tap, "yellow")]
        for x, (name, text, shade) in zip((0.8, 2.3, 3.8, 5.2), places, strict=True):
            drawing.box(name, text, x, height, width=1.2, height=0.42, color=shade)
        for a, b in pairwise(places):
            drawing.arrow(a[0], b[0], sides=("right", "left"))
        ends = {
            "head": ("dense: the network's\nprediction", -0.27, "green"),
            "gp": ("Gaussian process:\nmean and std", 0.27, "vermillion"),
        }
        for name, (text, shift, shade) in ends.items():
            box = f"{name} {height}"
            drawing.box(box, text, 6.5, height + shift, width=1.25, color=shade)
            drawing.arrow(f"tap {height}", box, sides=("right", "left"))
    return drawing.figure, drawing.frame()


def evaluations(ensemble: Ensemble, printed: Mapping[str, float]) -> tuple[Figure, pd.DataFrame]:
    """Plain CGCNN evaluated in z-scores and in eV, one point per network, and what is printed."""
    fig, axis = plots.figure("single", height=2.9)
    rows = []
    for kind, shift, color in (("z-score", -0.12, "vermillion"), ("network", 0.12, "blue")):
        for place, name in enumerate(ensemble.fidelities):
            error = ensemble.error(kind, name).mean(axis=1)
            title = "output in z-scores" if kind == "z-score" else "output in eV"
            axis.plot(
                np.full(len(error), place + shift), error, "o", markersize=3, alpha=0.6,
                color=plots.COLORS[color], label=title if place == 0 else None,
            )  # fmt: skip
            rows.append(pd.DataFrame({"trained on": NAMES[name], "read": title, "MAE": error}))
    for place, name in enumerate(ensemble.fidelities):
        if np.isfinite(value := printed.get(name, np.nan)):
            label = "printed" if place == 0 else None
            axis.plot([place - 0.3, place + 0.3], [value, value], color="black", label=label)
            rows.append(
                pd.DataFrame({"trained on": NAMES[name], "read": "printed", "MAE": [value]})
            )
    axis.set_xticks(range(len(ensemble.fidelities)), [NAMES[f] for f in ensemble.fidelities])
    axis.set(ylabel="MAE on the test (eV)", ylim=(0, None))
    axis.legend(loc="lower right")
    return fig, pd.concat(rows)


def numberings(table: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """Training and test error of every MEGNet under both numberings (`tables.numbering_table`)."""
    names = list(dict.fromkeys(table["trained on"]))
    top = 1.08 * table.filter(like=": test").max(axis=None)
    right = 1.08 * table.filter(like=": training").max(axis=None)
    fig, axes = plots.figure("wide", height=2.6, ncols=len(names), sharey=True, squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        part = table[table["trained on"] == name]
        for title, color in (("elements known", "blue"), ("as published", "vermillion")):
            axis.plot(
                part[f"{title}: training"], part[f"{title}: test"], "o", markersize=4, alpha=0.7,
                color=plots.COLORS[color], label=title,
            )  # fmt: skip
        printed = part["printed: test"].iloc[0]
        if np.isfinite(printed):
            axis.axhline(printed, color="black", linewidth=0.9, label="printed (test)")
        axis.axvline(
            part["predicting the mean: training"].mean(), color="grey", linestyle=":",
            label="predicting the mean (training)",
        )  # fmt: skip
        axis.set_title(name)
        axis.set(xlabel="training MAE (eV)", xlim=(0, right), ylim=(0, top))
    axes[0, 0].set_ylabel("test MAE (eV)")
    fig.legend(*axes[0, -1].get_legend_handles_labels(), loc="outside lower left", ncols=4)
    return fig, table


def errors(
    rows: Mapping[str, tuple[Ensemble, str]], draws: int = 2000, seed: int = 0
) -> tuple[Figure, pd.DataFrame]:
    """Error of one network per training set, on all crystals, zeros and nonzeros.

    The 95 % intervals resample crystals and networks together.
    """
    generator = np.random.default_rng(seed)
    tidy = []
    for title, (ensemble, prediction) in rows.items():
        n, m, zero = len(ensemble.y), ensemble.members, ensemble.zero
        counts = generator.multinomial(n, np.full(n, 1 / n), draws)
        picks = generator.multinomial(m, np.full(m, 1 / m), draws)
        for name in ensemble.fidelities:
            error = ensemble.error(prediction, name)
            for label, rows_of in (("all", zero | True), ("zeros", zero), ("nonzeros", ~zero)):
                resampled = (picks @ error * (counts * rows_of)).sum(1)
                resampled /= m * (counts * rows_of).sum(1)
                low, high = np.quantile(resampled, [0.025, 0.975])
                tidy.append((label, title, NAMES[name], error[:, rows_of].mean(), low, high))
    tidy = pd.DataFrame(tidy, columns=["crystals", "model", "trained on", "MAE", "low", "high"])
    fig, axes = plots.figure("wide", ncols=3, height=0.42 * len(rows) + 1.5, sharey=True)
    palette = _colors(next(iter(rows.values()))[0].fidelities)
    for axis, label in zip(axes, ("all", "zeros", "nonzeros"), strict=True):
        plots.intervals(
            axis, tidy[tidy.crystals == label], value="MAE", low="low", high="high",
            category="model", hue="trained on", palette=palette,
            legend="outside lower left" if label == "all" else None,
        )  # fmt: skip
        axis.set(title=label, xlabel="MAE (eV)")
        axis.set_xlim(left=0)
    return fig, tidy


def coverage(ensembles: Sequence[Ensemble]) -> tuple[Figure, pd.DataFrame]:
    """Share of measured gaps inside central intervals, with the learned and the default noise."""
    levels = np.linspace(0.05, 0.99, 48)
    fig, axes = plots.figure("wide", ncols=len(ensembles), height=2.9, sharey=True, squeeze=False)
    tidy = []
    for axis, ensemble in zip(axes[0], ensembles, strict=True):
        axis.plot([0, 1], [0, 1], color="black", linewidth=0.8, label="as promised")
        y = np.tile(ensemble.y, ensemble.members)
        for name, color in _colors(ensemble.fidelities).items():
            key = next(f for f in ensemble.fidelities if NAMES[f] == name)
            for kind, style in (("exact", "-"), ("sparse", ":")):
                mean, std = ensemble.mean[kind][key].ravel(), ensemble.std[kind][key].ravel()
                inside = scores.coverage(y, mean, std, levels)
                axis.plot(
                    levels, inside, style, color=color, label=name if kind == "exact" else None
                )
                cells = {"network": ensemble.label, "trained on": name, "process": kind}
                tidy.append(pd.DataFrame(cells | {"promised": levels, "found": inside}))
        axis.plot([], [], ":", color="grey", label="the study's noise")
        axis.set_title(ensemble.label)
        axis.set(xlabel="promised share", xlim=(0, 1), ylim=(0, 1))
    axes[0, 0].set_ylabel("share of measured gaps inside")
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower left", ncols=6)
    return fig, pd.concat(tidy)


def flow(
    ensemble: Ensemble, share: Mapping[str, float], labels: Mapping[str, int]
) -> tuple[Figure, pd.DataFrame]:
    """Fig 3.8: fusing the networks; share: mean weight of a fidelity, labels: gaps it has."""
    count, m = len(ensemble.fidelities), ensemble.members
    drawing = Diagram(7.2, 0.55 * count + 0.5)
    middle = 0.45 + 0.55 * (count - 1) / 2
    drawing.box(
        "fused", "weighted mean\neqs 3.3 to 3.5", 5.2, middle, width=1.2, height=0.42,
        color="yellow",
    )  # fmt: skip
    measured = f"compared with\n{len(ensemble.y):,} measured gaps"
    drawing.box("test", measured, 6.5, middle, width=1.2, height=0.42, color="sky")
    drawing.arrow("fused", "test", sides=("right", "left"))
    for k, (name, shade) in enumerate(zip(ensemble.fidelities, PALETTE, strict=False)):
        height = 0.45 + 0.55 * k
        steps = [
            (f"data {k}", f"{NAMES[name]}\n{labels[name]:,} gaps", 0.8, 1.15, shade),
            (f"nets {k}", f"{m} networks,\n{m} processes", 2.2, 1.15, "orange"),
            (
                f"out {k}",
                f"{m} means, {m} stds\nshare of weight {share[name]:.2f}",
                3.7,
                1.35,
                "purple",
            ),
        ]
        for box, text, x, width, color in steps:
            drawing.box(box, text, x, height, width=width, height=0.42, color=color)
        for a, b in pairwise([s[0] for s in steps] + ["fused"]):
            drawing.arrow(a, b, sides=("right", "left"))
    return drawing.figure, drawing.frame()


def subsets(tables: Mapping[str, pd.DataFrame], *, rule: str = "inverse-std"):
    """Fused MAE of every subset of the fidelities, one panel per title of `tables`.

    tables: title -> `fusion.subset_table`. Squares are all networks of the subset, dots as many as
    one fidelity has.
    """
    fig, axes = plots.figure("wide", ncols=len(tables), height=3.6, sharey=True, squeeze=False)
    tidy = []
    for axis, (title, table) in zip(axes[0], tables.items(), strict=True):
        part = table[table["rule"] == rule].iloc[::-1]
        few = next(c for c in part if c.startswith("MAE of "))
        place = np.arange(len(part))
        count = few.removeprefix("MAE of ")
        axis.plot(
            part[few], place, "o", markersize=4, color="black", label=f"{count} networks in all"
        )
        axis.plot(
            part["MAE (eV)"], place, "s", markersize=5, markerfacecolor="none",
            color=plots.COLORS["blue"], label=f"{count} networks per fidelity",
        )  # fmt: skip
        axis.set_yticks(place, part["fidelities"])
        axis.set(xlabel="MAE (eV)", title=title)
        tidy.append(part.assign(panel=title))
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower left", ncols=2)
    return fig, pd.concat(tidy)


def averaging(
    ensemble: Ensemble, prediction: str, pools: Mapping[str, Sequence[str]], *, seed: int = 0
) -> tuple[Figure, pd.DataFrame]:
    """MAE of the mean of random networks against their number, by where they come from."""
    generator = np.random.default_rng(seed)
    fig, axis = plots.figure("single", height=2.9)
    rows = []
    mixed = dict(zip(pools, (plots.COLORS["black"], plots.COLORS["orange"]), strict=False))
    colors = mixed | _colors(ensemble.fidelities)
    for title, chosen in pools.items():
        mean, _ = ensemble.pool(prediction, chosen)
        counts = np.unique([*range(1, ensemble.members + 1), len(mean)])
        curve = []
        for count in counts:
            picks = [generator.choice(len(mean), count, replace=False) for _ in range(200)]
            curve.append(np.mean([np.abs(mean[p].mean(0) - ensemble.y).mean() for p in picks]))
        axis.plot(counts, curve, "o-", markersize=3, color=colors[title], label=title)
        rows.append(pd.DataFrame({"networks of": title, "networks": counts, "MAE": curve}))
    axis.set(xlabel="networks averaged", ylabel="MAE (eV)")
    axis.legend()
    return fig, pd.concat(rows)
