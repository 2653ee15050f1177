import multiprocessing
import os
import stat
import threading
import time

import pytest

from hpa_lib import gpu_pool


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Function that puts an `nvidia-smi` on the path that lists some GPUs."""

    def lists(*uuids):
        program = tmp_path / "nvidia-smi"
        program.write_text("#!/bin/sh\n" + "".join(f"echo {uuid}\n" for uuid in uuids))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.delenv(gpu_pool.VARIABLE, raising=False)

    return lists


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (None, ["GPU-a", "GPU-b"]),
        ("1", ["GPU-b"]),
        ("0, 1", ["GPU-a", "GPU-b"]),
        ("GPU-b", ["GPU-b"]),
        ("", []),
        ("5", []),
    ],
)
def test_gpus_are_those_that_this_process_may_see(driver, monkeypatch, allowed, expected):
    driver("GPU-a", "GPU-b")
    if allowed is not None:
        monkeypatch.setenv(gpu_pool.VARIABLE, allowed)
    assert gpu_pool.visible() == expected


def test_without_a_driver_nothing_is_reserved(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv(gpu_pool.VARIABLE, raising=False)
    with gpu_pool.one_gpu() as gpu:
        assert gpu == ""
        assert gpu_pool.VARIABLE not in os.environ


def hold(taken):
    with gpu_pool.one_gpu() as gpu:
        taken.put((gpu, os.environ[gpu_pool.VARIABLE]))
        time.sleep(600)


def test_processes_get_different_gpus_and_a_killed_one_gives_its_own_back(driver, monkeypatch):
    monkeypatch.setattr(gpu_pool, "_SECONDS_BETWEEN_TRIES", 0.05)
    driver("GPU-a", "GPU-b")
    context = multiprocessing.get_context("spawn")
    taken = context.Queue()
    holders = [context.Process(target=hold, args=(taken,), daemon=True) for _ in range(2)]
    for holder in holders:
        holder.start()
    found = [taken.get(timeout=60) for _ in holders]
    assert {gpu for gpu, _ in found} == {"GPU-a", "GPU-b"}
    assert all(gpu == seen for gpu, seen in found)
    waiting = []

    def wait():
        with gpu_pool.one_gpu() as gpu:
            waiting.append(gpu)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.5)
    assert not waiting
    holders[0].kill()
    thread.join(60)
    holders[1].kill()
    assert len(waiting) == 1
    assert gpu_pool.VARIABLE not in os.environ
