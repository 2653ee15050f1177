"""Check whether the main job can run on this machine, and say what mends what is amiss."""

import importlib.metadata
import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from hpa_lib import paths

LOCK = paths.PROJECT_ROOT / "requirements.lock"

_PYTHON_RANGE = ((3, 11), (3, 13))
_DISK_NEEDED = 2 * 2**30
_PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)(?: ; ([^\\\n]+))?", re.MULTILINE)


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        subject: What was looked at.
        level: ``"ok"``, ``"note"`` for a limit that the main job doesn't mind, or ``"error"``.
        text: What was found.
        remedy: What mends it; empty where nothing is amiss.
    """

    subject: str
    level: str
    text: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at everything that the main job needs, in the order in which it needs it."""
    findings = [_python(), _packages(), _opencv(), _imgaug(), _tensorflow(), _weights()]
    return [*findings, _disk(), _kernel()]


def pinned_versions(lock: Path = LOCK) -> dict[str, str]:
    """Versions by package name that a lock file sets for this Python."""
    from packaging.markers import Marker

    return {
        name.lower().replace("_", "-"): version
        for name, version, marker in _PINNED.findall(lock.read_text(encoding="utf-8"))
        if not marker or Marker(marker.strip()).evaluate()
    }


def _python() -> Finding:
    version = sys.version_info[:2]
    text = ".".join(map(str, sys.version_info[:3]))
    low, high = _PYTHON_RANGE
    if low <= version <= high:
        return Finding("Python", "ok", text)
    wanted = f"{low[0]}.{low[1]} to {high[0]}.{high[1]}"
    return Finding(
        "Python", "error", text, f"Use Python {wanted}: make clean run PYTHON=python3.13"
    )


def _packages() -> Finding:
    if not LOCK.is_file():
        return Finding("Packages", "note", f"no {LOCK.name} to compare with", "Work in a checkout.")
    pinned, differing, missing = pinned_versions(LOCK), [], []
    for name, version in pinned.items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if installed != version:
            differing.append(f"{name} {installed} (lock: {version})")
    if missing:
        return Finding("Packages", "error", f"missing: {', '.join(missing)}", "make clean run")
    if differing:
        return Finding(
            "Packages", "note", f"other versions: {', '.join(differing)}",
            "Numbers can differ from those of the lock: make clean run",
        )  # fmt: skip
    return Finding("Packages", "ok", f"{len(pinned)} as in {LOCK.name}")


def _opencv() -> Finding:
    try:
        import cv2
    except ImportError as error:
        return Finding(
            "OpenCV", "error", str(error),
            "Install its system libraries: apt-get install libgl1 libglib2.0-0",
        )  # fmt: skip
    wheels = [
        name
        for name in ("opencv-python", "opencv-python-headless", "opencv-contrib-python")
        if _installed(name)
    ]
    if len(wheels) > 1:
        return Finding(
            "OpenCV", "error", f"several wheels overwrite each other: {', '.join(wheels)}",
            "Keep opencv-python alone: make clean run",
        )  # fmt: skip
    return Finding("OpenCV", "ok", cv2.__version__)


def _imgaug() -> Finding:
    try:
        from hpa_lib.imgaug_shim import imgaug
    except (ImportError, AttributeError) as error:
        return Finding("imgaug", "error", str(error), "make clean run")
    return Finding("imgaug", "ok", f"{imgaug.__version__}, with the shim for numpy 2")


def _tensorflow() -> Finding:
    try:
        from hpa_lib.backend import tf
    except ImportError as error:
        return Finding("TensorFlow", "error", str(error), "make clean run")
    devices = [device.name for device in tf.config.list_physical_devices()]
    text = f"{tf.__version__}, sees {', '.join(devices)}"
    if any("GPU" in device for device in devices):
        return Finding("TensorFlow", "ok", text)
    return Finding(
        "TensorFlow", "note", f"{text}; no GPU",
        "With an NVIDIA GPU: make clean run LOCK=requirements-gpu.lock",
    )  # fmt: skip


def _weights() -> Finding:
    folder = paths.keras_weights_folder()
    found = sorted(path.name for path in folder.glob("*notop*.h5"))
    if found:
        return Finding("ImageNet weights", "ok", f"{folder}: {', '.join(found)}")
    return Finding(
        "ImageNet weights", "note", f"none in {folder}",
        "Only weights: imagenet needs them (preset seed); Keras downloads them there.",
    )  # fmt: skip


def _disk() -> Finding:
    folder = paths.data_folder()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        return Finding(
            "Disk", "error", f"{existing} can't be written",
            "Name writable folders in HPA_DATA, HPA_RUNS and HPA_REPORTS.",
        )  # fmt: skip
    free = shutil.disk_usage(existing).free
    text = f"{free / 2**30:.1f} GiB free at {existing}"
    if free < _DISK_NEEDED:
        return Finding("Disk", "error", text, f"Free at least {_DISK_NEEDED / 2**30:.0f} GiB.")
    return Finding("Disk", "ok", text)


def _kernel() -> Finding:
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        kernel = KernelSpecManager().get_kernel_spec("python3")
    except NoSuchKernel:
        return Finding("Kernel python3", "error", "not installed", "make clean run")
    program = kernel.argv[0]
    # Jupyter replaces a bare "python" by its own. Folders are compared, since the programs of all
    # virtual environments are links to one file.
    own = Path(program).parent.resolve() == Path(sys.executable).parent.resolve()
    if Path(program).name == program or own:
        return Finding("Kernel python3", "ok", kernel.resource_dir)
    return Finding(
        "Kernel python3", "error",
        f"{Path(kernel.resource_dir) / 'kernel.json'} starts another Python: {json.dumps(program)}",
        "Remove that kernel: jupyter kernelspec remove python3",
    )  # fmt: skip


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
