"""What the rules need of Python: the checked configuration, and which file needs which."""

import json
import shlex
import shutil
import sys
from pathlib import Path

from snakemake.settings.types import DeploymentMethod

sys.path.insert(0, workflow.basedir)
from lkca.cards import visible
from lkca.config import code_digest, experiment, module_digest, run_settings, scene_settings, split_settings
from lkca.errors import InputError
from lkca.plan import LONGEST, Estimates, memory_here

# Every job runs the checkout's package, in a venv and in the conda environment alike. Snakemake's own prefix, bash's strict
# mode, has to be repeated: without it a command that fails before `| tee` counts as done.
shell.prefix(f"set -euo pipefail; export PYTHONPATH={shlex.quote(str(workflow.basedir))}; ")

try:
    EXPERIMENT = experiment(config)
except InputError as error:
    sys.exit(f"lkca: {error}")

if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method and not shutil.which("conda"):
    sys.exit(
        "lkca: --use-conda needs the program conda, which is not on the PATH: install Miniforge "
        "(https://conda-forge.org/download), or leave --use-conda out and run in the environment that make sets up."
    )


wildcard_constraints:
    exp=EXPERIMENT.experiment,
    scene="|".join(EXPERIMENT.scenes),
    scale=r"\d+",
    model="|".join(EXPERIMENT.models),
    seed=r"\d+",
    table="|".join(EXPERIMENT.tables),
    figure="|".join(EXPERIMENT.figures),


ROOT = f"results/{EXPERIMENT.experiment}"
RUN = "results/{exp}/runs/{scene}_x{scale}/{model}/seed{seed}"

