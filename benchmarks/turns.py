"""What the benchmark scripts share: two sides that take turns on one clock, and their entry.

The clock is the CPU time of the process, on one thread, so other work on the machine hardly
counts; taking turns spreads what is left of it over both sides.
"""

import statistics
import time

__all__ = ["entry", "in_turns"]


def in_turns(ours, peer, rounds):
    """Median CPU seconds of two calls that take turns; one round to warm up is not counted."""
    times = []
    for _ in range(rounds + 1):
        pair = []
        for call in (ours, peer):
            start = time.process_time()
            call()
            pair.append(time.process_time() - start)
        times.append(pair)
    return [statistics.median(column) for column in zip(*times[1:], strict=True)]


def entry(name, ours_s, peer_s, peer, equal_to):
    """One result as `run.py` wants it."""
    ratio = peer_s / ours_s
    return {
        "name": name, "ours_s": ours_s, "peer_s": peer_s, "ratio": ratio, "peer": peer,
        "equal_to": equal_to,
    }  # fmt: skip
