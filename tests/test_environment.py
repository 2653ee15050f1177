"""The environment files agree, name no index, and the commands of the Makefile exist."""

import os
import re
import subprocess
import sys
import tomllib

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.version import Version

import hpa_lib
from hpa_lib import paths

ROOT = paths.PROJECT_ROOT
LOCKS = ("requirements.lock", "requirements-gpu.lock")
PYTHONS = ("3.11", "3.12", "3.13")
PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)(?: ; ([^\\]+))? \\$", re.MULTILINE)


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def normalized(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lock, python):
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    return {
        normalized(name): Version(version)
        for name, version, marker in PINNED.findall((ROOT / lock).read_text(encoding="utf-8"))
        if not marker or Marker(marker.strip()).evaluate(environment)
    }


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("python", PYTHONS)
def test_lock_satisfies_every_direct_dependency(lock, python):
    extras = project()["optional-dependencies"]
    wanted = project()["dependencies"] + extras["dev"]
    if "gpu" in lock:
        wanted = wanted + extras["gpu"]
    found = pins(lock, python)
    for requirement in map(Requirement, wanted):
        assert found[normalized(requirement.name)] in requirement.specifier, requirement


@pytest.mark.parametrize("python", PYTHONS)
def test_both_locks_pin_the_same_versions(python):
    cpu, gpu = (pins(lock, python) for lock in LOCKS)
    assert cpu.items() <= gpu.items()
    assert any(name.startswith("nvidia-") for name in gpu.keys() - cpu.keys())


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_is_hashed_and_names_no_index(lock):
    text = (ROOT / lock).read_text(encoding="utf-8")
    blocks = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
    packages = [block for block in blocks if not block.startswith("#")]
    assert packages
    for block in packages:
        assert "--hash=sha256:" in block, block.splitlines()[0]
    assert "://" not in text
    assert "index-url" not in text


def test_conda_environment_installs_the_lock_and_nothing_beside_it():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, pip, packages = environment["dependencies"]
    assert python.removeprefix("python=") in PYTHONS
    assert pip == "pip"
    assert packages == {"pip": ["--require-hashes", "-r requirements.lock"]}


def test_supported_pythons_are_those_of_the_lock():
    low, high = project()["requires-python"].split(",")
    assert (low, high) == (f">={PYTHONS[0]}", "<3.14")


def test_help_names_every_target():
    text = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    targets = re.findall(r"^\.PHONY: (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"run", "test", "lab", "publish", "bench", "lint", "lock", "clean"} <= set(targets)
    for target in targets:
        assert re.search(rf"^  {target} +\S", text, re.MULTILINE), target


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert hpa_lib.__version__ == project()["version"] == citation["version"]


def test_binder_finds_packages_libraries_and_the_package_itself():
    assert not (ROOT / "binder").exists(), "it would hide environment.yml"
    assert not (ROOT / ".binder").exists(), "it would hide environment.yml"
    script = ROOT / "postBuild"
    assert os.access(script, os.X_OK)
    install = "pip install --no-deps --no-build-isolation -e ."
    assert install in script.read_text(encoding="utf-8")
    assert install in (ROOT / "environment.yml").read_text(encoding="utf-8")
    libraries = (ROOT / "apt.txt").read_text(encoding="utf-8").split()
    doctor = (ROOT / "hpa_lib" / "doctor.py").read_text(encoding="utf-8")
    assert "apt-get install " + " ".join(libraries) in doctor


def test_package_imports_from_its_checkout():
    code = "import hpa_lib, pathlib; print(pathlib.Path(hpa_lib.__file__).parent.parent)"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True
    ).stdout.strip()
    assert found == str(ROOT)
