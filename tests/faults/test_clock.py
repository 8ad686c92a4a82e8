"""A clock that jumps: neither what is stale nor a single byte of a result depends on time."""

import os
import shutil
import subprocess
import time
from collections import Counter

import compendium
import pytest
from trials import keep, trials

# Answers for the wall clock only: the monotonic one does not jump on a real machine either.
SHIM = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long jump(void) {
  static long calls;
  const char *text = getenv("CLOCK_JUMP");
  long size = text ? atol(text) : 0;
  return size * (((calls++ / 50) % 3) - 1);  /* back, right, forth, every fifty looks */
}
int clock_gettime(clockid_t id, struct timespec *t) {
  int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
  int code = real(id, t);
  if (id == CLOCK_REALTIME) t->tv_sec += jump();
  return code;
}
int gettimeofday(struct timeval *t, void *zone) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  t->tv_sec = now.tv_sec; t->tv_usec = now.tv_nsec / 1000;
  return 0;
}
time_t time(time_t *out) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (out) *out = now.tv_sec;
  return now.tv_sec;
}
"""
# Fails unless the clock jumps whenever it should, and saves nothing that depends on it
LOOK = """\
import os, time
clock = [time.time() for _ in range(200)]
assert (max(clock) - min(clock) > 3600) == ("CLOCK_JUMP" in os.environ)
"""


def shim(folder):
    """A library that makes the wall clock jump; skips where it cannot be built or loaded."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build a jumping clock")
    source, library = folder / "clock.c", folder / "clock.so"
    source.write_text(SHIM)
    command = [compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        pytest.skip(f"the jumping clock does not build here ({built.stderr.strip()[:80]})")
    return {"LD_PRELOAD": str(library), "CLOCK_JUMP": "864000"}


def jumping(project, settings, *arguments):
    return subprocess.run(
        project.command(*arguments),
        cwd=project.root, env=project.environment | settings, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip


def test_a_run_under_a_jumping_clock_gives_the_same_bytes(tmp_path):
    settings = shim(tmp_path)
    cells = (LOOK, compendium.SWEEP, compendium.SAVE)
    project = compendium.light(tmp_path / "compendium", *cells)
    assert project.call("run").returncode == 0
    undisturbed = compendium.results(project)
    count = trials(1, 10)
    for _ in range(count):
        shutil.rmtree(project.root / "figures")
        shutil.rmtree(project.root / "build")
        done = jumping(project, settings, "run")
        assert done.returncode == 0, done.stdout + done.stderr
        assert compendium.results(project) == undisturbed
        assert "up to date" in jumping(project, settings, "run").stdout
    outcomes = Counter({"same bytes, then up to date": count})
    keep("a wall clock that jumps ten days back and forth during a run", "clock-jump", outcomes)


def test_file_times_do_not_count(tmp_path):
    project = compendium.light(tmp_path / "compendium", compendium.SWEEP, compendium.SAVE)
    assert project.call("run").returncode == 0
    year = 365 * 86400
    outcomes = Counter()
    for shift in (-20 * year, 20 * year, None):
        for number, path in enumerate(sorted(project.root.rglob("*"))):
            moved = shift if shift is not None else (-1) ** number * 10 * year
            os.utime(path, (time.time() + moved,) * 2)
        assert "up to date" in project.call("run").stdout
        outcomes["fresh, nothing runs"] += 1
    notebook = project.notebook(compendium.STEM)
    old = notebook.stat()
    project.edit(compendium.STEM, "squares", "SQUARES")
    os.utime(notebook, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert "code cells changed" in project.call("status").stdout
    outcomes["an edit with the old time is seen"] += 1
    keep("file times years in the past, in the future, and mixed", "clock-files", outcomes)
