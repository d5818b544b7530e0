"""Publish the small benchmark of the README: `make publish`.

Read the finished runs of workflow/indian_pines.yaml, write a line for each to benchmarks/small_benchmark.csv, and write
the table of README.md and the entry in docs/explanation/experiments.md from this file. Columns of the CSV:

- MPSNR to ERGAS: the mean of each score over the test images.
- seconds: time of the training.
- date: the day on which the scores were computed.
- digest: hash of the settings and the code of the training, of its teacher, and of the scores.

With --check, only say whether a digest is no longer that of the present settings and code: `make lint` does so. A
change of code need not change a number, so this is no error.
"""

import argparse
import os
import sys
from contextlib import chdir
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from lkca.config.job import Job
from lkca.config.jobs import Jobs
from lkca.config.load import read_config
from lkca.config.schema import Experiment
from lkca.core.files import json_digest, write_csv
from lkca.core.paths import SCORES_FILE, RunKey
from lkca.errors import LkcaError, StaleInput
from lkca.paper.columns import COST_UNITS, table_columns
from lkca.pipeline.results import Results
from lkca.scoring.metrics import SCORES
from lkca.scoring.score_files import read_scores

REPOSITORY = Path(__file__).parents[1]
CONFIG = [REPOSITORY / "config.yaml", REPOSITORY / "workflow/indian_pines.yaml"]
COMMAND = "make publish"
PUBLISHED = REPOSITORY / "benchmarks/small_benchmark.csv"
README = REPOSITORY / "README.md"
EXPERIMENTS = REPOSITORY / "docs/explanation/experiments.md"
BEGIN, END = "<!-- benchmarks/publish.py writes these lines: begin -->\n", "<!-- end -->\n"
SHOWN = ["Param_M", "MACs_G", "MPSNR", "MSSIM", "SAM"]  # columns of the README's table
ARROWS = {1: " ↑", -1: " ↓", 0: ""}


def read_experiment() -> tuple[Experiment, dict[str, list[RunKey]]]:
    """Return the small benchmark and the runs of each method of its table."""
    experiment = read_config(CONFIG)
    (name,) = experiment.report.tables
    models = experiment.tables[name].rows
    runs = [run for run in experiment.runs() if run.model in models.values()]
    return experiment, {label: [run for run in runs if run.model == model] for label, model in models.items()}


def digest_run(jobs: Jobs, run: RunKey) -> str:
    """Return the hash of the settings and the code of a run, its teacher and its scores."""
    needed = [jobs.by_name(f"{run.folder}/evaluate")]
    for job in needed:  # the list grows in the loop
        needed += [other for other in jobs.needs(job) if other not in needed]
    parts = {job.name: describe_job(job) for job in needed if job.step in ("settings", "train", "evaluate")}
    return json_digest(parts)[:12]


def describe_job(job: Job) -> dict[str, Any]:
    """Return what determines the result of a job, except its input files."""
    return {"settings": job.canonical_settings(), "code": job.code().digest}


def collect_rows() -> list[dict[str, Any]]:
    """Return the lines of the CSV.

    Raises:
        StaleInput: If a run is missing or outdated, or if the scores do not have one known commit.
    """
    experiment, methods = read_experiment()
    results = Results(experiment)
    for name, reason in results.pending().items():
        if name.startswith("runs/"):
            raise StaleInput(f"{name} has to run first ({reason}): run {COMMAND}.")
    rows = []
    for method, runs in methods.items():
        for run in runs:
            path = Path(experiment.paths.path(f"{run.folder}/{SCORES_FILE}"))
            row = {"method": method, **describe_run(path), "digest": digest_run(results.jobs, run)}
            rows.append(row)
    if len(commits := sorted({row["commit"] for row in rows})) > 1:
        raise StaleInput(
            f"the scores were computed at several commits, {' and '.join(commits)}: "
            "run snakemake -R evaluate with the two files of settings, and publish again."
        )
    return rows


def describe_run(path: Path) -> dict[str, Any]:
    """Return the columns of a run, given its scores.json.

    Raises:
        StaleInput: If its commit is unknown or had uncommitted changes.
    """
    content = read_scores(path)
    if content["commit"] is None or " " in content["commit"]:
        raise StaleInput(
            f"{path} was computed at {content['commit'] or 'an unknown commit'}: commit the changes, "
            "run snakemake -R evaluate in a checkout of git, and publish again."
        )
    facts = {name: content[name] for name in ("model", "seed", "params", "macs", "steps", "epoch")}
    return {
        **facts,
        **{name: f"{content['mean'][name]:.8g}" for name in SCORES},
        "seconds": round(content["seconds"]["training"]),
        "device": content["device"],
        "threads": content["threads"],
        "torch": content["versions"]["torch"],
        "date": datetime.fromtimestamp(path.stat().st_mtime, UTC).date().isoformat(),
        "commit": content["commit"],
    }


