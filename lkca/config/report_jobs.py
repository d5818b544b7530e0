"""The jobs that make tables, figures, claims and the report from the results of runs: one function for each rule."""

from collections.abc import Iterable
from typing import Any

from lkca.config.figure_kinds import FIGURE_KINDS, RUN_FILES
from lkca.config.job import Job, Paths
from lkca.config.schema import Experiment, Figure
from lkca.config.settings import (
    BicubicCheckSettings,
    ClaimsSettings,
    FigureSettings,
    ReportSettings,
    TableSettings,
)
from lkca.core.paths import (
    HISTORY_FILE,
    IMAGE_FILE,
    RUN_FILE,
    SCORES_FILE,
    SPECTRUM_FILE,
    RunGroup,
    RunKey,
)
from lkca.errors import LkcaError

PRINTED = "lkca/paper/paper_tables.csv"
TEMPLATES = "lkca/report/templates"
TABLE_SUFFIXES = {  # argument of `lkca.report.tables.write_table` -> suffix of the file that it writes
    "csv": "csv",
    "markdown": "md",
    "latex": "tex",
    "html": "html",
    "verdicts": "verdicts.csv",
    "comparisons": "comparisons.csv",
}
FIGURE_SUFFIXES = ("png", "pdf")
SPECTRUM_CLAIMS_MODEL = "lkca"  # the claims use the singular values of this model only


def table(experiment: Experiment, table: str) -> Job:
    """Return the job that makes a table."""
    runs = _with_all_seeds(experiment, experiment.tables[table].groups())
    return Job(
        step="table",
        name=f"tables/{table}",
        arguments={"settings": TableSettings.of(experiment, table)},
        inputs={"scores": _run_files(experiment, runs, SCORES_FILE), "printed": PRINTED},
        other_inputs=tuple(f"{TEMPLATES}/table.{suffix}.j2" for suffix in ("html", "md", "tex")),
        outputs={argument: experiment.paths.table(table, suffix) for argument, suffix in TABLE_SUFFIXES.items()},
    )


def figure(experiment: Experiment, figure: str) -> Job:
    """Return the job that draws a figure."""
    config = experiment.figures[figure]
    kind, runs = FIGURE_KINDS[config.kind], _shown_runs(experiment, config)
    inputs: dict[str, Paths] = {
        argument: _run_files(experiment, runs, file) if argument in kind.reads else []
        for argument, file in RUN_FILES.items()
    }
    measured_scenes = config.scenes if kind.reads_efficiency else []
    inputs["efficiency"] = [experiment.paths.efficiency(scene, config.scale) for scene in measured_scenes]
    run_scenes = dict.fromkeys(run.scene for run in runs) if kind.reads_manifests else {}
    inputs["manifests"] = [experiment.paths.manifest(scene) for scene in run_scenes]
    return Job(
        step="figure",
        name=f"figures/{figure}",
        arguments={"settings": FigureSettings.of(experiment, figure)},
        inputs=inputs,
        outputs={suffix: experiment.paths.figure(figure, suffix) for suffix in FIGURE_SUFFIXES},
    )


def bicubic_rows(experiment: Experiment, scene: str, missing_scenes: dict[str, str]) -> Job:
    """Return the job that compares the bicubic rows of a scene with the printed ones.

    Args:
        experiment: The experiment.
        scene: The scene.
        missing_scenes: Scene whose files are missing -> the sentence that says where to get them.
    """
    paths = experiment.paths
    runs = [run for run in bicubic_runs(experiment) if run.scene == scene and scene not in missing_scenes]
    settings = BicubicCheckSettings.of(experiment, missing_scenes)
    return Job(
        step="bicubic_rows",
        name=f"bicubic_check/{scene}",
        arguments={"settings": settings},
        settings={**settings.model_dump(), "absent": sorted(missing_scenes)},
        inputs={
            "scores": _run_files(experiment, runs, SCORES_FILE),
            "manifests": [paths.manifest(scene)] if runs else [],
            "printed": PRINTED,
        },
        outputs={"out": paths.bicubic_check(scene, "json"), "markdown": paths.bicubic_check(scene, "md")},
    )


def claims(experiment: Experiment) -> Job:
    """Return the job that checks the claims of the paper."""
    model = experiment.models.get(SPECTRUM_CLAIMS_MODEL)
    return Job(
        step="claims",
        name="claims",
        archs=(model.arch,) if model else (),  # a claim computes the network's shortcut
        arguments={"settings": ClaimsSettings.of(experiment)},
        inputs={
            "scores": _run_files(experiment, experiment.runs(), SCORES_FILE),
            "spectra": _run_files(experiment, claims_spectra(experiment), SPECTRUM_FILE),
            "printed": PRINTED,
        },
        outputs={"out": experiment.paths.claims("json"), "csv": experiment.paths.claims("csv")},
    )


