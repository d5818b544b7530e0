"""The progress of trainings, read from their files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from lkca.config import load
from lkca.config.settings import RunSettings
from lkca.config.yaml_files import deep_merge
from lkca.core import gpus
from lkca.core.files import sha256, write_json
from lkca.core.fingerprint import step_code
from lkca.core.locks import exclusive_lock
from lkca.core.paths import HISTORY_FILE, RUN_FILE, WEIGHTS_FILE, WORKFLOW_CACHE, RunGroup, RunKey
from lkca.errors import Diverged, LkcaError
from lkca.models.registry import class_path
from lkca.pipeline.estimates import Estimates
from lkca.pipeline.failures import remember_failure
from lkca.pipeline.results import Results
from lkca.pipeline.status import list_trainings
from lkca.training.distributed import TrainingFiles
from lkca.training.resume import TrainingProgress, TrainingState
from tests.conftest import paper_settings

CONFIG = paper_settings()


def with_overlay(**overlay):
    return load.parse_config(deep_merge(CONFIG, overlay))


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(gpus, "installed_gpus", lambda: ())


def test_trainings_of_the_paper(paper, monkeypatch, tmp_path):
    """3024 patches in 8 orientations by 32: 756 steps an epoch, 226,800 in 300 epochs; 75 trainings for each seed."""
    monkeypatch.chdir(tmp_path)
    estimates = Estimates(paper, gpu=False, folder=tmp_path)
    assert estimates.steps_per_epoch(RunGroup("chikusei", 4, "lkca")) == 756
    trainings = list_trainings(Results(paper), estimates)
    assert len(trainings) == 75
    lkca = next(training for training in trainings if training.run == ("chikusei", 4, "lkca", 3000))
    assert lkca.epochs * lkca.steps_per_epoch == 226_800
    thrice = with_overlay(seeds=[1, 2, 3])
    more = list_trainings(Results(thrice), Estimates(thrice, gpu=False, folder=tmp_path))
    assert len(more) == 3 * 75
    assert sum(training.seconds_left for training in more) == pytest.approx(
        3 * sum(training.seconds_left for training in trainings)
    )


def write_run_file(experiment, run, **changes):
    path = Path(experiment.paths.run_file(run, RUN_FILE))
    files = {"seed": run[3], "scene_sha256": "0", "split_sha256": "0", "teacher_sha256": None}
    write_json(path, RunSettings.of(experiment, run.group).model_dump() | files | changes)
    return path


def write_training(experiment, run, steps=226_800, seconds=7200.0, **changes):
    """Write the files of a finished training and its record, with `changes` in the record."""
    path = write_run_file(experiment, run)
    save_file({"a": np.zeros(1)}, path.with_name(WEIGHTS_FILE))
    path.with_name(HISTORY_FILE).write_text(f"epoch,steps,seconds\n1,3,2.5\n300,{steps},{seconds}\n")
    results = Results(experiment)
    for step in ("settings", "train"):
        job = results.jobs.get(step, run._asdict())
        results.write_record(job, job.code(), [])
    record = Path(experiment.paths.record(job.name))
    write_json(record, json.loads(record.read_text()) | changes)


def write_state(path, digest, name="state-0.safetensors", epoch=2, step=378, seconds=60.0, arch="lkca"):
    made_from = {"run_sha256": digest, "code": step_code("train", [class_path(arch)]).digest}
    progress = {"steps_per_epoch": 756, "epoch": epoch, "step": step, "seconds": seconds}
    save_file({"a": np.zeros(1)}, path.with_name(name), made_from | {"progress": json.dumps(progress)})


def by_group(experiment, tmp_path):
    trainings = list_trainings(Results(experiment), Estimates(experiment, gpu=False, folder=tmp_path))
    return {tuple(training.run.group): training for training in trainings}


def test_state_of_trainings(paper, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    runs = {model: RunKey("chikusei", 4, model, 3000) for model in paper.models}
    killed, running = (write_run_file(paper, runs[model]) for model in ("lkca", "vdsr"))
    write_training(paper, runs["lkca_64"])
    write_training(paper, runs["lkca_4"], code="of yesterday")
    write_state(write_run_file(paper, runs["lkca_4"]), "of another run")
    write_training(paper, runs["lkca_8"])
    write_state(killed, "of another run", "state-1.safetensors", epoch=200)
    write_state(killed, sha256(killed))
    write_state(running, sha256(running), epoch=3, step=0, arch="vdsr")
    write_run_file(paper, runs["lkca_32"]).with_name("state-2.safetensors").write_text("torn")
    write_run_file(paper, runs["lkca_48"], train={}).with_name(".weights.lock").touch()  # left by a killed process
    write_training(paper, RunKey("pavia_centre", 4, "lkca_lr", 3000), settings={"of": "yesterday"})
    with exclusive_lock(running.with_name(WEIGHTS_FILE)):
        trainings = by_group(paper, tmp_path)
        assert trainings["chikusei", 4, "vdsr"].state == "running"
    assert trainings["chikusei", 4, "lkca_64"].state == "done"
    assert (trainings["chikusei", 4, "lkca_64"].steps_done, trainings["chikusei", 4, "lkca_64"].seconds_spent) == (
        226_800,
        7200,
    )
    assert trainings["chikusei", 4, "lkca_64"].seconds_left == 0
    interrupted = trainings["chikusei", 4, "lkca"]
    assert (interrupted.state, interrupted.steps_done, interrupted.seconds_spent) == ("interrupted", 2 * 756 + 378, 60)
    assert interrupted.seconds_left == pytest.approx((226_800 - 1890) * 60 / 1890)  # at the same speed
    for model in ("lkca_4", "lkca_32", "lkca_48", "sspsr"):
        assert (trainings["chikusei", 4, model].state, trainings["chikusei", 4, model].steps_done) == ("waiting", 0)
    assert trainings["chikusei", 4, "lkca_kd"].state == "waiting"  # its teacher is done
    assert trainings["chikusei", 8, "lkca_kd"].state == "needs teacher"
    assert trainings["pavia_centre", 4, "lkca_lr"].state == "waiting"
    assert by_group(paper, tmp_path)["chikusei", 4, "vdsr"].state == "interrupted"  # the lock is free again
    slower = with_overlay(train={"learning_rate": 1e-3})
    assert by_group(slower, tmp_path)["chikusei", 4, "lkca_64"].state == "waiting"  # it will be trained again


def test_state_file_of_a_training_is_read(paper, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = write_run_file(paper, RunKey("chikusei", 4, "lkca", 3000))
    net = torch.nn.Linear(2, 2)
    progress = TrainingProgress(756, 300, epoch=3, step=10, seconds=120.0)
    files = TrainingFiles(path, path, path, None, path.with_name("weights.safetensors"), path.with_name("history.csv"))
    codes = [step_code("train", [class_path("lkca")]).digest]
    TrainingState(files, codes, net, torch.optim.Adam(net.parameters()), progress).save()
    training = by_group(paper, tmp_path)["chikusei", 4, "lkca"]
    assert (training.state, training.steps_done, round(training.seconds_spent)) == ("interrupted", 3 * 756 + 10, 120)


def test_finished_run_sets_the_throughput_of_its_model(paper, monkeypatch, tmp_path):
    """A step with 128 bands took 60 ms; with the 102 bands of Pavia it takes less, in 300 epochs of 116 steps."""
    monkeypatch.chdir(tmp_path)
    write_training(paper, RunKey("chikusei", 4, "lkca", 3000), seconds=226_800 * 0.06)
    left = by_group(paper, tmp_path)["pavia_centre", 4, "lkca"].seconds_left
    assert 0.8 * 0.06 < left / (116 * 300) < 0.06


def test_failed_trainings_say_what_to_do(paper, monkeypatch, tmp_path):
    """As `lkca step` notes them; a training with other settings has not failed."""
    monkeypatch.chdir(tmp_path)
    WORKFLOW_CACHE.mkdir(parents=True)
    for model, error in (("lkca", Diverged("the loss became NaN: lower it.")), ("vdsr", LkcaError("no file: get it."))):
        run = RunKey("chikusei", 4, model, 3000)
        write_run_file(paper, run)
        results = Results(paper)
        job = results.jobs.get("train", run._asdict())
        with pytest.raises(LkcaError), remember_failure(job.name, results.origin(job)):
            raise error
    trainings = by_group(paper, tmp_path)
    diverged, failed = (trainings["chikusei", 4, model] for model in ("lkca", "vdsr"))
    assert (diverged.state, diverged.failure) == ("diverged", "the loss became NaN: lower it.")
    assert (failed.state, failed.failure) == ("failed", "no file: get it.")
    write_run_file(paper, RunKey("chikusei", 4, "lkca", 3000), scene_sha256="1")
    assert by_group(paper, tmp_path)["chikusei", 4, "lkca"].state == "waiting"
