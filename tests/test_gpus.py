"""Assignment of GPUs to processes, with a fake nvidia-smi: no two processes get the same GPU."""

import os
import signal
import subprocess
import sys
import time

import pytest

from lkca.core import gpus
from lkca.errors import ConfigError, ResourceError
from tests.conftest import REPOSITORY

# Acquires GPUs and creates a folder for each, which fails if another process holds the same GPU.
HOLD = """
import os, sys, time
from pathlib import Path
from lkca.core.gpus import acquire_gpus
with acquire_gpus(int(sys.argv[1])):
    folders = [Path(sys.argv[2], gpu) for gpu in os.environ["CUDA_VISIBLE_DEVICES"].split(",")]
    for folder in folders:
        folder.mkdir()
    print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    time.sleep(float(sys.argv[3]))
    for folder in folders:
        folder.rmdir()
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that fakes a number of GPUs, at first three; the lock files are in `locks`."""
    tools, locks = tmp_path / "bin", tmp_path / "locks"
    tools.mkdir()
    locks.mkdir()

    def install(count: int) -> None:
        lines = "\n".join(f"echo 'GPU-{i}{i}{i}{i}-aaaa, NVIDIA A{i}, 80GB'" for i in range(count))
        (tools / "nvidia-smi").write_text(f"#!/bin/sh\n{lines}\n")
        (tools / "nvidia-smi").chmod(0o755)
        gpus.installed_gpus.cache_clear()

    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(locks))
    monkeypatch.setattr("tempfile.tempdir", str(locks))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    install(3)
    yield install
    gpus.installed_gpus.cache_clear()


def hold(folder, count, seconds) -> subprocess.Popen:
    """Start a process that acquires `count` GPUs for some seconds."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-c", HOLD, str(count), str(folder), str(seconds)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_installed_gpus_have_uuid_and_name(install):
    install(2)
    assert gpus.installed_gpus() == (("GPU-0000-aaaa", "NVIDIA A0, 80GB"), ("GPU-1111-aaaa", "NVIDIA A1, 80GB"))


def test_four_processes_take_turns_on_two_gpus(install, tmp_path):
    install(2)
    processes = [hold(tmp_path / "held", 1, 0.5) for _ in range(4)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    assert {stdout.strip() for stdout, _ in outputs} == {"GPU-0000-aaaa", "GPU-1111-aaaa"}
    assert sum("waiting for 1 of 2 GPUs" in stderr for _, stderr in outputs) >= 2
    assert all(stderr.count("waiting") <= 1 for _, stderr in outputs)


@pytest.mark.slow
def test_gpu_of_a_killed_process_is_free(install, tmp_path):
    install(1)
    first = hold(tmp_path / "first", 1, 600)
    assert first.stdout.readline().strip() == "GPU-0000-aaaa"
    second = hold(tmp_path / "second", 1, 0)
    time.sleep(1)
    assert second.poll() is None
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert second.communicate(timeout=30)[0].strip() == "GPU-0000-aaaa"


@pytest.mark.slow
def test_three_processes_that_want_two_of_three_gpus_all_finish(install, tmp_path):
    processes = [hold(tmp_path / "held", 2, 0.5) for _ in range(3)]
    outputs = [process.communicate(timeout=90) for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, outputs
    assert all(len(set(stdout.strip().split(","))) == 2 for stdout, _ in outputs)


@pytest.mark.parametrize(
    ("variable", "visible"),
    [
        (None, {f"GPU-{i}{i}{i}{i}-aaaa": f"GPU-{i}{i}{i}{i}-aaaa" for i in range(3)}),
        ("2,0", {"2": "GPU-2222-aaaa", "0": "GPU-0000-aaaa"}),
        ("GPU-11", {"GPU-11": "GPU-1111-aaaa"}),  # the beginning of a UUID
        ("MIG-1234/1/0", {"MIG-1234/1/0": "MIG-1234/1/0"}),
        ("", {}),
        ("1,-1,0", {"1": "GPU-1111-aaaa"}),  # CUDA ignores what follows an invalid identifier
        ("7", {}),
    ],
)
def test_visible_gpus_respect_cuda_visible_devices(install, monkeypatch, variable, visible):
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert gpus.visible_gpus() == visible


@pytest.mark.parametrize("identifier", ["2", "GPU-22", "MIG-1234/1/0"])
def test_identifiers_of_a_scheduler_are_kept_and_restored(install, monkeypatch, identifier):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"{identifier},0")
    with gpus.acquire_gpus(1):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == identifier
    assert os.environ["CUDA_VISIBLE_DEVICES"] == f"{identifier},0"


def test_index_and_uuid_of_one_gpu_share_a_lock(install, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setattr(gpus, "sleep", lambda seconds: pytest.fail("waits although a GPU is free"))
    with gpus.acquire_gpus(1):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1111-aaaa,GPU-2222-aaaa")
        with gpus.acquire_gpus(1):
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-2222-aaaa"


def test_machine_without_gpus_acquires_none(install):
    with gpus.acquire_gpus(0):
        assert "CUDA_VISIBLE_DEVICES" not in os.environ
    install(0)
    with gpus.acquire_gpus(2):
        assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_more_gpus_than_visible_are_refused(install):
    with pytest.raises(ConfigError, match="4 GPUs .* 3"), gpus.acquire_gpus(4):
        pass


def test_variable_is_restored_after_an_error(install):
    with pytest.raises(ZeroDivisionError), gpus.acquire_gpus(1):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-0000-aaaa"
        raise ZeroDivisionError
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    with gpus.acquire_gpus(3):
        assert os.environ["CUDA_VISIBLE_DEVICES"].count("GPU") == 3


def test_read_only_lock_file_of_another_user_can_be_locked(install, tmp_path):
    lock = tmp_path / "locks/lkca-GPU-0000-aaaa.lock"
    lock.touch()
    lock.chmod(0o444)
    with gpus.acquire_gpus(1):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-0000-aaaa"


def test_lock_file_that_is_a_link_is_refused(install, tmp_path):
    (tmp_path / "target").touch()
    (tmp_path / "locks/lkca-GPU-0000-aaaa.lock").symlink_to(tmp_path / "target")
    with pytest.raises(ResourceError, match="lkca-GPU-0000-aaaa.lock cannot be locked"), gpus.acquire_gpus(1):
        pass
