"""The rows of a table: our numbers from the runs, and the printed ones with their verdicts."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import floor, log10
from typing import Any, Self

from lkca.config.schema import NOT_POSSIBLE
from lkca.config.settings import TableSettings
from lkca.errors import StaleInput
from lkca.paper.columns import COSTS, Column, column_values, table_columns
from lkca.paper.statistics import RunScores, Summary, summarize
from lkca.paper.verdicts import SIGNS, Verdict, judge_row
from lkca.scoring.metrics import SCORES

NOT_RUN = "not run"
PrintedRows = Mapping[tuple[int, str], Mapping[str, str]]  # scale and label -> line of paper_tables.csv


@dataclass
class Cell:
    """The numbers of a row in one column.

    Args:
        column: The column.
        ours: Our number; None if the row was not run.
        printed: The number as the paper prints it; empty if it prints none.
        verdict: The verdict on the printed number; None if none is printed.
        best: Whether our number is the best of the table at this scale.
        resolved: Whether it is the best, and the comparison with every other row says that this row is better.
    """

    column: Column
    ours: Summary | None
    printed: str
    verdict: Verdict | None
    best: bool = False
    resolved: bool = False

    @property
    def value(self) -> str:
        """Our number with the column's decimals, such as 40.3106; "0" for a cost of zero; empty if not run."""
        if self.ours is None:
            return ""
        is_zero_cost = not self.ours.mean and not self.column.direction
        return "0" if is_zero_cost else f"{self.ours.mean:.{self.column.decimals}f}"

    @property
    def spread(self) -> str:
        """The standard deviation over seeds with the column's decimals; empty for one seed."""
        std = self.ours and self.ours.std
        return "" if std is None else f"{std:.{self.column.decimals}f}"

    @property
    def interval(self) -> str:
        """The interval, such as 39.1 to 41.5: to two digits of its width, at most two decimals more than the column."""
        if self.ours is None or self.ours.interval is None:
            return ""
        low, high = self.ours.interval
        digits = max_digits = self.column.decimals + 2
        if high > low:
            digits = min(max_digits, max(0, 1 - floor(log10(high - low))))
        return f"{low:.{digits}f} to {high:.{digits}f}"

    @property
    def sign(self) -> str:
        """The sign of the verdict; empty if there is none."""
        return SIGNS[self.verdict.verdict] if self.verdict else ""


