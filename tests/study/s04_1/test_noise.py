"""Synthetic problems against a step-by-step draw of the recipe of section 4.1.1."""

import math
import random

import numpy as np
import pytest

from mfutils.errors import InputError
from mfutils.study.s04_1.noise import KINDS, SAMPLE_PARAMETERS, synthetic_problem, truth


def formula(x, p):
    """Eq 4.1 in scalar arithmetic."""
    wave = p[0] * math.sin(p[1] * x**2 + p[2]) * (p[3] * x**2 + p[4])
    return wave + p[5] * (p[6] * x**3 + p[7]) + p[8] * x + p[9]


def test_truth_is_eq_4_1():
    rng = random.Random(1)
    for _ in range(20):
        p = [rng.randint(-5, 5) for _ in range(10)]
        x = [rng.random() for _ in range(5)]
        np.testing.assert_allclose(truth(x, p), [formula(v, p) for v in x], rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_follow_the_recipe_in_order(kind):
    problem = synthetic_problem(700, kind)
    random.seed(700)
    p = [random.randint(-5, 5) for _ in range(10)]
    assert problem.parameters == tuple(p)

    def observe(x, factors, amplitude):
        factor = random.uniform(*factors) if kind != "additive" else 1.0
        term = 0.0
        if kind != "multiplicative":
            term = amplitude * random.random() * random.choice([-1, 1])
        return factor * formula(x, p) + term

    high = [observe(x, (0.9, 1.1), 0.4) for x in problem.x_high]
    low = [observe(x, (0.8, 1.3), 0.8) for x in problem.x_low]
    np.testing.assert_allclose(problem.y_high, high, rtol=1e-10)
    np.testing.assert_allclose(problem.y_low, low, rtol=1e-10)
    np.testing.assert_allclose(problem.y_test, [formula(x, p) for x in problem.x_test], rtol=1e-10)


def test_shapes_and_nesting():
    problem = synthetic_problem(654, "mixed")
    assert [len(problem.x_high), len(problem.x_low), len(problem.x_test)] == [20, 200, 20]
    assert set(problem.x_high) <= set(problem.x_low)
    assert not set(problem.x_test) & set(problem.x_low)
    assert problem.x_test[-1] == pytest.approx(0.996)
    assert problem.x_test[-1] > problem.x_low[-1]


def test_seed_724_draws_the_printed_parameters():
    assert synthetic_problem(724, "additive").parameters == SAMPLE_PARAMETERS


def test_global_random_state_is_left_alone():
    random.seed(5)
    expected = random.random()
    random.seed(5)
    synthetic_problem(1, "mixed")
    assert random.random() == expected


def test_numpy_integers_are_seeds():
    ours, theirs = synthetic_problem(np.int64(7), "mixed"), synthetic_problem(7, "mixed")
    np.testing.assert_array_equal(ours.y_low, theirs.y_low)


def test_given_parameters_replace_the_drawn_ones():
    problem = synthetic_problem(3, "additive", parameters=SAMPLE_PARAMETERS)
    np.testing.assert_allclose(problem.y_test, truth(problem.x_test, SAMPLE_PARAMETERS))
    drawn = synthetic_problem(3, "additive")
    noise = problem.y_low - truth(problem.x_low, SAMPLE_PARAMETERS)
    np.testing.assert_allclose(noise, drawn.y_low - truth(drawn.x_low, drawn.parameters))


@pytest.mark.parametrize(("kind", "bound"), [("additive", 0.8), ("multiplicative", 0.3)])
def test_noise_stays_in_its_range(kind, bound):
    problem = synthetic_problem(11, kind)
    clean = truth(problem.x_low, problem.parameters)
    scale = 1.0 if kind == "additive" else np.abs(clean)
    assert (np.abs(problem.y_low - clean) <= bound * scale + 1e-12).all()


def test_bad_arguments():
    with pytest.raises(InputError, match="unknown noise kind 'both'"):
        synthetic_problem(1, "both")
    with pytest.raises(InputError, match=r"seed is 1\.5: expected a whole number"):
        synthetic_problem(1.5, "mixed")
    with pytest.raises(InputError, match="9 parameters given"):
        synthetic_problem(1, "mixed", parameters=range(9))
