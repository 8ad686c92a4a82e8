"""Analytic rates of a line of stages, and its simulation, against queueing theory and by hand."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfutils.errors import InputError
from mfutils.screening.line import (
    Stage,
    analyse,
    bottleneck,
    capacities,
    doubled,
    erlang_c,
    throughput,
)
from mfutils.screening.line_events import simulate

STAGES = st.lists(
    st.tuples(st.floats(0.01, 50), st.integers(1, 40), st.floats(0.01, 1)), min_size=1, max_size=6
)


def _line(rows):
    return [
        Stage(name=f"s{i}", service_time=time, servers=servers, passes=passes)
        for i, (time, servers, passes) in enumerate(rows)
    ]


@given(STAGES)
def test_capacities_follow_every_candidate_through_the_line(rows):
    """At the bottleneck's capacity every stage is busy at most fully, and one exactly."""
    line = _line(rows)
    offered = capacities(line).min()
    busy, flow = [], offered
    for time, servers, passes in rows:
        busy.append(flow * time / servers)
        flow *= passes
    assert max(busy) == pytest.approx(1)
    assert busy[bottleneck(line)] == pytest.approx(1)
    assert throughput(line) == pytest.approx(flow)
    assert throughput(line, arrivals=offered / 3) == pytest.approx(flow / 3)


@given(STAGES)
def test_doubling_helps_the_bottleneck_only(rows):
    line = _line(rows)
    table, own = doubled(line), capacities(line)
    second = np.partition(own, 1)[1] if len(own) > 1 else math.inf
    for i, gain in enumerate(table["gain"]):
        expected = min(2 * own[i], np.delete(own, i).min(initial=math.inf)) / own.min()
        assert gain == pytest.approx(max(expected, 1.0))
        if own[i] > own.min() * (1 + 1e-9):
            assert gain == pytest.approx(1.0)
    assert table["gain"].max() <= min(2, second / own.min()) * (1 + 1e-9)


@given(st.integers(1, 30), st.floats(0.01, 0.98))
def test_erlang_c_is_the_textbook_sum(servers, utilisation):
    load = servers * utilisation
    terms = [load**n / math.factorial(n) for n in range(servers)]
    last = load**servers / math.factorial(servers) / (1 - utilisation)
    assert erlang_c(servers, load) == pytest.approx(last / (sum(terms) + last), rel=1e-9)


def test_one_server_is_the_m_m_1_queue():
    row = analyse([Stage(name="a", service_time=0.5)], arrivals=1.2).iloc[0]
    assert row.time == pytest.approx(1 / (2 - 1.2))
    assert row.queue == pytest.approx(0.6**2 / (1 - 0.6))


def test_overload_is_infinite_and_throttles_what_follows():
    line = [Stage(name="slow", service_time=2.0, passes=0.5), Stage(name="next", service_time=1.0)]
    table = analyse(line, arrivals=3.0)
    assert table.waiting[0] == math.inf
    assert table.arrivals[1] == pytest.approx(0.25)


def test_simulation_agrees_with_the_closed_form():
    line = [
        Stage(name="generate", service_time=0.1, passes=0.5),
        Stage(name="predict", service_time=0.3, servers=2, passes=0.4),
        Stage(name="verify", service_time=2.0, servers=5),
    ]
    exact = analyse(line, arrivals=8.0)
    runs = [
        simulate(line, arrivals=8.0, hours=1500, warmup=100, seed=seed).table for seed in range(8)
    ]
    for column, truth in (("time", exact.time), ("utilisation", exact.utilisation)):
        values = np.array([run[column] for run in runs])
        error = values.std(axis=0, ddof=1) / math.sqrt(len(runs))
        assert (np.abs(values.mean(axis=0) - truth) < 5 * error + 1e-3).all()


def test_fixed_service_time_halves_the_queue():
    """Pollaczek and Khinchine: an M/D/1 queue is half as long as M/M/1."""
    line = [Stage(name="a", service_time=1.0, cv=0.0)]
    waits = [
        simulate(line, arrivals=0.8, hours=6000, warmup=300, seed=seed).table.time[0] - 1
        for seed in range(8)
    ]
    assert analyse(line, arrivals=0.8).waiting[0] == pytest.approx(0.8 / (2 * 0.2))
    assert abs(np.mean(waits) - 2.0) < 5 * np.std(waits, ddof=1) / math.sqrt(8)


