"""Estimates against what the paper prints and what is counted, the state of runs, and the limits of the workflow."""

import ast
import csv
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import save_file

from lkca.config import load
from lkca.config.settings import RunSettings
from lkca.core import environment, gpus
from lkca.core.files import sha256, write_json
from lkca.core.fingerprint import of_step
from lkca.core.locks import exclusive_lock
from lkca.core.paths import RunKey
from lkca.errors import LkcaError
from lkca.models.cost import macs, parameters
from lkca.models.registry import MODELS, build, class_path
from lkca.pipeline import plan
from lkca.pipeline.records import Results
from lkca.training.resume import Progress, State
from tests.conftest import REPOSITORY, copy_checkout

CONFIG = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
COLUMNS = ["network", "settings", "batch", "samples_per_second", "peak_GiB", "device", "threads"]


def with_overlay(**overlay):
    return load.parse_config(load.deep_merge(CONFIG, overlay))


@pytest.fixture(autouse=True)
def no_card(monkeypatch):
    monkeypatch.setattr(gpus, "installed_gpus", lambda: ())


def measurements(folder, name, rows):
    with (folder / f"training_{name}.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return folder


# --- sizes ------------------------------------------------------------------------------------------------------------


def printed():
    """(scene, scale, model, million parameters, billion multiply-accumulates) of the paper's Tables I, V-VII."""
    with (REPOSITORY / "lkca/paper/paper_tables.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        model = CONFIG["tables"][row["table"]]["rows"].get(row["row"]) if row["table"] in CONFIG["tables"] else None
        if row["scene"] == "houston2018" and row["scale"] == "4":  # exchanged: docs/explanation/errata.md
            model = {"vdsr": "fcnn3d", "fcnn3d": "vdsr"}.get(model, model)
        if model and row["MACs_G"]:
            yield row["scene"], int(row["scale"]), model, float(row["Param_M"]), float(row["MACs_G"])


@pytest.mark.parametrize("row", list(printed()), ids=lambda row: "{}-x{}-{}".format(*row))
def test_sizes_are_the_printed_ones(paper, row):
    size = plan.network_cost(paper, row[:3])
    assert size.macs * 256 / 1e9 == pytest.approx(row[4], rel=0.05)
    assert size.parameters / 1e6 == pytest.approx(row[3], rel=0.05)


@pytest.mark.parametrize("arch", MODELS)
def test_every_network_has_an_estimate_which_is_what_is_counted(paper, arch):
    """Of the last of its models in config.yaml, which has a grouped layer where there is such a layer."""
    model = [name for name, m in paper.models.items() if m.arch == arch][-1]
    m = paper.models[model]
    groups = m.upsampler and m.upsampler.model_dump()
    network = build(arch, 48, 4, m.args, groups)
    size = plan.network_cost(paper, ("houston2018", 4, model))
    assert size.macs * 256 == pytest.approx(macs(network, 48), rel=0.05)
    assert size.parameters == pytest.approx(parameters(network), rel=0.05)


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_steps_of_the_paper(paper, monkeypatch, tmp_path):
    """3024 patches in 8 orientations by 32: 756 steps an epoch, 226,800 in 300 epochs; 75 trainings a seed."""
    monkeypatch.chdir(tmp_path)
    estimates = plan.Estimates(paper, gpu=False, folder=tmp_path)
    assert estimates.steps(("chikusei", 4, "lkca")) == 756
    found = plan.trainings(Results(paper), estimates)
    assert len(found) == 75
    lkca = next(each for each in found if each.run == ("chikusei", 4, "lkca", 3000))
    assert lkca.epochs * lkca.steps == 226_800
    thrice = with_overlay(seeds=[1, 2, 3])
    more = plan.trainings(Results(thrice), plan.Estimates(thrice, gpu=False, folder=tmp_path))
    assert len(more) == 3 * 75
    assert sum(each.left for each in more) == pytest.approx(3 * sum(each.left for each in found))


def test_the_counts_are_those_of_the_split(paper, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert plan.counted(paper, "houston2018", 8) == {
        "train": 833,
        "validation": 102,
        "test": 8,
        "pixels": 4172 * 1202,
    }


def test_a_cube_of_unknown_size_is_unknown_until_it_is_cut(monkeypatch, tmp_path):
    cube = {"files": [{"path": "a.npy", "axes": "rows columns bands"}], "bands": "1-128", "shape": None, "crop": None}
    facts = {"sensor": "x", "gsd_m": 1, "nanometres": [400, 900], "source": "x", "citation": "x", "terms": "x"}
    e = with_overlay(scenes={"chikusei": {"cube": cube | facts}})
    monkeypatch.chdir(tmp_path)
    estimates = plan.Estimates(e, gpu=False, folder=tmp_path)
    assert estimates.training(("chikusei", 4, "lkca")).minutes() == plan.LONGEST
    assert estimates.steps(("chikusei", 4, "lkca")) is None
    areas = [{"use": "both", "row": 0, "rows": 2304, "columns": 2048}]
    write_json(tmp_path / "results/paper/scenes/chikusei.json", {"areas": areas})
    assert plan.Estimates(e, gpu=False, folder=tmp_path).steps(("chikusei", 4, "lkca")) == 756


# --- estimates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gpu", [False, True])
def test_more_blocks_bands_and_images_take_more(monkeypatch, tmp_path, gpu):
    monkeypatch.chdir(tmp_path)

    def estimate(model="lkca", scene="chikusei", **overlay):
        return plan.Estimates(with_overlay(**overlay), gpu, tmp_path).training((scene, 4, model))

    usual, deep = estimate(), estimate("lkca_64")
    assert deep.seconds > 2 * usual.seconds
    few = estimate(scenes={"chikusei": {"bands": 64, "composite": {"bands": [1, 2, 3]}}})
    assert few.seconds < usual.seconds and few.mem_mb() < usual.mem_mb()
    small = estimate(train={"batch": 4})
    assert small.seconds == pytest.approx(usual.seconds)  # as many patches in more steps
    assert (small.gpu_memory if gpu else small.memory) < (usual.gpu_memory if gpu else usual.memory)
    assert (deep.gpu_memory if gpu else deep.memory) > (usual.gpu_memory if gpu else usual.memory)
    teacherless = estimate("lkca_lr")
    assert teacherless.seconds < estimate("lkca_kd").seconds < teacherless.seconds + deep.seconds
    assert usual.minutes() <= plan.LONGEST


def test_memory_on_a_cpu_is_what_was_measured(tmp_path):
    """Peak of a process in GiB, at 8 images of 16 x 16 LR pixels and 128 bands, or one test image of 512 x 512.

    SSPSR's training is extrapolated from 4 images.
    """
    estimates = plan.Estimates(with_overlay(train={"batch": 8}), gpu=False, folder=tmp_path)
    for model, gib in {"lkca": 1.31, "msdformer": 2.0, "sspsr": 2.5, "essaformer": 2.77}.items():
        assert 0.5 < estimates.training(("chikusei", 4, model)).memory / 2**30 / gib < 2
    for model, gib in {"lkca": 0.8, "msdformer": 1.15, "sspsr": 1.15, "essaformer": 2.46}.items():
        assert 0.5 < estimates.evaluation(("chikusei", 4, model)).memory / 2**30 / gib < 2.5


def test_pace_is_that_of_the_most_similar_network(paper, monkeypatch, tmp_path):
    rows = [
        ["lkca", "", 32, 100, 1, "A", 2],
        ["lkca_lr", "", 32, 150, 1, "A", 2],
        ["lkca_kd", "", 32, 60, 1, "A", 2],
        ["sspsr", "", 32, 10, 1, "A", 2],
        ["sspsr", "compile=true precision=bfloat16", 32, 30, 1, "A", 2],
    ]
    cpu = plan.Estimates(paper, False, measurements(tmp_path, "a-cpu", rows))

    def samples(model):  # a second and core
        return 32 / cpu.step(("chikusei", 4, model))

    for model, rate in {"lkca": 50, "lkca_lr": 75, "lkca_kd": 30, "lkca_kd_d050": 30, "sspsr": 5}.items():
        assert samples(model) == pytest.approx(rate)
    assert samples("lkca_64") < samples("lkca_4") / 2
    assert samples("vdsr") * plan.work(paper, ("chikusei", 4, "vdsr")) == pytest.approx(
        samples("lkca") * plan.work(paper, ("chikusei", 4, "lkca"))
    )
    assert "vdsr and fcnn3d, not measured, as lkca" in cpu.source


def test_the_measurements_are_of_this_kind_of_machine(paper, monkeypatch, tmp_path):
    row = ["lkca", "", 32, 1000, 1, "A", 16]
    assert "guess" in plan.Estimates(paper, False, tmp_path).source
    measurements(tmp_path, "amd-epyc", [row])
    blind = plan.Estimates(paper, True, tmp_path)
    assert not blind.of_gpu and blind.source.startswith("training_amd-epyc.csv, as no GPU was measured")
    for name in ("nvidia-a100-sxm4", "nvidia-h100-80gb-hbm3"):
        measurements(tmp_path, name, [row])
    assert plan.Estimates(paper, False, tmp_path).source.startswith("training_amd-epyc.csv")
    assert plan.Estimates(paper, True, tmp_path).source.startswith("training_nvidia-a100")
    monkeypatch.setattr(gpus, "installed_gpus", lambda: (("GPU-1", "NVIDIA H100 80GB HBM3"),))
    gpu = plan.Estimates(paper, True, tmp_path)
    assert gpu.of_gpu and gpu.source.startswith("training_nvidia-h100")
    assert 32 / gpu.step(("chikusei", 4, "lkca")) == pytest.approx(1000)  # of a card, not of one of 16 cores


# --- states -----------------------------------------------------------------------------------------------------------


def made_run(e, run, **changes):
    path = plan.file_of(e, run, "run.json")
    files = {"seed": run[3], "scene_sha256": "0", "split_sha256": "0", "teacher_sha256": None}
    write_json(path, RunSettings.of(e, RunKey(*run).group).model_dump() | files | changes)
    return path


def made_weights(e, run, steps=226_800, seconds=7200.0, **changes):
    """What a training leaves, with its record, in which there may be `changes`."""
    path = made_run(e, run)
    save_file({"a": np.zeros(1)}, path.with_name("weights.safetensors"))
    path.with_name("history.csv").write_text(f"epoch,steps,seconds\n1,3,2.5\n300,{steps},{seconds}\n")
    results = Results(e)
    for step in ("settings", "train"):
        job = results.jobs.get(step, RunKey(*run)._asdict())
        results.write(job, job.code(), [])
    record = results.folder / f"{job.name}.json"
    write_json(record, json.loads(record.read_text()) | changes)


def made_state(path, digest, name="state-0.safetensors", epoch=2, step=378, seconds=60.0, arch="lkca"):
    made_from = {"run_sha256": digest, "code": of_step("train", [class_path(arch)]).digest}
    facts = {
        "steps": 756,
        "epochs": 300,
        "epoch": epoch,
        "step": step,
        "seconds": seconds,
        "finished": False,
        "rows": [],
    }
    save_file({"a": np.zeros(1)}, path.with_name(name), made_from | {"facts": json.dumps(facts)})


def states(e, tmp_path):
    found = plan.trainings(Results(e), plan.Estimates(e, gpu=False, folder=tmp_path))
    return {(scene, scale, model): each for each in found for scene, scale, model, _ in [each.run]}


def test_states_are_told_apart(paper, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    runs = {model: ("chikusei", 4, model, 3000) for model in paper.models}
    killed, running = (made_run(paper, runs[model]) for model in ("lkca", "vdsr"))
    made_weights(paper, runs["lkca_64"])
    made_weights(paper, runs["lkca_4"], code="of yesterday")
    made_state(made_run(paper, runs["lkca_4"]), "of another run")
    made_weights(paper, runs["lkca_8"])
    made_state(killed, "of another run", "state-1.safetensors", epoch=200)
    made_state(killed, sha256(killed))
    made_state(running, sha256(running), epoch=3, step=0, arch="vdsr")
    made_run(paper, runs["lkca_32"]).with_name("state-2.safetensors").write_text("torn")
    made_run(paper, runs["lkca_48"], train={}).with_name(".weights.lock").touch()  # a kill left it behind
    made_weights(paper, ("pavia_centre", 4, "lkca_lr", 3000), settings={"of": "yesterday"})
    with exclusive_lock(running.with_name("weights.safetensors")):
        found = states(paper, tmp_path)
        assert found["chikusei", 4, "vdsr"].state == "running"
    assert found["chikusei", 4, "lkca_64"].state == "done"
    assert (found["chikusei", 4, "lkca_64"].done, found["chikusei", 4, "lkca_64"].spent) == (226_800, 7200)
    assert found["chikusei", 4, "lkca_64"].left == 0
    interrupted = found["chikusei", 4, "lkca"]
    assert (interrupted.state, interrupted.done, interrupted.spent) == ("interrupted", 2 * 756 + 378, 60)
    assert interrupted.left == pytest.approx((226_800 - 1890) * 60 / 1890)  # as fast as before
    for model in ("lkca_4", "lkca_32", "lkca_48", "sspsr"):
        assert (found["chikusei", 4, model].state, found["chikusei", 4, model].done) == ("waiting", 0)
    assert found["chikusei", 4, "lkca_kd"].state == "waiting"  # its teacher is there
    assert found["chikusei", 8, "lkca_kd"].state == "needs teacher"
    assert found["pavia_centre", 4, "lkca_lr"].state == "waiting"
    assert states(paper, tmp_path)["chikusei", 4, "vdsr"].state == "interrupted"  # the lock is free again
    slower = with_overlay(train={"learning_rate": 1e-3})
    assert states(slower, tmp_path)["chikusei", 4, "lkca_64"].state == "waiting"  # it would be trained again


def test_the_state_that_a_training_saves_is_understood(paper, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = made_run(paper, ("chikusei", 4, "lkca", 3000))
    net = torch.nn.Linear(2, 2)
    at = Progress(756, 300, epoch=3, step=10, seconds=120.0)
    codes = [of_step("train", [class_path("lkca")]).digest]
    State(path, None, codes, path.parent, net, torch.optim.Adam(net.parameters()), at).save()
    found = states(paper, tmp_path)["chikusei", 4, "lkca"]
    assert (found.state, found.done, round(found.spent)) == ("interrupted", 3 * 756 + 10, 120)


def test_a_finished_run_tells_how_long_the_same_takes_elsewhere(paper, monkeypatch, tmp_path):
    """60 ms a step of 128 bands; Pavia's 102 take a bit less, and its 116 steps an epoch 300 times."""
    monkeypatch.chdir(tmp_path)
    made_weights(paper, ("chikusei", 4, "lkca", 3000), seconds=226_800 * 0.06)
    left = states(paper, tmp_path)["pavia_centre", 4, "lkca"].left
    assert 0.8 * 0.06 < left / (116 * 300) < 0.06


# --- the command ------------------------------------------------------------------------------------------------------


def test_one_glance_fits_a_hundred_columns_and_waits_for_no_torch(tmp_path):
    command = "import sys; from lkca.cli import main; sys.exit(main(['plan']) or 9 * ('torch' in sys.modules))"
    words = {"capture_output": True, "text": True, "cwd": REPOSITORY}
    done = subprocess.run([sys.executable, "-c", command], **words)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(re.findall(r" x[48] ", done.stdout)) == 75
    end = next(i for i, line in enumerate(lines) if line.startswith("trainings"))
    table, totals, jobs = lines[:end], lines[end : end + 6], lines[end + 6 :]
    assert max(map(len, table)) <= 100
    assert totals[0].startswith("trainings  75: ")
    assert [line.split()[0] for line in totals[1:]] == ["steps", totals[2].split()[0], "here", "measured", "disk"]
    assert "9,874,760" in totals[1]
    count = re.fullmatch(r"jobs +(\d+): (\d+) up to date, (\d+) to run", jobs[0])
    assert int(count[1]) == int(count[2]) + int(count[3])
    assert all(re.fullmatch(r"  \S.*: \S.*", line) for line in jobs[1:])


def test_a_wrong_setting_is_one_sentence(tmp_path):
    (tmp_path / "wrong.yaml").write_text("modles: {}\n")
    command = [sys.executable, "-m", "lkca", "plan", "--config", "config.yaml", str(tmp_path / "wrong.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 2 and "modles is no setting" in done.stderr and done.stdout == ""


def test_a_scene_without_room_is_one_sentence_and_stops_no_other_scene(monkeypatch, tmp_path, checkout):
    small = {"scenes": {"chikusei": {"test": {"rows": 2048, "columns": 2048, "tile": 512}}}}
    (tmp_path / "small.yaml").write_text(json.dumps(small | {"patches": {"x8": {"size": 256, "stride": 64}}}))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LkcaError, match="scenes.chikusei: .*no room for training"):
        plan.plan([REPOSITORY / "config.yaml", tmp_path / "small.yaml"])
    told = snakemake(checkout, "-n", "--configfile", "config.yaml", str(tmp_path / "small.yaml"), gpus=False)
    assert "rule train" in told


# --- the workflow -----------------------------------------------------------------------------------------------------

PROBE = """
import sys
print("LIMITS", {name: workflow.global_resources[name].value if name in workflow.global_resources else None
                 for name in ("gpu", "mem_mb")}, file=sys.stderr)

rule probes:
    input: expand("probe/{i}", i=range(4))

rule probe:
    output: "probe/{i}"
    resources: gpu=1
    shell: "date +%s.%N > {output}; sleep 1.5; date +%s.%N >> {output}"
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the workflow with a probe, on a machine that seems to have two GPUs."""
    folder = copy_checkout(tmp_path_factory.mktemp("plan") / "lkca")
    with (folder / "Snakefile").open("a") as file:
        file.write(PROBE)
    for rules in (folder / "workflow/rules").glob("*.smk"):  # else -n says why a job runs, and not what it asks for
        rules.write_text(re.sub(r"    message:\n.*\n", "", rules.read_text()))
    (folder / "bin").mkdir()
    (folder / "bin/nvidia-smi").write_text("#!/bin/sh\necho 'GPU-a, Card'\necho 'GPU-b, Card'\n")
    (folder / "bin/nvidia-smi").chmod(0o755)
    return folder


def snakemake(folder, *words, gpus=True, **environment):
    path = f"{folder / 'bin'}:" * gpus + f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    command = ["snakemake", *(["--cores", "4"] if "--cores" not in words else []), *words]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PATH": path} | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def limits(folder, *words, **options):
    told = snakemake(folder, "--dry-run", *words, "--", "probes", **options)
    return ast.literal_eval(re.search("LIMITS (.*)", told)[1])  # printed by PROBE


def test_limits_that_nobody_has_written_are_the_machines(checkout):
    memory = environment.total_memory() // 10**6
    assert limits(checkout) == {"gpu": 1, "mem_mb": memory}  # the default profile's one card
    gpu = ("--workflow-profile", "profiles/gpu")
    assert limits(checkout, *gpu) == {"gpu": 2, "mem_mb": memory}
    assert limits(checkout, *gpu, CUDA_VISIBLE_DEVICES="1") == {"gpu": 1, "mem_mb": memory}
    assert limits(checkout, *gpu, gpus=False) == {"gpu": 0, "mem_mb": memory}
    assert limits(checkout, *gpu, "--resources", "gpu=1", "mem_mb=700") == {"gpu": 1, "mem_mb": 700}
    assert limits(checkout, *gpu, "--resources", "mem=2GB") == {"gpu": 2, "mem_mb": 2000}
    assert limits(checkout, *gpu, "--jobs", "9") == {
        "gpu": None,
        "mem_mb": None,
    }  # jobs of an executor that has its own


def test_jobs_ask_for_what_they_need_and_never_for_more_than_there_is(checkout):
    target = ("--", "results/paper/runs/chikusei_x8/essaformer/seed3000/scores.json")
    for name, on_gpu in (("0", False), ("1", True)):
        jobs = re.findall(
            r"^rule (train|evaluate):.*?resources: (.*?)$",
            snakemake(checkout, "-n", *target, gpus=on_gpu),
            re.M | re.S,
        )
        assert [job for job, _ in jobs] == ["train", "evaluate"]
        for _, told in jobs:
            asked = dict(part.split("=") for part in told.split(", "))
            assert asked["gpu"] == name and int(asked["mem_mb"]) > 1000 and 15 < int(asked["runtime"]) <= plan.LONGEST
    told = snakemake(checkout, "-n", "--resources", "mem_mb=900", *target, gpus=False)
    assert re.findall("mem_mb=([0-9]+)", told) == ["900", "900"]


def test_two_gpus_run_two_jobs_at_once_and_other_resources_rerun_nothing(checkout):
    gpu = ("--workflow-profile", "profiles/gpu")
    snakemake(checkout, *gpu, "--", "probes")
    times = [tuple(map(float, (checkout / f"probe/{i}").read_text().split())) for i in range(4)]
    assert max(sum(a <= start < b for a, b in times) for start, _ in times) == 2
    snakefile = checkout / "Snakefile"
    before = snakefile.read_text()
    snakefile.write_text(before.replace("    resources: gpu=1\n", "    resources: gpu=1, mem_mb=77, runtime=5\n"))
    told = snakemake(checkout, "-n", *gpu, "--", "probes")
    snakefile.write_text(before)
    assert "Nothing to be done" in told
