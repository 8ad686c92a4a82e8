"""The remembered CPU cost."""

import time

import numpy as np
import pytest

from mfutils import paths
from mfutils.compendium import cost as timing


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CACHE", tmp_path)


def spin(seconds):
    """Keep this thread busy for so much CPU time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass
    return seconds


def test_cost_is_cpu_time_not_waiting():
    _, busy = timing.cpu_seconds(lambda: spin(0.05), key=("busy",))
    assert busy == pytest.approx(0.05, rel=0.2)
    _, idle = timing.cpu_seconds(lambda: time.sleep(0.05), key=("idle",), repeats=1)
    assert idle < 0.02


def test_second_measurement_is_remembered_but_the_result_is_fresh():
    results = iter(range(10))
    call = lambda: (spin(0.01), next(results))[1]  # noqa: E731
    first, cost = timing.cpu_seconds(call, key=("a", 1, np.arange(3)), repeats=3)
    assert first == 2
    slower = lambda: (spin(0.05), next(results))[1]  # noqa: E731
    again, same = timing.cpu_seconds(slower, key=("a", 1, np.arange(3)))
    assert (again, same) == (3, cost)


def test_long_calls_are_not_repeated(monkeypatch):
    monkeypatch.setattr(timing, "_ENOUGH", 0.01)
    calls = []
    timing.cpu_seconds(lambda: calls.append(spin(0.02)), key=("long",), repeats=5)
    assert len(calls) == 1


@pytest.mark.parametrize(
    "other", [("a", 2, np.arange(3)), ("a", 1, np.arange(3.0)), ("a", 1, np.arange(4)), ("a",)]
)
def test_another_key_is_measured(other):
    timing.cpu_seconds(lambda: spin(0.01), key=("a", 1, np.arange(3)), repeats=1)
    _, cost = timing.cpu_seconds(lambda: spin(0.03), key=other, repeats=1)
    assert cost > 0.02


def test_damaged_store_is_measured_again():
    timing.cpu_seconds(lambda: spin(0.01), key=("x",), repeats=1)
    (stored,) = (paths.CACHE / "timings").iterdir()
    stored.write_text("{")
    _, cost = timing.cpu_seconds(lambda: spin(0.03), key=("x",), repeats=1)
    assert cost > 0.02


def test_changed_code_is_measured_again(monkeypatch):
    for version in ("old", "old", "new"):
        monkeypatch.setattr(timing, "code_hash", lambda function, version=version: version)
        timing.cpu_seconds(lambda: None, key=(), code=(spin,), repeats=1)
    assert len(list((paths.CACHE / "timings").iterdir())) == 2
