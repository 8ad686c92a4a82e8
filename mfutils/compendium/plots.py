"""One figure vocabulary on seaborn: theme, palette and the recurring kinds of panel.

The palette is Okabe and Ito's, which stays distinguishable under the common forms of
colour blindness. Every notebook draws with these helpers, so figures look alike. Intervals
are computed by the caller: a picture that resamples would differ from run to run.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mfutils.errors import InputError

__all__ = [
    "COLORS",
    "distribution",
    "figure",
    "heatmap",
    "intervals",
    "panel_label",
    "parity",
    "use_style",
]

COLORS = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "purple": "#CC79A7",
}
_CYCLE = ("blue", "vermillion", "green", "purple", "orange", "sky", "black")
_RC = matplotlib.rc_params_from_file(
    Path(__file__).with_name("style.mplstyle"), use_default_template=False
)
_WIDTHS = {"single": 4.2, "wide": 7.2}


def use_style() -> None:
    """Apply the compendium's theme to this process: seaborn's ticks, our palette and sizes."""
    sns.set_theme("paper", "ticks", palette=[COLORS[name] for name in _CYCLE], rc=dict(_RC))


def figure(
    width: str = "single", *, height: float | None = None, **subplots: Any
) -> tuple[Figure, Any]:
    """New (figure, axes) of a standard width in inches.

    `width` is "single" or "wide"; `height` defaults to 0.72 of the width per row.
    Further keywords go to `matplotlib.pyplot.subplots`.
    """
    if width not in _WIDTHS:
        raise InputError(f"figure width {width!r} is unknown; use one of {', '.join(_WIDTHS)}")
    use_style()
    inches = _WIDTHS[width]
    if height is None:
        columns = subplots.get("ncols", 1)
        height = 0.72 * inches / columns * subplots.get("nrows", 1)
    return plt.subplots(figsize=(inches, height), **subplots)


def panel_label(axes: Axes, letter: str) -> None:
    """Write a panel letter, as in "(a)", outside the top left corner of `axes`."""
    axes.annotate(
        f"({letter})",
        xy=(0, 1),
        xycoords="axes fraction",
        xytext=(-26, 6),
        textcoords="offset points",
        fontweight="bold",
    )


def parity(
    axes: Axes,
    truth: npt.ArrayLike,
    prediction: npt.ArrayLike,
    *,
    unit: str,
    label: str | None = None,
    **scatter: Any,
) -> None:
    """Predicted against true values with the identity line; both arrays are (n,)."""
    truth, prediction = np.asarray(truth, float), np.asarray(prediction, float)
    if truth.shape != prediction.shape:
        raise InputError(
            f"parity plot needs equal shapes, got {truth.shape} and {prediction.shape}"
        )
    axes.scatter(truth, prediction, label=label, **({"s": 10, "alpha": 0.7} | scatter))
    low = min(truth.min(), prediction.min())
    high = max(truth.max(), prediction.max())
    axes.plot([low, high], [low, high], color=COLORS["black"], linewidth=0.8, zorder=0)
    axes.set(xlabel=f"measured ({unit})", ylabel=f"predicted ({unit})", aspect="equal")


def heatmap(
    axes: Axes, table: pd.DataFrame, *, unit: str, digits: int = 2, size: float = 8
) -> None:
    """Annotated heat map of a DataFrame whose index and columns name the ticks.

    `size` is that of the numbers in points.
    """
    sns.heatmap(
        table,
        ax=axes,
        annot=True,
        fmt=f".{digits}f",
        annot_kws={"fontsize": size},
        cmap="cividis",
        xticklabels=[str(c) for c in table.columns],
        yticklabels=[str(r) for r in table.index],
        cbar_kws={"label": unit},
    )
    axes.tick_params(length=0)
    axes.tick_params(axis="y", rotation=0)
    axes.set(xlabel="", ylabel="")


def distribution(
    axes: Axes,
    values: npt.ArrayLike,
    *,
    edges: npt.ArrayLike,
    labels: tuple[str, str] = ("above 0", "exactly 0"),
    legend: str | None = None,
) -> None:
    """Histogram of values (n,) of 0 or more, in shares of n; exact zeros stand left of 0.

    `edges` are those of equal bins from 0 upwards; `legend` is a place as Matplotlib names it.
    """
    values, edges = np.asarray(values, float), np.asarray(edges, float)
    zero, width = values == 0, edges[1] - edges[0]
    sns.histplot(
        x=np.where(zero, -width / 2, values),
        hue=np.where(zero, labels[1], labels[0]),
        hue_order=labels,
        palette=[COLORS["blue"], COLORS["orange"]],
        weights=np.full(len(values), 1 / len(values)),
        bins=[edges[0] - width, *edges],  # no array: with weights seaborn compares it with a word
        multiple="stack",
        alpha=1,
        legend=legend is not None,
        ax=axes,
    )
    axes.set(xlabel="", ylabel="")
    _place_legend(axes, legend)


def intervals(
    axes: Axes,
    table: pd.DataFrame,
    *,
    value: str,
    low: str,
    high: str,
    category: str,
    hue: str,
    palette: Mapping[str, str],
    vertical: bool = False,
    legend: str | None = None,
) -> None:
    """A point with its interval per row of `table`: categories along an axis, colours side by side.

    value, low and high name the columns of numbers, category and hue those of names; palette
    gives every name of `hue` its colour. vertical draws the numbers upwards, else rightwards;
    `legend` is a place as Matplotlib names it.
    """
    # Seaborn takes observations, not intervals: of three, the middle one and their whole range
    long = table.melt([category, hue], [low, value, high], value_name="number")
    across, up = (category, "number") if vertical else ("number", category)
    sns.pointplot(
        long,
        x=across,
        y=up,
        hue=hue,
        hue_order=list(palette),
        palette=dict(palette),
        estimator="median",
        errorbar=("pi", 100),
        linestyle="none",
        dodge=0.15 * (len(palette) - 1),
        markersize=3.5,
        err_kws={"linewidth": 1.2},
        legend=legend is not None,
        ax=axes,
    )
    axes.set(xlabel="", ylabel="")
    _place_legend(axes, legend)


def _place_legend(axes: Axes, place: str | None) -> None:
    """Move seaborn's legend, untitled; a place "outside ..." is one of the figure."""
    if place is None:
        return
    drawn = axes.get_legend()
    handles, labels = drawn.legend_handles, [text.get_text() for text in drawn.texts]
    drawn.remove()
    if place.startswith("outside"):
        axes.figure.legend(handles, labels, loc=place, ncols=len(labels))
    else:
        axes.legend(handles, labels, loc=place)
