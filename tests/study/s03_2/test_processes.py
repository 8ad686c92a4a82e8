"""The two Gaussian processes of section 3.2 on descriptors."""

import math

import gpytorch
import numpy as np
import pytest
import torch

from mfutils.errors import InputError
from mfutils.study.s03_2.processes import DEFAULT_NOISE, exact_process, thesis_process


def job(n=120, m=30, d=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n + m, d)).astype(np.float32)
    y = 2 + np.sin(x[:, 0]) + 0.5 * x[:, 1] + 0.05 * rng.normal(size=n + m)
    return {"descriptor_drawn": x[:n], "target_drawn": y[:n], "descriptor_test": x[n:]}, y[n:]


def test_the_default_noise_is_that_of_a_fresh_likelihood():
    fresh = gpytorch.likelihoods.GaussianLikelihood().noise.item()
    assert pytest.approx(fresh, abs=1e-6) == DEFAULT_NOISE
    assert pytest.approx(0.693, abs=5e-4) == DEFAULT_NOISE


def test_the_studys_process_learns_and_promises_its_untrained_noise():
    arguments, truth = job()
    fitted = thesis_process(**arguments, trained=96)
    assert np.abs(fitted.mean - truth).mean() < 0.15
    assert fitted.noise_std == pytest.approx(math.sqrt(DEFAULT_NOISE))
    np.testing.assert_allclose(fitted.std**2 - fitted.std_noiseless**2, DEFAULT_NOISE)
    assert fitted.fitted_noise_std < 0.5
    again = thesis_process(**arguments, trained=96)
    np.testing.assert_array_equal(again.mean, fitted.mean)
    other = thesis_process(**arguments, trained=96, seed=1)
    assert not np.array_equal(other.mean, fitted.mean)


def test_as_many_inducing_points_as_rows_come_near_the_exact_process():
    arguments, _ = job(n=60)
    sparse = thesis_process(**arguments, trained=48, inducing=48, patience=400)
    exact = exact_process(
        **arguments | {k: arguments[k][:48] for k in ("descriptor_drawn", "target_drawn")}
    )
    assert np.abs(sparse.mean - exact.mean).mean() < 0.15


def test_the_random_state_of_the_caller_is_left_alone():
    arguments, _ = job(n=30)
    torch.manual_seed(3)
    before = torch.rand(1)
    torch.manual_seed(3)
    thesis_process(**arguments, trained=24, epochs=2)
    assert torch.equal(torch.rand(1), before)


@pytest.mark.parametrize("trained", [1, 30, 31])
def test_rows_must_be_left_to_watch(trained):
    arguments, _ = job(n=30)
    with pytest.raises(InputError, match=f"{trained} of 30 rows train; expected at least 2"):
        thesis_process(**arguments, trained=trained)


def test_targets_that_are_no_numbers_are_one_clear_line():
    arguments, _ = job(n=30)
    broken = arguments | {"target_drawn": np.full(30, np.nan)}
    with pytest.raises(InputError, match="NaN"):
        thesis_process(**broken, trained=24, epochs=2)
    other = arguments | {"descriptor_test": np.ones((4, 2), np.float32)}
    with pytest.raises(InputError, match="columns"):
        thesis_process(**other, trained=24, epochs=2)
