"""The law of total variance against simulation, moments against NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfutils.errors import InputError
from mfutils.uncertainty import ensembles


@given(st.integers(0, 1000), st.integers(2, 9))
@settings(max_examples=25, deadline=None)
def test_parts_are_the_law_of_total_variance(seed, members):
    generator = np.random.default_rng(seed)
    means, variances = generator.normal(size=(members, 4)), generator.uniform(0, 2, (members, 4))
    parts = ensembles.decompose(means, variances)
    # second moment minus squared mean of the mixture, with the unbiased factor for the members
    mixture = (variances + means**2).mean(0) - means.mean(0) ** 2
    biased = parts.aleatoric + parts.epistemic * (members - 1) / members
    np.testing.assert_allclose(biased, mixture, atol=1e-12)
    np.testing.assert_allclose(parts.std**2, parts.total)


def test_mixture_samples_have_the_total_variance():
    generator = np.random.default_rng(0)
    means, variances = generator.normal(size=(400, 1)), generator.uniform(0.5, 2, (400, 1))
    which = generator.integers(400, size=400_000)
    drawn = generator.normal(means[which, 0], np.sqrt(variances[which, 0]))
    assert drawn.var() == pytest.approx(ensembles.decompose(means, variances).total[0], rel=0.02)


def test_vector_moments_are_numpy_covariances():
    samples = np.random.default_rng(1).normal(size=(11, 5, 3))
    mean, covariance = ensembles.vector_moments(samples, noise=np.arange(5.0))
    for i in range(5):
        np.testing.assert_allclose(covariance[i], np.cov(samples[:, i].T) + i * np.eye(3))
    np.testing.assert_allclose(mean, samples.mean(0))


def test_bootstrap_counts_are_samples_with_replacement():
    counts = ensembles.bootstrap_counts(50, 2000, seed=3)
    assert (counts.sum(1) == 50).all()
    assert (counts == 0).mean() == pytest.approx((1 - 1 / 50) ** 50, abs=0.01)
    np.testing.assert_array_equal(counts, ensembles.bootstrap_counts(50, 2000, seed=3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ensembles.decompose(np.zeros((1, 3))), "at least 2 members"),
        (lambda: ensembles.decompose(np.zeros((2, 3)), np.zeros((3, 2))), "shapes"),
        (lambda: ensembles.decompose(np.zeros((2, 1)), -np.ones((2, 1))), "noise variance is -1"),
        (lambda: ensembles.vector_moments(np.zeros((1, 2, 3))), "K at least 2"),
        (lambda: ensembles.vector_moments(np.zeros((3, 2, 3)), -1.0), "noise variance is -1"),
        (lambda: ensembles.bootstrap_counts(0, 2, 0), "at least one of each"),
    ],
)
def test_refuses_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
