"""The summary at the top of the page: what was run, what came out, and one picture of it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, NamedTuple

from lkca.config.settings import ReportSettings
from lkca.core.paths import IMAGE_FILE
from lkca.report.images import encode_details
from lkca.report.page_comparisons import MethodDifferences, ScoreDifference
from lkca.report.page_runs import ReportRun, RowLabels, format_duration, select_main_rows
from lkca.report.page_speed import DeviceSpeed

MAX_LINES = 6  # of differences from the method without training; more are in the tables
EXPANSIONS = {  # model of the paper -> what its name means; {lkca} and {lkca_lr} are the names of these models
    "lkca_lr": "{lkca} whose upsampling layer is replaced by a low-rank approximation, a convolution in groups",
    "lkca_kd": "{lkca_lr} that also learns from the features of a larger network, its teacher (knowledge distillation)",
}


class Case(NamedTuple):
    """A scene at one scale."""

    scene: str
    scale: int
    title: str

    @property
    def name(self) -> str:
        """Its name in sentences."""
        return f"{self.title} ×{self.scale}"


class ResultCell(NamedTuple):
    """The result of a method in a case, as text.

    Args:
        anchor: Anchor of the line of its runs.
        psnr: MPSNR, dB.
        sam: SAM, degrees.
        params: Number of parameters, M.
        time: Measured time of one 16 x 16 LR image, ms; None if it was not measured or was disturbed.
        steps: Steps of the training.
        untrained: Whether the training ended before it had shown every patch in each of its orientations.
        best: Whether the MPSNR is the highest of the case among methods that are not untrained.
        resolved: Whether it is the highest, and the comparison with each of the others says that it is better.
    """

    anchor: str
    psnr: str
    sam: str
    params: str
    time: float | None
    steps: str
    untrained: bool
    best: bool
    resolved: bool


class DifferenceLine(NamedTuple):
    """The MPSNR of a method minus that of the method without training, in a case."""

    case: Case
    method: str
    baseline: str
    difference: ScoreDifference


class Highlight(NamedTuple):
    """A detail of a test image: the ground truth and several reconstructions, as data URLs."""

    case: Case
    image: int
    pixels: int
    truth: str
    methods: list[tuple[str, float, str]]  # label, MPSNR of the test image, picture


class ResultsSummary(NamedTuple):
    """The results of an experiment in brief.

    Args:
        cases: Scenes and scales, the columns.
        rows: Label of a method -> its result in each case; None where it was not run.
        device: The device that times were measured on; empty if there are none.
        findings: Sentences that say what came out.
        differences: Differences from the method without training; empty if there are too many to read.
        names: What the names of methods mean: (label, meaning).
        highlight: One picture; None if nothing was run.
    """

    cases: list[Case]
    rows: dict[str, list[ResultCell | None]]
    device: str
    findings: list[str]
    differences: list[DifferenceLine]
    names: list[tuple[str, str]]
    highlight: Highlight | None


class CaseResults(NamedTuple):
    """The results of a case.

    Args:
        case: The case.
        runs: Label of a method -> its runs, in the order of their seeds.
        psnr: Label -> MPSNR, mean over seeds and test images, dB.
        differences: Label of a reference -> label of a method -> MPSNR of the method minus that of the reference.
    """

    case: Case
    runs: Mapping[str, Sequence[ReportRun]]
    psnr: Mapping[str, float]
    differences: Mapping[str, Mapping[str, ScoreDifference]]

    @property
    def compared(self) -> list[str]:
        """The methods that are not untrained."""
        return [label for label, runs in self.runs.items() if not runs[0].scores["untrained"]]

    @property
    def baseline(self) -> str | None:
        """The first method without training."""
        return next((label for label, runs in self.runs.items() if runs[0].scores["weights_sha256"] is None), None)

    @property
    def leader(self) -> str | None:
        """The method with the highest MPSNR."""
        return max(self.compared, key=lambda label: self.psnr[label], default=None)

    def have_outcome(self, reference: str | None, outcome: str) -> set[str]:
        """Return the methods whose comparison with a reference has this outcome: better, worse or not resolved."""
        differences = self.differences.get(reference or "", {})
        return {label for label in self.compared if label in differences and differences[label].outcome == outcome}

    def not_worse(self) -> set[str]:
        """Return the leader and the methods that its comparison with them does not show to be worse."""
        return {*self.compared} - self.have_outcome(self.leader, "worse")


def summarize_results(
    settings: ReportSettings,
    labels: RowLabels,
    runs: Iterable[ReportRun],
    comparisons: Mapping[str, Sequence[MethodDifferences]],
    devices: Sequence[DeviceSpeed],
) -> ResultsSummary:
    """Return the results of the largest table of each scene in brief.

    Args:
        settings: The report.
        labels: Scene and scale -> the labels of the models.
        runs: All runs.
        comparisons: Table -> its comparisons, as `read_differences` returns them.
        devices: The measured speed; the times are those of the last device, which is a GPU if there is one.
    """
    by_model: dict[tuple[str, int, str], list[ReportRun]] = {}
    for run in runs:
        by_model.setdefault((run.scene, run.scale, run.model), []).append(run)
    results = []
    for (scene, scale), models in labels.items():
        first = next(iter(models.values()))
        own = {
            label: by_model[scene, scale, model]
            for model, label in select_main_rows(models).items()
            if (scene, scale, model) in by_model
        }
        if own:
            psnr = {label: fmean(run.scores["mean"]["MPSNR"] for run in group) for label, group in own.items()}
            pairs = {
                each.reference: {method: scores["MPSNR"] for method, scores in each.scales[str(scale)].rows.items()}
                for each in comparisons.get(first.source.removeprefix("Table "), [])
                if str(scale) in each.scales
            }
            results.append(CaseResults(Case(scene, scale, settings.scenes[scene].title), own, psnr, pairs))
    methods = dict.fromkeys(label for result in results for label in result.runs)
    times = _collect_times(devices[-1]) if devices else {}
    return ResultsSummary(
        cases=[result.case for result in results],
        rows={label: [_build_cell(result, label, times) for result in results] for label in methods},
        device=devices[-1].name if times else "",
        findings=describe_findings(results),
        differences=_list_differences(results),
        names=_expand_names(labels),
        highlight=_choose_highlight(settings, results),
    )


def _collect_times(device: DeviceSpeed) -> dict[tuple[str, int, str], float]:
    """Return the time of each network that was not disturbed, by scene, scale and model, ms."""
    return {
        (group.scene, group.scale, model): 1e3 * row.cost["latency_s"]
        for group in device.groups
        for row in group.rows
        for model in row.models
        if not row.disturbed and row.macs
    }


def _build_cell(result: CaseResults, label: str, times: Mapping[tuple[str, int, str], float]) -> ResultCell | None:
    if label not in result.runs:
        return None
    first, leader = result.runs[label][0], result.leader
    scores = [run.scores["mean"] for run in result.runs[label]]
    others = {*result.compared} - {label}
    return ResultCell(
        anchor=f"run-{first.scene}-{first.scale}-{first.model}",
        psnr=f"{result.psnr[label]:.2f}",
        sam=f"{fmean(score['SAM'] for score in scores):.2f}",
        params=f"{first.scores['params'] / 1e6:.3g}",
        time=times.get((first.scene, first.scale, first.model)),
        steps=f"{first.scores['steps']:,}",
        untrained=first.scores["untrained"],
        best=label == leader,
        resolved=label == leader and bool(others) and result.have_outcome(label, "worse") == others,
    )


# Sentences ------------------------------------------------------------------------------------------------------------


def describe_findings(results: Sequence[CaseResults]) -> list[str]:
    """Return the sentences about what is resolved, about the highest scores, and about what cannot be compared."""
    led = [result for result in results if len(result.compared) > 1]
    if not led:
        return ["No two methods were trained long enough to be compared."] if results else ["Nothing was run yet."]
    unequal = {result.case: sentence for result in led if (sentence := _describe_unequal_training(result))}
    equal = [result for result in led if result.case not in unequal]
    others = [result for result in led if result.case in unequal]
    return [*(_describe_choice(equal, others) if equal else []), *_describe_leaders(led), *unequal.values()]


def _describe_leaders(results: Sequence[CaseResults]) -> list[str]:
    led: dict[str, list[CaseResults]] = {}
    for result in results:
        led.setdefault(str(result.leader), []).append(result)
    if len(results) == 1:
        (leader,) = led
        return [f"{leader} has the highest MPSNR, {results[0].psnr[leader]:.2f} dB{_describe_gain(led[leader])}."]
    order = sorted(led, key=lambda label: -len(led[label]))
    parts = [f"{label} in {len(led[label])}{_describe_gain(led[label])}" for label in order]
    return [f"Highest MPSNR in {len(results)} cases (a scene at one scale): {'; '.join(parts)}."]


def _describe_gain(results: Sequence[CaseResults]) -> str:
    """Return how far the leader of these cases is above the method without training; empty if that leads."""
    gains = [
        result.psnr[str(result.leader)] - result.psnr[result.baseline]
        for result in results
        if result.baseline and result.leader != result.baseline
    ]
    if not gains:
        return ""
    low, high = f"{min(gains):.2f}", f"{max(gains):.2f}"
    if high == "0.00":
        gain = "less than 0.01"
    elif low == "0.00":
        gain = f"up to {high}"
    else:
        gain = low if low == high else f"{low} to {high}"
    return f", {gain} dB above {results[0].baseline}"


def _describe_choice(results: Sequence[CaseResults], others: Sequence[CaseResults]) -> list[str]:
    """Return the sentence that says which method to use, as far as the comparisons tell.

    Args:
        results: The cases whose methods can be compared.
        others: The other cases. There, only a comparison with the method without training counts.
    """

    def say_where(exceptions: Iterable[CaseResults]) -> str:
        names = ", ".join(result.case.name for result in exceptions)
        return "here" if len(results) + len(others) == 1 else f"in any case{names and f' except {names}'}"

    baselines = {result.baseline for result in results if result.baseline}
    if baselines and not any(result.have_outcome(result.baseline, "better") for result in results):
        where = say_where(result for result in others if result.have_outcome(result.baseline, "better"))
        because = " or ".join(_list_reasons(results))
        return [f"No trained method is shown to be better than {min(baselines)} {where}{because and f': {because}'}."]
    best = [result.not_worse() - baselines for result in results]
    common = set.intersection(*best)
    if not common:
        often, number = Counter(label for labels in best for label in sorted(labels)).most_common(1)[0]
        return [f"No method is among the best in every case; {often} is among them in {number} of {len(results)}."]
    where = say_where(others)
    cheapest = min(common, key=lambda label: fmean(result.runs[label][0].scores["macs"] for result in results))
    if len(common) == 1:
        return [
            f"{cheapest} is the method to use: it is the only one that is not shown to be worse than the best {where}."
        ]
    equal = ", ".join(label for label in results[0].compared if label in common and label != cheapest)
    return [
        f"{cheapest} is the method to use: of the methods that are not shown to be worse than the best {where}, it "
        f"needs the fewest multiply-accumulates (the others: {equal})."
    ]


def _list_reasons(results: Sequence[CaseResults]) -> list[str]:
    """Return why the comparisons of the leaders with the methods without training are not resolved."""
    reasons = dict.fromkeys(
        result.differences[result.baseline][result.leader].why.removeprefix("stand-in data; ")
        for result in results
        if result.baseline and result.leader and result.leader in result.differences.get(result.baseline, {})
    )
    return list(reasons)


def _describe_unequal_training(result: CaseResults) -> str:
    """Return the sentence about a case whose methods were trained for very different numbers of steps; else nothing."""
    steps = {label: result.runs[label][0].scores["steps"] for label in result.compared}
    *others, most = sorted(number for number in steps.values() if number) or [0]
    if not others or most <= 2 * max(others):
        return ""
    longest = next(label for label, number in steps.items() if number == most)
    return (
        f"On {result.case.name} {longest} was trained for {most:,} steps and the others for at most {max(others):,}, "
        "so their scores do not compare the methods."
    )


def _list_differences(results: Sequence[CaseResults]) -> list[DifferenceLine]:
    lines = [
        DifferenceLine(result.case, label, baseline, result.differences[baseline][label])
        for result in results
        if (baseline := result.baseline) and baseline in result.differences
        for label in result.compared
        if label in result.differences[baseline]
    ]
    return lines if len(lines) <= MAX_LINES else []


def _expand_names(labels: RowLabels) -> list[tuple[str, str]]:
    """Return the meaning of the names of the paper's models that the report shows."""
    names = {model: row.label for models in labels.values() for model, row in models.items()}
    known = {"lkca": names.get("lkca", "LKCA-Net"), "lkca_lr": names.get("lkca_lr", "LKCA-LR")}
    return [(names[model], text.format(**known)) for model, text in EXPANSIONS.items() if model in names]


