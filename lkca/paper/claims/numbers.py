"""The numbers that claims are about, from the paper's tables or from our results."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any, Literal, NamedTuple

import numpy as np

from lkca.config.schema import Model
from lkca.paper.claims.logic import Truth, greater
from lkca.paper.columns import COST_UNITS, PRINTED_COLUMNS
from lkca.paper.statistics import (
    ImageScore,
    RunScores,
    Uncertain,
    VarianceComponent,
    estimate_mean,
    estimate_score,
    get_value,
)

COMPARISON_TABLES = {"chikusei": "V", "houston2018": "VI", "pavia_centre": "VII"}  # scene -> table of all methods
SCENES = tuple(COMPARISON_TABLES)
SCALES = (4, 8)
BANDS = {"chikusei": 128, "houston2018": 48, "pavia_centre": 102}  # in the paper

LIGHT_METHODS = ("VDSR", "3DFCNN")
HEAVY_METHODS = ("SSPSR", "MSDformer", "ESSAformer")
BASELINES = ("Bicubic", *LIGHT_METHODS, *HEAVY_METHODS)
LKCA_METHODS = ("LKCA-Net", "LKCA-LR", "LKCA-KD")
METHODS = (*BASELINES, *LKCA_METHODS)

MODELS = {  # row of Tables V to VII, the name of a method in claims -> key in `models` of config.yaml
    "Bicubic": "bicubic",
    "VDSR": "vdsr",
    "3DFCNN": "fcnn3d",
    "SSPSR": "sspsr",
    "MSDformer": "msdformer",
    "ESSAformer": "essaformer",
    "LKCA-Net": "lkca",
    "LKCA-LR": "lkca_lr",
    "LKCA-KD": "lkca_kd",
}
ABLATION_MODELS = {  # Table I to IV -> its row -> key in `models` of config.yaml
    "I": {"4": "lkca_4", "8": "lkca_8", "16": "lkca", "32": "lkca_32", "48": "lkca_48", "64": "lkca_64"},
    "II": {"d=1.00": "lkca_kd_d100", "d=0.75": "lkca_kd_d075", "d=0.66": "lkca_kd", "d=0.50": "lkca_kd_d050"},
    "III": {
        "alpha=1.000": "lkca_kd_a1000",
        "alpha=0.100": "lkca_kd_a0100",
        "alpha=0.050": "lkca_kd_a0050",
        "alpha=0.010": "lkca_kd",
        "alpha=0.005": "lkca_kd_a0005",
    },
    "IV": {"sam+grad+cos": "lkca_kd", "sam+grad": "lkca_kd_nocos"},
}

ROUNDING_ERROR = np.array([12**-0.5])  # standard deviation of rounding to a whole number


ImageError = Literal["mae", "mae_edges", "band_mean_rmse"]  # the first two are in scores.json


class MissingNumber(LookupError):
    """A number that a claim needs does not exist.

    Args:
        name: Name of the number; reasons in the results contain it.
    """

    def __init__(self, name: str) -> None:  # with it, the digest of the code contains the names
        super().__init__(name)


class Task(NamedTuple):
    """Super-resolution of a scene by a scale."""

    scene: str
    scale: int

    def __str__(self) -> str:
        return f"{self.scene} ×{self.scale}"


CHIKUSEI_X4, CHIKUSEI_X8 = Task("chikusei", 4), Task("chikusei", 8)
HOUSTON_X4, HOUSTON_X8 = Task("houston2018", 4), Task("houston2018", 8)
PAVIA_X4, PAVIA_X8 = Task("pavia_centre", 4), Task("pavia_centre", 8)
TASKS = (CHIKUSEI_X4, CHIKUSEI_X8, HOUSTON_X4, HOUSTON_X8, PAVIA_X4, PAVIA_X8)  # "the six settings"


def methods_except(*names: str) -> list[str]:
    """Return all methods of Tables V to VII except for these."""
    return [method for method in METHODS if method not in names]


def smallest(values: Iterable[Uncertain]) -> Uncertain:
    """Return the smallest of some numbers, with its own uncertainty."""
    return min(values, key=get_value)


def largest(values: Iterable[Uncertain]) -> Uncertain:
    """Return the largest of some numbers, with its own uncertainty."""
    return max(values, key=get_value)


def span(values: Iterable[Uncertain]) -> tuple[Uncertain, Uncertain]:
    """Return the smallest and the largest of some numbers."""
    values = list(values)
    return smallest(values), largest(values)


def better(left: Uncertain, right: Uncertain, score: str) -> Truth:
    """Test whether one value of a score is better than another."""
    return greater(left, right) if PRINTED_COLUMNS[score].direction > 0 else greater(right, left)


class Numbers:
    """A source of numbers. This base class has none: every number that a source does not have raises `MissingNumber`.

    Methods have the names of their rows in Tables V to VII, such as "LKCA-Net"; columns those of paper_tables.csv.
    """

    def value(self, method: str, column: str, task: Task) -> Uncertain:
        """Return a score or a cost of a method, as in Tables V to VII."""
        raise MissingNumber(f"{column} of {method} on {task.scene} x{task.scale}")

    def ablation(self, table: str, row: str, column: str) -> Uncertain:
        """Return a number as in Tables I to IV, all on Chikusei at ×4."""
        raise MissingNumber(f"{column} of {row} in Table {table}")

    def image_error(self, method: str, error: ImageError, task: Task) -> Uncertain:
        """Return an error of the reconstructed images that is not in the tables."""
        raise MissingNumber(error)

    def rank90(self, scene: str, weights: Literal["trained", "start"] = "trained") -> Uncertain:
        """Return the number of singular values that add up to 90 % of their sum, of LKCA-Net's upsampling layer at ×4.

        Args:
            scene: Scene that the network was trained on.
            weights: "trained", or "start" for untrained weights of PyTorch's default initialisation.
        """
        raise MissingNumber("rank90")

    def setting(self, model: str, path: str) -> float:
        """Return a number from a model's settings in config.yaml.

        Args:
            model: Key of the model.
            path: Keys below it, joined by dots: "train.learning_rate".
        """
        raise MissingNumber(f"the setting {path} of {model}")

    def teacher(self, model: str) -> str:
        """Return the key of the model that a distilled model learns from."""
        raise MissingNumber(f"the teacher of {model}")

    def grouped_rank(self, outputs: int, inputs: int, groups: int) -> int:
        """Return the rank of a grouped convolution with random weights, as one matrix of outputs × inputs."""
        raise MissingNumber("grouped_rank")

    def shortcut_error(self) -> float:
        """Return the largest difference between bicubic and LKCA-Net with an upsampling layer of zeros."""
        raise MissingNumber("shortcut_error")

    def mpsnr(self, method: str, task: Task) -> Uncertain:
        """Return the MPSNR of a method, dB."""
        return self.value(method, "MPSNR", task)

    def mpsnr_gain(self, method: str, other: str, task: Task) -> Uncertain:
        """Return the MPSNR of a method minus that of another, dB."""
        return self.mpsnr(method, task) - self.mpsnr(other, task)

    def ratio(self, column: str, method: str, other: str, task: Task) -> Uncertain:
        """Return a number of a method divided by that of another."""
        return self.value(method, column, task) / self.value(other, column, task)

    def percentage(self, column: str, method: str, other: str, task: Task) -> Uncertain:
        """Return a number of a method in percent of that of another."""
        return 100 * self.value(method, column, task) / self.value(other, column, task)


class PrintedNumbers(Numbers):
    """The numbers of a table, as printed and taken as exact.

    Args:
        lines: Rows as in lkca/paper/paper_tables.csv.
    """

    def __init__(self, lines: Iterable[Mapping[str, str]]) -> None:
        self._rows = {(line["table"], line["scene"], str(line["scale"]), line["row"]): line for line in lines}

    def value(self, method: str, column: str, task: Task) -> Uncertain:
        return self._cell(COMPARISON_TABLES[task.scene], method, column, task)

    def ablation(self, table: str, row: str, column: str) -> Uncertain:
        return self._cell(table, row, column, CHIKUSEI_X4)

    def _cell(self, table: str, row: str, column: str, task: Task) -> Uncertain:
        printed = self._rows.get((table, task.scene, str(task.scale), row), {}).get(column)
        if not printed:
            raise MissingNumber(f"{column} of {row} on {task.scene} x{task.scale} in Table {table}")
        return Uncertain(float(printed))


class MeasuredNumbers(Numbers):
    """The numbers of our results, with their uncertainty over test images and seeds.

    Args:
        scores: scores.json of all runs.
        spectra: spectrum.json of the runs that have one.
        models: Key of a model -> its settings.
    """

    def __init__(
        self,
        scores: Iterable[RunScores],
        spectra: Iterable[Mapping[str, Any]],
        models: Mapping[str, Model],
    ) -> None:
        self._runs: dict[tuple[str, int, str], list[RunScores]] = defaultdict(list)
        for run in scores:
            self._runs[run["scene"], run["scale"], run["model"]].append(run)
        self._ranks: dict[tuple[str, int, str], list[Mapping[str, int]]] = defaultdict(list)
        for run in spectra:
            self._ranks[run["scene"], run["scale"], run["model"]].append(run["layers"][0]["rank90"])
        self._models = models

    def value(self, method: str, column: str, task: Task) -> Uncertain:
        return self._column(method, MODELS[method], column, task)

    def ablation(self, table: str, row: str, column: str) -> Uncertain:
        return self._column(row, ABLATION_MODELS[table][row], column, CHIKUSEI_X4)

    def image_error(self, method: str, error: ImageError, task: Task) -> Uncertain:
        return self._score(method, MODELS[method], _band_mean_rmse if error == "band_mean_rmse" else error, task)

    def rank90(self, scene: str, weights: Literal["trained", "start"] = "trained") -> Uncertain:
        key = scene, 4, MODELS["LKCA-Net"]
        if key not in self._ranks or any(run["untrained"] for run in self._runs.get(key, [])):
            raise MissingNumber(f"singular values of a trained LKCA-Net on {scene} x4")
        ranks = np.array([[rank[weights]] for rank in self._ranks[key]], float)
        result = estimate_mean(ranks, images=None, seeds=(*key, weights))
        if len(ranks) > 1:  # without a rounding error, equal ranks would be certain
            rounding = VarianceComponent(ROUNDING_ERROR, len(ranks) - 1, 1)
            result.components["seeds", "whole numbers", scene, weights] = rounding
        return result

    def setting(self, model: str, path: str) -> float:
        settings: Any = self._models[model].model_dump() if model in self._models else None
        for key in path.split("."):
            settings = settings.get(key) if isinstance(settings, Mapping) else None
        if not isinstance(settings, int | float):
            raise MissingNumber(f"the setting {path} of {model}")
        return settings

    def teacher(self, model: str) -> str:
        distill = self._models[model].distill if model in self._models else None
        if distill is None:
            raise MissingNumber(f"the setting distill.teacher of {model}")
        return distill.teacher

    def grouped_rank(self, outputs: int, inputs: int, groups: int) -> int:
        blocks = np.random.default_rng(0).standard_normal((groups, outputs // groups, inputs // groups))
        return int(np.linalg.matrix_rank(blocks).sum())  # the rank of a block-diagonal matrix

    def shortcut_error(self) -> float:
        import torch  # slow, and no other claim needs it

        from lkca.data.resize import resize
        from lkca.models.layers import find_upsamplers
        from lkca.models.registry import build

        model = self._models.get(MODELS["LKCA-Net"])
        if model is None:
            raise MissingNumber("the model lkca")
        upsampler = model.upsampler.model_dump() if model.upsampler else None
        net = build(model.arch, 31, 4, model.args, upsampler).eval()
        image = torch.rand(1, 31, 16, 16, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            for layer in find_upsamplers(net).values():
                for parameter in layer.parameters():
                    parameter.zero_()
            return float((net(image) - resize(image, 4)).abs().max())

    def _column(self, row: str, model: str, column: str, task: Task) -> Uncertain:
        if column not in COST_UNITS:
            return self._score(row, model, column, task)
        name, unit = COST_UNITS[column]
        return Uncertain(self._find_runs(row, model, task)[0][name] / unit)

    def _score(self, row: str, model: str, score: ImageScore, task: Task) -> Uncertain:
        runs = self._find_runs(row, model, task)
        if runs[0]["untrained"]:
            raise MissingNumber(f"{row} on {task.scene} x{task.scale} whose training saw all patches once")
        return estimate_score(runs, score)

    def _find_runs(self, row: str, model: str, task: Task) -> list[RunScores]:
        """Return the runs of a model, one for each seed."""
        if (*task, model) not in self._runs:
            raise MissingNumber(f"{row} on {task.scene} x{task.scale}")
        return self._runs[(*task, model)]


def _band_mean_rmse(image: Mapping[str, Any]) -> float:
    return fmean(image["bands"]["RMSE"])
