"""Create `.venv` and install the pinned environment: ``python3.11 -m mfutils.bootstrap``.

Uses only the standard library, since nothing is installed yet. PyTorch comes first and
by itself, because its builds differ by platform and index; everything else comes from
`requirements.lock`, where each file is pinned by hash. Settings (environment):

- ``TORCH_INDEX``: index that serves PyTorch's CPU builds, where pip's own does not;
- ``TORCH_BUILD``: ``cpu`` (default), or ``default`` for the build, and the accelerator
  packages, that the index serves for this platform.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
TORCH = "2.13.0"
_SUPPORTED = ((3, 11), (3, 12))


class SetupError(Exception):
    """A step of the installation that failed, with its remedy."""


def _pip(*arguments: str, remedy: str) -> None:
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", *arguments]
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise SetupError(f"pip {arguments[0]} failed; {remedy}")


def torch_requirement(build: str, platform: str) -> str:
    """Requirement for PyTorch: the CPU build is marked +cpu, except on macOS."""
    if build not in ("cpu", "default"):
        raise SetupError(f"TORCH_BUILD is {build!r}; use cpu or default")
    return f"torch=={TORCH}" + ("+cpu" if build == "cpu" and platform != "darwin" else "")


def _install_torch(build: str, index: str) -> None:
    probe = "import importlib.metadata as m; print(m.version('torch'))"
    asked = subprocess.run([PYTHON, "-c", probe], capture_output=True, text=True, check=False)
    wanted = torch_requirement(build, sys.platform)
    version = asked.stdout.strip()
    if asked.returncode == 0 and version.split("+")[0] == TORCH:
        print(f"torch {version} is already there")
        return
    options = ["--index-url", index] if index else []
    if build == "cpu":
        # Its own dependencies are in the lock; without them no GPU package can slip in.
        options.append("--no-deps")
    _pip(
        "install",
        *options,
        wanted,
        remedy=(
            f"no {wanted} on this package index: set TORCH_INDEX to the CPU index that "
            "PyTorch's install page names (make env TORCH_INDEX=...), or TORCH_BUILD=default "
            "to take the build, several GB on Linux, that your index serves"
        ),
    )


def _fingerprint(build: str) -> str:
    lock = (ROOT / "requirements.lock").read_bytes()
    return hashlib.sha256(lock + f"{TORCH} {build} {sys.version_info[:2]}".encode()).hexdigest()


def _install() -> None:
    if sys.version_info[:2] not in _SUPPORTED:
        version = ".".join(map(str, sys.version_info[:2]))
        raise SetupError(f"Python {version} found, 3.11 or 3.12 needed; try make PYTHON=python3.11")
    build = os.environ.get("TORCH_BUILD") or "cpu"
    stamp, wanted = VENV / "installed.txt", _fingerprint(build)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    if not PYTHON.exists():
        print(f"creating {VENV.name} with Python {sys.version.split()[0]}")
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    stamp.unlink(missing_ok=True)
    _install_torch(build, os.environ.get("TORCH_INDEX", ""))
    print("installing requirements.lock")
    retry = "check the connection to the package index and run the same command again"
    _pip("install", "-q", "--no-deps", "--require-hashes", "-r", "requirements.lock", remedy=retry)
    _pip("install", "-q", "--no-deps", "--no-build-isolation", "-e", ".", remedy=retry)
    if build == "cpu":
        _pip("check", remedy="the lock and the installed torch disagree; run make env again")
    stamp.write_text(wanted)


def main() -> int:
    """Bring `.venv` up to date; a second caller waits for the first."""
    locks = ROOT / "build" / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    try:
        with open(locks / "env.lock", "w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            _install()
    except (SetupError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
