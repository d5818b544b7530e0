"""Trainings that are killed end with the weights of trainings that are not: the same file, byte by byte.

Each is killed with SIGKILL again and again, at moments that a seed draws, before it may end. LKCA_KILLS says how many
times in all: 25 by default, 100 in `make soak`.
"""

import csv
import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import lkca.training.checkpoint
import lkca.training.resume
import lkca.training.train
from lkca.config.run import read_run
from lkca.core.files import sha256
from lkca.errors import LkcaError
from lkca.training.train import train
from tests.conftest import RECIPE
from tests.test_train import DISTILL, trained

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["tests.test_resume", "torch._dynamo"])
KINDS = ["first epoch", "middle of an epoch", "validation", "writing", "distillation"]
KILLS = int(os.environ.get("LKCA_KILLS", 25)) // len(KINDS)
FILES = ("weights.safetensors", "history.csv")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def countdown(module, name: str, calls: int, last=die, counts=lambda: True) -> None:
    """Replace a function of a module so that at its so-manieth call that counts, `last` is called in its place."""
    function, left = getattr(module, name), [calls]

    def counting(*args, **options):
        left[0] -= counts()
        return last(*args, **options) if left[0] == 0 else function(*args, **options)

    setattr(module, name, counting)


def attempt(tiny, run: Path, teacher: Path | None, kind: str | None, drawn: int) -> None:
    """Train in this process, with death at a moment of a kind; without one, to the end."""
    torch.set_num_threads(1)
    draw = random.Random(drawn)
    lkca.training.resume.EVERY = draw.choice([0, 0.02, 0.2])
    if kind in ("first epoch", "middle of an epoch", "distillation"):
        countdown(lkca.training.train.Steps, "step", draw.randint(1, 12), lambda _: die())
    elif kind == "validation":
        countdown(
            lkca.training.train.losses, "l1", draw.randint(1, 4), lambda *_: die(), lambda: not torch.is_grad_enabled()
        )
    elif kind == "writing":
        module = draw.choice(
            [lkca.training.resume, lkca.training.resume, lkca.training.checkpoint]
        )  # the state, or at the end the weights
        write = module.write

        def half(tensors, path, metadata):
            write(tensors, path, metadata)
            os.truncate(path, draw.randrange(os.path.getsize(path) + 1))
            die()

        lkca.training.resume.EVERY = 0
        where = draw.choice(["before", "in", "after"])
        if where == "in":
            countdown(module, "write", 1 if module is lkca.training.checkpoint else draw.randint(1, 20), half)
        else:  # the file is whole, but has not its name yet; or it has, and nothing else was done
            countdown(os, "replace", draw.randint(1, 20), (lambda *_: die()) if where == "before" else replace_and_die)
    train(run, tiny["scene"], tiny["split"], teacher, *(run.with_name(name) for name in FILES))


def replace_and_die(old, new) -> None:
    os.rename(old, new)
    die()


def ended(tiny, run: Path, teacher: Path | None, kind: str | None, drawn: int) -> int:
    """The exit code of an attempt in a fresh process."""
    files = {"scene": tiny.scene, "split": tiny.split}
    process = FORK.Process(target=attempt, args=(files, run, teacher, kind, drawn))
    process.start()
    process.join()
    return process.exitcode


