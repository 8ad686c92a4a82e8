"""Figures, tables and values that a notebook leaves behind, with their provenance.

Every figure is saved as PNG and SVG with the plotted data as CSV beside it, every
table as CSV and Markdown. PNG, SVG and Markdown carry the provenance inside; the CSV
files stay plain, and `stamp.json` in the same folder lists it for all of them.
Nothing holds a time stamp: an unchanged rerun writes the same bytes.
"""

import io
import json
import math
import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mfutils import files, paths
from mfutils.compendium import published, stems
from mfutils.errors import InputError

if TYPE_CHECKING:  # a notebook without figures starts in half the time
    from matplotlib.figure import Figure

__all__ = [
    "begin",
    "record",
    "record_many",
    "save_figure",
    "save_table",
    "verdicts",
]

_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


class _State:
    """What one kernel has saved so far; `begin` makes a new one."""

    def __init__(self, stem: str, folder: Path, provenance: dict, dataset: str | None):
        self.stem, self.folder, self.provenance = stem, folder, provenance
        self.dataset = dataset
        # By hand a cell may be run again with other parameters; under the runner a
        # second value for one id is a mistake.
        self.strict = provenance["profile"] != "interactive"
        self.values: dict = {}
        self.captions: dict[str, dict] = {}


_state: _State | None = None


def begin(stem: str, *, dataset: str | None = None) -> None:
    """Open the output folder of the notebook `stem` and forget earlier values.

    Under the runner the folder and the provenance come from the setting MFUTILS_RUN
    (a JSON file); by hand they go to `figures/interactive/<stem>/`. `dataset` names
    the data that the figures show unless a call says otherwise.
    Raises InputError when `stem` is not the running notebook's own.
    """
    global _state
    if not stems.is_stem(stem):
        raise InputError(f"notebook stem {stem!r} must look like 03_1_topic; rename it")
    if job := os.environ.get("MFUTILS_RUN"):
        run = json.loads(Path(job).read_text(encoding="utf-8"))
        if run["stem"] != stem:
            raise InputError(
                f"notebook {run['stem']} calls artifacts.begin({stem!r}); pass its own stem"
            )
        folder, provenance = Path(run["folder"]), run["provenance"]
    else:
        folder = paths.FIGURES / "interactive" / stem
        provenance = {"notebook": stem, "profile": "interactive"}
    folder.mkdir(parents=True, exist_ok=True)
    _state = _State(stem, folder, provenance, dataset)
    _write_values()


def _current() -> _State:
    if _state is None:
        raise InputError("nothing can be saved yet; call artifacts.begin(stem) first")
    return _state


def _provenance(caption: str, dataset: str | None) -> str:
    state = _current()
    extra = {"data": dataset or state.dataset, "caption": caption}
    return json.dumps(state.provenance | {k: v for k, v in extra.items() if v}, sort_keys=True)


def _claim(name: str, kind: str, caption: str, dataset: str | None) -> Path:
    """Register an artifact name and return its path without suffix."""
    state = _current()
    if not _NAME.fullmatch(name):
        raise InputError(f"artifact name {name!r} must be lower case words joined by _")
    if (known := state.captions.get(name)) and known["kind"] != kind:
        raise InputError(f"{name!r} is already a {known['kind']}; give the {kind} another name")
    state.captions[name] = {
        "kind": kind,
        "caption": caption,
        "dataset": dataset or state.dataset,
    }
    _write_values()
    return state.folder / name


def save_figure(
    fig: "Figure",
    name: str,
    *,
    data: pd.DataFrame,
    dataset: str | None = None,
    caption: str = "",
) -> "Figure":
    """Write `name`.png, `name`.svg and the plotted data as `name`.csv; return `fig`.

    `data` is a tidy DataFrame that suffices to draw the figure again. Outside the full
    profile a small line under the figure names profile and data set.
    """
    if not isinstance(data, pd.DataFrame) or data.empty:
        raise InputError(f"figure {name!r}: pass the plotted data as a non-empty DataFrame")
    state = _current()
    base = _claim(name, "figure", caption, dataset)
    profile = state.provenance["profile"]
    shown = dataset or state.dataset
    notes = [f"{profile} profile"] if profile != "full" else []
    notes += [f"data: {shown}"] if shown else []
    footer = None
    if notes:
        footer = fig.text(
            1, 0, " · ".join(notes), ha="right", va="top", fontsize=6, color="#666666"
        )
        footer.set_in_layout(True)
    text = _provenance(caption, dataset)
    metadata = {
        "png": {"Software": "mfutils", "Description": text},
        "svg": {"Date": None, "Creator": "mfutils", "Description": text},
    }
    for suffix, entries in metadata.items():
        buffer = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a missing glyph is a defect of the figure
            fig.savefig(buffer, format=suffix, metadata=entries, bbox_inches="tight")
        files.write_bytes(base.with_suffix(f".{suffix}"), buffer.getvalue())
    _write_csv(data, base.with_suffix(".csv"))
    if footer is not None:
        footer.remove()
    return fig


