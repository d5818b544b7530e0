"""The jobs of an experiment, by rule and wildcards or by name.

The Snakefile takes the inputs of its rules from here, `lkca step` runs one job, and `lkca plan` and `lkca adopt` go
over all of them. This module does not import torch, because every call of snakemake imports it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

from lkca.config import report_jobs, run_jobs
from lkca.config.job import Job
from lkca.config.schema import Experiment
from lkca.core.paths import (
    HISTORY_FILE,
    IMAGE_FILE,
    RESULTS,
    RUN_FILE,
    SCORES_FILE,
    SPECTRUM_FILE,
    WEIGHTS_FILE,
    RunKey,
)
from lkca.errors import ConfigError

WRITERS = {  # file in the folder of a run -> the step that writes it
    RUN_FILE: "settings",
    WEIGHTS_FILE: "train",
    HISTORY_FILE: "train",
    SCORES_FILE: "evaluate",
    IMAGE_FILE: "evaluate",
    SPECTRUM_FILE: "spectrum",
}
RUN_JOBS = {  # step -> the function that returns its job, for the steps of a run
    "settings": run_jobs.settings,
    "train": run_jobs.train,
    "evaluate": run_jobs.evaluate,
    "spectrum": run_jobs.spectrum,
}
OTHER_JOBS: dict[str, Callable[..., Job]] = {  # the same for the other steps
    "fetch": run_jobs.fetch,
    "scene": run_jobs.scene,
    "split": run_jobs.split,
    "efficiency": run_jobs.efficiency,
    "table": report_jobs.table,
    "figure": report_jobs.figure,
    "claims": report_jobs.claims,
}


class Jobs:
    """The jobs of an experiment.

    Args:
        experiment: The experiment.
        adoptions: The result of `lkca.pipeline.results.Results.adoptions`; the report shows them.
    """

    def __init__(self, experiment: Experiment, adoptions: Iterable[dict[str, Any]] = ()) -> None:
        self.experiment = experiment
        self.adoptions = list(adoptions)
        self._jobs: dict[tuple[str | int, ...], Job] = {}
        scenes, models = ("|".join(map(re.escape, names)) for names in (experiment.scenes, experiment.models))
        split = rf"(?P<scene>{scenes})_x(?P<scale>\d+)"
        run = rf"runs/{split}/(?P<model>{models})/seed(?P<seed>\d+)"
        self._name_patterns = {
            "fetch": rf"scenes/(?P<scene>{scenes})\.files",
            "scene": rf"scenes/(?P<scene>{scenes})",
            "split": rf"splits/{split}",
            **{step: f"{run}/{step}" for step in RUN_JOBS},
            "efficiency": f"efficiency/{split}",
            "table": r"tables/(?P<table>\w+)",
            "bicubic_rows": rf"bicubic_check/(?P<scene>{scenes})",
            "figure": r"figures/(?P<figure>\w+)",
            "claims": "claims",
            "report": "report",
        }

    def get(self, step: str, wildcards: Mapping[str, Any]) -> Job:
        """Return the job of a rule with these wildcards; wildcards that the rule does not have are ignored."""
        names = re.findall(r"\(\?P<(\w+)>", self._name_patterns[step])
        values = {name: int(wildcards[name]) if name in ("scale", "seed") else str(wildcards[name]) for name in names}
        key = (step, *values.values())
        if key not in self._jobs:
            self._jobs[key] = self._make(step, values)
        return self._jobs[key]

    def _make(self, step: str, wildcards: dict[str, Any]) -> Job:
        if step in RUN_JOBS:
            return RUN_JOBS[step](self.experiment, RunKey(**wildcards))
        if step == "bicubic_rows":
            return report_jobs.bicubic_rows(self.experiment, **wildcards, missing_scenes=self.missing_scenes)
        if step == "report":
            return report_jobs.report(self.experiment, self.adoptions)
        return OTHER_JOBS[step](self.experiment, **wildcards)

    def by_name(self, name: str) -> Job:
        """Return the job that has this name.

        Raises:
            ConfigError: If the experiment has no such job.
        """
        for step, pattern in self._name_patterns.items():
            match = re.fullmatch(pattern, name)
            if match and self._exists(step, match.groupdict()):
                return self.get(step, match.groupdict())
        raise ConfigError(
            f"{name} is not a job of {self.experiment.experiment}: give a name such as runs/SCENE_x4/MODEL/seed0/train."
        )

    def _exists(self, step: str, wildcards: Mapping[str, str]) -> bool:
        """Return whether the experiment has the job of a step with these wildcards."""
        return (
            ("table" not in wildcards or wildcards["table"] in self.experiment.tables)
            and ("figure" not in wildcards or wildcards["figure"] in self.experiment.figures)
            and ("scale" not in wildcards or f"x{wildcards['scale']}" in self.experiment.patches)
            and (step not in ("train", "spectrum") or self.experiment.is_trained(wildcards["model"]))
        )

    def needs(self, job: Job) -> list[Job]:
        """Return the jobs that write the input files of a job, in the order of these files."""
        made_by_jobs = [path for path in job.workflow_files() if path.startswith(f"{RESULTS}/")]
        return [self.by_name(name) for name in dict.fromkeys(map(self._writer, made_by_jobs))]

    def _writer(self, path: str) -> str:
        """Return the name of the job that writes a file of the experiment."""
        folder, _, file = self.experiment.paths.relative(path).rpartition("/")
        if file in WRITERS and folder.startswith("runs/"):
            return f"{folder}/{WRITERS[file]}"
        stem = file.removesuffix(".json").removesuffix(".npy") if folder == "scenes" else file.partition(".")[0]
        return f"{folder}/{stem}" if folder else stem

    def targets(self) -> list[str]:
        """Return the files that the whole workflow makes last: the report and its claims, tables and figures."""
        shown = [job for job in self.all if job.step in ("table", "figure", "claims", "report")]
        return [path for job in shown for path in job.outputs.values()]

    def bicubic_targets(self) -> list[str]:
        """Return the files of the bicubic check for the scenes that are present; for all scenes if none is present."""
        scenes = {run.scene for run in report_jobs.bicubic_runs(self.experiment)}
        present = sorted(scenes - self.missing_scenes.keys() or scenes)
        return [self.experiment.paths.bicubic_check(scene, "md") for scene in present]

    @cached_property
    def missing_scenes(self) -> dict[str, str]:
        """The scenes with bicubic runs whose files are missing, each with a sentence that says where to get them."""
        return report_jobs.missing_scenes(self.experiment)

    @cached_property
    def all(self) -> list[Job]:
        """The jobs that the report needs, itself included; each comes after the jobs that it needs."""
        ordered: dict[str, Job] = {}

        def add(job: Job) -> None:
            if job.name not in ordered:
                for needed in self.needs(job):
                    add(needed)
                ordered[job.name] = job

        add(self.by_name("report"))
        return list(ordered.values())
