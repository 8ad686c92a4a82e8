"""One set of versions everywhere: pyproject, lock, conda file; and no GPU package in them."""

import re
import tomllib

import pytest
import yaml

from mfutils import bootstrap, paths

LOCK = (paths.ROOT / "requirements.lock").read_text()
LOCKED = dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", LOCK, re.MULTILINE))
PROJECT = tomllib.loads((paths.ROOT / "pyproject.toml").read_text())["project"]
DIRECT = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]


def _pins(requirements):
    return {r.split("==")[0]: r.split("==")[1] for r in requirements if "==" in r}


def test_every_direct_dependency_is_pinned_and_locked():
    pins = _pins(DIRECT)
    assert len(pins) == len(DIRECT)
    assert pins.pop("torch") == bootstrap.TORCH
    assert {name: LOCKED.get(name.split("[")[0]) for name in pins} == pins


def test_conda_file_has_the_same_versions():
    environment = yaml.safe_load((paths.ROOT / "environment.yml").read_text())
    listed = [d for d in environment["dependencies"] if isinstance(d, str)]
    (pip,) = [d["pip"] for d in environment["dependencies"] if isinstance(d, dict)]
    conda = dict(d.split("=", 1) for d in listed if d != "pip")
    assert conda.pop("python") in ("3.11", "3.12")
    assert conda.pop("pytorch-cpu") == bootstrap.TORCH
    assert conda | _pins(pip) == {k: v for k, v in _pins(DIRECT).items() if k != "torch"}


def test_lock_has_hashes_and_no_gpu_package():
    assert "torch" not in LOCKED
    assert not [name for name in LOCKED if re.match(r"nvidia|cuda|triton|xgboost$", name)]
    blocks = re.split(r"\n(?=[a-z0-9])", LOCK[LOCK.index("\n" + next(iter(LOCKED))) :].strip())
    assert all("--hash=sha256:" in block for block in blocks)


def test_torch_build():
    assert bootstrap.torch_requirement("cpu", "linux") == f"torch=={bootstrap.TORCH}+cpu"
    assert bootstrap.torch_requirement("cpu", "darwin") == f"torch=={bootstrap.TORCH}"
    assert bootstrap.torch_requirement("default", "linux") == f"torch=={bootstrap.TORCH}"
    with pytest.raises(bootstrap.SetupError, match="use cpu or default"):
        bootstrap.torch_requirement("gpu", "linux")


def test_running_environment_is_the_pinned_one():
    import torch

    assert torch.__version__.split("+")[0] == bootstrap.TORCH
    assert torch.version.cuda is None
