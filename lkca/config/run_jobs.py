"""The jobs that prepare scenes and that train and measure networks: one function for each rule."""

from lkca.config.job import Job, Paths
from lkca.config.report_jobs import measured_models
from lkca.config.schema import Experiment
from lkca.config.settings import BenchmarkSettings, RunSettings, make_scene_settings, make_split_settings
from lkca.core.paths import (
    HISTORY_FILE,
    IMAGE_FILE,
    RUN_FILE,
    SCORES_FILE,
    SPECTRUM_FILE,
    WEIGHTS_FILE,
    ExperimentPaths,
    RunKey,
)

# Fields of a cube that do not determine its pixels.
DESCRIPTIVE_FIELDS = {"sensor", "gsd_m", "source", "citation", "terms", "confirm"}


def fetch(experiment: Experiment, scene: str) -> Job:
    """Return the job that downloads or checks the files of a scene."""
    cube = experiment.scenes[scene].resolve_cube()
    fields = {"path", "sha256", "bytes"}
    include = {name: {"__all__": fields} for name in ("files", "forms")}
    return Job(
        step="fetch",
        name=f"scenes/{scene}.files",
        arguments={"scene": scene, "cube": cube},
        settings=cube.model_dump(mode="json", include=include),
        inputs={},
        raw_files=cube.pixel_files(),
        outputs={"receipt": experiment.paths.receipt(scene)},
    )


def scene(experiment: Experiment, scene: str) -> Job:
    """Return the job that cuts a scene from its cube."""
    paths, config = experiment.paths, experiment.scenes[scene]
    cube = config.resolve_cube()
    in_package = all(file.package() for file in cube.files)  # such files need no download
    return Job(
        step="scene",
        name=f"scenes/{scene}",
        arguments={"settings": make_scene_settings(experiment, scene)},
        settings={
            "bands": config.bands,
            "mirror": config.mirror,
            "cube": cube.model_dump(mode="json", exclude={*DESCRIPTIVE_FIELDS, "files", "forms"}),
            "files": [file.model_dump(mode="json", exclude={"sources", "bytes"}) for file in cube.files],
            "forms": [file.model_dump(mode="json", exclude={"sources", "bytes"}) for file in cube.forms],
        },
        inputs={},
        other_inputs=() if in_package else (paths.receipt(scene),),
        raw_files=cube.pixel_files(),
        outputs={"out": paths.scene(scene), "manifest": paths.manifest(scene)},
    )


def split(experiment: Experiment, scene: str, scale: int) -> Job:
    """Return the job that divides a scene into test images, training patches and validation patches."""
    settings = make_split_settings(experiment, scene, scale)
    return Job(
        step="split",
        name=f"splits/{scene}_x{scale}",
        arguments={"settings": settings, "image": experiment.scenes[scene].composite.image},
        settings={"settings": settings},  # the image is only checked
        inputs={"scene": experiment.paths.scene(scene), "manifest": experiment.paths.manifest(scene)},
        outputs={"out": experiment.paths.split(scene, scale)},
    )


def settings(experiment: Experiment, run: RunKey) -> Job:
    """Return the job that writes the run.json of a run."""
    paths, teacher = experiment.paths, experiment.teacher(run)
    return Job(
        step="settings",
        name=f"{run.folder}/settings",
        arguments={"settings": RunSettings.of(experiment, run.group), "seed": run.seed},
        inputs={
            "scene": paths.manifest(run.scene),
            "split": paths.split(run.scene, run.scale),
            "teacher": paths.run_file(teacher, RUN_FILE) if teacher else None,
        },
        outputs={"out": paths.run_file(run, RUN_FILE)},
    )


def train(experiment: Experiment, run: RunKey) -> Job:
    """Return the job that trains a network."""
    paths, teacher = experiment.paths, experiment.teacher(run)
    models = [run.model, *([teacher.model] if teacher else [])]
    return Job(
        step="train",
        name=f"{run.folder}/train",
        inputs={
            **_run_inputs(paths, run),
            "teacher": paths.run_file(teacher, WEIGHTS_FILE) if teacher else None,
        },
        outputs={"out": paths.run_file(run, WEIGHTS_FILE), "history": paths.run_file(run, HISTORY_FILE)},
        archs=tuple(experiment.models[model].arch for model in models),
    )


def evaluate(experiment: Experiment, run: RunKey) -> Job:
    """Return the job that scores a run on its test images."""
    paths, composite = experiment.paths, experiment.scenes[run.scene].composite
    trained = experiment.is_trained(run.model)
    return Job(
        step="evaluate",
        name=f"{run.folder}/evaluate",
        arguments={"image": composite.image, "composite": composite.bands},
        inputs={
            **_run_inputs(paths, run),
            "manifest": paths.manifest(run.scene),
            "weights": paths.run_file(run, WEIGHTS_FILE) if trained else None,
            "history": paths.run_file(run, HISTORY_FILE) if trained else None,
        },
        outputs={"out": paths.run_file(run, SCORES_FILE), "picture": paths.run_file(run, IMAGE_FILE)},
        archs=(experiment.models[run.model].arch,),
    )


def _run_inputs(paths: ExperimentPaths, run: RunKey) -> dict[str, Paths]:
    """Return the files that both a training and an evaluation read."""
    return {
        "run": paths.run_file(run, RUN_FILE),
        "scene": paths.scene(run.scene),
        "split": paths.split(run.scene, run.scale),
    }


def spectrum(experiment: Experiment, run: RunKey) -> Job:
    """Return the job that computes the singular values of a trained upsampling layer."""
    paths = experiment.paths
    return Job(
        step="spectrum",
        name=f"{run.folder}/spectrum",
        inputs={"run": paths.run_file(run, RUN_FILE), "weights": paths.run_file(run, WEIGHTS_FILE)},
        outputs={"out": paths.run_file(run, SPECTRUM_FILE)},
        archs=(experiment.models[run.model].arch,),
    )


def efficiency(experiment: Experiment, scene: str, scale: int) -> Job:
    """Return the job that measures time and memory of the networks on a scene at a scale."""
    models = measured_models(experiment).get((scene, scale), [])
    return Job(
        step="efficiency",
        name=f"efficiency/{scene}_x{scale}",
        arguments={"settings": BenchmarkSettings.of(experiment, scene, scale, models)},
        inputs={},
        outputs={"out": experiment.paths.efficiency(scene, scale)},
        archs=tuple(experiment.models[model].arch for model in models),
    )
