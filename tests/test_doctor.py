import importlib.metadata
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

from hpa_lib import doctor

SUBJECTS = [
    "Python", "Packages", "OpenCV", "imgaug", "TensorFlow", "ImageNet weights", "Disk",
    "Kernel python3",
]  # fmt: skip


def kernel_of(monkeypatch, program):
    spec = SimpleNamespace(argv=[program, "-m", "ipykernel_launcher"], resource_dir="/kernels/x")
    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", lambda *_: spec)
    return doctor._kernel()


def lock_of(monkeypatch, tmp_path, text):
    lock = tmp_path / "requirements.lock"
    lock.write_text(text)
    monkeypatch.setattr(doctor, "LOCK", lock)
    return doctor._packages()


def test_healthy_machine_has_no_error_and_each_limit_has_a_remedy():
    findings = doctor.examine()
    assert [finding.subject for finding in findings] == SUBJECTS
    assert [finding for finding in findings if finding.level == "error"] == []
    for finding in findings:
        assert finding.level in ("ok", "note")
        assert finding.text
        assert bool(finding.remedy) == (finding.level == "note")


def test_lock_is_read_for_this_python(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "numpy==2.4.1 \\\n    --hash=sha256:aa\n    # via x==9\n"
        "Some_Package==1.0 ; python_full_version < '3' \\\n    --hash=sha256:bb\n"
        "other-package==2.0 ; python_full_version >= '3.11' \\\n    --hash=sha256:cc\n"
        "Under_Score==3.0rc1\n"
    )
    assert doctor.pinned_versions(lock) == {
        "numpy": "2.4.1", "other-package": "2.0", "under-score": "3.0rc1",
    }  # fmt: skip


def test_lock_of_the_project_pins_what_is_imported():
    pinned = doctor.pinned_versions()
    assert {"numpy", "tensorflow", "keras", "imgaug", "opencv-python", "snakemake"} <= set(pinned)
    assert pinned["imgaug"] == "0.4.0"


def test_package_that_is_missing_is_an_error(monkeypatch, tmp_path):
    version = importlib.metadata.version("numpy")
    finding = lock_of(monkeypatch, tmp_path, f"numpy=={version}\nno-such-package==1.0\n")
    assert (finding.level, finding.text) == ("error", "missing: no-such-package")
    assert finding.remedy == "make clean run"


def test_package_of_another_version_is_a_note(monkeypatch, tmp_path):
    finding = lock_of(monkeypatch, tmp_path, "numpy==0.1\n")
    assert finding.level == "note"
    assert f"numpy {importlib.metadata.version('numpy')} (lock: 0.1)" in finding.text
    assert finding.remedy


def test_packages_as_in_the_lock_are_fine(monkeypatch, tmp_path):
    version = importlib.metadata.version("numpy")
    assert lock_of(monkeypatch, tmp_path, f"numpy=={version}\n").level == "ok"


def test_without_a_lock_there_is_nothing_to_compare(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "LOCK", tmp_path / "absent.lock")
    assert doctor._packages().level == "note"


@pytest.mark.parametrize("version", [(3, 10, 2), (3, 14, 0)])
def test_unsupported_python(monkeypatch, version):
    monkeypatch.setattr(doctor.sys, "version_info", version)
    finding = doctor._python()
    assert (finding.level, finding.text) == ("error", ".".join(map(str, version)))
    assert "3.11 to 3.13" in finding.remedy


def test_opencv_without_its_system_libraries(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    finding = doctor._opencv()
    assert finding.level == "error"
    assert "apt-get install libgl1" in finding.remedy


def test_several_opencv_wheels(monkeypatch):
    monkeypatch.setattr(doctor, "_installed", lambda name: name != "opencv-contrib-python")
    finding = doctor._opencv()
    assert finding.level == "error"
    assert "opencv-python, opencv-python-headless" in finding.text


def test_imagenet_weights_are_looked_for_where_keras_does(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    missing = doctor._weights()
    assert missing.level == "note"
    assert str(tmp_path / "models") in missing.text
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5").touch()
    assert "vgg16_weights" in doctor._weights().text
    assert doctor._weights().level == "ok"


def test_disk_that_is_nearly_full(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30))
    finding = doctor._disk()
    assert finding.level == "error"
    assert finding.text.startswith("1.0 GiB free")
    assert "2 GiB" in finding.remedy


def test_folder_that_can_not_be_written(monkeypatch):
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    finding = doctor._disk()
    assert finding.level == "error"
    assert "HPA_DATA" in finding.remedy


@pytest.mark.parametrize("program", ["python", sys.executable])
def test_kernel_of_this_environment(monkeypatch, program):
    assert kernel_of(monkeypatch, program).level == "ok"


def test_kernel_of_another_environment_with_the_same_python(monkeypatch, tmp_path):
    other = tmp_path / "bin" / "python"
    other.parent.mkdir()
    other.symlink_to(Path(sys.executable).resolve())
    finding = kernel_of(monkeypatch, str(other))
    assert finding.level == "error"
    assert str(other) in finding.text
    assert "/kernels/x/kernel.json" in finding.text
    assert "kernelspec remove python3" in finding.remedy


def test_kernel_that_is_not_installed(monkeypatch):
    def refuse(*_):
        raise NoSuchKernel("python3")

    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", refuse)
    assert doctor._kernel().level == "error"


def test_findings_are_plain_values():
    finding = doctor.Finding("Disk", "ok", "4 GiB")
    assert json.loads(json.dumps(vars(finding)))["remedy"] == ""
