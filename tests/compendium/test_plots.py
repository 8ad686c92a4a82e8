"""The figure vocabulary: what the pictures show, and that a second drawing is the same."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from mfutils.compendium import plots


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def drawn(fig):
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def test_the_theme_is_seaborns_with_our_palette_and_sizes():
    plots.use_style()
    colors = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    assert [to_hex(c) for c in colors[:2]] == ["#0072b2", "#d55e00"]
    assert {to_hex(c) for c in colors} <= {c.lower() for c in plots.COLORS.values()}
    assert plt.rcParams["font.size"] == 9
    assert plt.rcParams["svg.hashsalt"] == "mfutils"
    assert plt.rcParams["image.cmap"] == "cividis"
    assert plt.rcParams["axes.edgecolor"] == ".15"  # seaborn's ticks; Matplotlib's is black


def test_distribution_gives_shares_of_all_and_zeros_a_bar_of_their_own():
    values = np.array([0, 0, 0.2, 0.4, 0.9, 0.5, 7.0, 0])
    _fig, axes = plots.figure()
    plots.distribution(axes, values, edges=np.arange(0, 1.1, 0.5), legend="upper right")
    bars = {round(bar.get_x(), 6): bar.get_height() for bar in axes.patches if bar.get_height() > 0}
    assert bars == pytest.approx({-0.5: 3 / 8, 0.0: 2 / 8, 0.5: 2 / 8})
    assert [t.get_text() for t in axes.get_legend().texts] == ["above 0", "exactly 0"]


def test_heatmap_writes_every_number_readably():
    table = pd.DataFrame([[0.0, 1.0], [2.0, np.nan]], index=["a", "b"], columns=[1, 2])
    fig, axes = plots.figure()
    plots.heatmap(axes, table, unit="eV", digits=1)
    texts = {t.get_text(): t.get_color() for t in axes.texts}
    assert set(texts) == {"0.0", "1.0", "2.0"}
    assert texts["0.0"] != texts["2.0"]
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "b"]
    assert fig.axes[1].get_ylabel() == "eV"


@pytest.mark.parametrize("vertical", [False, True])
def test_intervals_are_those_given(vertical):
    table = pd.DataFrame(
        {
            "model": ["x", "y", "x", "y"],
            "data": ["p", "p", "q", "q"],
            "mean": [1.0, 2.0, 3.0, 4.0],
            "low": [0.5, 1.9, 1.0, 3.0],
            "high": [1.1, 2.5, 3.1, 9.0],
        }
    )
    palette = {"p": plots.COLORS["blue"], "q": plots.COLORS["orange"]}
    names = {"value": "mean", "low": "low", "high": "high", "category": "model", "hue": "data"}

    def picture():
        fig, axes = plots.figure()
        plots.intervals(
            axes, table, **names, palette=palette, vertical=vertical, legend="outside lower center"
        )
        return fig, axes

    fig, axes = picture()
    lines = [np.asarray(line.get_ydata() if vertical else line.get_xdata()) for line in axes.lines]
    ends = {tuple(line) for line in lines if len(line) == 2 and line[0] != line[1]}
    for _, row in table.iterrows():
        assert (row.low, row.high) in ends
        assert any(row["mean"] in line for line in lines)
    assert [t.get_text() for t in fig.legends[0].texts] == ["p", "q"]
    assert axes.get_legend() is None
    assert drawn(fig) == drawn(picture()[0])


def test_parity_refuses_unequal_shapes():
    _, axes = plots.figure()
    with pytest.raises(plots.InputError, match="equal shapes"):
        plots.parity(axes, [1, 2], [1], unit="eV")
