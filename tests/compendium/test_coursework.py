"""Exercises: checks, seals, and what is left of a solution in the student version."""

import json

import nbformat
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mfutils.compendium import coursework
from mfutils.compendium.coursework import Unanswered, WrongAnswer
from mfutils.errors import InputError

SEALS = coursework.seal("01_1.a", 0.4321, tolerance=0.01)


@given(right=st.floats(-1e6, 1e6), share=st.floats(-0.5, 0.5), tolerance=st.floats(1e-6, 1e3))
def test_a_number_within_half_the_tolerance_is_right(right, share, tolerance):
    seals = coursework.seal("01_1.a", right, tolerance=tolerance)
    coursework.check("01_1.a", right + 0.999 * share * tolerance, seals, tolerance=tolerance)


@given(right=st.floats(-1e6, 1e6), tolerance=st.floats(1e-3, 1e3), sign=st.sampled_from([-1, 1]))
def test_a_number_two_tolerances_away_is_wrong(right, tolerance, sign):
    seals = coursework.seal("01_1.a", right, tolerance=tolerance)
    far = right + 2 * sign * tolerance
    with pytest.raises(WrongAnswer, match=r"01_1.a is not right yet. Think"):
        coursework.check("01_1.a", far, seals, tolerance=tolerance, hint="Think.")


@pytest.mark.parametrize(
    ("answer", "options"),
    [(7, {}), ("PBE", {}), ([1, "a", True], {}), (np.array([0.1, 0.2]), {"tolerance": 0.01})],
)
def test_kinds_of_answers(answer, options, capsys):
    seals = coursework.seal("01_1.b", answer, **options)
    coursework.check("01_1.b", answer, seals, **options)
    assert capsys.readouterr().out == "Exercise 01_1.b is right.\n"
    wrong = ["no"] * len(seals)
    with pytest.raises(WrongAnswer):
        coursework.check("01_1.b", wrong, seals, **options)


def test_words_match_whatever_their_case():
    coursework.check("01_1.a", " pbe", coursework.seal("01_1.a", "PBE"))


@pytest.mark.parametrize("answer", [..., None, [1, ...]])
def test_an_open_answer_is_told_kindly(answer):
    with pytest.raises(Unanswered, match=r"^Exercise 01_1.a is still open: .* again\.$"):
        coursework.check("01_1.a", answer, SEALS, tolerance=0.01)


@pytest.mark.parametrize("answer", [float("nan"), float("inf"), object(), [0.43, 0.43], {}])
def test_useless_answers_are_wrong(answer):
    with pytest.raises(WrongAnswer):
        coursework.check("01_1.a", answer, SEALS, tolerance=0.01)


def test_a_seal_needs_a_tolerance():
    with pytest.raises(InputError, match=r"01_1.a.*tolerance above 0"):
        coursework.seal("01_1.a", 0.5)
    with pytest.raises(InputError, match="finite"):
        coursework.seal("01_1.a", float("nan"), tolerance=1.0)


def test_functions_are_checked_by_what_they_do(capsys):
    coursework.check_that("01_1.a", lambda: abs(-1) == 1)
    assert "right" in capsys.readouterr().out
    with pytest.raises(WrongAnswer, match="sign"):
        coursework.check_that("01_1.a", lambda: False, hint="Mind the sign.")

    def stub():
        raise NotImplementedError

    for opened in (stub, lambda: ..., lambda: ... + 1):
        with pytest.raises(Unanswered):
            coursework.check_that("01_1.a", opened)
    with pytest.raises(ZeroDivisionError):
        coursework.check_that("01_1.a", lambda: 1 / 0)


def _notebook(*cells):
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=list(cells), metadata={"kernelspec": kernel})


def _cells(solution="secret = 0.4321\nanswer = secret * 1", check=None, tags=coursework.TAGS):
    check = check or f'coursework.check("01_1.a", answer, {SEALS}, tolerance=0.01, hint="Half.")'
    return [
        new_code_cell("from mfutils.compendium import coursework"),
        new_markdown_cell("How much?", metadata={"tags": [tags[0]]}),
        new_code_cell(solution, metadata={"tags": [tags[1]]}),
        new_code_cell(check, metadata={"tags": [tags[2]], "points": 3}),
    ]


def _run(notebook):
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    return notebook


@pytest.mark.filterwarnings("default")
def test_both_versions_run_as_promised():
    source = _notebook(*_cells(), new_code_cell("print('after')"))
    ran = _run(coursework.instructor(source))
    assert "01_1.a is right" in ran.cells[3].outputs[0].text
    opened = coursework.student(source)
    with pytest.raises(CellExecutionError):
        _run(opened)
    shown = opened.cells[3].outputs[0]
    assert shown.ename == "Unanswered"
    assert len(shown.traceback) == 1
    assert "still open" in shown.traceback[0]
    wrong = coursework.student(source)
    wrong.cells[2].source = "answer = 0.9"
    with pytest.raises(CellExecutionError, match="not right yet"):
        _run(wrong)


def test_nothing_of_a_solution_is_left():
    cells = _cells()
    cells[2].metadata["mystnb"] = {"code_prompt_show": "secret"}
    ran = _notebook(*cells)
    ran.cells[2].outputs = [nbformat.v4.new_output("stream", text="secret 0.4321")]
    made = coursework.student(ran)
    nbformat.validate(made)
    text = json.dumps(made)
    assert "secret" not in text
    assert "0.4321" not in text
    assert made.cells[2].source == "answer = ...  # your answer"
    assert made.cells[3].metadata["nbgrader"]["points"] == 3
    assert ran.cells[2].source.startswith("secret")  # the original is untouched


def test_marked_lines_give_way_and_the_rest_stays():
    solution = (
        "def mean(x):\n    '''Mean of x.'''\n    ### BEGIN SOLUTION\n    return sum(x) / len(x)\n"
        "    ### END SOLUTION\n"
    )
    made = coursework.student(_notebook(*_cells(solution)))
    assert made.cells[2].source == (
        "def mean(x):\n    '''Mean of x.'''\n    raise NotImplementedError  # your answer\n"
    )


def test_malformed_exercises_are_named():
    with pytest.raises(InputError, match="tagged solution; expected exercise"):
        coursework.exercises(_notebook(*_cells()[2:]))
    with pytest.raises(InputError, match="no solution or no check"):
        coursework.exercises(_notebook(*_cells()[:3]))
    with pytest.raises(InputError, match="names 0 exercises"):
        coursework.exercises(_notebook(*_cells(check="print()")))
    with pytest.raises(InputError, match="no name at its margin"):
        coursework.student(_notebook(*_cells("print(1)")))
