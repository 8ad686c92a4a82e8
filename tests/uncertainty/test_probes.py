"""Probes on descriptors whose content is known."""

import numpy as np
import pytest

from mfutils.errors import InputError
from mfutils.uncertainty.probes import domain_auc, explained

N = 300


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(N, 6))


def test_probe_finds_what_is_there_and_nothing_else(x):
    rng = np.random.default_rng(2)
    assert domain_auc(x, x[:, 2] > 0, np.arange(N)) > 0.98
    assert abs(domain_auc(x, rng.random(N) < 0.5, np.arange(N)) - 0.5) < 0.1
    assert explained(x, 3 * x[:, 1] - x[:, 0], np.arange(N)) > 0.999
    assert explained(x, rng.normal(size=N), np.arange(N)) < 0.05


def test_equal_descriptors_of_both_domains_cannot_be_told_apart(x):
    twice = np.concatenate([x, x])
    area = domain_auc(twice, np.repeat([False, True], N), np.tile(np.arange(N), 2))
    assert area == pytest.approx(0.5, abs=1e-12)


def test_groups_keep_the_probe_from_recognising_families():
    rng = np.random.default_rng(3)
    family = np.repeat(np.arange(30), 10)
    x = rng.normal(size=(30, 40))[family] + 0.01 * rng.normal(size=(N, 40))
    domain = (rng.random(30) < 0.5)[family]
    assert domain_auc(x, domain, np.arange(N)) > 0.95  # each row its own group: families leak
    assert domain_auc(x, domain, family, folds=3) < 0.8


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"groups": np.zeros(N)}, "folds is 5"),
        ({"groups": np.arange(N - 1)}, "have shapes"),
        ({"descriptors": np.full((N, 2), np.nan)}, "NaN or infinite"),
    ],
)
def test_bad_input(x, change, words):
    given = {"descriptors": x, "target": x[:, 0], "groups": np.arange(N)} | change
    with pytest.raises(InputError, match=words):
        explained(given["descriptors"], given["target"], given["groups"])


def test_a_fold_with_one_domain_is_refused(x):
    with pytest.raises(InputError, match="one domain only"):
        domain_auc(x, np.arange(N) < 1, np.arange(N))