# Limits that nobody has to write are those of this machine, unless an executor sends jobs to others. Snakemake keeps each
# job's resources within them, so none is too small for a job.
ELSEWHERE = workflow.resource_settings.nodes is not None
CORES = workflow.resource_settings.cores or 1  # all of this machine's; None where an executor has its own
CARDS = len(visible())
ESTIMATES = Estimates(EXPERIMENT, gpu=CARDS > 0 or ELSEWHERE)
if workflow.is_main_process and not ELSEWHERE:
    for name, limit in {"gpu": CARDS, "mem_mb": memory_here() // 10**6}.items():
        if name not in workflow.global_resources:  # neither the user nor a profile says another
            workflow.global_resources[name] = limit


def run_of(wildcards):
    return wildcards.scene, int(wildcards.scale), wildcards.model


def memory_of(job):
    """Memory that a `training` or an `evaluation` asks for, as a function; a retry asks for more."""
    return lambda wildcards, attempt: attempt * getattr(ESTIMATES, job)(run_of(wildcards)).mem_mb()


def minutes_of(job):
    """Minutes that a `training` or an `evaluation` asks for, as a function; a retry asks for more, within a day."""
    return lambda wildcards, attempt: min(LONGEST, attempt * getattr(ESTIMATES, job)(run_of(wildcards)).minutes())


def run_files(name, runs):
    """The file `name` of runs (scene, scale, model, seed)."""
    return [f"{ROOT}/runs/{scene}_x{scale}/{model}/seed{seed}/{name}" for scene, scale, model, seed in runs]


def scene_of(wildcards):
    return EXPERIMENT.scenes[wildcards.scene]


def receipt_of(wildcards):
    """The hashes of a scene's files, but for those that a Python package carries."""
    carried = all(file.package() for file in scene_of(wildcards).described().files)
    return [] if carried else f"{ROOT}/scenes/{wildcards.scene}.files.json"


def newer_files(wildcards):
    """A scene's files that are younger than their hashes: somebody has changed them.

    As inputs they would do the same, but those that are downloaded are not there yet when the jobs are planned.
    """
    receipt, cube = Path(f"{ROOT}/scenes/{wildcards.scene}.files.json"), scene_of(wildcards).described()
    if not receipt.exists():
        return []
    places = {file.place() for file in (*cube.files, *cube.forms)}
    return sorted(str(path) for path in places if path.is_file() and path.stat().st_mtime > receipt.stat().st_mtime)


def settings_of(wildcards):
    """All that config.yaml and the code say of a run, so that a change of either is seen."""
    return run_settings(EXPERIMENT, wildcards.scene, int(wildcards.scale), wildcards.model)


def teacher_file(name):
    """An input function: that file of the run's teacher, if it has one."""

    def files(wildcards):
        distill = EXPERIMENT.models[wildcards.model].distill
        return [f"{RUN}/{name}".format(**{**wildcards, "model": distill.teacher})] if distill else []

    return files


def trained_file(name):
    """An input function: that file of the run, if it is one that is trained."""

    def files(wildcards):
        return [f"{RUN}/{name}".format(**wildcards)] if EXPERIMENT.models[wildcards.model].train else []

    return files


def table_runs(name):
    return [(*run, seed) for run in EXPERIMENT.tables[name].runs() for seed in EXPERIMENT.seeds]


def figure_runs(name):
    figure = EXPERIMENT.figures[name]
    return [(*run, seed) for run in figure.runs() for seed in figure.seeds(EXPERIMENT.seeds)]


TABLE_FILES = ("csv", "md", "tex", "html", "verdicts.csv", "comparisons.csv")


def table_files(name):
    return [f"{ROOT}/tables/{name}.{kind}" for kind in TABLE_FILES]


def figure_files(name):
    return [f"{ROOT}/figures/{name}.{kind}" for kind in ("png", "pdf")]


def measured_models():
    """The models whose speed is measured, by scene and scale: those of the report's tables and of its figures of speed."""
    shown = [EXPERIMENT.tables[name] for name in EXPERIMENT.report.tables]
    shown += [figure for figure in map(EXPERIMENT.figures.get, EXPERIMENT.report.figures) if figure.kind == "speed"]
    models = {}
    for scene, scale, model in sorted({run for each in shown for run in each.runs()}):
        models.setdefault((scene, scale), []).append(model)
    return models


MEASURED = measured_models()


def efficiency_files():
    return [f"{ROOT}/efficiency/{scene}_x{scale}.json" for scene, scale in MEASURED]


def measured_here(wildcards):
    """Name -> model, of a scene and scale."""
    return {name: EXPERIMENT.models[name] for name in MEASURED.get((wildcards.scene, int(wildcards.scale)), [])}


def efficiency_settings(wildcards):
    """The networks to be measured as JSON."""
    models = measured_here(wildcards)
    return json.dumps(
        {
            "scene": wildcards.scene,
            "scale": int(wildcards.scale),
            "bands": scene_of(wildcards).bands,
            "models": {name: model.model_dump(include={"arch", "args", "upsampler"}) for name, model in models.items()},
        }
    )


def table_settings(wildcards):
    """A table as JSON."""
    table = EXPERIMENT.tables[wildcards.table]
    return json.dumps(
        {
            "name": wildcards.table,
            "scene_title": EXPERIMENT.scenes[table.scene].title,
            "seeds": EXPERIMENT.seeds,
            "stand_in": EXPERIMENT.stand_in,
            **table.model_dump(),
        }
    )


def bicubic_runs():
    """The bicubic runs of the report's tables, of the first seed: all seeds are equal."""
    runs = {run for name in EXPERIMENT.report.tables for run in EXPERIMENT.tables[name].runs()}
    return sorted((*run, EXPERIMENT.seeds[0]) for run in runs if EXPERIMENT.models[run[2]].arch == "bicubic")


def absent_scenes(scenes):
    """Those of the scenes whose files are not there, with the sentence that says where to get them."""
    absent = {}
    for scene in scenes:
        try:
            EXPERIMENT.scenes[scene].described().present()
        except InputError as error:
            absent[scene] = str(error)
    return absent


ABSENT = absent_scenes(sorted({run[0] for run in bicubic_runs()}))


def bicubic_scores(wildcards):
    """The bicubic scores of a scene; none where its files are not there, since the check downloads nothing."""
    return run_files(
        "scores.json", [run for run in bicubic_runs() if run[0] == wildcards.scene and run[0] not in ABSENT]
    )


def bicubic_checks():
    """The checks of the scenes that are there; of all, to say which are missing, where none is."""
    scenes = {run[0] for run in bicubic_runs()}
    return [f"{ROOT}/bicubic_check/{scene}.md" for scene in sorted(scenes - ABSENT.keys() or scenes)]


def bicubic_check_settings():
    """The check of the bicubic rows as JSON."""
    titles = {name: scene.title for name, scene in EXPERIMENT.scenes.items()}
    return json.dumps(
        {"experiment": EXPERIMENT.experiment, "scenes": titles, "absent": ABSENT, "stand_in": EXPERIMENT.stand_in}
    )


def figure_settings(wildcards):
    """A figure as JSON."""
    figure, scenes, models = EXPERIMENT.figures[wildcards.figure], {}, list(EXPERIMENT.models)
    for name in figure.scenes:
        scene = EXPERIMENT.scenes[name]
        facts = {"title": scene.title, "nanometres": scene.described().nanometres}
        scenes[name] = {**facts, **scene.composite.model_dump()}
    return json.dumps(
        {
            "name": wildcards.figure,
            **figure.model_dump(),
            "scenes": scenes,
            "seeds": figure.seeds(EXPERIMENT.seeds),
            "looks": {label: models.index(model) for label, model in figure.rows.items() if model in models},
            "stand_in": EXPERIMENT.stand_in,
        }
    )


def figure_inputs(kind):
    """An input function: what a figure of this kind reads, nothing for the others."""

    names = {
        "scores": "scores.json",
        "spectra": "spectrum.json",
        "images": "image.npz",
        "histories": "history.csv",
    }
    needs = {
        "spectrum": ["spectra"],
        "composite": ["scores", "images"],
        "pixels": ["scores", "images"],
        "curves": ["scores", "histories"],
        "speed": ["scores", "efficiency"],
    }

    def files(wildcards):
        figure = EXPERIMENT.figures[wildcards.figure]
        if kind not in needs.get(figure.kind, ["scores"]):
            return []
        if kind == "efficiency":
            return [f"{ROOT}/efficiency/{scene}_x{figure.scale}.json" for scene in figure.scenes]
        return run_files(names[kind], figure_runs(wildcards.figure))

    return files


def claims_spectra():
    """The runs whose singular values the claims are about: LKCA-Net's, of every seed, where a figure shows them."""
    shown = [figure for figure in map(EXPERIMENT.figures.get, EXPERIMENT.report.figures) if figure.kind == "spectrum"]
    runs = {run for figure in shown for run in figure.runs() if run[2] == figure.rows.get("LKCA-Net")}
    return [(*run, seed) for run in sorted(runs) for seed in EXPERIMENT.seeds]


def claims_settings():
    """The claims as JSON."""
    return json.dumps(
        {
            "rows": {name: EXPERIMENT.tables[name].rows for name in EXPERIMENT.report.tables},
            "models": {name: model.model_dump() for name, model in EXPERIMENT.models.items()},
            "stand_in": EXPERIMENT.stand_in,
        }
    )


def report_spectra():
    """The singular values that figures show and claims are about."""
    figures = [name for name in EXPERIMENT.report.figures if EXPERIMENT.figures[name].kind == "spectrum"]
    return sorted({*claims_spectra(), *(run for name in figures for run in figure_runs(name))})


SHOWN = {"sensor", "gsd_m", "nanometres", "source", "citation", "terms"}  # of a cube, in the report


def report_settings():
    """The report as JSON."""
    e = EXPERIMENT
    return json.dumps(
        {
            "experiment": e.experiment,
            "title": e.title,
            "stand_in": e.stand_in,
            "seeds": e.seeds,
            "scenes": {
                name: {
                    "title": scene.title,
                    "image": scene.composite.image,
                    **scene.described().model_dump(mode="json", include=SHOWN),
                }
                for name, scene in e.scenes.items()
            },
            "tables": [{"name": name, **e.tables[name].model_dump()} for name in e.report.tables],
            "figures": [{"name": name, **e.figures[name].model_dump()} for name in e.report.figures],
        }
    )
