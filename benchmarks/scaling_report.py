"""From the measurements of `scaling.py` to scaling.csv, scaling.png and the table in README.md."""

import numpy as np
import pandas as pd
from readme import fill

from mfutils.compendium import plots

__all__ = ["exponent", "write"]

CRYSTALS = ("graphs", "CGCNN epoch", "exact Gaussian process")
MODELS = ("small networks, one by one", "small networks, stacked")
STEP = ("CGCNN step",)


def exponent(size, cost):
    """Slope of log cost against log size by least squares."""
    return float(np.polyfit(np.log(size), np.log(cost), 1)[0])


def _lines(axes, table, series, column, *, fit=True):
    """One line per series against its sizes; the legend holds the exponent."""
    for name, marker in zip(series, "os^d", strict=False):
        chosen = table[table.series.str.startswith(name) & table[column].notna()]
        if chosen.empty:
            continue  # not measured yet
        label = chosen.series.iloc[0]
        if fit and len(chosen) > 1:
            label += f": $n^{{{exponent(chosen['size'], chosen[column]):.2f}}}$"
        axes.plot(chosen["size"], chosen[column], marker=marker, label=label)
    axes.legend()


def figure(table):
    """Four panels: crystals, their memory, small networks, the fixed part of a CGCNN step."""
    fig, axes = plots.figure("wide", height=5.6, nrows=2, ncols=2)
    (cost, memory), (small, step) = axes
    _lines(cost, table, CRYSTALS, "cpu_s")
    cost.set(title="cost of crystals", xlabel="crystals", ylabel="CPU time (s)")
    _lines(memory, table, CRYSTALS[:2], "peak_gib", fit=False)
    memory.set(title="memory of one process", xlabel="crystals", ylabel="peak memory (GiB)")
    _lines(small, table, MODELS, "cpu_s")
    small.set(title="300 epochs of small networks", xlabel="networks", ylabel="CPU time (s)")
    _lines(step, table[table.cpu_s.notna()], STEP, "cpu_s", fit=False)
    step.set(title="one CGCNN training step", xlabel="crystals per batch", ylabel="CPU time (s)")
    for panel, letter in zip(axes.flat, "abcd", strict=True):
        plots.panel_label(panel, letter)
        panel.set(xscale="log")
    for panel in (cost, small):
        panel.set(yscale="log")
        low, high = panel.get_ylim()
        panel.set(ylim=(low, 15 * high))  # room for the legend
        panel.legend(loc="upper left")
    for panel in (memory, step):
        panel.set(ylim=(0, 1.25 * panel.get_ylim()[1]))
        panel.legend(loc="upper left")
    return fig


def summary(table):
    """Markdown table: per series the sizes, the cost at both ends, the exponent."""
    lines = ["| what | n | CPU seconds | peak memory (GiB) | exponent |", "|---|---|---|---|---|"]
    for name, rows in table[table.cpu_s.notna()].groupby("series", sort=False):
        if len(rows) < 2:
            continue
        first, last = rows.iloc[0], rows.iloc[-1]
        memory = "" if np.isnan(last.peak_gib) else f"{last.peak_gib:.2f}"
        lines.append(
            f"| {name} | {first['size']:,} to {last['size']:,} "
            f"| {first.cpu_s:.2g} to {last.cpu_s:.3g} | {memory} "
            f"| {exponent(rows['size'], rows.cpu_s):.2f} |"
        )
    return "\n".join(lines)


def write(rows, folder):
    """Merge the measured rows into scaling.csv in `folder` and draw and tabulate all again."""
    table, file = pd.DataFrame(rows), folder / "scaling.csv"
    if file.exists():
        table = pd.concat([pd.read_csv(file), table])
    table = table.drop_duplicates(["series", "size"], keep="last")
    for column in ("cpu_s", "longest_s", "peak_gib", "share"):
        if column not in table:
            table[column] = np.nan
    table = table.sort_values(["series", "size"])
    table.to_csv(file, index=False, float_format="%.6g")
    figure(table).savefig(folder / "scaling.png", metadata={"Software": None})
    fill("scaling", summary(table))