@pytest.mark.parametrize("room", [0, 1, 2, 5])
def test_blocking_after_service_has_its_closed_form(room):
    """Two equal exponential stages with `room` places between: (room + 2) / (room + 3)."""
    line = [Stage(name="a", service_time=1.0), Stage(name="b", service_time=1.0, room=room)]
    rates = [simulate(line, hours=4000, warmup=50, seed=seed).throughput for seed in range(6)]
    error = np.std(rates, ddof=1) / math.sqrt(6)
    assert abs(np.mean(rates) - (room + 2) / (room + 3)) < 5 * error + 1e-3


def test_fixed_times_by_hand():
    """One every hour, two servers of three hours: the second stage makes 2 in 3 hours."""
    line = [
        Stage(name="a", service_time=1.0, cv=0.0),
        Stage(name="b", service_time=3.0, servers=2, cv=0.0, room=0),
    ]
    run = simulate(line, hours=300, warmup=30)
    assert run.throughput == pytest.approx(2 / 3, rel=0.01)
    assert run.table.utilisation.tolist() == pytest.approx([2 / 3, 1.0], rel=0.01)
    assert run.table.blocked[0] == pytest.approx(1 / 3, rel=0.02)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.floats(0.05, 2),
            st.integers(1, 4),
            st.floats(0.2, 1),
            st.sampled_from([0.0, 0.5, 1.0, 2.0]),
            st.sampled_from([0, 1, 4, math.inf]),
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([None, 0.7, 5.0]),
    st.integers(0, 1000),
)
def test_conservation_in_any_line(rows, arrivals, seed):
    line = [
        Stage(name=f"s{i}", service_time=t, servers=c, passes=p, cv=cv, room=room)
        for i, (t, c, p, cv, room) in enumerate(rows)
    ]
    run = simulate(line, arrivals=arrivals, hours=60, seed=seed)
    entered = run.table.arrivals * run.hours
    finished = run.table.finished * run.hours
    inside = entered - finished
    assert (inside > -1e-9).all()  # nothing is finished that did not enter
    for before, after in pairwise(range(len(line))):
        assert entered[after] <= finished[before] + 1e-9
    assert len(run.find_times) <= finished.iloc[-1] + 1e-9
    assert (run.table.utilisation + run.table.blocked <= 1 + 1e-9).all()
    for i, stage in enumerate(line):
        limit = stage.servers + (stage.room if i or arrivals else math.inf)
        assert run.table.number[i] <= limit + 1e-9
    again = simulate(line, arrivals=arrivals, hours=60, seed=seed)
    assert np.array_equal(run.find_times, again.find_times)


def test_littles_law():
    line = [Stage(name="a", service_time=1.0, servers=3), Stage(name="b", service_time=0.4)]
    table = simulate(line, arrivals=2.0, hours=20000, warmup=100, seed=3).table
    assert np.allclose(table.number, table.arrivals * table.time, rtol=2e-3)


def test_interval_is_the_mean_rate():
    line = [Stage(name="a", service_time=1.0)]
    run = simulate(line, arrivals=0.5, hours=2000, warmup=100)
    mean, error = run.interval()
    assert mean == pytest.approx(run.throughput)
    assert abs(mean - 0.5) < 5 * error


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"service_time": 0.0}, "hours > 0"),
        ({"servers": 0}, "whole number >= 1"),
        ({"servers": 1.5}, "whole number >= 1"),
        ({"passes": 1.2}, r"share in \(0, 1\]"),
        ({"passes": math.nan}, r"share in \(0, 1\]"),
        ({"cv": -1.0}, "number >= 0"),
        ({"room": 1.5}, "whole number or inf"),
    ],
)
def test_bad_stages(wrong, message):
    with pytest.raises(InputError, match=message):
        Stage(**{"name": "a", "service_time": 1.0, **wrong})


def test_bad_lines():
    stage = Stage(name="a", service_time=1.0)
    with pytest.raises(InputError, match="no stages"):
        capacities([])
    with pytest.raises(InputError, match="two stages are called"):
        throughput([stage, stage])
    with pytest.raises(InputError, match="per hour > 0"):
        analyse([stage], arrivals=0)
    with pytest.raises(InputError, match="per hour > 0"):
        throughput([stage], arrivals=-1)
    with pytest.raises(InputError, match="finite hours"):
        simulate([stage], hours=math.inf)
    with pytest.raises(InputError, match="or None"):
        simulate([stage], arrivals=math.inf, hours=1)
    with pytest.raises(InputError, match="load < servers"):
        erlang_c(2, 2.0)
