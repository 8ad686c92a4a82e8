"""A screening campaign played event by event (section 7.5).

An event calendar holds the times at which something happens next: a candidate arrives, or a
server finishes. Each event changes the state of one stage or two and plans later events. No
assumption about the distribution of service times is needed, and queues may have limited room:
a finished candidate that meets a full queue stays on its server and blocks it, so that a slow
stage slows the ones before it. `mfutils.screening.line` has the closed forms to compare with.
"""

import heapq
import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mfutils.errors import InputError
from mfutils.screening.line import Stage, check_line

__all__ = ["Run", "simulate"]

_BLOCK = 4096  # random numbers drawn at a time


@dataclass(frozen=True, eq=False)
class Run:
    """What a simulation saw in a window that begins at `start` and lasts `hours`.

    table has one row per stage: stage, arrivals and finished (per hour), utilisation and blocked
    (shares of the servers' time), number (mean, in queue and service), time (mean hours from
    entering the stage to leaving it; NaN when nothing left). find_times (k,) are the hours of
    the finds; turned_away counts candidates that met a full first queue.
    """

    table: pd.DataFrame
    find_times: np.ndarray
    start: float
    hours: float
    turned_away: int

    @property
    def throughput(self) -> float:
        """Finds per hour."""
        return len(self.find_times) / self.hours

    def interval(self, *, batches: int = 20) -> tuple[float, float]:
        """Mean and standard error of the finds per hour, by batch means."""
        edges = np.linspace(self.start, self.start + self.hours, batches + 1)
        rates = np.histogram(self.find_times, edges)[0] * batches / self.hours
        return float(rates.mean()), float(rates.std(ddof=1) / math.sqrt(batches))


class _Server:
    """One stage at work: who waits, who is held up on the way in, and sums over time."""

    def __init__(self, stage, generator):
        self.stage, self.generator = stage, generator
        self.queue = deque()  # entering times of the candidates that wait
        self.held = deque()  # entering times, one stage earlier, of finished ones without room
        self.busy = self.blocked = 0
        self.since = self.area_busy = self.area_blocked = self.area_present = 0.0
        self.entered = self.finished = self.left = 0
        self.spent = 0.0
        self.times = self.lots = iter(())

    def time(self):
        """The next service time."""
        stage = self.stage
        if stage.cv == 0:
            return stage.service_time
        value = next(self.times, None)
        if value is None:
            shape = 1 / stage.cv**2
            drawn = self.generator.gamma(shape, stage.service_time / shape, _BLOCK)
            self.times = iter(drawn.tolist())
            value = next(self.times)
        return value

    def passes(self):
        """Whether the next candidate is passed on."""
        lot = next(self.lots, None)
        if lot is None:
            self.lots = iter(self.generator.random(_BLOCK).tolist())
            lot = next(self.lots)
        return lot < self.stage.passes

    def free(self):
        return self.busy + self.blocked < self.stage.servers

    def has_room(self):
        return self.free() or len(self.queue) < self.stage.room

    def count(self, now, warmup):
        """Add the time since the last change; call before every change."""
        span = now - max(self.since, warmup)
        if span > 0:
            self.area_busy += span * self.busy
            self.area_blocked += span * self.blocked
            self.area_present += span * (self.busy + self.blocked + len(self.queue))
        self.since = now


class _Line:
    def __init__(self, stages, generator, warmup):
        self.servers = [_Server(stage, generator) for stage in stages]
        self.last, self.warmup = len(stages) - 1, warmup
        self.now, self.calendar, self.planned = 0.0, [], 0
        self.finds, self.turned_away = [], 0

    def plan(self, delay, event):
        self.planned += 1  # breaks ties in the order of planning
        heapq.heappush(self.calendar, (self.now + delay, self.planned, event))

    def enter(self, i):
        server = self.servers[i]
        server.count(self.now, self.warmup)
        server.entered += self.now >= self.warmup
        server.queue.append(self.now)
        self.start(i)

    def start(self, i):
        """Fill free servers from the queue, then the queue from the stage that is held up."""
        server = self.servers[i]
        while server.queue and server.free():
            server.count(self.now, self.warmup)
            since = server.queue.popleft()
            server.busy += 1
            self.plan(server.time(), (i, since))
        if server.held and server.has_room():
            since = server.held.popleft()
            before = self.servers[i - 1]
            before.count(self.now, self.warmup)
            before.blocked -= 1
            self.leave(before, since)
            self.enter(i)
            self.start(i - 1)

    def leave(self, server, since):
        if self.now >= self.warmup:
            server.spent += self.now - since
            server.left += 1

    def finish(self, i, since):
        server = self.servers[i]
        server.count(self.now, self.warmup)
        server.busy -= 1
        server.finished += self.now >= self.warmup
        passed = server.passes()
        if passed and i < self.last and not self.servers[i + 1].has_room():
            server.blocked += 1
            self.servers[i + 1].held.append(since)
            return
        self.leave(server, since)
        if passed and i < self.last:
            self.enter(i + 1)
        elif passed and self.now >= self.warmup:
            self.finds.append(self.now)
        self.start(i)

    def feed(self):
        """Give every free server of the first stage a candidate."""
        while self.servers[0].free():
            self.enter(0)


def simulate(
    stages: Iterable[Stage], *, arrivals: float | None = None, hours: float, warmup: float = 0.0,
    seed: int = 0,
) -> Run:  # fmt: skip
    """Play the line of `mfutils.screening.line.Stage`s for `hours` after `warmup`; returns a Run.

    arrivals is the mean number of candidates per hour of a Poisson stream, or None for a source
    that never runs dry. Raises InputError for times or rates that are not positive and finite.
    """
    stages = check_line(stages)
    if not (0 < hours < math.inf and 0 <= warmup < math.inf):
        raise InputError(f"hours is {hours!r}, warmup {warmup!r}; expected finite hours > 0")
    if arrivals is not None and not 0 < arrivals < math.inf:
        raise InputError(f"arrivals is {arrivals!r}; expected candidates per hour > 0, or None")
    generator = np.random.default_rng(seed)
    line, end = _Line(stages, generator, warmup), warmup + hours
    if arrivals is None:
        line.feed()
    else:
        line.plan(generator.exponential(1 / arrivals), None)
    while line.calendar and line.calendar[0][0] <= end:
        line.now, _, event = heapq.heappop(line.calendar)
        if event is not None:
            line.finish(*event)
        else:
            if line.servers[0].has_room():
                line.enter(0)
            else:
                line.turned_away += line.now >= warmup
            line.plan(generator.exponential(1 / arrivals), None)
        if arrivals is None:
            line.feed()
    return _summary(line, end, hours)


def _summary(line, end, hours):
    rows = []
    for server in line.servers:
        server.count(end, line.warmup)
        capacity = hours * server.stage.servers
        rows.append(
            {
                "stage": server.stage.name,
                "arrivals": server.entered / hours,
                "finished": server.finished / hours,
                "utilisation": server.area_busy / capacity,
                "blocked": server.area_blocked / capacity,
                "number": server.area_present / hours,
                "time": server.spent / server.left if server.left else math.nan,
            }
        )
    finds = np.array(line.finds, dtype=float)
    return Run(pd.DataFrame(rows), finds, float(line.warmup), float(hours), line.turned_away)
