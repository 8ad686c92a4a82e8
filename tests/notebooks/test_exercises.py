"""The checks of the exercises themselves: right answers pass, wrong and open ones do not."""

import ast
import itertools

import nbformat
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mfutils import paths
from mfutils.compendium import coursework
from mfutils.compendium.coursework import Unanswered, WrongAnswer
from mfutils.crystals import symmetry
from mfutils.forces import force_checks
from mfutils.screening import shapley, voltages
from mfutils.screening.hull import Phases

STEMS = sorted(p.stem for p in paths.NOTEBOOKS.glob("*.ipynb"))


def _items(stem):
    notebook = nbformat.read(paths.NOTEBOOKS / f"{stem}.ipynb", as_version=4)
    return notebook, {item["name"]: item for item in coursework.exercises(notebook)}


def _call(item):
    """The call in a check cell: kind, answer, number of seals."""
    for node in ast.walk(ast.parse(item["check"].source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("coursework.check"):
            kind = node.func.attr
            return kind, node.args[1], len(node.args[2].elts) if kind == "check" else 0
    raise AssertionError(f"{item['name']}: no check")


@pytest.mark.parametrize("stem", STEMS)
def test_numbers_that_are_wrong_or_missing_do_not_pass(stem):
    for item in _items(stem)[1].values():
        kind, answer, seals = _call(item)
        if kind != "check" or not isinstance(answer, ast.Name):
            continue
        far = [1.7e8 + k for k in range(seals)]
        for given in (far, ["no"] * seals, far[1:]):
            with pytest.raises(WrongAnswer):
                exec(item["check"].source, {"coursework": coursework, answer.id: given})
        # what the student version leaves behind
        stub = coursework._stubbed(item["solution"].source)
        with pytest.raises(Unanswered):
            exec(f"{stub}\n{item['check'].source}", {"coursework": coursework})


# Plausible mistakes: for each exercise that asks for a function, bodies that must fail
WRONG = {
    "03_2b.b": [
        "o = np.asarray(occupancy)\n    return o @ np.asarray(table) / o.sum(axis=1)[:, None]",
        "return np.asarray(table)[np.argmax(occupancy, axis=1)]",
    ],
    "06_1.b": [
        "return abs(field(places @ turn.T) - field(places)).max() / abs(field(places)).max()",
        "return abs(field(places @ turn.T) - field(places) @ turn.T).max()",
        "f = field(places)\n    return abs(field(places @ turn.T) - f @ turn).max() / abs(f).max()",
    ],
    "06_2.b": [
        "return ((vectors.T @ vectors) ** 2).sum()",
        "return ((vectors / np.linalg.norm(vectors, axis=1)[:, None]).sum(axis=0) ** 2).sum()",
    ],
    "06_3.b": [
        "return energies - np.interp(x, np.sort(x), energies[np.argsort(x)])",
        "return energies - energies.min()",
        "return np.maximum(energies, 0)",
    ],
    "06_4.b": [
        "d = places[:, None] - places; r = np.linalg.norm(d, axis=-1) + np.eye(len(places))\n"
        "    return -((np.exp(-r) / r)[..., None] * d).sum(axis=1)",
        "d = places[:, None] - places; r = np.linalg.norm(d, axis=-1)\n"
        "    return (np.exp(-r)[..., None] * d).sum(axis=1)",
    ],
    "07_1.b": [
        "return learnt(n, k, rho)",
        "return 1 / (1 / learnt(n, k, rho) + (rho * bias) ** 2)",
        "return 1 / (1 / learnt(n, k, rho) + (bias * k / (n + k)) ** 2)",
    ],
    "07_2.b": [
        "least = np.minimum.accumulate(points[np.lexsort(points.T[::-1]), 1])\n"
        "    mask = np.zeros(len(points), bool)\n"
        "    mask[np.lexsort(points.T[::-1])] = np.append(True, least[1:] < least[:-1])\n"
        "    return mask",
        "return points[:, 1] <= points[:, 1].min()",
    ],
    "07_3.b": [
        "return np.arange(len(charges)) >= last",
        "words = combinations_with_replacement(range(len(charges)), left)\n"
        "    good = {i for w in words if sum(charges[j] for j in w) == missing for i in w}\n"
        "    return np.array([i in good for i in range(len(charges))])",
    ],
    "07_4.b": [
        "return np.array([game[2**i] - game[0] for i in range(int(np.log2(len(game))))])",
        "d = int(np.log2(len(game)))\n"
        "    off = [[s for s in range(2**d) if not s >> i & 1] for i in range(d)]\n"
        "    mean = [np.mean([game[s + 2**i] - game[s] for s in off[i]]) for i in range(d)]\n"
        "    return np.array(mean)",
    ],
    "07_5.b": [
        "return arrive + work",
        "return arrive[0] + np.cumsum(work)",
        "return np.maximum.accumulate(arrive + work)",
    ],
    "07_6.b": [
        "s = np.diff(energy) / np.diff(x)\n    return s[i - 1], s[i]",
        "return (energy[i] - energy[0]) / x[i], (energy[-1] - energy[i]) / (x[-1] - x[i])",
    ],
    "07_7.b": [
        "return np.linalg.solve(x.T @ x + strength * np.eye(len(start)), x.T @ y)",
        "return start + np.linalg.solve(x.T @ x + strength * np.eye(len(start)), x.T @ y)",
        "return start",
    ],
    "07_8.b": [
        "return reward.max(axis=1)",
        "v = 0 * reward[:, 0]\n"
        "    for _ in range(900): v = (reward + discount * transition @ v).mean(axis=1)\n"
        "    return v",
        "v = 0 * reward[:, 0]\n"
        "    for _ in range(20): v = (reward + discount * transition @ v).max(axis=1)\n"
        "    return v",
    ],
}


def _functions(notebook, *names):
    """Functions that a notebook defines, by name, without running the rest of it."""
    found = {"np": np}
    for cell in notebook.cells:
        if cell.cell_type == "code" and not cell.metadata.get("tags"):
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.FunctionDef) and node.name in names:
                    exec(ast.unparse(node), found)
    return found


def _namespace(notebook):
    """What the cells of the exercises need from the notebook before them."""
    names = _functions(notebook, "law", "learnt", "worth", "double_sampling", "by_definition")
    names |= {"Phases": Phases, "Rotation": Rotation, "symmetry": symmetry}
    names |= {"force_checks": force_checks, "combinations": itertools.combinations}
    names["combinations_with_replacement"] = itertools.combinations_with_replacement
    names["shapley_values"] = shapley.shapley_values
    names |= {n: getattr(voltages, n) for n in ("lithiation_hull", "stability_window")}
    exec(next(c.source for c in notebook.cells if c.id == "exercise-tools"), names)
    return names


@pytest.mark.parametrize("name", WRONG)
def test_functions_are_told_from_plausible_mistakes(name, capsys):
    number = name.partition(".")[0]
    notebook, items = _items(next(stem for stem in STEMS if stem.startswith(f"{number}_")))
    names, item = _namespace(notebook), items[name]
    solution = item["solution"].source
    exec(solution, names)
    exec(item["check"].source, names)
    assert f"{name} is right" in capsys.readouterr().out
    exec(coursework._stubbed(solution), names)
    with pytest.raises(Unanswered):
        exec(item["check"].source, names)
    head = solution.split("\n", 1)[0]
    for body in WRONG[name]:
        exec(f"{head}\n    {body}\n", names)
        with pytest.raises(WrongAnswer):
            exec(item["check"].source, names)
