"""From the measurements of `scaling.py` to scaling.csv, scaling.png and the table in README.md."""

import numpy as np
import pandas as pd
from readme import fill

from mfutils import plots

__all__ = ["exponent", "write"]

CRYSTALS = ("graphs", "CGCNN epoch", "exact Gaussian process")
MODELS = ("small networks, one by one", "small networks, stacked")
MEMBERS = ("CGCNN members, 1 process", "CGCNN members, 2 processes")


def exponent(size, cost):
    """Slope of log cost against log size by least squares."""
    return float(np.polyfit(np.log(size), np.log(cost), 1)[0])


def _lines(axes, table, series, column, *, fit=True):
    """One line per series against its sizes; the legend holds the exponent."""
    for name, marker in zip(series, "os^d", strict=False):
        chosen = table[table.series.str.startswith(name) & table[column].notna()]
        if chosen.empty:
            continue
        label = chosen.series.iloc[0]
        if fit and len(chosen) > 1:
            label += f": $n^{{{exponent(chosen['size'], chosen[column]):.2f}}}$"
        axes.plot(chosen["size"], chosen[column], marker=marker, label=label)
    axes.legend()


def figure(table):
    """Four panels: crystals, their memory, small networks, members on processes."""
    fig, axes = plots.figure("wide", height=5.6, nrows=2, ncols=2)
    (cost, memory), (small, process) = axes
    _lines(cost, table, CRYSTALS, "cpu_s")
    cost.set(title="cost of crystals", xlabel="crystals", ylabel="CPU time (s)")
    _lines(memory, table, CRYSTALS[:2], "peak_gib", fit=False)
    memory.set(title="memory of one process", xlabel="crystals", ylabel="peak memory (GiB)")
    _lines(small, table, MODELS, "cpu_s")
    small.set(title="networks of 45 parameters", xlabel="networks", ylabel="CPU time (s)")
    for column, style in (("cpu_s", "-"), ("longest_s", ":")):
        what = "all" if column == "cpu_s" else "the busiest one"
        for name, color, marker in zip(MEMBERS, ("blue", "vermillion"), "os", strict=True):
            chosen = table[table.series == name]
            process.plot(
                chosen["size"], chosen[column], linestyle=style, marker=marker,
                color=plots.COLORS[color], label=f"{name.rpartition(', ')[2]}: {what}",
            )  # fmt: skip
    process.legend()
    process.set(title="CGCNN members", xlabel="members", ylabel="CPU time (s)", ylim=(0, None))
    for panel, letter in zip(axes.flat, "abcd", strict=True):
        plots.panel_label(panel, letter)
        if panel is not process:
            panel.set(xscale="log")
    for panel in (cost, small):
        panel.set(yscale="log")
    memory.set(ylim=(0, None))
    return fig


def summary(table):
    """Markdown table: per series the sizes, the cost at both ends, the exponent."""
    lines = ["| what | n | CPU seconds | peak memory (GiB) | exponent |", "|---|---|---|---|---|"]
    for name, rows in table[table.cpu_s.notna()].groupby("series", sort=False):
        first, last = rows.iloc[0], rows.iloc[-1]
        memory = "" if np.isnan(last.peak_gib) else f"{last.peak_gib:.2f}"
        lines.append(
            f"| {name} | {first['size']:,} to {last['size']:,} "
            f"| {first.cpu_s:.2g} to {last.cpu_s:.3g} | {memory} "
            f"| {exponent(rows['size'], rows.cpu_s):.2f} |"
        )
    return "\n".join(lines)


def write(rows, folder):
    """Write the three results of the measured rows into `folder`."""
    table = pd.DataFrame(rows)
    table.to_csv(folder / "scaling.csv", index=False, float_format="%.4g")
    figure(table).savefig(folder / "scaling.png", metadata={"Software": None})
    fill("scaling", summary(table))
