"""CPU cost of a computation, measured once and remembered.

A cost is the processor time of the calling thread, so other work on the machine hardly
counts. Two measurements never agree to the last digit; a figure drawn from them would
change at every rerun. So the median of a few repeats is kept in `build/cache`, under a
hash of what was computed and of the code that did it, and given to two digits. Serves Fig 1.1.
"""

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from mfutils import files, paths
from mfutils.code_hash import code_hash

__all__ = ["cpu_seconds"]

_ENOUGH = 10.0  # seconds
_Result = TypeVar("_Result")


def cpu_seconds(
    call: Callable[[], _Result],
    *,
    key: tuple,
    code: tuple[Callable, ...] = (),
    repeats: int = 3,
) -> tuple[_Result, float]:
    """Result of `call()` and its cost in seconds of CPU time, to two significant digits.

    `key` (numbers, text and arrays) says what is computed, `code` which of our functions do
    the work: while both stay the same the cost is the remembered one, and only the result is
    computed anew. The cost is the median of `repeats` calls, or of fewer when they add up to
    more than ten seconds. Linear algebra is held to one thread, the only one that is counted.
    """
    store = paths.CACHE / "timings" / f"{_digest(key, code)}.json"
    known = _read(store)
    if known is not None:
        return call(), known
    costs = []
    # A second thread would do uncounted work, or spin and spoil the count.
    with threadpool_limits(1):
        for _ in range(max(1, repeats)):
            start = time.thread_time()
            result = call()
            costs.append(time.thread_time() - start)
            if sum(costs) > _ENOUGH:  # a long call needs no repeats to be known well
                break
    seconds = float(f"{np.median(costs):.1e}")
    files.write_text(store, json.dumps({"seconds": seconds, "repeats": len(costs)}) + "\n")
    return result, seconds


def _read(store: Path) -> float | None:
    try:
        seconds = json.loads(store.read_text(encoding="utf-8"))["seconds"]
        return seconds if isinstance(seconds, float) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # never measured, or a damaged file: measure again


def _digest(key: tuple, code: tuple[Callable, ...]) -> str:
    digest = hashlib.sha256("".join(code_hash(function) for function in code).encode())
    for part in key:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:24]