def report(experiment: Experiment, adoptions: list[dict[str, Any]]) -> Job:
    """Return the job that writes the report.

    Args:
        experiment: The experiment.
        adoptions: The result of `lkca.pipeline.results.Results.adoptions`.
    """
    paths, runs = experiment.paths, experiment.runs()
    tables, figures = experiment.report.tables, experiment.report.figures
    trained = [run for run in runs if experiment.is_trained(run.model)]
    table_suffixes = [suffix for suffix in TABLE_SUFFIXES.values() if suffix != "html"]
    return Job(
        step="report",
        name="report",
        arguments={"settings": ReportSettings.of(experiment, adoptions)},
        inputs={
            "scenes": [paths.manifest(scene) for scene in sorted({run.scene for run in runs})],
            "splits": sorted({paths.split(run.scene, run.scale) for run in runs}),
            "runs": _run_files(experiment, runs, RUN_FILE),
            "tables": [paths.table(name, "html") for name in tables],
            "figures": [paths.figure(name, "png") for name in figures],
            "spectra": _run_files(experiment, report_spectra(experiment), SPECTRUM_FILE),
            "efficiency": [paths.efficiency(scene, scale) for scene, scale in measured_models(experiment)],
            "claims": paths.claims("json"),
            "printed": PRINTED,
        },
        other_inputs=(
            *(paths.run_file(run, name) for run in runs for name in (SCORES_FILE, IMAGE_FILE)),
            *_run_files(experiment, trained, HISTORY_FILE),
            *(paths.table(name, suffix) for name in tables for suffix in table_suffixes),
            *(paths.figure(name, "pdf") for name in figures),
            paths.claims("csv"),
            *(f"{TEMPLATES}/report.{suffix}" for suffix in ("html.j2", "css", "js")),
        ),
        outputs={"out": paths.page(), "provenance": paths.report()},
    )


# Selections of runs ---------------------------------------------------------------------------------------------------


def measured_models(experiment: Experiment) -> dict[tuple[str, int], list[str]]:
    """Return the models whose time and memory are measured: (scene, scale) -> keys of `models`.

    These are the models of the report's tables and of its figures that show time or memory.
    """
    groups = {group for name in experiment.report.tables for group in experiment.tables[name].groups()}
    for figure in _reported_figures(experiment):
        if FIGURE_KINDS[figure.kind].reads_efficiency:
            groups.update(figure.groups())
    models: dict[tuple[str, int], list[str]] = {}
    for group in sorted(groups):
        models.setdefault((group.scene, group.scale), []).append(group.model)
    return models


def bicubic_runs(experiment: Experiment) -> list[RunKey]:
    """Return the bicubic runs of the report's tables, with the first seed: the results of all seeds are equal."""
    groups = {group for name in experiment.report.tables for group in experiment.tables[name].groups()}
    return sorted(
        group.with_seed(experiment.seeds[0]) for group in groups if experiment.models[group.model].arch == "bicubic"
    )


def claims_spectra(experiment: Experiment) -> list[RunKey]:
    """Return the runs whose singular values the claims use: those of one model in the report's figures, all seeds."""
    groups = {group for figure in _spectrum_figures(experiment) for group in figure.groups()}
    return _with_all_seeds(experiment, sorted(group for group in groups if group.model == SPECTRUM_CLAIMS_MODEL))


def report_spectra(experiment: Experiment) -> list[RunKey]:
    """Return the runs whose singular values the report's figures show or the claims use."""
    shown = {run for figure in _spectrum_figures(experiment) for run in _shown_runs(experiment, figure)}
    return sorted({*claims_spectra(experiment), *shown})


def _reported_figures(experiment: Experiment) -> list[Figure]:
    return [experiment.figures[name] for name in experiment.report.figures]


def _spectrum_figures(experiment: Experiment) -> list[Figure]:
    return [figure for figure in _reported_figures(experiment) if "spectra" in FIGURE_KINDS[figure.kind].reads]


def _shown_runs(experiment: Experiment, figure: Figure) -> list[RunKey]:
    seeds = figure.shown_seeds(experiment.seeds)
    return [group.with_seed(seed) for group in figure.groups() for seed in seeds]


def _with_all_seeds(experiment: Experiment, groups: Iterable[RunGroup]) -> list[RunKey]:
    return [group.with_seed(seed) for group in groups for seed in experiment.seeds]


def _run_files(experiment: Experiment, runs: Iterable[RunKey], name: str) -> list[str]:
    return [experiment.paths.run_file(run, name) for run in runs]


def missing_scenes(experiment: Experiment) -> dict[str, str]:
    """Return the scenes with bicubic runs whose files are missing, each with a sentence that says where to get them."""
    missing = {}
    for scene in sorted({run.scene for run in bicubic_runs(experiment)}):
        try:
            experiment.scenes[scene].resolve_cube().resolve_files()
        except LkcaError as error:
            missing[scene] = str(error)
    return missing
