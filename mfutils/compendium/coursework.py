"""Exercises: self-checks that give nothing away, and the two versions of a notebook.

In a notebook an exercise is a Markdown cell tagged `exercise`, a code cell tagged `solution`
and a code cell tagged `check` that calls `check` or `check_that`. `student` takes the
solutions out, `instructor` keeps them; both carry the metadata that nbgrader reads, so that a
course may use it, and neither needs it. What a number should be is stored as a seal, the hash
of the rounded value, so that a check tells right from wrong without holding the answer.
"""

import copy
import hashlib
import math
import re
from collections.abc import Callable
from contextlib import suppress
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from mfutils.compendium import stems
from mfutils.errors import InputError

if TYPE_CHECKING:  # readers of a notebook need no nbformat
    from nbformat import NotebookNode

__all__ = [
    "Unanswered", "WrongAnswer", "check", "check_that", "exercises", "instructor", "seal",
    "student",
]  # fmt: skip

TAGS = ("exercise", "solution", "check")
STUB = "...  # your answer"
_BEGIN, _END = "### BEGIN SOLUTION", "### END SOLUTION"
_NAME = re.compile(rf"{stems.NUMBER}\.[a-z]")


class _Message(Exception):
    """An end of the notebook that a reader sees as one line instead of a traceback."""

    def _render_traceback_(self):
        return [str(self)]


class Unanswered(_Message):
    """The exercise above is still open."""


class WrongAnswer(_Message):
    """The answer is not what the exercise asks for."""


def _digest(name, value):
    return hashlib.sha256(f"{name}:{value}".encode()).hexdigest()[:16]


def _steps(value, tolerance):
    """Whole numbers of tolerances next to a number."""
    scaled = value / tolerance
    return {math.floor(scaled), math.ceil(scaled)}


def _parts(value):
    return list(value) if isinstance(value, list | tuple) else [value]


def _given(name, answer):
    """The parts of an answer, after refusing what is missing or of no use."""
    with suppress(AttributeError):
        answer = answer.tolist()  # arrays and scalars of numpy
    parts = _parts(answer)
    if any(part is ... or part is None for part in parts):
        raise Unanswered(
            f"Exercise {name} is still open: write your answer in the cell above, run it, then "
            "run this cell again."
        )
    for part in parts:
        if not isinstance(part, str | bool | Integral | Real):
            raise WrongAnswer(
                f"Exercise {name}: the answer holds a {type(part).__name__}; give a number, a "
                "word or a list of them."
            )
    return parts


def seal(name: str, answer: Any, *, tolerance: float | None = None) -> list[str]:
    """Hashes of the right answer, one per part, to be pasted into the check cell.

    answer: a number, a word, or a list of them. Numbers that are not whole need a tolerance.
    Raises InputError without one.
    """
    seals = []
    for part in _given(name, answer):
        if isinstance(part, float):
            if not tolerance or tolerance <= 0 or not math.isfinite(part):
                raise InputError(
                    f"exercise {name}: the answer {part!r} is no whole number; expected it finite "
                    "and a tolerance above 0; give tolerance="
                )
            part = round(part / tolerance)
        seals.append(_digest(name, _plain(part)))
    return seals


def _plain(part):
    return part.strip().lower() if isinstance(part, str) else part


def check(
    name: str, answer: Any, seals: list[str], *, tolerance: float | None = None, hint: str = ""
) -> None:
    """Say whether an answer is right; numbers within the tolerance are.

    Raises Unanswered for the stub of the student version and WrongAnswer with the hint, each
    shown as one line.
    """
    parts = _given(name, answer)
    if len(parts) != len(seals):
        raise WrongAnswer(f"Exercise {name}: expected {len(seals)} values, found {len(parts)}.")
    for place, (part, sealed) in enumerate(zip(parts, seals, strict=True)):
        tried = [_plain(part)]
        if tolerance and isinstance(part, Real) and math.isfinite(part):
            tried = _steps(part, tolerance)
        if all(_digest(name, value) != sealed for value in tried):
            where = f" (value {place + 1} of {len(parts)})" if len(parts) > 1 else ""
            raise WrongAnswer(f"Exercise {name} is not right yet{where}. {hint}".strip())
    print(f"Exercise {name} is right.")


