"""The jobs of an experiment."""

import pytest

from lkca.config.jobs import Jobs
from lkca.core.paths import RunKey
from lkca.errors import ConfigError
from tests.test_config import with_overlay

RUN = RunKey("chikusei", 4, "lkca_kd", 3000)


@pytest.fixture(scope="module")
def jobs(paper):
    return Jobs(paper)


def test_needed_jobs_write_what_a_job_reads(jobs):
    assert len([job for job in jobs.all if job.step == "train"]) == 75
    for job in jobs.all:
        written = {path for needed in jobs.needs(job) for path in needed.outputs.values()}
        assert {path for path in job.reads() if path.startswith("results/")} <= written, job.name


def test_every_job_follows_those_that_it_needs(jobs):
    position = {job.name: i for i, job in enumerate(jobs.all)}
    assert all(position[needed.name] < position[job.name] for job in jobs.all for needed in jobs.needs(job))


@pytest.mark.parametrize(
    ("part", "step", "name"), [("tables", "table", "V"), ("figures", "figure", "8"), ("figures", "figure", "6")]
)
def test_run_in_two_rows_is_read_once(part, step, name):
    """Or it would count as several seeds, whose scores have no deviation."""
    rows = {"LKCA-Net": "lkca", "The same": "lkca", "Again": "lkca"}
    experiment = with_overlay(**{"seeds": [1, 2], part: {name: {"rows": rows}}})
    for paths in Jobs(experiment).get(step, {step: name}).inputs.values():
        assert isinstance(paths, str) or len(paths) == len(set(paths))


def test_every_job_is_found_by_its_name(jobs):
    assert all(jobs.by_name(job.name) is job for job in jobs.all)


def test_student_reads_its_teacher(jobs):
    train, settings = (jobs.get(step, RUN._asdict()) for step in ("train", "settings"))
    teacher = "results/paper/runs/chikusei_x4/lkca_64/seed3000"
    assert train.inputs["teacher"] == f"{teacher}/weights.safetensors"
    assert settings.inputs["teacher"] == f"{teacher}/run.json"
    assert set(train.archs) == {"lkca"}


def test_untrained_method_has_no_training(jobs):
    run = RUN._replace(model="bicubic")
    evaluate = jobs.get("evaluate", run._asdict())
    assert evaluate.inputs["weights"] is evaluate.inputs["history"] is None
    with pytest.raises(ConfigError, match="is not a job of"):
        jobs.by_name(f"{run.folder}/train")


def test_renamed_rows_have_the_same_claims_and_figures():
    """Models are found by their keys, not by the labels of their rows."""
    usual = Jobs(with_overlay())
    rows = {"4": {"rows": {"LKCA-Net": None, "Renamed": "lkca"}}}
    renamed = Jobs(with_overlay(figures=rows))
    spectra = usual.by_name("claims").inputs["spectra"]
    assert spectra and renamed.by_name("claims").inputs["spectra"] == spectra


def test_figures_read_wavelengths_of_the_scenes_that_they_show():
    scenes = ["chikusei", "pavia_centre"]
    jobs = Jobs(with_overlay(figures={"S4": {"scenes": scenes}}))
    manifests = {name: jobs.by_name(f"figures/{name}").inputs["manifests"] for name in ("S4", "6", "1")}
    assert manifests["S4"] == [f"results/paper/scenes/{scene}.json" for scene in scenes]  # PSNR of each band
    assert manifests["6"] == ["results/paper/scenes/chikusei.json"]  # composites
    assert manifests["1"] == []  # parameters
    evaluate = jobs.get("evaluate", RUN._asdict())
    assert evaluate.inputs["manifest"] == "results/paper/scenes/chikusei.json"


def test_settings_that_decide_a_result(jobs):
    names = ("tables/V", "scenes/chikusei", "report")
    table, scene, report = (jobs.by_name(name).canonical_settings() for name in names)
    assert table["settings"]["rows"][0] == ["Bicubic", "bicubic"]  # the order of rows matters
    texts = ("citation", "terms", "source", "sensor")
    assert not any(text in scene["cube"] for text in texts)
    assert report["settings"]["scenes"]  # the report shows these texts
