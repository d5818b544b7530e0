"""The jobs of the workflow: the files that each reads and writes, the settings and the code that decide its result.

The Snakefile takes the inputs of its rules from here, `lkca step` runs one job, `lkca plan` and `lkca adopt` go over
all of them. Nothing here needs torch: the Snakefile asks on every call.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from lkca.config.figure_kinds import FIGURE_KINDS, RUN_FILES
from lkca.config.schema import Experiment
from lkca.config.settings import (
    BenchmarkSettings,
    BicubicCheckSettings,
    ClaimsSettings,
    FigureSettings,
    ReportSettings,
    RunSettings,
    TableSettings,
    make_scene_settings,
    make_split_settings,
)
from lkca.core.fingerprint import Code, of_step
from lkca.errors import LkcaError
from lkca.models.registry import class_path

PRINTED = "lkca/paper/paper_tables.csv"
CLAIMS = "lkca/paper/claims.yaml"
TEMPLATES = "lkca/report/templates"
TABLE_FILES = ("csv", "md", "tex", "html", "verdicts.csv", "comparisons.csv")
NOT_PIXELS = {"sensor", "gsd_m", "source", "citation", "terms", "confirm"}  # of a cube, but texts and facts
ORDERED = {"rows", "scenes"}  # maps of settings whose order a reader sees; that of all others has no meaning

Paths = str | list[str] | None


@dataclass(frozen=True)
class Job:
    """One job.

    Args:
        step: A key of STEPS; also the rule's name.
        name: What it is called: the path of its record below results/{experiment}/records, without suffix.
        arguments: What its function is given beside files; maps as JSON text.
        inputs: Parameter of its function -> the files of the workflow that it reads.
        outputs: Parameter of its function -> the file that it writes.
        beside: Further files that it reads, of the workflow or of the checkout.
        raw: Files from outside of the workflow that it reads: label -> path.
        needs: The names of the jobs that make what it reads.
        archs: The architectures whose networks it uses.
        settings: What decides its result beside files and code; the arguments, if not given.
    """

    step: str
    name: str
    arguments: dict[str, Any]
    inputs: dict[str, Paths]
    outputs: dict[str, str]
    beside: tuple[str, ...] = ()
    raw: dict[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    archs: tuple[str, ...] = ()
    settings: dict[str, Any] | None = None

    def reads(self) -> dict[str, str]:
        """The files that it reads: label -> path; the label of a file of the workflow is its path."""
        paths = [path for value in self.inputs.values() for path in _listed(value)]
        return {path: path for path in (*paths, *self.beside)} | self.raw

    def decided_by(self) -> dict[str, Any]:
        """The settings that decide its result, as JSON has them, with lists where the order of a map counts."""
        return json.loads(json.dumps(_canonical(self.arguments if self.settings is None else self.settings)))

    def code(self) -> Code:
        """The code that decides its result."""
        return of_step(self.step, map(class_path, self.archs))


def _listed(paths: Paths) -> list[str]:
    return [paths] if isinstance(paths, str) else paths or []


def _canonical(value: Any, key: str = "") -> Any:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping):
        pairs = [[name, _canonical(each, name)] for name, each in value.items()]
        return pairs if key in ORDERED else dict(pairs)
    return [_canonical(each) for each in value] if isinstance(value, list | tuple) else value


class Jobs:
    """The jobs of an experiment.

    Args:
        experiment: The experiment.
        adopted: What the report says of runs that were adopted to other code (records.py).
    """

    def __init__(self, experiment: Experiment, adopted: Iterable[Mapping[str, Any]] = ()) -> None:
        self.e = experiment
        self.root = f"results/{experiment.experiment}"
        self.adopted = list(adopted)
        self._jobs: dict[tuple, Job] = {}  # by step and wildcards: each is asked for by all that need it
        scenes, models = ("|".join(map(re.escape, names)) for names in (experiment.scenes, experiment.models))
        split = rf"(?P<scene>{scenes})_x(?P<scale>\d+)"
        run = rf"runs/{split}/(?P<model>{models})/seed(?P<seed>\d+)"
        self._patterns = {
            "fetch": rf"scenes/(?P<scene>{scenes})\.files",
            "scene": rf"scenes/(?P<scene>{scenes})",
            "split": rf"splits/{split}",
            "settings": f"{run}/settings",
            "train": f"{run}/train",
            "evaluate": f"{run}/evaluate",
            "spectrum": f"{run}/spectrum",
            "efficiency": f"efficiency/{split}",
            "table": r"tables/(?P<table>\w+)",
            "bicubic_rows": rf"bicubic_check/(?P<scene>{scenes})",
            "figure": r"figures/(?P<figure>\w+)",
            "claims": "claims",
            "report": "report",
        }

    def of(self, step: str, wildcards: Mapping[str, Any]) -> Job:
        """The job of a step with the wildcards of its rule; others are ignored."""
        names = re.findall(r"\(\?P<(\w+)>", self._patterns[step])
        values = {name: int(wildcards[name]) if name in ("scale", "seed") else str(wildcards[name]) for name in names}
        key = (step, *values.values())
        if key not in self._jobs:
            self._jobs[key] = getattr(self, f"_{step}")(**values)
        return self._jobs[key]

    def named(self, name: str) -> Job:
        """The job of a name.

        Raises:
            LkcaError: If the experiment has none.
        """
        for step, pattern in self._patterns.items():
            found = re.fullmatch(pattern, name)
            if found and self._exists(step, found.groupdict()):
                return self.of(step, found.groupdict())
        raise LkcaError(f"{name} is no job of {self.e.experiment}: name one as in runs/SCENE_x4/MODEL/seed0/train.")

    def _exists(self, step: str, names: Mapping[str, str]) -> bool:
        """Whether the experiment has such a job."""
        return (
            names.get("table", "") in ("", *self.e.tables)
            and names.get("figure", "") in ("", *self.e.figures)
            and f"x{names.get('scale', 0)}" in ("x0", *self.e.patches)
            and (step not in ("train", "spectrum") or self.e.models[names["model"]].train is not None)
        )

    def targets(self) -> list[str]:
        """The files that the whole experiment consists of: the report, and all that it shows."""
        last = [job for job in self.all if job.step in ("table", "figure", "claims", "report")]
        return [path for job in last for path in job.outputs.values()]

    @cached_property
    def all(self) -> list[Job]:
        """The jobs that the report needs, each behind those that it needs itself."""
        ordered: dict[str, Job] = {}

        def add(job: Job) -> None:
            if job.name not in ordered:
                for name in job.needs:
                    add(self.named(name))
                ordered[job.name] = job

        add(self.named("report"))
        return list(ordered.values())

    # Data -----------------------------------------------------------------------------------------------------------

    def _fetch(self, scene: str) -> Job:
        cube = self.e.scenes[scene].described()
        facts = {"path", "sha256", "bytes"}
        return Job(
            step="fetch",
            name=f"scenes/{scene}.files",
            arguments={"scene": scene, "cube": cube},
            settings=cube.model_dump(mode="json", include={"files": {"__all__": facts}, "forms": {"__all__": facts}}),
            inputs={},
            raw=cube.pixel_files(),
            outputs={"receipt": f"{self.root}/scenes/{scene}.files.json"},
        )

    def _scene(self, scene: str) -> Job:
        s = self.e.scenes[scene]
        cube = s.described()
        carried = all(file.package() for file in cube.files)
        settings = {"bands": s.bands, "mirror": s.mirror}
        return Job(
            step="scene",
            name=f"scenes/{scene}",
            arguments={"settings": make_scene_settings(self.e, scene)},
            settings={
                **settings,
                "cube": cube.model_dump(mode="json", exclude={*NOT_PIXELS, "files", "forms"}),
                "files": [file.model_dump(mode="json", exclude={"sources", "bytes"}) for file in cube.files],
                "forms": [file.model_dump(mode="json", exclude={"sources", "bytes"}) for file in cube.forms],
            },
            inputs={},
            beside=() if carried else (f"{self.root}/scenes/{scene}.files.json",),
            raw=cube.pixel_files(),
            outputs={"out": f"{self.root}/scenes/{scene}.npy", "manifest": f"{self.root}/scenes/{scene}.json"},
            needs=() if carried else (f"scenes/{scene}.files",),
        )

    def _split(self, scene: str, scale: int) -> Job:
        return Job(
            step="split",
            name=f"splits/{scene}_x{scale}",
            arguments={"settings": make_split_settings(self.e, scene, scale)},
            inputs={"manifest": f"{self.root}/scenes/{scene}.json"},
            outputs={"out": f"{self.root}/splits/{scene}_x{scale}.json"},
            needs=(f"scenes/{scene}",),
        )

    # Runs -----------------------------------------------------------------------------------------------------------

    def _settings(self, scene: str, scale: int, model: str, seed: int) -> Job:
        teacher = self._teacher(scene, scale, model, seed)
        return Job(
            step="settings",
            name=f"runs/{_run(scene, scale, model, seed)}/settings",
            arguments={"settings": RunSettings.of(self.e, scene, scale, model), "seed": seed},
            inputs={
                "scene": f"{self.root}/scenes/{scene}.json",
                "split": f"{self.root}/splits/{scene}_x{scale}.json",
                "teacher": f"{self.root}/runs/{teacher}/run.json" if teacher else None,
            },
            outputs={"out": self._file(scene, scale, model, seed, "run.json")},
            needs=(
                f"scenes/{scene}",
                f"splits/{scene}_x{scale}",
                *([f"runs/{teacher}/settings"] if teacher else []),
            ),
        )

    def _train(self, scene: str, scale: int, model: str, seed: int) -> Job:
        teacher, run = self._teacher(scene, scale, model, seed), _run(scene, scale, model, seed)
        archs = [self.e.models[model].arch]
        if teacher:
            archs.append(self.e.models[self.e.models[model].distill.teacher].arch)
        return Job(
            step="train",
            name=f"runs/{run}/train",
            arguments={},
            inputs={
                **self._data_of(run, scene, scale),
                "teacher": f"{self.root}/runs/{teacher}/weights.safetensors" if teacher else None,
            },
            outputs={
                "out": f"{self.root}/runs/{run}/weights.safetensors",
                "history": f"{self.root}/runs/{run}/history.csv",
            },
            needs=(
                *_makers_of_data(run, scene, scale),
                *([f"runs/{teacher}/train"] if teacher else []),
            ),
            archs=tuple(archs),
        )

    def _evaluate(self, scene: str, scale: int, model: str, seed: int) -> Job:
        run, composite = _run(scene, scale, model, seed), self.e.scenes[scene].composite
        trained = self.e.models[model].train is not None
        return Job(
            step="evaluate",
            name=f"runs/{run}/evaluate",
            arguments={"image": composite.image, "composite": composite.bands},
            inputs={
                **self._data_of(run, scene, scale),
                "weights": f"{self.root}/runs/{run}/weights.safetensors" if trained else None,
                "history": f"{self.root}/runs/{run}/history.csv" if trained else None,
            },
            outputs={"out": f"{self.root}/runs/{run}/scores.json", "picture": f"{self.root}/runs/{run}/image.npz"},
            needs=(
                *_makers_of_data(run, scene, scale),
                *([f"runs/{run}/train"] if trained else []),
            ),
            archs=(self.e.models[model].arch,),
        )

    def _spectrum(self, scene: str, scale: int, model: str, seed: int) -> Job:
        run = _run(scene, scale, model, seed)
        return Job(
            step="spectrum",
            name=f"runs/{run}/spectrum",
            arguments={},
            inputs={
                "run": f"{self.root}/runs/{run}/run.json",
                "weights": f"{self.root}/runs/{run}/weights.safetensors",
            },
            outputs={"out": f"{self.root}/runs/{run}/spectrum.json"},
            needs=(f"runs/{run}/settings", f"runs/{run}/train"),
            archs=(self.e.models[model].arch,),
        )

    def _efficiency(self, scene: str, scale: int) -> Job:
        models = {name: self.e.models[name] for name in self.measured.get((scene, scale), [])}
        return Job(
            step="efficiency",
            name=f"efficiency/{scene}_x{scale}",
            arguments={"settings": BenchmarkSettings.of(self.e, scene, scale, [*models])},
            inputs={},
            outputs={"out": f"{self.root}/efficiency/{scene}_x{scale}.json"},
            archs=tuple(model.arch for model in models.values()),
        )

    # What is made of them -------------------------------------------------------------------------------------------

    def _table(self, table: str) -> Job:
        t = self.e.tables[table]
        runs = self._seeds(t.runs())
        return Job(
            step="table",
            name=f"tables/{table}",
            arguments={"settings": TableSettings.of(self.e, table)},
            inputs={"scores": self._files(runs, "scores.json"), "printed": PRINTED},
            beside=(f"{TEMPLATES}/table.html.j2",),
            outputs=dict(
                zip(
                    ("csv", "markdown", "latex", "html", "verdicts", "comparisons"),
                    self.table_files(table),
                    strict=True,
                )
            ),
            needs=tuple(f"runs/{_run(*run)}/evaluate" for run in runs),
        )

    def table_files(self, table: str) -> list[str]:
        """The files of a table."""
        return [f"{self.root}/tables/{table}.{kind}" for kind in TABLE_FILES]

    def figure_files(self, figure: str) -> list[str]:
        """The files of a figure."""
        return [f"{self.root}/figures/{figure}.{kind}" for kind in ("png", "pdf")]

    def _figure(self, figure: str) -> Job:
        f = self.e.figures[figure]
        kind = FIGURE_KINDS[f.kind]
        runs = self._figure_runs(figure)
        files: dict[str, Paths] = {
            option: self._files(runs, name) if option in kind.reads else [] for option, name in RUN_FILES.items()
        }
        measured = [f"efficiency/{scene}_x{f.scale}" for scene in f.scenes] if kind.reads_efficiency else []
        files["efficiency"] = [f"{self.root}/{name}.json" for name in measured]
        steps = {"scores": "evaluate", "images": "evaluate", "spectra": "spectrum", "histories": "train"}
        made_by = dict.fromkeys(steps[option] for option in kind.reads)
        return Job(
            step="figure",
            name=f"figures/{figure}",
            arguments={"settings": FigureSettings.of(self.e, figure)},
            inputs=files,
            outputs=dict(zip(("png", "pdf"), self.figure_files(figure), strict=True)),
            needs=(
                *(f"runs/{_run(*run)}/{step}" for run in runs for step in made_by if self._has(run, step)),
                *measured,
            ),
        )

    def _bicubic_rows(self, scene: str) -> Job:
        absent = self.absent_scenes
        runs = [run for run in self._bicubic_runs() if run[0] == scene and scene not in absent]
        settings = BicubicCheckSettings.of(self.e, absent)
        return Job(
            step="bicubic_rows",
            name=f"bicubic_check/{scene}",
            arguments={"settings": settings},
            settings={**settings.model_dump(), "absent": sorted(absent)},
            inputs={
                "scores": self._files(runs, "scores.json"),
                "manifests": [f"{self.root}/scenes/{scene}.json"] if runs else [],
                "printed": PRINTED,
            },
            outputs={
                "out": f"{self.root}/bicubic_check/{scene}.json",
                "markdown": f"{self.root}/bicubic_check/{scene}.md",
            },
            needs=(*(f"runs/{_run(*run)}/evaluate" for run in runs), *([f"scenes/{scene}"] if runs else [])),
        )

    def bicubic_checks(self) -> list[str]:
        """The checks of the scenes that are there; of all, to say which are missing, where none is."""
        scenes = {run[0] for run in self._bicubic_runs()}
        there = sorted(scenes - self.absent_scenes.keys() or scenes)
        return [f"{self.root}/bicubic_check/{scene}.md" for scene in there]

    def _claims(self) -> Job:
        runs, spectra = self.e.runs(), self._claims_spectra()
        return Job(
            step="claims",
            name="claims",
            archs=(self.e.models["lkca"].arch,) if "lkca" in self.e.models else (),  # whose shortcut a claim computes
            arguments={"settings": ClaimsSettings.of(self.e)},
            inputs={
                "scores": self._files(runs, "scores.json"),
                "spectra": self._files(spectra, "spectrum.json"),
                "printed": PRINTED,
                "claims": CLAIMS,
            },
            outputs={"out": f"{self.root}/claims.json", "csv": f"{self.root}/claims.csv"},
            needs=(
                *(f"runs/{_run(*run)}/evaluate" for run in runs),
                *(f"runs/{_run(*run)}/spectrum" for run in spectra),
            ),
        )

    def _report(self) -> Job:
        e, runs = self.e, self.e.runs()
        spectra = self._report_spectra()
        scenes = sorted({run[0] for run in runs})
        splits = sorted({f"splits/{scene}_x{scale}" for scene, scale, *_ in runs})
        measured = [f"efficiency/{scene}_x{scale}" for scene, scale in self.measured]
        beside = [self._file(*run, name) for run in runs for name in ("scores.json", "image.npz")]
        beside += [self._file(*run, "history.csv") for run in runs if self._has(run, "train")]
        beside += [path for name in e.report.tables for path in self.table_files(name) if not path.endswith(".html")]
        beside += [path for name in e.report.figures for path in self.figure_files(name) if path.endswith(".pdf")]
        beside += [f"{self.root}/claims.csv", *(f"{TEMPLATES}/report.{kind}" for kind in ("html.j2", "css", "js"))]
        return Job(
            step="report",
            name="report",
            arguments={"settings": ReportSettings.of(e, self.adopted)},
            inputs={
                "scenes": [f"{self.root}/scenes/{scene}.json" for scene in scenes],
                "splits": [f"{self.root}/{split}.json" for split in splits],
                "runs": self._files(runs, "run.json"),
                "tables": [f"{self.root}/tables/{name}.html" for name in e.report.tables],
                "figures": [f"{self.root}/figures/{name}.png" for name in e.report.figures],
                "spectra": self._files(spectra, "spectrum.json"),
                "efficiency": [f"{self.root}/{name}.json" for name in measured],
                "claims": f"{self.root}/claims.json",
                "printed": PRINTED,
            },
            beside=tuple(beside),
            outputs={"out": f"{self.root}/report.html", "provenance": f"{self.root}/report.json"},
            needs=(
                *(f"scenes/{scene}" for scene in scenes),
                *splits,
                *(
                    f"runs/{_run(*run)}/{step}"
                    for run in runs
                    for step in ("settings", "train", "evaluate")
                    if self._has(run, step)
                ),
                *(f"tables/{name}" for name in e.report.tables),
                *(f"figures/{name}" for name in e.report.figures),
                *(f"runs/{_run(*run)}/spectrum" for run in spectra),
                *measured,
                "claims",
            ),
        )

    # Which runs -----------------------------------------------------------------------------------------------------

    @cached_property
    def measured(self) -> dict[tuple[str, int], list[str]]:
        """The models whose speed is measured, by scene and scale: of the report's tables and its figures of speed."""
        shown: list[Any] = [self.e.tables[name] for name in self.e.report.tables]
        figures = map(self.e.figures.get, self.e.report.figures)
        shown += [figure for figure in figures if FIGURE_KINDS[figure.kind].reads_efficiency]
        models: dict[tuple[str, int], list[str]] = {}
        for scene, scale, model in sorted({run for each in shown for run in each.runs()}):
            models.setdefault((scene, scale), []).append(model)
        return models

    @cached_property
    def absent_scenes(self) -> dict[str, str]:
        """Scenes with bicubic runs whose files are not there, with the sentence that says where to get them."""
        absent = {}
        for scene in sorted({run[0] for run in self._bicubic_runs()}):
            try:
                self.e.scenes[scene].described().resolve_files()
            except LkcaError as error:
                absent[scene] = str(error)
        return absent

    def _bicubic_runs(self) -> list[tuple]:
        """The bicubic runs of the report's tables, of the first seed: all seeds are equal."""
        runs = {run for name in self.e.report.tables for run in self.e.tables[name].runs()}
        return sorted((*run, self.e.seeds[0]) for run in runs if self.e.models[run[2]].arch == "bicubic")

    def _figure_runs(self, figure: str) -> list[tuple]:
        f = self.e.figures[figure]
        return [(*run, seed) for run in f.runs() for seed in f.seeds(self.e.seeds)]

    def _claims_spectra(self) -> list[tuple]:
        """The runs whose singular values claims are about: LKCA-Net's, of every seed, where a figure shows them."""
        figures = [self.e.figures[name] for name in self.e.report.figures]
        shown = [figure for figure in figures if "spectra" in FIGURE_KINDS[figure.kind].reads]
        runs = {run for figure in shown for run in figure.runs() if run[2] == figure.rows.get("LKCA-Net")}
        return self._seeds(sorted(runs))

    def _report_spectra(self) -> list[tuple]:
        """The runs whose singular values figures show and claims are about."""
        figures = [name for name in self.e.report.figures if "spectra" in FIGURE_KINDS[self.e.figures[name].kind].reads]
        return sorted({*self._claims_spectra(), *(run for name in figures for run in self._figure_runs(name))})

    def _seeds(self, runs: Iterable[tuple]) -> list[tuple]:
        return [(*run, seed) for run in runs for seed in self.e.seeds]

    def _has(self, run: tuple, step: str) -> bool:
        """Whether a run has this step: a method without training is not trained."""
        return step != "train" or self.e.models[run[2]].train is not None

    def _teacher(self, scene: str, scale: int, model: str, seed: int) -> str | None:
        distill = self.e.models[model].distill
        return _run(scene, scale, distill.teacher, seed) if distill else None

    def _data_of(self, run: str, scene: str, scale: int) -> dict[str, str]:
        """What a training and an evaluation read alike; `_makers_of_data` are the jobs that write it."""
        return {
            "run": f"{self.root}/runs/{run}/run.json",
            "scene": f"{self.root}/scenes/{scene}.npy",
            "split": f"{self.root}/splits/{scene}_x{scale}.json",
        }

    def _file(self, scene: str, scale: int, model: str, seed: int, name: str) -> str:
        return f"{self.root}/runs/{_run(scene, scale, model, seed)}/{name}"

    def _files(self, runs: Iterable[tuple], name: str) -> list[str]:
        return [self._file(*run, name) for run in runs]


def _run(scene: str, scale: int, model: str, seed: int) -> str:
    return f"{scene}_x{scale}/{model}/seed{seed}"


def _makers_of_data(run: str, scene: str, scale: int) -> tuple[str, ...]:
    return f"runs/{run}/settings", f"scenes/{scene}", f"splits/{scene}_x{scale}"
