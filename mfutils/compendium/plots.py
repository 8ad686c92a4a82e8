"""One figure vocabulary: the style file, the palette and the recurring kinds of panel.

The palette is Okabe and Ito's, which stays distinguishable under the common forms of
colour blindness. Every notebook draws with these helpers, so figures look alike.
"""

import matplotlib.pyplot as plt
import numpy as np

from mfutils.errors import InputError

__all__ = ["COLORS", "figure", "heatmap", "panel_label", "parity", "use_style"]

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
_WIDTHS = {"single": 4.2, "wide": 7.2}


def use_style() -> None:
    """Apply the compendium's Matplotlib style to this process."""
    plt.style.use("mfutils.compendium.style")


def figure(width="single", *, height=None, **subplots):
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


def panel_label(axes, letter: str) -> None:
    """Write a panel letter, as in "(a)", outside the top left corner of `axes`."""
    axes.annotate(
        f"({letter})",
        xy=(0, 1),
        xycoords="axes fraction",
        xytext=(-26, 6),
        textcoords="offset points",
        fontweight="bold",
    )


def parity(axes, truth, prediction, *, unit: str, label=None, **scatter):
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


def heatmap(axes, table, *, unit: str, digits: int = 2):
    """Annotated heat map of a DataFrame whose index and columns name the axes."""
    values = table.to_numpy(float)
    image = axes.imshow(values, aspect="auto")
    axes.grid(False)
    axes.set_xticks(range(values.shape[1]), [str(c) for c in table.columns])
    axes.set_yticks(range(values.shape[0]), [str(r) for r in table.index])
    middle = (np.nanmin(values) + np.nanmax(values)) / 2
    for (row, column), value in np.ndenumerate(values):
        # White on the dark half of cividis, black on the light half.
        color = "white" if value < middle else "black"
        axes.text(column, row, f"{value:.{digits}f}", ha="center", va="center", color=color)
    axes.figure.colorbar(image, ax=axes, label=unit)
    return image
