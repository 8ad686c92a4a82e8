"""Figures, tables and values: what is written, what is refused, same bytes each time."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mfutils.compendium import artifacts, plots, stems
from mfutils.errors import InputError

STEM = "03_1_topic"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    run = {"stem": STEM, "folder": str(tmp_path / "out"), "provenance": {"profile": "quick"}}
    (tmp_path / "run.json").write_text(json.dumps(run))
    monkeypatch.setenv("MFUTILS_RUN", str(tmp_path / "run.json"))
    artifacts.begin(STEM, dataset="battery")
    yield tmp_path / "out"
    plots.plt.close("all")


def _draw():
    data = pd.DataFrame({"x": [0.0, 1.0], "y": [1 / 3, 2.0]})
    fig, axes = plots.figure("wide", ncols=2)
    axes[0].plot(data.x, data.y, label="y")
    axes[0].set(xlabel="x (1)", ylabel="y (eV)")
    return fig, data


def test_figure_with_data_and_provenance(folder):
    contents = []
    for _ in range(2):
        fig, data = _draw()
        assert artifacts.save_figure(fig, "fig_1", data=data, caption="two points") is fig
        contents.append({p.name: p.read_bytes() for p in folder.iterdir()})
    assert contents[0] == contents[1]
    read = pd.read_csv(folder / "fig_1.csv")
    pd.testing.assert_frame_equal(read, data, rtol=1e-9, check_dtype=False)
    note = json.loads(Image.open(folder / "fig_1.png").text["Description"])
    assert note == {"caption": "two points", "data": "battery", "profile": "quick"}
    assert b"two points" in (folder / "fig_1.svg").read_bytes()


def test_table_digits_index_and_headers(folder):
    table = pd.DataFrame(
        {("MAE", "eV"): [1 / 3], ("n", ""): [4]}, index=pd.Index(["LR"], name="model")
    )
    artifacts.save_table(table, "table_1", caption="errors", digits=2)
    text = (folder / "table_1.md").read_text()
    assert "| LR" in text
    assert "0.33 " in text
    read = pd.read_csv(folder / "table_1.csv")
    assert list(read.columns) == ["model", "MAE eV", "n"]
    assert read["MAE eV"][0] == pytest.approx(1 / 3, rel=1e-9)


def test_values_of_every_kind(folder):
    artifacts.record_many(
        {"a": np.float64(1.5), "b": [np.int64(1), 2], "c": {"holds": np.bool_(True)}, "d": "A>B"}
    )
    written = json.loads((folder / "values.json").read_text())
    assert written["values"] == {"a": 1.5, "b": [1, 2], "c": {"holds": True}, "d": "A>B"}
    assert written["dataset"] == "battery"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: artifacts.record("a", float("nan")), "only finite numbers"),
        (lambda: artifacts.record("a", [1.0, float("inf")]), "only finite numbers"),
        (lambda: artifacts.record("a", object()), "has type object"),
        (lambda: [artifacts.record("a", v) for v in (1, 2)], "recorded twice"),
        (lambda: artifacts.begin("03_2_other"), "pass its own stem"),
        (lambda: artifacts.begin("topic"), "must look like 03_1_topic"),
        (lambda: artifacts.save_table(pd.DataFrame(), "t"), "non-empty DataFrame"),
        (lambda: artifacts.save_table(pd.DataFrame({"a": [1]}), "../t"), "lower case words"),
        (lambda: artifacts.save_figure(plots.figure()[0], "f", data=None), "plotted data"),
        (lambda: plots.figure("huge"), "figure width 'huge'"),
    ],
)
def test_mistakes(folder, call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_by_hand_values_may_change(tmp_path, monkeypatch):
    monkeypatch.delenv("MFUTILS_RUN", raising=False)
    monkeypatch.setattr(artifacts.paths, "FIGURES", tmp_path)
    artifacts.begin(STEM)
    artifacts.record("a", 1)
    artifacts.record("a", 2)
    assert (tmp_path / "interactive" / STEM / "values.json").exists()


@pytest.mark.parametrize("stem", ["07_10_topic", "03_2b_topic", "3_1_topic", "03_1", "03_1_Topic"])
def test_stems(tmp_path, monkeypatch, stem):
    monkeypatch.delenv("MFUTILS_RUN", raising=False)
    monkeypatch.setattr(artifacts.paths, "FIGURES", tmp_path)
    if stem[:2] in ("07", "03") and stem.endswith("_topic"):
        artifacts.begin(stem)
        assert stems.number(stem) in ("07_10", "03_2b")
    else:
        with pytest.raises(InputError, match="must look like 03_1_topic"):
            artifacts.begin(stem)