def describe_data(
    settings: ReportSettings, manifests: Iterable[Mapping[str, Any]], splits: Iterable[Mapping[str, Any]]
) -> str:
    """Return the sizes of the scenes, their scales and their test images in words.

    Args:
        settings: The report.
        manifests: Manifests of the scenes.
        splits: Splits of the scenes.
    """
    scales: dict[str, list[str]] = {}
    images: dict[str, int] = {}
    for split in splits:
        scales.setdefault(split["scene"], []).append(f"×{split['scale']}")
        images[split["scene"]] = len(split["test"])
    same = len(set(images.values())) == 1
    parts = []
    for manifest in manifests:
        scene, (bands, rows, columns) = manifest["scene"], manifest["shape"]
        part = f"{settings.scenes[scene].title}: {rows} × {columns} pixels, {bands} bands"
        if scene in scales:
            part += f", {' and '.join(scales[scene])}" + ("" if same else f", {_count_images(images[scene])}")
        parts.append(part)
    if parts and images and same:
        parts[-1] += f"{'; each has' if len(images) > 1 else ','} {_count_images(next(iter(images.values())))}"
    return "; ".join(parts)


def _count_images(number: int) -> str:
    return f"{number} test image{'' if number == 1 else 's'}"


def describe_training(settings: ReportSettings, runs: Sequence[ReportRun]) -> str:
    """Return a sentence about the number of trainings, their steps and their time."""
    trained = [run for run in runs if run.scores["weights_sha256"]]
    seeds = f"seed{'s' * (len(settings.seeds) > 1)} {', '.join(map(str, settings.seeds))}"
    if not trained:
        return f"no training, {seeds}"
    steps = sorted({run.scores["steps"] for run in trained})
    seconds = sum(run.scores["seconds"]["training"] for run in trained)
    of_steps = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
    number = f"{len(trained)} training{'s' * (len(trained) > 1)}"
    return f"{number} of {of_steps} steps, {seeds}, {format_duration(seconds)} in all"


# Picture --------------------------------------------------------------------------------------------------------------


def _choose_highlight(settings: ReportSettings, results: Sequence[CaseResults]) -> Highlight | None:
    """Return a picture of the case whose leader is furthest above the method without training."""
    gains = {
        i: result.psnr[result.leader] - result.psnr[result.baseline] if result.baseline else 0.0
        for i, result in enumerate(results)
        if result.leader
    }
    if not gains:
        return None
    result = results[max(gains, key=lambda i: gains[i])]
    shown = [label for label in dict.fromkeys((result.baseline, result.leader)) if label]
    paths = {label: result.runs[label][0].path.with_name(IMAGE_FILE) for label in shown}
    truth, pictures, pixels = encode_details(paths)
    image = settings.scenes[result.case.scene].image
    psnr = {label: result.runs[label][0].scores["images"][image]["scores"]["MPSNR"] for label in shown}
    return Highlight(result.case, image + 1, pixels, truth, [(label, psnr[label], pictures[label]) for label in shown])