@dataclass(frozen=True)
class Row:
    """A method at one scale.

    Args:
        scale: Upsampling factor.
        label: Label of the method.
        model: Key of its model; None if it has none.
        not_run: Why it was not run, or "not run"; empty if it was run.
        runs: scores.json of its runs, in the order of their seeds.
        cells: Column -> its numbers.
        missing_reasons: Why scores have no interval, such as "one seed"; empty if all have one.
        in_paper: Whether the paper's table has this row.
        note: Note on the printed row; empty if there is none.
    """

    scale: int
    label: str
    model: str | None
    not_run: str
    runs: list[RunScores]
    cells: dict[str, Cell]
    missing_reasons: frozenset[str]
    in_paper: bool
    note: str

    @property
    def seeds(self) -> str:
        """The seeds, separated by spaces."""
        return " ".join(str(run["seed"]) for run in self.runs)

    @property
    def num_images(self) -> int:
        """The number of test images of a row that was run."""
        return len(self.runs[0]["images"])

    @property
    def untrained(self) -> bool:
        """Whether the training of a row that was run ended before it had shown every patch in every orientation."""
        return bool(self.runs and self.runs[0]["untrained"])

    @property
    def num_steps(self) -> int:
        """The number of training steps of a row that was run."""
        steps: int = self.runs[0]["steps"]
        return steps

    @property
    def steps(self) -> str:
        """The training steps in words, marked if the row is untrained."""
        if self.untrained:
            return f"untrained: {self.num_steps} step{'' if self.num_steps == 1 else 's'}"
        return f"{self.num_steps:,}"

    @classmethod
    def of(
        cls, settings: TableSettings, scale: int, label: str, runs: list[RunScores], printed: Mapping[str, str] | None
    ) -> Self:
        """Return a row.

        Args:
            settings: The table.
            scale: Scale of the row.
            label: Label of the row.
            runs: Its scores.json, in the order of their seeds; empty if it was not run.
            printed: Its line of paper_tables.csv; None if the paper's table has no such row.

        Raises:
            StaleInput: If its seeds differ in steps or costs.
        """
        if len({(run["steps"], run["params"], run["macs"]) for run in runs}) > 1:
            raise StaleInput(
                f"the seeds of {label!r} differ in steps or cost: train them again with the same settings."
            )
        model = settings.rows[label] or ""
        impossible = model.startswith(NOT_POSSIBLE)
        reason = model if impossible else f"there are no scores of {model}" if model else "the row has no model"
        verdicts = judge_row(printed, runs, reason, settings.stand_in) if printed else {}
        summaries = _summarize(runs) if runs else {}
        cells = {
            name: Cell(column, summaries.get(name), printed.get(name, "") if printed else "", verdicts.get(name))
            for name, column in table_columns().items()
        }
        return cls(
            scale=scale,
            label=label,
            model=None if impossible else model or None,
            not_run="" if runs else model if impossible else NOT_RUN,
            runs=runs,
            cells=cells,
            missing_reasons=frozenset().union(*(summary.missing_reasons for summary in summaries.values())),
            in_paper=printed is not None,
            note=printed["note"] if printed else "",
        )


def build_rows(settings: TableSettings, runs: Iterable[RunScores], printed: PrintedRows) -> list[Row]:
    """Return the rows of a table: scale by scale, in the order of the settings.

    Args:
        settings: The table.
        runs: scores.json of the runs, in any order; those of other scenes, scales and models are ignored.
        printed: The rows of the paper's table.

    Raises:
        StaleInput: If the seeds of a row differ in steps or costs.
    """
    by_model = defaultdict(list)
    for run in sorted(runs, key=lambda run: run["seed"]):
        if run["scene"] == settings.scene:
            by_model[run["scale"], run["model"]].append(run)
    return [
        Row.of(settings, scale, label, by_model.get((scale, model), []), printed.get((scale, label)))
        for scale in settings.scales
        for label, model in settings.rows.items()
    ]


def mark_best(rows: Iterable[Row], comparisons: Iterable[Mapping[str, Any]]) -> None:
    """Mark the best number of each score at each scale, among several rows that were run and are not untrained.

    Args:
        rows: The rows of a table.
        comparisons: The lines of its *.comparisons.csv, with `scale`, `a`, `b`, `score` and `outcome`.
    """
    better = {
        (line["scale"], line["score"], *pair)
        for line in comparisons
        for pair, outcome in (((line["a"], line["b"]), "a better"), ((line["b"], line["a"]), "b better"))
        if line["outcome"] == outcome
    }
    candidates = defaultdict(list)
    for row in rows:
        if row.runs and not row.untrained:
            candidates[row.scale].append(row)
    for scale, at_scale in candidates.items():
        for name, column in table_columns().items() if len(at_scale) > 1 else ():
            if not column.direction:
                continue
            scores = {row.label: column.direction * ours.mean for row in at_scale if (ours := row.cells[name].ours)}
            for row in at_scale:
                cell = row.cells[name]
                cell.best = scores[row.label] == max(scores.values())
                others = scores.keys() - {row.label}
                cell.resolved = cell.best and all((scale, name, row.label, other) in better for other in others)


def _summarize(runs: list[RunScores]) -> dict[str, Summary]:
    """Return our number in each column; costs are the same with every seed."""
    costs = {name: Summary(column_values(runs, name)[0], None, None, frozenset()) for name in COSTS}
    return costs | {name: summarize(runs, name) for name in SCORES}
