"""Knobs where a person runs the notebook, one still picture where the runner does."""

import pytest

from mfutils.compendium.widgets import explore
from mfutils.errors import InputError

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def calls():
    return []


def test_the_runner_draws_once_with_the_starting_values(calls, monkeypatch):
    monkeypatch.setenv("MFUTILS_RUN", "job.json")
    shown = explore(
        lambda **v: calls.append(v) or "picture", noise=(0.0, 1.0, 0.3), kind=["a", "b"]
    )
    assert shown == "picture"
    assert calls == [{"noise": 0.3, "kind": "a"}]


def test_a_turned_knob_draws_again(calls, monkeypatch):
    monkeypatch.delenv("MFUTILS_RUN", raising=False)
    box = explore(lambda **v: calls.append(v), noise=(0.0, 1.0, 0.3), kind=["a", "b"], n=(1, 9, 2))
    noise, kind, n, _ = box.children
    noise.value, kind.value, n.value = 0.7, "b", 5
    assert calls[0] == {"noise": 0.3, "kind": "a", "n": 2}
    assert calls[-1] == {"noise": 0.7, "kind": "b", "n": 5}
    assert isinstance(calls[-1]["n"], int)


@pytest.mark.parametrize("knob", [(0, 1, 2), [], (3.0, 1.0, 2.0)])
def test_a_useless_knob_is_named(knob):
    with pytest.raises(InputError, match="knob 'noise'"):
        explore(print, noise=knob)
