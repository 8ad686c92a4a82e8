"""A screening campaign as a line of stages: rates, bottleneck and yield (section 7.5).

Stage i has c_i servers of mean service time s_i and passes on the share p_i of what it finishes.
A candidate reaches it with probability P_i = p_1 ... p_(i-1), so counted at the head of the line
its capacity is c_i / (s_i P_i). The smallest capacity is the bottleneck; times the share that
passes every stage it is the rate of finds.

When candidates arrive at random (Poisson) and service times are exponential, what leaves a stage
is Poisson again, and stays so when a random share is dropped. Every stage is then an M/M/c queue
of its own and the mean time in it is a closed form (Erlang's C). `line_events` plays
the same line event by event without these assumptions.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from mfutils.errors import InputError

__all__ = [
    "Stage",
    "analyse",
    "bottleneck",
    "capacities",
    "check_line",
    "doubled",
    "erlang_c",
    "throughput",
]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage: mean service_time in hours per candidate and server, servers, passes (share).

    cv is the coefficient of variation of the service time (0 fixed, 1 exponential, gamma
    distributed between and beyond). room is how many candidates can wait in front of it.
    """

    name: str
    service_time: float
    servers: int = 1
    passes: float = 1.0
    cv: float = 1.0
    room: float = math.inf

    def __post_init__(self):
        where = f"stage {self.name!r}: "
        if not (math.isfinite(self.service_time) and self.service_time > 0):
            raise InputError(f"{where}service_time is {self.service_time!r}; expected hours > 0")
        if not isinstance(self.servers, int) or self.servers < 1:
            raise InputError(f"{where}servers is {self.servers!r}; expected a whole number >= 1")
        if not 0 < self.passes <= 1:
            raise InputError(f"{where}passes is {self.passes!r}; expected a share in (0, 1]")
        if not (math.isfinite(self.cv) and self.cv >= 0):
            raise InputError(f"{where}cv is {self.cv!r}; expected a number >= 0")
        if not (self.room >= 0 and (self.room == math.inf or self.room == int(self.room))):
            raise InputError(f"{where}room is {self.room!r}; expected a whole number or inf")

    @property
    def rate(self) -> float:
        """Candidates per hour that all servers together can finish."""
        return self.servers / self.service_time


def check_line(stages: Iterable[Stage]) -> list[Stage]:
    """The stages as a list; raises InputError when there are none or two share a name."""
    stages = list(stages)
    if not stages:
        raise InputError("the line has no stages; give at least one")
    names = [stage.name for stage in stages]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two stages are called {name!r}; give each its own name")
    return stages


def _reach(stages):
    """Share of all candidates that arrive at each stage, and that pass the last: (n + 1,)."""
    return np.cumprod([1.0] + [stage.passes for stage in stages])


def capacities(stages: Iterable[Stage]) -> np.ndarray:
    """Candidates per hour at the head of the line that each stage can cope with, (n,)."""
    stages = check_line(stages)
    return np.array([stage.rate for stage in stages]) / _reach(stages)[:-1]


def bottleneck(stages: Iterable[Stage]) -> int:
    """Index of the stage with the smallest capacity; the first one of equals."""
    return int(np.argmin(capacities(stages)))


def throughput(stages: Iterable[Stage], *, arrivals: float = math.inf) -> float:
    """Finds per hour in the long run, when `arrivals` candidates per hour are offered."""
    stages = check_line(stages)
    if not arrivals > 0:
        raise InputError(f"arrivals is {arrivals!r}; expected candidates per hour > 0")
    return float(min(arrivals, capacities(stages).min()) * _reach(stages)[-1])


def doubled(
    stages: Iterable[Stage], *, arrivals: float = math.inf, factor: int = 2
) -> pd.DataFrame:
    """What more servers at one stage buy: stage, factor of the throughput, next bottleneck."""
    stages = check_line(stages)
    before = throughput(stages, arrivals=arrivals)
    rows = []
    for i, stage in enumerate(stages):
        changed = [*stages]
        changed[i] = replace(stage, servers=stage.servers * factor)
        gain = throughput(changed, arrivals=arrivals) / before
        supply = arrivals <= capacities(changed).min()
        then = "arrivals" if supply else stages[bottleneck(changed)].name
        rows.append({"stage": stage.name, "gain": gain, "bottleneck then": then})
    return pd.DataFrame(rows)


def erlang_c(servers: int, load: float) -> float:
    """Probability that an arrival to an M/M/c queue waits; load = arrival rate x service time.

    Raises InputError unless 0 <= load < servers: beyond, the queue grows without end.
    """
    if not 0 <= load < servers:
        raise InputError(f"load {load!r} on {servers} servers; expected 0 <= load < servers")
    blocked = 1.0  # Erlang's B by its recursion, which never overflows
    for n in range(1, servers + 1):
        blocked = load * blocked / (n + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


def analyse(stages: Iterable[Stage], *, arrivals: float) -> pd.DataFrame:
    """One row per stage at `arrivals` candidates per hour with unlimited room.

    Columns: stage, arrivals (per hour, at this stage), capacity (at the head of the line),
    utilisation, waiting and time (mean hours in the queue, and in the stage), queue (mean
    number waiting). Exact for cv = 1 everywhere. For other stages the waiting time is that of
    M/M/c times (1 + cv^2) / 2: exact for one server and Poisson arrivals (Pollaczek and
    Khinchine), an estimate otherwise. An overloaded stage has infinite waiting, and the
    stages behind it see what it lets through.
    """
    stages = check_line(stages)
    if not 0 < arrivals < math.inf:
        raise InputError(f"arrivals is {arrivals!r}; expected candidates per hour > 0")
    rows, flow = [], float(arrivals)
    for stage, capacity in zip(stages, capacities(stages), strict=True):
        load = flow * stage.service_time
        if load < stage.servers:
            chance = erlang_c(stage.servers, load)
            waiting = chance * stage.service_time / (stage.servers - load)
            waiting *= (1 + stage.cv**2) / 2
        else:
            waiting = math.inf
        rows.append(
            {
                "stage": stage.name,
                "arrivals": flow,
                "capacity": capacity,
                "utilisation": min(load / stage.servers, 1.0),
                "waiting": waiting,
                "time": waiting + stage.service_time,
                "queue": waiting * flow,
            }
        )
        flow = min(flow, stage.rate) * stage.passes
    return pd.DataFrame(rows)
