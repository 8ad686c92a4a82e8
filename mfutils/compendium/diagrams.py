"""Boxes and arrows for the architecture figures (Figs 2.1 to 2.3).

A diagram is laid out in inches from the top left corner, so a text keeps its size relative to its
box. Texts come from the caller, who reads them off a model; a text that outgrows its box is an
error, not a picture to be looked at twice.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from mfutils.compendium import plots
from mfutils.errors import InputError

__all__ = ["Diagram"]

# side of a box -> offset of its middle from the centre, in widths and heights
_SIDES = {"top": (0, -0.5), "bottom": (0, 0.5), "left": (-0.5, 0), "right": (0.5, 0)}
_FONT = 7.5  # points
_TINT = 0.25  # opacity of a box under black text
_COLUMNS = ["kind", "name", "text", "x", "y", "width", "height", "start", "stop"]


class Diagram:
    """An empty drawing of `width` by `height` inches; y counts downwards from the top."""

    def __init__(self, width: float, height: float):
        plots.use_style()
        self.figure = plt.figure(figsize=(width, height))
        self.figure.set_layout_engine("none")  # the layout is the caller's
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        self.axes.axis("off")
        self._boxes, self._texts, self._rows = {}, {}, []

    def box(
        self,
        name: str,
        text: str,
        x: float,
        y: float,
        *,
        width: float = 1.5,
        height: float = 0.36,
        color: str | None = "sky",
    ) -> None:
        """A box centred at (x, y); color is a name of `plots.COLORS`, or None for plain text.

        Raises InputError for a name that is taken or a color that is unknown.
        """
        if name in self._boxes:
            raise InputError(f"box {name!r} is already there; choose another name")
        if color is not None and color not in plots.COLORS:
            raise InputError(f"unknown color {color!r}; use one of {', '.join(plots.COLORS)}")
        if color is not None:
            patch = FancyBboxPatch(
                (x - width / 2, y - height / 2), width, height,
                boxstyle="round,pad=0,rounding_size=0.06", linewidth=0.8,
                edgecolor=plots.COLORS[color], facecolor=(plots.COLORS[color], _TINT),
            )  # fmt: skip
            self.axes.add_patch(patch)
        self._texts[name] = self.axes.text(
            x, y, text, ha="center", va="center", fontsize=_FONT, linespacing=1.25
        )
        self._boxes[name] = (x, y, width, height)
        self._note("box", name, text, x=x, y=y, width=width, height=height)

    def arrow(
        self,
        start: str,
        stop: str,
        *,
        sides: tuple[str, str] = ("bottom", "top"),
        shift: tuple[float, float] = (0, 0),
        via: Sequence[tuple[float, float]] = (),
        text: str = "",
        at: tuple[float, float] | None = None,
        dashed: bool = False,
    ) -> None:
        """An arrow from a side of one box to a side of another, through the points `via`.

        shift moves both ends along their sides, in inches. `text` stands at the point `at`, by
        default in the middle of the last leg. Raises InputError for unknown boxes or sides.
        """
        for name in (start, stop):
            if name not in self._boxes:
                raise InputError(f"no box {name!r}; known: {', '.join(self._boxes) or 'none'}")
        ends = [self._anchor(*end) for end in zip((start, stop), sides, shift, strict=True)]
        points = [ends[0], *via, ends[1]]
        self.axes.add_patch(
            FancyArrowPatch(
                path=Path(points),
                arrowstyle="-|>",
                mutation_scale=7,
                linewidth=0.9,
                shrinkA=0,
                shrinkB=0,
                color="#666666" if dashed else "black",
                linestyle=(0, (3, 2)) if dashed else "solid",
                joinstyle="round",
            )
        )
        if text:
            (x0, y0), (x1, y1) = points[-2:]
            x, y = at or ((x0 + x1) / 2, (y0 + y1) / 2)
            ground = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
            self.axes.text(x, y, text, ha="center", va="center", fontsize=_FONT - 0.5, bbox=ground)
        self._note("arrow", "", text, start=start, stop=stop)

    def label(self, text: str, x: float, y: float, *, bold: bool = False) -> None:
        """Text without a box that starts at x and is centred at y."""
        weight = "bold" if bold else "normal"
        self.axes.text(x, y, text, ha="left", va="center", fontsize=_FONT + 0.5, weight=weight)
        self._note("label", "", text, x=x, y=y)

    def frame(self) -> pd.DataFrame:
        """All that is drawn, a row each; raises InputError when a text does not fit its box."""
        scale = self.figure.dpi
        renderer = self.figure.canvas.get_renderer()
        for name, text in self._texts.items():
            extent = text.get_window_extent(renderer)
            width, height = extent.width / scale, extent.height / scale
            _, _, most_width, most_height = self._boxes[name]
            if width > most_width or height > most_height:
                raise InputError(
                    f"text of box {name!r} takes {width:.2f} x {height:.2f} inches, the box is "
                    f"{most_width:g} x {most_height:g}; enlarge the box"
                )
        return pd.DataFrame(self._rows, columns=_COLUMNS)

    def _anchor(self, name, side, shift):
        if side not in _SIDES:
            raise InputError(f"unknown side {side!r} of a box; use one of {', '.join(_SIDES)}")
        x, y, width, height = self._boxes[name]
        across, down = _SIDES[side]
        return x + across * width + shift * (down != 0), y + down * height + shift * (across != 0)

    def _note(self, kind, name, text, **numbers):
        row = {"kind": kind, "name": name, "text": " / ".join(text.split("\n"))}
        self._rows.append(row | numbers)
