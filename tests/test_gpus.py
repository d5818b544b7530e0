"""GPU slots: with a made-up nvidia-smi, processes that take cards never share one."""

import os
import signal
import subprocess
import sys
import time

import pytest

from lkca.core import gpus
from lkca.errors import LkcaError
from tests.conftest import REPOSITORY

HOLD = """
import os, sys, time
from lkca.core.gpus import acquire_gpus
with acquire_gpus(int(sys.argv[1])):
    for card in os.environ["CUDA_VISIBLE_DEVICES"].split(","):
        os.mkdir(os.path.join(sys.argv[2], card))  # fails where another process holds the card
    print(os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    time.sleep(float(sys.argv[3]))
    for card in os.environ["CUDA_VISIBLE_DEVICES"].split(","):
        os.rmdir(os.path.join(sys.argv[2], card))
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of three cards: a function that says how many; its locks lie in a folder of their own."""
    tools, locks = tmp_path / "bin", tmp_path / "locks"
    tools.mkdir()
    locks.mkdir()

    def has(number: int) -> None:
        lines = "\n".join(f"echo '{i}, GPU-{i}{i}{i}{i}-aaaa, Card A{i}'" for i in range(number))
        (tools / "nvidia-smi").write_text(f"#!/bin/sh\n{lines}\n")
        (tools / "nvidia-smi").chmod(0o755)
        gpus.installed_gpus.cache_clear()

    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(locks))
    monkeypatch.setattr("tempfile.tempdir", str(locks))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    has(3)
    yield has
    gpus.installed_gpus.cache_clear()


def holder(folder, number, seconds) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-c", HOLD, str(number), str(folder), str(seconds)]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_four_processes_on_two_cards_share_none_and_all_get_one(machine, tmp_path):
    machine(2)
    jobs = [holder(tmp_path / "held", 1, 0.5) for _ in range(4)]
    told = [job.communicate(timeout=60) for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 4, told
    assert {out.strip() for out, _ in told} == {"GPU-0000-aaaa", "GPU-1111-aaaa"}
    assert sum("waiting for 1 of 2 GPUs" in error for _, error in told) >= 2
    assert all(error.count("waiting") <= 1 for _, error in told)


def test_the_card_of_a_killed_process_is_taken_by_the_next(machine, tmp_path):
    machine(1)
    first = holder(tmp_path / "first", 1, 600)
    assert first.stdout.readline().strip() == "GPU-0000-aaaa"
    second = holder(tmp_path / "second", 1, 0)
    time.sleep(1)
    assert second.poll() is None
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert second.communicate(timeout=30)[0].strip() == "GPU-0000-aaaa"


def test_two_that_want_two_of_three_end_both(machine, tmp_path):
    jobs = [holder(tmp_path / "held", 2, 0.5) for _ in range(3)]
    told = [job.communicate(timeout=90) for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 3, told
    assert all(len(set(out.strip().split(","))) == 2 for out, _ in told)


@pytest.mark.parametrize(
    ("set", "seen"),
    [
        (None, {f"GPU-{i}{i}{i}{i}-aaaa": f"GPU-{i}{i}{i}{i}-aaaa" for i in range(3)}),
        ("2,0", {"2": "GPU-2222-aaaa", "0": "GPU-0000-aaaa"}),
        ("GPU-11", {"GPU-11": "GPU-1111-aaaa"}),  # the beginning of a UUID will do
        ("MIG-1234/1/0", {"MIG-1234/1/0": "MIG-1234/1/0"}),
        ("", {}),
        ("1,-1,0", {"1": "GPU-1111-aaaa"}),  # what follows a wrong one does not count
        ("7", {}),
    ],
)
def test_what_a_scheduler_has_set_is_respected(machine, monkeypatch, set, seen):
    if set is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", set)
    assert gpus.visible_gpus() == seen


@pytest.mark.parametrize("word", ["2", "GPU-22", "MIG-1234/1/0"])
def test_a_word_of_the_schedulers_is_passed_on_and_set_back(machine, monkeypatch, word):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", word)
    with gpus.acquire_gpus(1):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == word
    assert os.environ["CUDA_VISIBLE_DEVICES"] == word


def test_an_index_and_a_uuid_of_one_card_are_one_card(machine, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setattr(gpus, "sleep", lambda seconds: pytest.exit("waits, as it should"))
    with gpus.acquire_gpus(1):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1111-aaaa,GPU-2222-aaaa")
        with gpus.acquire_gpus(1):
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-2222-aaaa"


def test_without_cards_nothing_happens(machine, monkeypatch):
    with gpus.acquire_gpus(0):
        assert "CUDA_VISIBLE_DEVICES" not in os.environ
    machine(0)
    with gpus.acquire_gpus(1):
        assert "CUDA_VISIBLE_DEVICES" not in os.environ
    with gpus.acquire_gpus(2):
        pass


def test_more_cards_than_there_are_is_one_sentence(machine):
    with (
        pytest.raises(LkcaError, match="4 GPUs are wanted and this process may use 3: ask for fewer."),
        gpus.acquire_gpus(4),
    ):
        pass


def test_the_variable_is_gone_afterwards_also_when_the_job_fails(machine):
    with pytest.raises(ZeroDivisionError), gpus.acquire_gpus(1):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-0000-aaaa"
        raise ZeroDivisionError
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    with gpus.acquire_gpus(3):
        assert os.environ["CUDA_VISIBLE_DEVICES"].count("GPU") == 3


def test_a_lock_that_another_user_made_can_be_taken(machine, tmp_path):
    lock = tmp_path / "locks/lkca-GPU-0000-aaaa.lock"
    lock.touch()
    lock.chmod(0o444)
    with gpus.acquire_gpus(1):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "GPU-0000-aaaa"
