"""Killed trainings resume and end with the same file of weights as trainings that were not killed, byte by byte.

Each training is killed with SIGKILL several times, at random moments (seeded), before it may end. LKCA_KILLS is the
total number of kills: 25 by default, 100 in `make soak`.
"""

import csv
import itertools
import json
import multiprocessing
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch.optim.swa_utils import AveragedModel

import lkca.training.checkpoint
import lkca.training.losses
import lkca.training.progress
import lkca.training.resume
import lkca.training.train
from lkca.config.run import read_run
from lkca.core.files import sha256
from lkca.errors import Diverged, LkcaError, ResourceError
from lkca.training.checkpoint import save_weights
from lkca.training.networks import build_initial_network
from lkca.training.resume import TrainingProgress
from lkca.training.train import train
from tests.conftest import RECIPE
from tests.trainings import DISTILL, FILES, read_history, train_run

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["tests.test_resume", "torch._dynamo"])
MOMENTS = ["first epoch", "middle of an epoch", "validation", "writing", "distillation"]
KILLS = int(os.environ.get("LKCA_KILLS", 25)) // len(MOMENTS)


def die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def replace_call(
    owner: Any, name: str, number: int, replacement: Callable = die, counts: Callable[[], bool] = lambda: True
) -> None:
    """Patch a function so that one of its calls calls `replacement` instead.

    Args:
        owner: Module or class that has the function.
        name: Name of the function.
        number: Number of the call that is replaced, from 1.
        replacement: Function that is called instead.
        counts: Function that returns whether the current call is counted.
    """
    function, calls_left = getattr(owner, name), [number]

    def counting(*args, **options):
        calls_left[0] -= counts()
        return replacement(*args, **options) if calls_left[0] == 0 else function(*args, **options)

    setattr(owner, name, counting)


def replace_and_die(old, new) -> None:
    os.rename(old, new)
    die()


def write_part_and_die(write: Callable, path: Path, *args: Any) -> None:
    """Write a file, cut it at a random byte, and die."""
    write(path, *args)
    os.truncate(path, random.randrange(os.path.getsize(path) + 1))
    die()


def attempt_training(files: dict[str, Path], run: Path, teacher: Path | None, moment: str | None, seed: int) -> None:
    """Train in this process, which kills itself at a random time in the phase `moment`; with None, train to the end."""
    torch.set_num_threads(1)
    random.seed(seed)
    lkca.training.resume.CHECKPOINT_SECONDS = random.choice([0, 0.02, 0.2])
    if moment in ("first epoch", "middle of an epoch", "distillation"):
        replace_call(lkca.training.progress.ProgressDisplay, "step", random.randint(1, 12))
    elif moment == "validation":
        replace_call(lkca.training.losses, "l1", random.randint(1, 4), counts=lambda: not torch.is_grad_enabled())
    elif moment == "writing":
        lkca.training.resume.CHECKPOINT_SECONDS = 0
        when = random.choice(["before", "in", "after"])  # the rename of the written file, or while it is written
        if when == "in":  # of a state file, or of the weights at the end
            module = random.choice([lkca.training.resume, lkca.training.resume, lkca.training.checkpoint])
            number = 1 if module is lkca.training.checkpoint else random.randint(1, 20)
            write = module.write_safetensors
            replace_call(module, "write_safetensors", number, partial(write_part_and_die, write))
        else:  # the file is complete, and is or is not renamed yet
            replace_call(os, "replace", random.randint(1, 20), die if when == "before" else replace_and_die)
    train(run, files["scene"], files["split"], teacher, *(run.with_name(name) for name in FILES))


def run_attempt(tiny, run: Path, teacher: Path | None = None, moment: str | None = None, seed: int = 0) -> int:
    """Run `attempt_training` in a fresh process and return its exit code."""
    process = start_attempt(tiny, run, teacher, moment, seed)
    process.join()
    return process.exitcode