def check_that(name: str, test: Callable[[], object], *, hint: str = "") -> None:
    """Say whether `test()` holds, for answers that are functions.

    A stub (Ellipsis or NotImplementedError) counts as open; whatever else goes wrong in the
    student's function is shown with its own message.
    """
    try:
        held = test()
    except NotImplementedError:
        held = ...
    except TypeError as error:
        if "ellipsis" not in str(error):
            raise
        held = ...
    _given(name, held if held is ... or held is None else True)
    if not held:
        raise WrongAnswer(f"Exercise {name} is not right yet. {hint}".strip())
    print(f"Exercise {name} is right.")


def _tag(cell):
    return next((t for t in cell.metadata.get("tags", []) if t in TAGS), None)


def exercises(notebook: "NotebookNode") -> list[dict]:
    """The exercises of a notebook: {name, text, solution, check, points}.

    Raises InputError where the three cells do not follow each other in this order.
    """
    items, open_ = [], []
    for cell in notebook.cells:
        tag = _tag(cell)
        if tag is None:
            continue
        if tag != TAGS[len(open_)]:
            raise InputError(
                f"cell {cell.id!r} is tagged {tag}; expected {TAGS[len(open_)]}: an exercise is "
                "followed by its solution and its check"
            )
        open_.append(cell)
        if tag == "check":
            items.append(_exercise(*open_))
            open_ = []
    if open_:
        raise InputError(f"the exercise in cell {open_[0].id!r} has no solution or no check")
    return items


def _exercise(text, solution, check_cell):
    names = set(_NAME.findall(check_cell.source))
    if len(names) != 1:
        raise InputError(
            f"cell {check_cell.id!r} names {len(names)} exercises; expected one, as 02_1.a"
        )
    points = check_cell.metadata.get("points", 1)
    cells = {"text": text, "solution": solution, "check": check_cell}
    return {"name": names.pop(), "points": points, **cells}


def _stubbed(source):
    """The solution cell without the solution.

    Lines between the two marks give way to a stub; without marks the names that the cell
    assigns at its margin stay, each as an open question.
    """
    if _BEGIN in source:
        pattern = rf"([ \t]*){_BEGIN}.*?{_END}[^\n]*"
        return re.sub(pattern, r"\1raise NotImplementedError  # your answer", source, flags=re.S)
    names = re.findall(r"^([A-Za-z_]\w*) = ", source, flags=re.M)
    if not names:
        raise InputError(
            "a solution assigns no name at its margin and has no marks; put the lines to take "
            f"out between {_BEGIN} and {_END}"
        )
    return f"{names[-1]} = {STUB}"


def instructor(notebook: "NotebookNode") -> "NotebookNode":
    """A copy with solutions, without outputs, with nbgrader's metadata."""
    made = copy.deepcopy(notebook)
    for cell in made.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    for item in exercises(made):
        shared = {"schema_version": 3, "task": False}
        item["solution"].metadata["nbgrader"] = {
            **shared, "grade": False, "solution": True, "locked": False,
            "grade_id": f"{item['name']}-answer",
        }  # fmt: skip
        item["check"].metadata["nbgrader"] = {
            **shared, "grade": True, "solution": False, "locked": True,
            "grade_id": f"{item['name']}-check", "points": item["points"],
        }  # fmt: skip
    return made


def student(notebook: "NotebookNode") -> "NotebookNode":
    """The instructor's copy with every solution replaced by a stub."""
    made = instructor(notebook)
    for item in exercises(made):
        item["solution"].source = _stubbed(item["solution"].source)
        item["solution"].metadata.pop("mystnb", None)
    return made