def save_table(
    df: pd.DataFrame,
    name: str,
    *,
    caption: str = "",
    dataset: str | None = None,
    digits: int | dict[str, int] | None = None,
) -> pd.DataFrame:
    """Write `name`.csv (all digits) and `name`.md (rounded to `digits`); return `df`.

    `digits` is a number of decimals for every float column or a dict column -> decimals.
    """
    if not isinstance(df, pd.DataFrame) or df.empty:
        raise InputError(f"table {name!r}: pass a non-empty DataFrame")
    base = _claim(name, "table", caption, dataset)
    _write_csv(df, base.with_suffix(".csv"))
    shown = _flat(df)
    for column in shown.columns:
        if pd.api.types.is_float_dtype(shown[column]):
            places = digits.get(column) if isinstance(digits, dict) else digits
            style = "{:.6g}" if places is None else f"{{:.{places}f}}"
            shown[column] = ["" if pd.isna(v) else style.format(v) for v in shown[column]]
    lines = [f"<!-- {_provenance(caption, dataset)} -->"]
    lines += [f"**{caption}**", ""] if caption else []
    numeric = [pd.api.types.is_numeric_dtype(dtype) for dtype in _flat(df).dtypes]
    sides = ["right" if n else "left" for n in numeric]
    lines.append(shown.to_markdown(index=False, disable_numparse=True, colalign=sides))
    files.write_text(base.with_suffix(".md"), "\n".join(lines) + "\n")
    return df


def _flat(df: pd.DataFrame) -> pd.DataFrame:
    """Copy with a named index as columns and multi-level headers joined by spaces."""
    plain = isinstance(df.index, pd.RangeIndex) and df.index.name is None
    flat = df.copy() if plain else df.reset_index()
    flat.columns = [
        " ".join(str(part) for part in c if str(part)) if isinstance(c, tuple) else str(c)
        for c in flat.columns
    ]
    return flat


def _write_csv(df: pd.DataFrame, path: Path) -> None:
    # Ten digits keep every published comparison and drop the noise of the last bits.
    files.write_text(path, _flat(df).to_csv(index=False, float_format="%.10g", lineterminator="\n"))


def record(id: str, value: Any) -> None:
    """Keep a value for `make check`; see `mfutils.compendium.published` for the kinds of value.

    Raises InputError for a repeated id with another value, a non-finite number or a
    type that JSON cannot hold.
    """
    state = _current()
    plain = _plain(id, value)
    if state.strict and id in state.values and state.values[id] != plain:
        raise InputError(f"value {id!r} was recorded twice with different content; rename one")
    state.values[id] = plain
    _write_values()


def record_many(values: Mapping[str, Any]) -> None:
    """`record` for every id and value of a mapping."""
    for id, value in values.items():
        record(id, value)


def _plain(id: str, value):
    """`value` with NumPy types replaced by Python's; raises InputError otherwise."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(k): _plain(id, v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(id, v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"value {id!r} is {value}; only finite numbers can be recorded")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InputError(f"value {id!r} has type {type(value).__name__}; use numbers, strings or dicts")


def _write_values() -> None:
    state = _current()
    content = {
        "artifacts": dict(sorted(state.captions.items())),
        "dataset": state.dataset,
        "values": dict(sorted(state.values.items())),
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    files.write_text(state.folder / "values.json", text)


def verdicts() -> pd.DataFrame:
    """Printed values of this notebook beside ours, with class and verdict."""
    state = _current()
    printed = published.load(state.stem)
    rows = [published.compare(p, state.values.get(p.id), dataset=state.dataset) for p in printed]
    columns = ["id", "where", "printed", "ours", "class", "verdict"]
    table = pd.DataFrame(rows, columns=columns)
    table["ours"] = [published.shown(v) for v in table["ours"]]
    return table
