"""Results with the numbers that the paper prints, as if they were ours, for tests of claims."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lkca.config.load import read_config
from lkca.core.files import read_csv
from lkca.paper.claims.numbers import ABLATION_MODELS, MODELS, MeasuredNumbers
from lkca.paper.columns import PRINTED_SCORES
from tests.conftest import REPOSITORY

LINES = read_csv(REPOSITORY / "lkca/paper/paper_tables.csv")
SETTINGS = read_config([REPOSITORY / "config.yaml"]).models
RANKS = {"chikusei": [60, 61, 62], "houston2018": [58, 59, 60], "pavia_centre": [130, 131, 132]}


def runs(
    noise: float = 0.0,
    seeds: Sequence[int] = (3000, 3001, 3002),
    images: int = 4,
    change: Callable[[str, int, str], dict[str, float]] = lambda *cell: {},
) -> list[dict[str, Any]]:
    """Return scores.json of runs whose scores have the printed mean over images and seeds.

    Args:
        noise: Standard deviation over images and over seeds, as a share of the number.
        seeds: Seeds of each model.
        images: Number of test images.
        change: Scene, scale and row -> the scores that differ from print.
    """
    cells: dict[tuple[str, int, str], dict[str, float]] = {}
    for line in reversed(LINES):  # Tables V to VII first: the others repeat some of their rows, without the costs
        model = ABLATION_MODELS.get(line["table"], MODELS)[line["row"]]
        numbers = {name: float(line[name] or 0) for name in ("Param_M", "MACs_G", *PRINTED_SCORES)}
        changed = change(line["scene"], int(line["scale"]), line["row"])
        cells.setdefault((line["scene"], int(line["scale"]), model), numbers | changed)
    rng, result = np.random.default_rng(0), []
    for (scene, scale, model), cell in sorted(cells.items()):
        trained = SETTINGS[model].train is not None
        drawn = rng.normal(0, noise, (len(seeds), len(PRINTED_SCORES), images))
        deviations = drawn - drawn.mean((0, 2), keepdims=True) if trained else 0 * drawn
        for seed, deviation in zip(seeds, deviations, strict=True):
            scores = [
                {name: cell[name] * (1 + deviation[k][i]) for k, name in enumerate(PRINTED_SCORES)}
                for i in range(images)
            ]
            result.append(
                {
                    "scene": scene,
                    "scale": scale,
                    "model": model,
                    "seed": seed,
                    "params": cell["Param_M"] * 1e6,
                    "macs": cell["MACs_G"] * 1e9,
                    "weights_sha256": "11" * 32 if trained else None,
                    "untrained": False,
                    "images": [
                        {
                            "window": [0, 512 * i, 512, 512],
                            "bands": {"RMSE": [0.9 * cell["RMSE"]]},
                            "mae": cell["RMSE"],
                            "mae_edges": cell["RMSE"],
                            "scores": scores[i],
                        }
                        for i in range(images)
                    ],
                }
            )
    return result


def spectra(ranks: dict[str, list[int]] = RANKS) -> list[dict[str, Any]]:
    """Return spectrum.json of LKCA-Net at ×4: for each scene a rank for each seed."""
    return [
        {
            "scene": scene,
            "scale": 4,
            "model": "lkca",
            "seed": seed,
            "layers": [{"rank90": {"trained": rank, "start": 500}}],
        }
        for scene, numbers in ranks.items()
        for seed, rank in enumerate(numbers)
    ]


def numbers(**options: Any) -> MeasuredNumbers:
    """Return the numbers of all runs and spectra; the options are those of `runs`."""
    return MeasuredNumbers(runs(**options), spectra(), SETTINGS)
