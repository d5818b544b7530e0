"""Estimates of memory and time, compared with printed, counted and measured values."""

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml

from lkca.config import load
from lkca.config.yaml_files import deep_merge
from lkca.core import gpus
from lkca.core.files import write_json
from lkca.core.paths import RunGroup
from lkca.models.cost import count_macs, count_parameters
from lkca.models.registry import MODELS, build
from lkca.pipeline.estimates import (
    MAX_MINUTES,
    Estimate,
    Estimates,
    SplitCounts,
    count_split,
    network_cost,
    sample_macs,
)
from tests.conftest import REPOSITORY

COLUMNS = ["network", "settings", "batch", "samples_per_second", "peak_GiB", "device", "threads"]
CONFIG = yaml.safe_load((REPOSITORY / "config.yaml").read_text())


def with_overlay(**overlay):
    return load.parse_config(deep_merge(CONFIG, overlay))


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch):
    monkeypatch.setattr(gpus, "installed_gpus", lambda: ())


def measurements(folder, name, rows):
    with (folder / f"training_{name}.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return folder


def printed():
    """Yield scene, scale, model, million parameters and billion MACs of the rows of the paper's Tables I, V-VII."""
    with (REPOSITORY / "lkca/paper/paper_tables.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        model = CONFIG["tables"][row["table"]]["rows"].get(row["row"]) if row["table"] in CONFIG["tables"] else None
        if row["scene"] == "houston2018" and row["scale"] == "4":  # exchanged: docs/explanation/errata.md
            model = {"vdsr": "fcnn3d", "fcnn3d": "vdsr"}.get(model, model)
        if model and row["MACs_G"]:
            yield row["scene"], int(row["scale"]), model, float(row["Param_M"]), float(row["MACs_G"])


@pytest.mark.parametrize("row", list(printed()), ids=lambda row: "{}-x{}-{}".format(*row))
def test_cost_equals_the_printed_cost(paper, row):
    cost = network_cost(paper, RunGroup(*row[:3]))
    assert cost.macs * 256 / 1e9 == pytest.approx(row[4], rel=0.05)
    assert cost.parameters / 1e6 == pytest.approx(row[3], rel=0.05)


@pytest.mark.parametrize("arch", MODELS)
def test_cost_equals_the_counted_cost(paper, arch):
    """Take the last model of each network in config.yaml: it has a grouped upsampler, if there is an upsampler."""
    model = [name for name, config in paper.models.items() if config.arch == arch][-1]
    config = paper.models[model]
    groups = config.upsampler and config.upsampler.model_dump()
    network = build(arch, 48, 4, config.args, groups)
    cost = network_cost(paper, RunGroup("houston2018", 4, model))
    assert cost.macs * 256 == pytest.approx(count_macs(network, 48), rel=0.05)
    assert cost.parameters == pytest.approx(count_parameters(network), rel=0.05)


def test_count_split(paper, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert count_split(paper, "houston2018", 8) == SplitCounts(train=833, validation=102, test=8, pixels=4172 * 1202)


def test_unknown_shape_is_known_when_the_scene_is_cut(monkeypatch, tmp_path):
    cube = {"files": [{"path": "a.npy", "axes": "rows columns bands"}], "bands": "1-128", "shape": None, "crop": None}
    facts = {"sensor": "x", "gsd_m": 1, "nanometres": [400, 900], "source": "x", "citation": "x", "terms": "x"}
    experiment = with_overlay(scenes={"chikusei": {"cube": cube | facts}})
    monkeypatch.chdir(tmp_path)
    estimates = Estimates(experiment, gpu=False, folder=tmp_path)
    assert estimates.training(RunGroup("chikusei", 4, "lkca")).minutes == MAX_MINUTES
    assert estimates.steps_per_epoch(RunGroup("chikusei", 4, "lkca")) is None
    areas = [{"use": "both", "row": 0, "rows": 2304, "columns": 2048}]
    write_json(tmp_path / "results/paper/scenes/chikusei.json", {"areas": areas})
    assert Estimates(experiment, gpu=False, folder=tmp_path).steps_per_epoch(RunGroup("chikusei", 4, "lkca")) == 756


def test_invalid_pixels_reduce_the_counts(paper, monkeypatch, tmp_path):
    """A scene that is cut: one pixel in the middle of a row of patches takes four patches of 128 every 64."""
    monkeypatch.chdir(tmp_path)
    scene = np.zeros((1, 4172, 1202), np.float32)
    scene[0, 512 + 64 * 20 + 100, 64 * 8 + 100] = np.nan
    manifest, array = (Path(path("houston2018")) for path in (paper.paths.manifest, paper.paths.scene))
    areas = [{"use": "both", "row": 0, "rows": 4172, "columns": 1202, "crop": [0, 4172, 0, 1202]}]
    write_json(manifest, {"areas": areas, "invalid_pixels": 1})
    assert count_split(paper, "houston2018", 8).train == 833  # the array is not there
    np.save(array, scene)
    assert count_split(paper, "houston2018", 8) == SplitCounts(train=829, validation=102, test=8, pixels=4172 * 1202)
    areas[0]["rows"] = 4000  # of other settings
    write_json(manifest, {"areas": areas, "invalid_pixels": 1})
    assert count_split(paper, "houston2018", 8).train == 833


def test_scene_that_cannot_be_divided_is_unknown(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    experiment = with_overlay(patches={"x4": {"size": 1024, "stride": 64}})
    assert count_split(experiment, "chikusei", 4) is None


@pytest.mark.parametrize("gpu", [False, True])
def test_estimate_grows_with_blocks_bands_and_batch(monkeypatch, tmp_path, gpu):
    monkeypatch.chdir(tmp_path)

    def estimate(model="lkca", scene="chikusei", **overlay):
        return Estimates(with_overlay(**overlay), gpu, tmp_path).training(RunGroup(scene, 4, model))

    usual, deep = estimate(), estimate("lkca_64")
    assert deep.seconds > 2 * usual.seconds
    few = estimate(scenes={"chikusei": {"bands": 64, "composite": {"bands": [1, 2, 3]}}})
    assert few.seconds < usual.seconds and few.mem_mb < usual.mem_mb
    small = estimate(train={"batch": 4})
    assert small.seconds == pytest.approx(usual.seconds)  # as many patches in more steps
    assert (small.gpu_memory if gpu else small.memory) < (usual.gpu_memory if gpu else usual.memory)
    assert (deep.gpu_memory if gpu else deep.memory) > (usual.gpu_memory if gpu else usual.memory)
    teacherless = estimate("lkca_lr")
    assert teacherless.seconds < estimate("lkca_kd").seconds < teacherless.seconds + deep.seconds
    assert usual.minutes <= MAX_MINUTES


def test_cpu_memory_is_close_to_the_measured_memory(tmp_path):
    """Compare with the peak of a process in GiB, with 8 images of 16 x 16 LR pixels, or one test image of 512 x 512.

    SSPSR's training is extrapolated from 4 images.
    """
    estimates = Estimates(with_overlay(train={"batch": 8}), gpu=False, folder=tmp_path)
    for model, gib in {"lkca": 1.31, "msdformer": 2.0, "sspsr": 2.5, "essaformer": 2.77}.items():
        assert 0.5 < estimates.training(RunGroup("chikusei", 4, model)).memory / 2**30 / gib < 2
    for model, gib in {"lkca": 0.8, "msdformer": 1.15, "sspsr": 1.15, "essaformer": 2.46}.items():
        assert 0.5 < estimates.evaluation(RunGroup("chikusei", 4, model)).memory / 2**30 / gib < 2.5


def test_throughput_is_that_of_the_most_similar_network(paper, monkeypatch, tmp_path):
    rows = [
        ["lkca", "", 32, 100, 1, "A", 2],
        ["lkca_lr", "", 32, 150, 1, "A", 2],
        ["lkca_kd", "", 32, 60, 1, "A", 2],
        ["sspsr", "", 32, 10, 1, "A", 2],
        ["sspsr", "compile=true precision=bfloat16", 32, 30, 1, "A", 2],
    ]
    cpu = Estimates(paper, False, measurements(tmp_path, "a-cpu", rows))

    def samples(model):  # of a core, per second
        return 32 / cpu.step_seconds(RunGroup("chikusei", 4, model))

    for model, rate in {"lkca": 50, "lkca_lr": 75, "lkca_kd": 30, "lkca_kd_d050": 30, "sspsr": 5}.items():
        assert samples(model) == pytest.approx(rate)
    assert samples("lkca_64") < samples("lkca_4") / 2
    vdsr, lkca = RunGroup("chikusei", 4, "vdsr"), RunGroup("chikusei", 4, "lkca")
    assert samples("vdsr") * sample_macs(paper, vdsr) == pytest.approx(samples("lkca") * sample_macs(paper, lkca))
    assert cpu.source.endswith("; vdsr, fcnn3d, msdformer and essaformer were not measured and count as lkca")
    one = [[model, "", 32, 10, 1, "A", 2] for model in ("lkca", "sspsr", "msdformer", "essaformer", "vdsr")]
    more = Estimates(paper, False, measurements(tmp_path, "a-cpu", one))
    assert more.source.endswith("; fcnn3d was not measured and counts as lkca")


def test_measurements_of_this_kind_of_machine_come_first(paper, monkeypatch, tmp_path):
    row = ["lkca", "", 32, 1000, 1, "A", 16]
    assert "guess" in Estimates(paper, False, tmp_path).source
    measurements(tmp_path, "amd-epyc", [row])
    blind = Estimates(paper, True, tmp_path)
    assert not blind.per_gpu and blind.source.startswith("training_amd-epyc.csv, as no GPU was measured")
    for name in ("nvidia-a100-sxm4", "nvidia-h100-80gb-hbm3"):
        measurements(tmp_path, name, [row])
    assert Estimates(paper, False, tmp_path).source.startswith("training_amd-epyc.csv")
    assert Estimates(paper, True, tmp_path).source.startswith("training_nvidia-a100")
    monkeypatch.setattr(gpus, "installed_gpus", lambda: (("GPU-1", "NVIDIA H100 80GB HBM3"),))
    gpu = Estimates(paper, True, tmp_path)
    assert gpu.per_gpu and gpu.source.startswith("training_nvidia-h100")
    assert 32 / gpu.step_seconds(RunGroup("chikusei", 4, "lkca")) == pytest.approx(
        1000
    )  # of a GPU, not of one of 16 cores


def test_request_is_twice_the_estimate_and_a_quarter_of_an_hour():
    assert Estimate(memory=1.5e9, gpu_memory=0, seconds=3600).minutes == 135
    assert Estimate(memory=1.5e9, gpu_memory=0, seconds=3600).mem_mb == 1500
    assert Estimate(memory=1.5e9, gpu_memory=0, seconds=1e9).minutes == MAX_MINUTES


@pytest.mark.parametrize(
    ("gpu", "model", "training", "evaluation"),
    [
        (False, "bicubic", None, (1.171, 0)),
        (False, "lkca", (2.002, 0), (1.186, 0)),
        (False, "sspsr", (5.325, 0), (2.836, 0)),
        (True, "lkca", (6.416, 7.833), (6.416, 4.445)),
        (True, "sspsr", (6.416, 17.568), (6.416, 6.919)),
    ],
)
def test_memory_requests_on_chikusei(paper, tmp_path, gpu, model, training, evaluation):
    """Memory and GPU memory in GB, as requested since they were compared with measurements: change both together."""
    estimates, group = Estimates(paper, gpu, tmp_path), RunGroup("chikusei", 4, model)
    for expected, estimate in ((training, estimates.training), (evaluation, estimates.evaluation)):
        if expected:
            memory, gpu_memory, _ = estimate(group)
            assert (memory / 1e9, gpu_memory / 1e9) == pytest.approx(expected, rel=1e-3)


def test_time_of_a_training_and_an_evaluation(paper, tmp_path):
    """At 32 samples a second and core: 300 epochs of 756 steps of 32; 4 test images with 15 s to start."""
    estimates = Estimates(paper, False, measurements(tmp_path, "cpu", [["lkca", "", 32, 64, 1, "A", 2]]))
    group = RunGroup("chikusei", 4, "lkca")
    assert estimates.training(group).seconds == pytest.approx(300 * 756)
    scores = 4 * 512**2 * 128 * 2e-7
    assert 15 + scores < estimates.evaluation(group).seconds < 15 + scores + 15
