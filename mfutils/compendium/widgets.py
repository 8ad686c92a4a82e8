"""Pictures with knobs in a notebook that a person runs, and still pictures everywhere else.

`explore(draw, noise=(0.0, 1.0, 0.3), kernel=["rbf", "matern"])` calls `draw(noise=..., kernel=...)`
again whenever a knob moves. Under the runner, and so in the book, the same call draws once,
with the starting values.
"""

import os
from collections.abc import Callable
from typing import Any

from mfutils.errors import InputError

__all__ = ["explore"]


def explore(draw: Callable[..., Any], **knobs: tuple | list) -> Any:
    """Show `draw(**values)`, with one knob per keyword where somebody can turn it.

    knobs: (low, high, start) of numbers for a slider (whole steps when all three are whole,
    100 steps otherwise) or a list of choices, the first of which is the start.
    Raises InputError when a start lies outside its range or a list is empty.
    """
    start = {name: _start(name, knob) for name, knob in knobs.items()}
    if "MFUTILS_RUN" in os.environ:  # executed by the runner: nobody is there to turn knobs
        return draw(**start)
    import ipywidgets

    controls = {name: _control(ipywidgets, name, knob) for name, knob in knobs.items()}
    picture = ipywidgets.interactive_output(draw, controls)
    return ipywidgets.VBox([*controls.values(), picture])


def _start(name, knob):
    if isinstance(knob, list):
        if not knob:
            raise InputError(f"knob {name!r} has no choices; give at least one")
        return knob[0]
    low, high, start = knob
    if not low <= start <= high:
        raise InputError(f"knob {name!r} starts at {start}; expected {low} to {high}")
    return start


def _control(ipywidgets, name, knob):
    style = {"description": name.replace("_", " "), "continuous_update": False}
    if isinstance(knob, list):
        return ipywidgets.Dropdown(options=knob, description=style["description"])
    low, high, start = knob
    if all(isinstance(value, int) for value in knob):
        return ipywidgets.IntSlider(min=low, max=high, value=start, **style)
    return ipywidgets.FloatSlider(min=low, max=high, step=(high - low) / 100, value=start, **style)
