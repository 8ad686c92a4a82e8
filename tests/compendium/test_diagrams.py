"""Diagrams: what is drawn is listed, arrows end at boxes, and mistakes are named."""

import io

import matplotlib.pyplot as plt
import pytest

from mfutils.compendium.diagrams import Diagram
from mfutils.errors import InputError


@pytest.fixture
def diagram():
    yield (made := Diagram(4, 3))
    plt.close(made.figure)


def test_frame_lists_boxes_arrows_and_labels(diagram):
    diagram.box("a", "first\nlayer", 1, 1, color="blue")
    diagram.box("b", "second", 3, 2, color=None)
    diagram.arrow("a", "b", text="64")
    diagram.label("(a)", 0.1, 0.2, bold=True)
    frame = diagram.frame()
    assert frame.kind.tolist() == ["box", "box", "arrow", "label"]
    assert frame.text.tolist() == ["first / layer", "second", "64", "(a)"]
    assert frame.loc[2, ["start", "stop"]].tolist() == ["a", "b"]


def test_it_can_be_saved_at_its_size(diagram):
    diagram.box("a", "text", 1, 1)
    diagram.figure.savefig(file := io.BytesIO(), format="png", dpi=50)
    file.seek(0)
    assert plt.imread(file).shape[:2] == (150, 200)


@pytest.mark.parametrize(
    ("sides", "shift", "ends"),
    [
        (("bottom", "top"), (0, 0), [(1, 1.25), (3, 1.75)]),
        (("right", "left"), (0, 0), [(1.5, 1), (2.5, 2)]),
        (("bottom", "left"), (-0.2, 0.1), [(0.8, 1.25), (2.5, 2.1)]),
    ],
)
def test_an_arrow_runs_between_the_sides(diagram, sides, shift, ends):
    diagram.box("a", "", 1, 1, width=1, height=0.5)
    diagram.box("b", "", 3, 2, width=1, height=0.5)
    diagram.arrow("a", "b", sides=sides, shift=shift, via=[(2, 2)])
    path = diagram.axes.patches[-1]._path_original
    assert path.vertices.tolist() == [pytest.approx(p) for p in (ends[0], (2, 2), ends[1])]


def test_y_counts_downwards_in_inches(diagram):
    diagram.box("a", "", 1, 1)
    x, y = diagram.axes.transData.transform((1, 1))
    assert (x, y) == pytest.approx((diagram.figure.dpi, 2 * diagram.figure.dpi))


def test_a_text_that_outgrows_its_box_is_an_error(diagram):
    diagram.box("wide", "a text that is much longer than this", 1, 1, width=0.8)
    with pytest.raises(InputError, match=r"text of box 'wide' takes .* the box is 0.8 x 0.36"):
        diagram.frame()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: d.box("a", "", 1, 1), "box 'a' is already there"),
        (lambda d: d.box("b", "", 1, 1, color="pink"), "unknown color 'pink'; use one of black"),
        (lambda d: d.arrow("a", "z"), "no box 'z'; known: a"),
        (lambda d: d.arrow("a", "a", sides=("bottom", "up")), "unknown side 'up' of a box"),
    ],
)
def test_mistakes_are_named(diagram, call, message):
    diagram.box("a", "", 1, 1)
    with pytest.raises(InputError, match=message):
        call(diagram)