@pytest.mark.parametrize("kind", KINDS)
def test_killed_trainings_end_with_the_same_weights(tiny, kind):
    """Drop path is on, the last batch is smaller, and the best epoch need not be the last."""
    settings = {"train": RECIPE | {"epochs": 2 * max(1, KILLS // 5) + 2, "batch": 10, "learning_rate": 5e-3}}
    if kind == "first epoch":
        settings["train"]["epochs"] = 2
        settings["train"]["batch"] = 1
    teacher = None
    if kind == "distillation":
        teacher = trained(tiny, tiny.run("big", train=RECIPE | {"epochs": 1})) / "weights.safetensors"
        settings["distill"] = {**DISTILL, "features": "reconstruction"}
    runs = [tiny.run(name, teacher and teacher.with_name("run.json"), model="net", **settings) for name in ("a", "b")]
    assert sha256(runs[0]) == sha256(runs[1])
    assert ended(tiny, runs[0], teacher, None, 0) == 0
    kills, drawn = 0, KINDS.index(kind)
    while kills < KILLS:
        drawn += len(KINDS)
        code = ended(tiny, runs[1], teacher, kind, drawn)
        kills += code == -signal.SIGKILL
        assert code in (0, -signal.SIGKILL) and drawn < 2000
        if code == 0:  # it got through: from the start again
            for path in runs[1].parent.glob("*[!n]"):
                path.unlink()
    assert ended(tiny, runs[1], teacher, None, 0) == 0
    assert sha256(runs[0].with_name(FILES[0])) == sha256(runs[1].with_name(FILES[0]))
    histories = [list(csv.DictReader(run.with_name(FILES[1]).open())) for run in runs]
    assert [line | {"seconds": ""} for line in histories[0]] == [line | {"seconds": ""} for line in histories[1]]
    assert not [path for path in runs[1].parent.iterdir() if path.name.startswith((".", "refused"))]


def state_of(run: Path) -> Path:
    (path,) = run.parent.glob("state-*.safetensors")
    return path


def stopped(tiny, run: Path, monkeypatch, teacher: Path | None = None) -> None:
    """Train a run up to its tenth step and stop it there, with a state of the ninth."""

    class Stop(Exception):
        pass

    def stop(_):
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(lkca.training.resume, "EVERY", 0)
        countdown_in(patch, lkca.training.train.Steps, "step", 10, stop)
        with pytest.raises(Stop):
            trained(tiny, run, teacher)


def countdown_in(patch, module, name, calls, last) -> None:
    patch.setattr(module, name, getattr(module, name))  # to have it back
    countdown(module, name, calls, last)


def test_a_stopped_training_goes_on_and_says_so(tiny, monkeypatch, capsys):
    run = tiny.run("net")
    stopped(tiny, run, monkeypatch)
    assert sorted(path.name for path in run.parent.iterdir()) == ["run.json", state_of(run).name]
    trained(tiny, run)
    assert "tiny x4 net seed 0: goes on from epoch 1, step 10" in capsys.readouterr().out


def test_lost_outputs_of_a_finished_training_are_written_again_without_training(tiny, monkeypatch, capsys):
    run = tiny.run("net")
    trained(tiny, run)
    before = {name: run.with_name(name).read_bytes() for name in FILES}
    for name in FILES:
        run.with_name(name).unlink()
    monkeypatch.setattr(lkca.training.train, "objective", None)
    trained(tiny, run)
    assert {name: run.with_name(name).read_bytes() for name in FILES} == before
    assert f"was trained before; to train it again delete {state_of(run)}" in capsys.readouterr().out
    weights, state = (path.stat().st_size for path in (run.with_name(FILES[0]), state_of(run)))
    assert state < 1.2 * weights  # what only goes on is gone


def test_other_settings_start_anew_and_the_old_ones_go_on(tiny, monkeypatch, capsys):
    run = tiny.run("net")
    stopped(tiny, run, monkeypatch)
    old = state_of(run)
    tiny.run("net", train=RECIPE | {"learning_rate": 1e-3})
    stopped(tiny, run, monkeypatch)
    assert "goes on" not in capsys.readouterr().out
    tiny.run("net")
    trained(tiny, run)
    assert "goes on from epoch 1, step 10" in capsys.readouterr().out
    assert state_of(run) == old  # what has become of no use is gone


def test_another_teacher_makes_another_student(tiny, monkeypatch, capsys):
    """Its run.json may be the same: a teacher trained on another machine has other weights."""
    teacher = trained(tiny, tiny.run("big")) / "weights.safetensors"
    distill = {**DISTILL, "features": "reconstruction"}
    run = tiny.run("student", teacher.with_name("run.json"), distill=distill)
    stopped(tiny, run, monkeypatch, teacher)
    weights = {name: weight + 1e-3 for name, weight in load_file(teacher).items()}
    lkca.training.checkpoint.save(teacher, weights, sha256(teacher.with_name("run.json")), 1)
    capsys.readouterr()
    trained(tiny, run, teacher)
    assert "goes on" not in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["short", "one byte", "no state", "of another run", "of another version"])
def test_a_state_that_is_damaged_or_of_another_run_is_put_aside(tiny, monkeypatch, capsys, damage):
    run = tiny.run("net")
    stopped(tiny, run, monkeypatch)
    state = state_of(run)
    content = bytearray(state.read_bytes())
    if damage == "short":
        content = content[:-100]
    elif damage == "one byte":
        content[-100] ^= 1
    elif damage == "no state":
        content = b"nothing"
    elif damage == "of another version":
        monkeypatch.setattr(lkca.training.resume, "LAYOUT", "2")
    else:
        other = tiny.run("other", seed=1)
        stopped(tiny, other, monkeypatch)
        content = state_of(other).read_bytes()
    state.write_bytes(content)
    trained(tiny, run)
    said = capsys.readouterr().out
    assert f"{state} cannot be gone on from" in said and "goes on from" not in said
    assert state.with_name(f"refused-{state.name}").read_bytes() == content
    assert ("another run" in said) == (damage == "of another run")


def test_a_network_that_diverges_later_keeps_its_last_good_state(tiny, monkeypatch):
    """The weights become infinite in step 12; nothing was saved since step 11, and the sentence says where that is."""
    run = tiny.run("net")
    monkeypatch.setattr(lkca.training.resume, "EVERY", 0)
    with monkeypatch.context() as patch, pytest.raises(LkcaError) as caught:
        step = torch.optim.Adam.step

        def poison(self, *args, **options):
            step(self, *args, **options)
            self.param_groups[0]["params"][0].data.fill_(float("inf"))

        patch.setattr(torch.optim.Adam, "step", step)
        countdown(torch.optim.Adam, "step", 12, poison)
        trained(tiny, run)
    message = (
        f"{run}: the loss is no number any more in epoch 1, step 12: lower train.learning_rate; the last good state"
    )
    assert str(caught.value) == f"{message} is {state_of(run)}."
    with safe_open(state_of(run), "pt") as file:
        assert json.loads(file.metadata()["facts"])["step"] == 11
        assert all(file.get_tensor(name).isfinite().all() for name in file.keys())  # noqa: SIM118
    assert not run.with_name(FILES[0]).exists()


def test_reconstructions_that_are_nothing_like_the_truth_end_a_training(tiny, monkeypatch):
    monkeypatch.setattr(lkca.training.train.losses, "l1", lambda sr, hr: (sr - hr).abs().mean() + 1.5)
    with pytest.raises(LkcaError, match="further from the truth than white is from black in epoch 1, step"):
        trained(tiny, tiny.run("net"))


def test_two_processes_never_train_the_same_run_together(tiny):
    """The second waits, finds the first one's result and takes it."""
    run = tiny.run("net", train=RECIPE | {"epochs": 10})
    files = {"scene": tiny.scene, "split": tiny.split}
    both = [FORK.Process(target=attempt, args=(files, run, None, None, i)) for i in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    assert len((run.parent / "history.csv").read_text().splitlines()) == 11
    assert sorted(path.name for path in run.parent.iterdir()) == sorted([*FILES, "run.json", state_of(run).name])


def test_several_processes_train_the_network_that_one_would(tiny, monkeypatch):
    """Two share each batch of 33, in two parts each; sums come in another order, so bits differ. Without drop path."""
    args = {"width": 16, "blocks": 2, "drop_path": 0.0}
    runs = [tiny.run(name, model="net", args=args, train=RECIPE | {"batch": 33}) for name in ("one", "two")]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for run, cards in zip(runs, (1, 2), strict=True):
        train(run, tiny.scene, tiny.split, None, *(run.with_name(name) for name in FILES), cards)
    one, two = (load_file(run.with_name(FILES[0])) for run in runs)
    start = lkca.training.train.seeded(read_run(runs[0])).state_dict()
    for name in one:
        assert torch.allclose(one[name], two[name], rtol=0, atol=0.02 * (one[name] - start[name]).abs().max().item())
    first, second = ([float(line["loss"]) for line in csv.DictReader(run.with_name(FILES[1]).open())] for run in runs)
    assert first == pytest.approx(second, rel=1e-4)


def test_a_state_that_cannot_be_read_now_is_left_as_it_is(tiny, monkeypatch):
    """A file system of a network that is away for a moment must not cost days."""
    run = tiny.run("net")
    stopped(tiny, run, monkeypatch)
    before = state_of(run).read_bytes()

    def away(*_):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch, pytest.raises(LkcaError, match="cannot be read .*: try again"):
        patch.setattr(lkca.training.resume, "safe_open", away)
        trained(tiny, run)
    assert state_of(run).read_bytes() == before


def test_a_full_disk_ends_in_one_sentence_and_costs_nothing(tiny, monkeypatch):
    run = tiny.run("net")
    stopped(tiny, run, monkeypatch)
    before = state_of(run).read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    monkeypatch.setattr(lkca.training.resume, "EVERY", 0)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(LkcaError, match="cannot be written"):
            trained(tiny, run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert state_of(run).read_bytes() == before
    assert sorted(path.name for path in run.parent.iterdir()) == ["run.json", state_of(run).name]


def test_several_processes_end_with_the_one_that_started_them(tiny):
    """Killed alone: it held the cards and the lock."""
    run = tiny.run("net", train=RECIPE | {"epochs": 1000})
    words = ["--run", run, "--scene", tiny.scene, "--split", tiny.split]
    words += ["--out", run.with_name(FILES[0]), "--history", run.with_name(FILES[1]), "--gpus", "2"]
    command = [sys.executable, "-m", "lkca", "train", *map(str, words)]
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True)
    assert "epoch 1/1000" in process.stdout.readline()
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 3
    process.kill()
    process.wait()
    assert not psutil.wait_procs(family, timeout=20)[1]


def test_curves_in_tensorboard(tiny, monkeypatch, tmp_path):
    """A training that was stopped goes on in the same curve."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setenv("LKCA_TENSORBOARD", str(tmp_path / "board"))
    run = tiny.run("net", train=RECIPE | {"epochs": 3})
    stopped(tiny, run, monkeypatch)
    trained(tiny, run)
    events = accumulator.EventAccumulator(str(tmp_path / "board/tiny_x4_net_seed_0"))
    events.Reload()
    lines = list(csv.DictReader(run.with_name("history.csv").open()))
    for name in ("loss", "val_mpsnr", "learning_rate"):
        drawn = events.Scalars(name)
        assert [event.step for event in drawn] == [1, 2, 3]
        assert [event.value for event in drawn] == pytest.approx([float(line[name]) for line in lines])