def read_published() -> pd.DataFrame:
    """Return the published file: a line for each run."""
    return pd.read_csv(PUBLISHED, dtype={"commit": str, "digest": str})


def format_table(published: pd.DataFrame) -> str:
    """Return the README's table: mean and standard deviation over the seeds, the best mean in bold."""
    columns = {name: table_columns()[name] for name in SHOWN}
    numbers = published.assign(**{name: published[key] / unit for name, (key, unit) in COST_UNITS.items()})
    groups = numbers.groupby("method", sort=False)[SHOWN]
    means, deviations = groups.mean(), groups.std()
    cells = pd.DataFrame(index=means.index)
    for name, column in columns.items():
        cells[name] = [f"{mean:.{column.decimals}f}" if mean else "0" for mean in means[name]]
        if column.direction:
            cells[name] += [f" ± {deviation:.{column.decimals}f}" for deviation in deviations[name]]
            best = (column.direction * means[name]).idxmax()
            cells.loc[best, name] = f"**{cells.loc[best, name]}**"
    units = {name: f" ({column.unit})" if column.unit else "" for name, column in columns.items()}
    headings = [f"{column.heading}{ARROWS[column.direction]}{units[name]}" for name, column in columns.items()]
    lines = [["Method", *headings], [":---", *["---:"] * len(columns)], *cells.reset_index().to_numpy().tolist()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def format_origin(published: pd.DataFrame) -> str:
    """Return the sentence below the table that says where its numbers are from."""
    first = published.iloc[0]
    seeds = published["seed"].nunique()
    return (
        f"Mean and standard deviation over {seeds} seeds; [numbers of each run](benchmarks/{PUBLISHED.name}), "
        f"computed on\n{published['date'].max()} with torch {first['torch']} on {first['device']} at commit "
        f"{first['commit']}.\n"
    )


def render_pages(published: pd.DataFrame) -> dict[Path, str]:
    """Return README.md and docs/explanation/experiments.md with the published numbers: path -> text."""
    before, _, rest = README.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    readme = f"{before}{BEGIN}\n{format_table(published)}\n{format_origin(published)}\n{END}{after}"
    first = published.iloc[0]
    start = "| [Small benchmark](#small-benchmark) |"
    entry = f"{start} {published['date'].max()} | {first['device']} | {first['commit'][:7]} | `{PUBLISHED.name}` |"
    lines = [entry if line.startswith(start) else line for line in EXPERIMENTS.read_text().split("\n")]
    return {README: readme, EXPERIMENTS: "\n".join(lines)}


def describe_outdated(published: pd.DataFrame) -> str:
    """Return the sentence that names the methods whose settings or code have changed; empty if none have."""
    experiment, methods = read_experiment()
    jobs = Jobs(experiment)
    current = {(method, run.seed): digest_run(jobs, run) for method, runs in methods.items() for run in runs}
    old = {(row["method"], row["seed"]): row["digest"] for row in published.to_dict("records")}
    keys = [*current, *old]
    changed = dict.fromkeys(method for method, seed in keys if current.get((method, seed)) != old.get((method, seed)))
    if not changed:
        return ""
    return (
        f"note: the settings or the code of {', '.join(changed)} have changed since the README's table was published, "
        f"at commit {published['commit'][0]}: give {COMMAND} before the next release if a number may have changed.\n"
    )


def publish() -> None:
    """Write the CSV and the two pages, and print their names."""
    rows = collect_rows()
    write_csv(PUBLISHED, rows[0], rows)
    pages = render_pages(read_published())
    for path, text in pages.items():
        path.write_text(text)
    print(*map(os.path.relpath, [PUBLISHED, *pages]), sep="\n")


def main() -> None:
    """Publish the runs, or check the published file."""
    parser = argparse.ArgumentParser(description="Publish the small benchmark of the README.")
    parser.add_argument("--check", action="store_true", help="only say whether settings or code have changed since")
    options = parser.parse_args()
    try:
        with chdir(REPOSITORY):
            if options.check:
                print(describe_outdated(read_published()), end="")
            else:
                publish()
    except LkcaError as error:
        sys.exit(f"publish: {error}")


if __name__ == "__main__":
    main()
