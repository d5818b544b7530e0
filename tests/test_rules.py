"""The functions for the rules, and the limits that the workflow sets."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lkca.config.load import locate_errors, read_config, read_snapshot
from lkca.core import environment
from lkca.core.paths import RunKey
from lkca.errors import ConfigError, DataError, ResourceError
from lkca.pipeline import rules
from lkca.pipeline.estimates import MAX_MINUTES, Estimates
from lkca.pipeline.results import Results
from lkca.pipeline.rules import RuleFunctions
from tests.conftest import REPOSITORY, copy_checkout

RUN = RunKey("chikusei", 4, "lkca", 3000)
WILDCARDS = {"exp": "paper"} | {name: str(value) for name, value in RUN._asdict().items()}  # Snakemake's are texts


@pytest.fixture
def functions(paper, monkeypatch, tmp_path):
    """The functions for the rules of the paper's experiment, without results."""
    monkeypatch.chdir(tmp_path)
    estimates = Estimates(paper, gpu=False, folder=tmp_path)
    return RuleFunctions(Results(paper), estimates, "/a path/python", Path(".snakemake/lkca/x.json"))


def test_snapshot_is_the_configuration(paper, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = rules.write_snapshot(paper)
    assert read_snapshot(path) == paper
    assert rules.write_snapshot(paper) == path
    (tmp_path / "own.yaml").write_text("scenes:\n  chikusei: {mirror: []}\n")
    experiment = read_config([REPOSITORY / "config.yaml", Path("own.yaml")])
    read = read_snapshot(rules.write_snapshot(experiment))  # as a job does
    place = r"^own\.yaml:2: scenes\.chikusei\.mirror: wrong"
    with pytest.raises(ConfigError, match=place), locate_errors(read):
        raise ConfigError("scenes.chikusei.mirror: wrong.")
    other = paper.model_copy(update={"title": "{exp}"})
    assert rules.write_snapshot(other) != path


def test_python_is_the_interpreter_that_runs_snakemake(monkeypatch):
    assert shlex.split(rules.python_command(conda=False)) == [sys.executable]
    monkeypatch.setattr(rules.sys, "executable", "/a path/python")
    assert shlex.split(rules.python_command(conda=False)) == ["/a path/python"]


def test_conda_must_be_installed(monkeypatch):
    monkeypatch.setattr(rules.shutil, "which", lambda name: "/usr/bin/conda")
    assert rules.python_command(conda=True) == "python"
    monkeypatch.setattr(rules.shutil, "which", lambda name: None)
    with pytest.raises(ResourceError, match="conda"):
        rules.python_command(conda=True)


def test_machine_limits(monkeypatch):
    monkeypatch.setattr(rules, "visible_gpus", lambda: {"0": "GPU-a", "1": "GPU-b"})
    monkeypatch.setattr(rules, "total_memory", lambda: 7_654_321_000)
    assert rules.machine_limits() == {"gpu": 2, "mem_mb": 7654}


def test_command_names_the_job(functions):
    command = functions.command("train")(WILDCARDS, None)
    name = f"{RUN.folder}/train"
    assert functions.job_name("train")(WILDCARDS, None) == name
    assert command == f"/a path/python -m lkca step {name} --experiment .snakemake/lkca/x.json"


def test_reason_is_that_of_the_job(functions):
    assert functions.reason("train")(WILDCARDS, None) == "not made yet"


@pytest.mark.parametrize("step", ["train", "evaluate"])
def test_retry_asks_for_more_memory_and_time(functions, step):
    estimate = {"train": functions.estimates.training, "evaluate": functions.estimates.evaluation}[step](RUN.group)
    memory, minutes = functions.memory(step), functions.minutes(step)
    assert [memory(WILDCARDS, attempt) for attempt in (1, 2)] == [estimate.mem_mb, 2 * estimate.mem_mb]
    assert [minutes(WILDCARDS, attempt) for attempt in (1, 2)] == [
        min(MAX_MINUTES, estimate.minutes),
        min(MAX_MINUTES, 2 * estimate.minutes),
    ]


def test_named_inputs_have_no_empty_entries(functions):
    jobs = functions.results.jobs
    student = jobs.get("train", WILDCARDS | {"model": "lkca_kd"})
    assert rules.named_inputs(student).keys() == {"run", "scene", "split", "teacher"}
    assert rules.named_inputs(jobs.get("train", WILDCARDS)).keys() == {"run", "scene", "split"}
    table = rules.named_inputs(jobs.get("table", {"table": "V"}))
    assert "lkca/report/templates/table.html.j2" in table["other_inputs"]


def test_errors_end_snakemake_with_one_sentence():
    for error, sentence in (
        (DataError("x is wrong."), "lkca: x is wrong."),
        (
            IsADirectoryError(21, "Is a directory", "x"),
            "lkca: x cannot be used (Is a directory): a file is needed there",
        ),
    ):
        with pytest.raises(SystemExit) as caught, rules.exit_on_error():
            raise error
        assert str(caught.value).startswith(sentence)


def test_folder_of_snakemake_is_the_checkout(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    rules.check_folder(str(tmp_path))
    with pytest.raises(ConfigError, match=f"snakemake works in {tmp_path}, not .*: change to {REPOSITORY} and"):
        rules.check_folder(str(REPOSITORY))
    braces = tmp_path / "R^{2}"
    braces.mkdir()
    monkeypatch.chdir(braces)
    with pytest.raises(ConfigError, match=r"R\^\{2\} has braces in its name"):
        rules.check_folder(str(braces))


def test_folders_that_cannot_be_written_are_named(monkeypatch, tmp_path):
    (tmp_path / "results").mkdir()
    files = [str(tmp_path / "results/new/table.csv"), str(tmp_path / "results/a.csv")]
    rules.check_writable(files)
    monkeypatch.setattr(rules.os, "access", lambda path, mode: Path(path) == tmp_path)
    with pytest.raises(DataError, match=f"{tmp_path}/results cannot be written"):
        rules.check_writable(files)


def settings_of(*files, **changes):
    """Return the settings of Snakemake for these configuration files, which it has made absolute."""
    usual = {"configfiles": [Path(file).absolute() for file in files], "config_args": None}
    return SimpleNamespace(**usual | {"replace_workflow_config": False} | changes)


def test_configuration_is_read_as_by_snakemake(monkeypatch, tmp_path):
    """config.yaml first, the files of --configfile over it, then the options of --config."""
    monkeypatch.chdir(REPOSITORY)
    read = rules.read_workflow_config
    assert read(settings_of()) == read_config([Path("config.yaml")])
    tiny = [Path("config.yaml"), Path("tests/tiny.yaml")]
    assert read(settings_of("tests/tiny.yaml")) == read(settings_of(*tiny)) == read_config(tiny)
    options = ["train={learning_rate: 1e-3, cosine_to: 1e-4}", "seeds=[1, 2]", "title='1e3'"]
    changed = read(settings_of("tests/tiny.yaml", config_args=options))
    assert (changed.train.learning_rate, changed.seeds, changed.title) == (0.001, [1, 2], "1e3")
    with pytest.raises(ConfigError, match=r"^--config: seeds is \[1, 1\]: duplicate value 1"):
        read(settings_of(config_args=["seeds=[1, 1]"]))
    (tmp_path / "all.yaml").write_text(Path("config.yaml").read_text())
    assert read(settings_of(tmp_path / "all.yaml", replace_workflow_config=True)) == read(settings_of())
    with pytest.raises(ConfigError, match=r"^tests/tiny\.yaml: (patches|scenes|\w+)\S* is missing"):
        read(settings_of("tests/tiny.yaml", replace_workflow_config=True))


# The workflow ---------------------------------------------------------------------------------------------------------

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

rule empty:
    output: "empty/{i}"
    shell: "touch {output}"

onsuccess:
    print("LIMIT OF JOBS:", bool(workflow.scheduler.job_rate_limiter))
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the workflow with a probe, on a machine that seems to have two GPUs."""
    folder = copy_checkout(tmp_path_factory.mktemp("rules") / "lkca")
    with (folder / "Snakefile").open("a") as file:
        file.write(PROBE)
    for file in (folder / "workflow/rules").glob("*.smk"):  # without messages, -n prints the resources of jobs
        file.write_text(re.sub(r"    message:\n.*\n", "", file.read_text()))
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
    output = snakemake(folder, "--dry-run", *words, "--", "probes", **options)
    return ast.literal_eval(re.search("LIMITS (.*)", output)[1])  # printed by PROBE


@pytest.mark.slow
def test_default_limits_are_those_of_the_machine(checkout):
    memory = environment.total_memory() // 10**6
    assert limits(checkout) == {"gpu": 1, "mem_mb": memory}  # the default profile has one GPU
    gpu = ("--workflow-profile", "profiles/gpu")
    assert limits(checkout, *gpu) == {"gpu": 2, "mem_mb": memory}
    assert limits(checkout, *gpu, CUDA_VISIBLE_DEVICES="1") == {"gpu": 1, "mem_mb": memory}
    assert limits(checkout, *gpu, gpus=False) == {"gpu": 0, "mem_mb": memory}
    assert limits(checkout, *gpu, "--resources", "gpu=1", "mem_mb=700") == {"gpu": 1, "mem_mb": 700}
    assert limits(checkout, *gpu, "--resources", "mem=2GB") == {"gpu": 2, "mem_mb": 2000}
    executor = limits(checkout, *gpu, "--jobs", "9")  # jobs run on other machines
    assert executor == {"gpu": None, "mem_mb": None}


@pytest.mark.slow
def test_requests_of_jobs_stay_within_the_limits(checkout):
    target = ("--", "results/paper/runs/chikusei_x8/essaformer/seed3000/scores.json")
    for name, on_gpu in (("0", False), ("1", True)):
        jobs = re.findall(
            r"^rule (train|evaluate):.*?resources: (.*?)$",
            snakemake(checkout, "-n", *target, gpus=on_gpu),
            re.M | re.S,
        )
        assert [job for job, _ in jobs] == ["train", "evaluate"]
        for _, resources in jobs:
            requested = dict(part.split("=") for part in resources.split(", "))
            assert (
                requested["gpu"] == name
                and int(requested["mem_mb"]) > 1000
                and 15 < int(requested["runtime"]) <= MAX_MINUTES
            )
    output = snakemake(checkout, "-n", "--resources", "mem_mb=900", *target, gpus=False)
    assert re.findall("mem_mb=([0-9]+)", output) == ["900", "900"]


@pytest.mark.slow
def test_two_gpus_run_two_jobs_at_once(checkout):
    gpu = ("--workflow-profile", "profiles/gpu")
    snakemake(checkout, *gpu, "--", "probes")
    times = [tuple(map(float, (checkout / f"probe/{i}").read_text().split())) for i in range(4)]
    assert max(sum(first <= start < end for first, end in times) for start, _ in times) == 2
    snakefile = checkout / "Snakefile"
    before = snakefile.read_text()
    snakefile.write_text(before.replace("    resources: gpu=1\n", "    resources: gpu=1, mem_mb=77, runtime=5\n"))
    output = snakemake(checkout, "-n", *gpu, "--", "probes")
    snakefile.write_text(before)
    assert "Nothing to be done" in output


@pytest.mark.slow
def test_jobs_per_second_are_limited_only_if_the_user_says_so(checkout):
    assert "LIMIT OF JOBS: False" in snakemake(checkout, "--", "empty/0")
    assert "LIMIT OF JOBS: True" in snakemake(checkout, "--max-jobs-per-timespan", "5/1s", "--", "empty/1")


@pytest.mark.slow
def test_scene_without_room_for_training_stops_no_other_scene(checkout, tmp_path):
    small = {"scenes": {"chikusei": {"test": {"rows": 2048, "columns": 2048, "tile": 512}}}}
    (tmp_path / "small.yaml").write_text(json.dumps(small | {"patches": {"x8": {"size": 256, "stride": 64}}}))
    output = snakemake(checkout, "-n", "--configfile", "config.yaml", str(tmp_path / "small.yaml"), gpus=False)
    assert "rule train" in output