def start_attempt(tiny, run: Path, *args: Any) -> multiprocessing.Process:
    """Start `attempt_training` in a fresh process and return the process."""
    process = FORK.Process(target=attempt_training, args=({"scene": tiny.scene, "split": tiny.split}, run, *args))
    process.start()
    return process


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_training_has_same_weights(tiny, moment):
    """With drop path, a smaller last batch, and a learning rate so high that the best epoch may not be the last."""
    settings: dict = {"train": RECIPE | {"epochs": 2 * max(1, KILLS // 5) + 2, "batch": 10, "learning_rate": 5e-3}}
    if moment == "first epoch":
        settings["train"] |= {"epochs": 2, "batch": 1}
    teacher = None
    if moment == "distillation":
        teacher = train_run(tiny, tiny.run("big", train=RECIPE | {"epochs": 1})) / "weights.safetensors"
        settings["distill"] = DISTILL
    whole, killed = (
        tiny.run(name, teacher and teacher.with_name("run.json"), model="net", **settings) for name in ("a", "b")
    )
    assert sha256(whole) == sha256(killed)
    assert run_attempt(tiny, whole, teacher) == 0
    kills, seed = 0, MOMENTS.index(moment)
    while kills < KILLS:
        seed += len(MOMENTS)
        code = run_attempt(tiny, killed, teacher, moment, seed)
        kills += code == -signal.SIGKILL
        assert code in (0, -signal.SIGKILL)
        assert seed < 2000
        if code == 0:  # the training ended before it was killed: delete its outputs and start again
            for path in killed.parent.glob("*[!n]"):
                path.unlink()
    assert run_attempt(tiny, killed, teacher) == 0
    assert whole.with_name(FILES[0]).read_bytes() == killed.with_name(FILES[0]).read_bytes()
    lines, resumed = (list(csv.DictReader(run.with_name(FILES[1]).open())) for run in (whole, killed))
    assert [line | {"seconds": ""} for line in lines] == [line | {"seconds": ""} for line in resumed]
    assert not [path for path in killed.parent.iterdir() if path.name.startswith((".", "refused"))]


def find_state(run: Path) -> Path:
    """Return the only state file of a run."""
    (path,) = run.parent.glob("state-*.safetensors")
    return path


class Stop(Exception):
    pass


def stop_at_step_10(tiny, run: Path, monkeypatch, teacher: Path | None = None) -> None:
    """Train until the tenth step and stop there; the saved state is that of the ninth step."""

    def stop(_):
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(lkca.training.resume, "CHECKPOINT_SECONDS", 0)
        replace_call_once(patch, lkca.training.progress.ProgressDisplay, "step", 10, stop)
        with pytest.raises(Stop):
            train_run(tiny, run, teacher)


def replace_call_once(patch, owner, name, number, replacement) -> None:
    """Call `replace_call` on a function that the monkeypatch `patch` restores at its end."""
    patch.setattr(owner, name, getattr(owner, name))
    replace_call(owner, name, number, replacement)


def test_stopped_training_resumes_with_message(tiny, monkeypatch, capsys):
    run = tiny.run("net")
    stop_at_step_10(tiny, run, monkeypatch)
    assert sorted(path.name for path in run.parent.iterdir()) == ["run.json", find_state(run).name]
    train_run(tiny, run)
    assert "tiny x4 net seed 0: resumes from epoch 1, step 10" in capsys.readouterr().out


def test_place_of_resuming():
    assert TrainingProgress(4, 2, epoch=1, step=3).next_place() == "from epoch 2, step 4"
    assert TrainingProgress(4, 2, epoch=0, step=4).next_place() == "in the validation of epoch 1"


def test_deleted_outputs_are_written_without_training(tiny, monkeypatch, capsys):
    run = tiny.run("net")
    train_run(tiny, run)
    before = {name: run.with_name(name).read_bytes() for name in FILES}
    for name in FILES:
        run.with_name(name).unlink()
    monkeypatch.setattr(lkca.training.train, "compute_losses", None)
    train_run(tiny, run)
    assert {name: run.with_name(name).read_bytes() for name in FILES} == before
    assert f"already trained; to train it again, delete {find_state(run)}" in capsys.readouterr().out
    weights, state = (path.stat().st_size for path in (run.with_name(FILES[0]), find_state(run)))
    assert state < 1.2 * weights  # the state does not contain the optimiser


def test_restored_setting_resumes_its_training(tiny, monkeypatch, capsys):
    run = tiny.run("net")
    stop_at_step_10(tiny, run, monkeypatch)
    old = find_state(run)
    tiny.run("net", train=RECIPE | {"learning_rate": 1e-3})
    stop_at_step_10(tiny, run, monkeypatch)
    assert "resumes" not in capsys.readouterr().out
    tiny.run("net")
    train_run(tiny, run)
    assert "resumes from epoch 1, step 10" in capsys.readouterr().out
    assert find_state(run) == old  # the other one is deleted


def test_other_teacher_starts_new_training(tiny, monkeypatch, capsys):
    """Also if run.json is the same: a teacher that was trained on another machine has other weights."""
    teacher = train_run(tiny, tiny.run("big")) / "weights.safetensors"
    run = tiny.run("student", teacher.with_name("run.json"), distill=DISTILL)
    stop_at_step_10(tiny, run, monkeypatch, teacher)
    weights = {name: weight + 1e-3 for name, weight in load_file(teacher).items()}
    save_weights(teacher, weights, sha256(teacher.with_name("run.json")), 1)
    capsys.readouterr()
    train_run(tiny, run, teacher)
    assert "resumes" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("short", ""),
        ("one bit", "checksum"),
        ("no safetensors", ""),
        ("other run", "another run"),
        ("other layout", "another version"),
    ],
)
def test_unusable_state_is_moved_away(tiny, monkeypatch, capsys, damage, reason):
    run = tiny.run("net")
    stop_at_step_10(tiny, run, monkeypatch)
    state = find_state(run)
    content = bytearray(state.read_bytes())
    if damage == "short":
        content = content[:-100]
    elif damage == "one bit":
        content[-100] ^= 1
    elif damage == "no safetensors":
        content = bytearray(b"nothing")
    elif damage == "other layout":
        monkeypatch.setattr(lkca.training.resume, "LAYOUT", "0")
    else:
        other = tiny.run("other", seed=1)
        stop_at_step_10(tiny, other, monkeypatch)
        content = bytearray(find_state(other).read_bytes())
    state.write_bytes(content)
    train_run(tiny, run)
    output = capsys.readouterr().out
    assert f"cannot resume from {state} (" in output
    assert reason in output
    assert "resumes from" not in output
    assert state.with_name(f"refused-{state.name}").read_bytes() == content


def test_divergence_keeps_last_good_state(tiny, monkeypatch):
    """The weights become infinite in step 12. The state is that of step 11, and the message names its file."""
    run = tiny.run("net")
    monkeypatch.setattr(lkca.training.resume, "CHECKPOINT_SECONDS", 0)
    step = torch.optim.Adam.step

    def poison(self, *args, **options):
        step(self, *args, **options)
        self.param_groups[0]["params"][0].data.fill_(float("inf"))

    with monkeypatch.context() as patch:
        replace_call_once(patch, torch.optim.Adam, "step", 12, poison)
        with pytest.raises(Diverged, match="epoch 1, step 12 .*head.weight became infinite") as caught:
            train_run(tiny, run)
    assert f"(Last finite state, for inspection: {find_state(run)})" in str(caught.value)
    with safe_open(find_state(run), "pt") as file:
        assert json.loads(file.metadata()["progress"])["step"] == 11
        assert all(file.get_tensor(name).isfinite().all() for name in file.keys())  # noqa: SIM118
    assert not run.with_name(FILES[0]).exists()


@pytest.mark.slow
def test_stopped_and_killed_training_has_seconds_of_training_only(tiny):
    """It is stopped, killed in the middle and resumed, and stopped again."""
    run = tiny.run("net", train=RECIPE | {"epochs": 25})
    for last in (False, True):
        process = start_attempt(tiny, run, None, None, 3)  # this seed saves states
        while not [*run.parent.glob("state-*")]:
            time.sleep(0.01)
        time.sleep(1)
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(6)
        os.kill(process.pid, signal.SIGCONT)
        if not last:
            time.sleep(0.5)
            process.kill()
        process.join()
    seconds = [0.0, *(float(line["seconds"]) for line in csv.DictReader(run.with_name(FILES[1]).open()))]
    assert all(0 < after - before < 5 for before, after in itertools.pairwise(seconds))


def test_time_left(capsys):
    """The time left follows from the steps and seconds of the last epoch, whatever a clock says."""
    with lkca.training.progress.ProgressDisplay("net", 4, 10, 0, visible=True) as display:
        for epoch, seconds in ((1, 5.0), (2, 8605.0)):  # 0.5 s, then 860 s for a step
            scores = {"epoch": epoch, "steps": 10 * epoch, "loss": 0.1, "val_mpsnr": 30.0, "seconds": seconds}
            display.epoch(scores)
    assert re.findall(r"(\S+) left", capsys.readouterr().out) == ["0:00:15", "4:46:40"]


@pytest.mark.slow
def test_two_processes_do_not_train_same_run(tiny):
    """The second process waits for the first and uses its result."""
    run = tiny.run("net", train=RECIPE | {"epochs": 10})
    processes = [start_attempt(tiny, run, None, None, seed) for seed in range(2)]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len((run.parent / "history.csv").read_text().splitlines()) == 11
    assert sorted(path.name for path in run.parent.iterdir()) == sorted([*FILES, "run.json", find_state(run).name])


@pytest.mark.slow
def test_two_processes_train_same_network_as_one(tiny, monkeypatch):
    """Each computes half of a batch of 33, in two micro-batches. The order of summation, and the last bits, differ."""
    args = {"width": 16, "blocks": 2, "drop_path": 0.0}
    runs = [tiny.run(name, model="net", args=args, train=RECIPE | {"batch": 33}) for name in ("one", "two")]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for run, gpus in zip(runs, (1, 2), strict=True):
        train_run(tiny, run, gpus=gpus)
    one, two = (load_file(run.with_name(FILES[0])) for run in runs)
    start = build_initial_network(read_run(runs[0])).state_dict()
    for name in one:
        assert torch.allclose(one[name], two[name], rtol=0, atol=0.02 * (one[name] - start[name]).abs().max().item())
    first, second = ([float(line["loss"]) for line in csv.DictReader(run.with_name(FILES[1]).open())] for run in runs)
    assert first == pytest.approx(second, rel=1e-4)


def test_unreadable_state_is_kept(tiny, monkeypatch):
    """A network file system that is briefly unavailable must not cost days of training."""
    run = tiny.run("net")
    stop_at_step_10(tiny, run, monkeypatch)
    before = find_state(run).read_bytes()

    def fail(*_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch, pytest.raises(ResourceError, match="cannot be read .*: try again"):
        patch.setattr(lkca.training.resume, "safe_open", fail)
        train_run(tiny, run)
    assert find_state(run).read_bytes() == before


def test_full_disk_keeps_last_state(tiny, monkeypatch):
    run = tiny.run("net")
    stop_at_step_10(tiny, run, monkeypatch)
    before = find_state(run).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    monkeypatch.setattr(lkca.training.resume, "CHECKPOINT_SECONDS", 0)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(LkcaError, match="state-.* cannot be written"):
            train_run(tiny, run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert find_state(run).read_bytes() == before
    assert sorted(path.name for path in run.parent.iterdir()) == ["run.json", find_state(run).name]


@pytest.mark.slow
def test_processes_end_with_their_parent(tiny):
    """Only the parent process, which holds the GPUs and the lock, is killed."""
    run = tiny.run("net", train=RECIPE | {"epochs": 1000})
    options = ["--run", run, "--scene", tiny.scene, "--split", tiny.split]
    options += ["--out", run.with_name(FILES[0]), "--history", run.with_name(FILES[1]), "--gpus", "2"]
    command = [sys.executable, "-m", "lkca", "train", *map(str, options)]
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True)
    assert "epoch 1/1000" in process.stdout.readline()
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 3
    process.kill()
    process.wait()
    assert not psutil.wait_procs(children, timeout=20)[1]


def test_tensorboard_curves_of_resumed_training(tiny, monkeypatch, tmp_path):
    """The curves of a resumed training equal those of an uninterrupted training."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setenv("LKCA_TENSORBOARD", str(tmp_path / "board"))
    run = tiny.run("net", train=RECIPE | {"epochs": 3})
    stop_at_step_10(tiny, run, monkeypatch)
    train_run(tiny, run)
    events = accumulator.EventAccumulator(str(tmp_path / "board/tiny_x4_net_seed_0"))
    events.Reload()
    lines = list(csv.DictReader(run.with_name("history.csv").open()))
    for name in ("loss", "val_mpsnr", "learning_rate"):
        curve = events.Scalars(name)
        assert [event.step for event in curve] == [1, 2, 3]
        assert [event.value for event in curve] == pytest.approx([float(line[name]) for line in lines])


def make_averaged(tiny, name: str, decay: float) -> Path:
    """Return the run.json of a training whose weights are averaged."""
    run = tiny.run(name, model="net")
    run.write_text(json.dumps(json.loads(run.read_text()) | {"averaged": decay}))
    return run


def test_average_of_a_resumed_training_is_the_same(tiny, monkeypatch):
    whole, halves = (make_averaged(tiny, name, 0.9) for name in ("whole", "halves"))
    stop_at_step_10(tiny, halves, monkeypatch)
    assert len({sha256(train_run(tiny, run) / "weights.safetensors") for run in (whole, halves)}) == 1


def test_written_weights_are_the_average(tiny, monkeypatch):
    """After n steps it is the sum of (1 - d) d^(n - k) times the weights of step k, and d^(n - 1) those of step 1."""
    steps, update = [], AveragedModel.update_parameters

    def record(average, net):
        update(average, net)
        steps.append(net.upsampler.conv.weight.detach().clone().double())

    monkeypatch.setattr(AveragedModel, "update_parameters", record)
    run = make_averaged(tiny, "net", 0.8)
    plain, averaged = (read_history(train_run(tiny, each)) for each in (tiny.run("plain", model="net"), run))
    assert [line["loss"] for line in averaged] == [line["loss"] for line in plain]
    weights = load_file(run.with_name("weights.safetensors"))["upsampler.conv.weight"]
    best = min(averaged, key=lambda line: line["val_l1"])
    n = int(best["steps"])
    expected = 0.8 ** (n - 1) * steps[0] + sum(0.2 * 0.8 ** (n - 1 - k) * steps[k] for k in range(1, n))
    assert torch.allclose(weights.double(), expected, rtol=1e-5, atol=1e-8) and not torch.equal(
        weights, steps[n - 1].float()
    )
