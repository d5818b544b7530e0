"""Trainings that are killed end with the weights of trainings that are not: the same file, byte by byte.

Each is killed with SIGKILL again and again, at moments that a seed draws, before it may end. LKCA_KILLS says how many
times in all: 25 by default, 100 in `make soak`.
"""

import csv
import multiprocessing
import os
import random
import signal
from pathlib import Path

import pytest
import torch

import lkca.checkpoint
import lkca.state
import lkca.train
from lkca.files import sha256
from lkca.train import train
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
    lkca.state.EVERY = draw.choice([0, 0.02, 0.2])
    if kind in ("first epoch", "middle of an epoch", "distillation"):
        countdown(lkca.train.Steps, "step", draw.randint(1, 12), lambda _: die())
    elif kind == "validation":
        countdown(lkca.train.losses, "l1", draw.randint(1, 4), lambda *_: die(), lambda: not torch.is_grad_enabled())
    elif kind == "writing":
        module = draw.choice([lkca.state, lkca.state, lkca.checkpoint])  # the state, or at the end the weights
        write = module.save_file

        def half(tensors, path, metadata):
            write(tensors, path, metadata)
            os.truncate(path, draw.randrange(os.path.getsize(path) + 1))
            die()

        lkca.state.EVERY = 0
        where = draw.choice(["before", "in", "after"])
        if where == "in":
            countdown(module, "save_file", 1 if module is lkca.checkpoint else draw.randint(1, 20), half)
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
