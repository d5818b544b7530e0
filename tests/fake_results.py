"""Fake results in the file formats of the workflow. All numbers follow from the arguments, so that tests know them."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from lkca.config.settings import FigureSettings, ReportSettings, TableSettings
from lkca.core.files import json_digest, sha256
from lkca.report import page, tables
from lkca.report.figures import draw_figure
from lkca.scoring import metrics

PRINTED_SCORES = {"MPSNR": 40.0, "MSSIM": 0.95, "SAM": 2.0, "CC": 0.96, "RMSE": 0.01, "ERGAS": 5.0}
SCORES = dict.fromkeys(metrics.SCORES, 0.5) | PRINTED_SCORES
ERRORS = {"mae": 0.008, "mae_edges": 0.02}
SPREAD = {"MPSNR": 1.0, "MSSIM": 0.01, "SAM": 0.25, "CC": 0.01, "RMSE": 0.001, "ERGAS": 0.5}
SPREAD = dict.fromkeys(SCORES, 0.1) | SPREAD
SPREAD |= {"mae": 0.001, "mae_edges": 0.002}  # deviations of images, blocks and bands from their mean
BANDS, BLOCKS = 128, 16
COMPOSITE = [31, 98, 61]
TABLE_FILES = ("csv", "md", "tex", "html", "verdicts.csv", "comparisons.csv")
PRINTED = Path(__file__).parents[1] / "lkca/paper/paper_tables.csv"
STAND_IN = "Stand-in data: 5 % of <the> real scene & nothing more."
WAVELENGTH_SOURCE = "evenly spaced between the first and the last one"
HOSTILE = "<script>alert(1)</script>"


def write_scene(root: Path, name: str = "chikusei", **changes: Any) -> Path:
    """Write the manifest of a scene of 2304 x 2048 pixels; its bands are evenly spaced from 363 to 1018 nm."""
    path = root / "scenes" / f"{name}.json".replace("/", "_")
    _write_json(
        path,
        {
            "scene": name,
            "cube": "chikusei",
            "shape": [BANDS, 2304, 2048],
            "minimum": 0.0,
            "maximum": 15133.0,
            "divisor": 15133.0,
            "bands": list(range(1, BANDS + 1)),
            "nanometres": np.linspace(363, 1018, BANDS).tolist(),
            "fwhm": None,
            "wavelength_source": WAVELENGTH_SOURCE,
            "invalid_pixels": 0,
            "mirror": [],
            "areas": [
                {
                    "file": f"data/{name}.zip/{name}.bsq",
                    "use": "both",
                    "row": 0,
                    "rows": 2304,
                    "columns": 2048,
                    "crop": [106, 2410, 143, 2191],
                    "sha256": "5a" * 32,
                }
            ],
            "sha256": "c0" * 32,
            **changes,
        },
    )
    return path


def write_split(root: Path, name: str = "chikusei", scale: int = 4) -> Path:
    """Write a split with 7 training patches, 3 validation patches and 2 test images."""
    path = root / "splits" / f"{name}_x{scale}.json".replace("/", "_")
    windows = {"train": [[512, 32 * i] for i in range(7)], "validation": [[2240, 32 * i] for i in range(3)]}
    windows["test"] = [[0, 0, 512, 512], [0, 512, 512, 512]]
    numbers = {part: len(corners) for part, corners in windows.items()}
    numbers["grid"] = 11
    facts = {"scene": name, "scale": scale, "size": 64, "stride": 32, "numbers": numbers}
    _write_json(path, {**facts, **windows, "sha256": "ab" * 32})
    return path


def write_run(
    root: Path,
    model: str,
    *,
    scene: str = "chikusei",
    scale: int = 4,
    seed: int = 3000,
    params: int = 3_707_136,
    upsampler_params: int = 2_361_344,
    macs: int = 867_000_000,
    steps: int = 1200,
    untrained: bool = False,
    max_rss: str | None = "1536.0",
    **scores: float | list[float],
) -> Path:
    """Write a finished run: run.json, scores.json, history.csv, spectrum.json, image.npz and two benchmark files.

    Args:
        max_rss: The peak memory in MiB that Snakemake measured for the training; None for no benchmark files.
        scores: The scores and errors that differ from SCORES and ERRORS: a list with a number for each test image, or
            their mean. With a mean, the images are spaced evenly around it: of two images the first has SPREAD less,
            the second SPREAD more. Without any list there are two images. Bands and blocks of an image are spaced
            evenly within SPREAD around its number; the order of the blocks follows from model, seed and image.

    Returns:
        The path of scores.json.
    """
    folder = root / "runs" / f"{scene}_x{scale}".replace("/", "_") / model.replace("/", "_") / f"seed{seed}"
    identity = {"scene": scene, "scale": scale, "model": model, "seed": seed}
    args = {"arch": "lkca", "args": {"width": 128}, "upsampler": {"groups": 1}, "train": {"epochs": 3}, "distill": None}
    digests = {"scene_sha256": "c0" * 32, "split_sha256": "ab" * 32, "teacher_sha256": None}
    _write_json(folder / "run.json", {"experiment": "demo", **identity, "bands": BANDS, **args, **digests})
    if steps:
        _write_history(folder / "history.csv", steps)
        _write_spectrum(folder / "spectrum.json", identity)
    if max_rss:
        for name, peak in (("train", max_rss), ("evaluate", "NA")):
            (folder / f"{name}.benchmark.tsv").write_text(f"s\th:m:s\tmax_rss\n3800.0\t1:03:20\t{peak}\n")
    _write_image(folder / "image.npz", blur=1 + seed % 7 + len(model) % 5)
    images = _images({**SCORES, **ERRORS, **scores}, [seed, *model.encode()])
    content = {
        "experiment": "demo",
        **identity,
        "params": params,
        "macs": macs,
        "upsampler_params": upsampler_params,
        "steps": steps,
        "untrained": untrained,
        "epoch": 2 if steps else None,
        "seconds": {"training": 3725.0 if steps else 0.0, "evaluation": 12.3},
        "mean": {name: float(np.mean([image["scores"][name] for image in images])) for name in SCORES},
        "images": images,
        "device": "cpu",
        "threads": 2,
        "commit": "abc1234 with uncommitted changes",
        "versions": {"python": "3.11.9", "torch": "2.9.0"},
        "run_sha256": sha256(folder / "run.json"),
        "weights_sha256": "11" * 32 if steps else None,
        "history_sha256": sha256(folder / "history.csv") if steps else None,
        "image_sha256": sha256(folder / "image.npz"),
    }
    _write_json(folder / "scores.json", {**content, "digest": json_digest(content)})
    return folder / "scores.json"


def complete_scores(content: dict[str, Any]) -> dict[str, Any]:
    """Return a scores.json with the fields that `content` lacks, or has as None, and that its test does not need."""
    image = {"mae": 0.0, "mae_edges": 0.0, "bands": {}, "without_block": {}}
    images = []
    for given in content["images"]:
        numbers = SCORES | given["scores"]
        lists = {"bands": {"MPSNR": [numbers["MPSNR"]]}, "without_block": {name: [None] for name in numbers}}
        entry = image | {"window": [0, 0, 1, 1]} | given | {"scores": numbers}
        images.append(entry | {name: lists[name] | entry[name] for name in lists})
    facts = {
        "params": 0,
        "upsampler_params": 0,
        "macs": 0,
        "steps": 0,
        "untrained": False,
        "device": "cpu",
        "threads": 1,
    }
    facts |= {"seconds": {"training": 0.0, "evaluation": 0.0}, "versions": {}, "run_sha256": "11" * 32}
    facts |= {"epoch": None, "commit": None, "weights_sha256": None, "history_sha256": None, "image_sha256": "22" * 32}
    given = {name: value for name, value in content.items() if value is not None}
    given |= {name: round(given[name]) for name in ("params", "macs") if name in given}
    return {**facts, **given, "mean": SCORES | content.get("mean", {}), "images": images}


def write_runs(root: Path, model: str, seeds: dict[int, dict[str, float | list[float]]], **settings: Any) -> list[Path]:
    """Write runs of one model that differ in their seeds: seed -> the scores of `write_run`."""
    return [write_run(root, model, seed=seed, **settings, **scores) for seed, scores in seeds.items()]


def table_settings(**changes: Any) -> TableSettings:
    """Return the settings of a small Table V."""
    settings = {
        "name": "V",
        "title": "Quantitative comparison",
        "scene": "chikusei",
        "scene_title": "Chikusei",
        "scales": [4],
        "header": "Method",
        "rows": {"Bicubic": "bicubic", "VDSR": "vdsr", "SSPSR": None, "LKCA-Net": "lkca"},
        "seeds": [3000],
        "stand_in": None,
    }
    return TableSettings(**{**settings, **changes})


def write_table(root: Path, scores: list[Path], **changes: Any) -> dict[str, str]:
    """Write the table that `table_settings` describes and return the texts of its files, by suffix."""
    files = {suffix: root / f"table.{suffix}" for suffix in TABLE_FILES}
    tables.write_table(table_settings(**changes), scores, PRINTED, *files.values())
    return {suffix: path.read_text(encoding="utf-8") for suffix, path in files.items()}


def figure_settings(
    kind: str,
    *,
    scenes: dict[str, str] | None = None,
    zoom: list[int] | None = None,
    image: int = 0,
    **changes: Any,
) -> FigureSettings:
    """Return the settings of a small figure; `scenes`: name -> title, by default Chikusei only."""
    pictures = {"image": image, "zoom": zoom}
    settings = {
        "name": "6",
        "kind": kind,
        "title": "Composites and error maps of a test image",
        "scenes": {name: {"title": title, **pictures} for name, title in (scenes or {"chikusei": "Chikusei"}).items()},
        "scale": 4,
        "rows": {"Bicubic": "bicubic", "VDSR": "vdsr", "SSPSR": None, "LKCA-Net": "lkca"},
        "seeds": [3000],
        "stand_in": None,
        **changes,
    }
    return FigureSettings(**settings, looks={label: i for i, label in enumerate(settings["rows"])})


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def _images(numbers: dict[str, float | list[float]], seed: list[int]) -> list[dict[str, Any]]:
    """Return the entries of scores.json for the test images, as `write_run` describes them."""
    count = next((len(values) for values in numbers.values() if isinstance(values, list)), 2)
    images = []
    for i in range(count):
        order = np.random.default_rng([i, *seed]).permutation(np.linspace(-1, 1, BLOCKS))
        numbers_of_image = {
            name: values[i] if isinstance(values, list) else values + SPREAD[name] * (2 * i - count + 1)
            for name, values in numbers.items()
        }
        images.append(
            {
                "window": [0, 512 * i, 512, 512],
                "scores": {name: numbers_of_image[name] for name in SCORES},
                "bands": {
                    name: (numbers_of_image[name] + SPREAD[name] * np.linspace(-1, 1, BANDS)).tolist()
                    for name in ("MPSNR", "MSSIM", "CC", "RMSE")
                },
                "without_block": {
                    name: (numbers_of_image[name] - SPREAD[name] * order / (BLOCKS - 1)).tolist() for name in SCORES
                },
                **{name: numbers_of_image[name] for name in ERRORS},
            }
        )
    return images


def _write_history(path: Path, steps: int) -> None:
    """Write three epochs; the loss falls from 0.5 to 0.125, the validation MPSNR ends at 38.25."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        names = ["epoch", "steps", "loss", "loss_h", "loss_kd", "val_l1", "val_mpsnr", "learning_rate", "seconds"]
        writer.writerow(names)
        for epoch, loss, mpsnr in ((1, 0.5, 30.5), (2, 0.25, 38.5), (3, 0.125, 38.25)):
            writer.writerow([epoch, epoch * steps // 3, loss, loss, "", 0.01, mpsnr, 0.002, epoch * 1241.0])


def _write_spectrum(path: Path, identity: dict[str, Any]) -> None:
    """Write two layers of ten values: after training the first has 91 % of the sum, at the start all are equal."""
    values = {"trained": [91.0] + [1.0] * 9, "start": [1.0] * 10, "rank90": {"trained": 1, "start": 9}}
    _write_json(path, {**identity, "layers": [{"name": f"up.{i}", "shape": [10, 16], **values} for i in range(2)]})


def _write_image(path: Path, blur: int) -> None:
    """Write stripes as ground truth and a reconstruction that is brighter than them.

    It is brighter by `blur` hundredths, and by 0.5 in the square (8:16, 40:48). A true spectrum falls from the pixel's
    mean to half of it; the reconstructed one is higher by the pixel's error.
    """
    rows, columns = np.indices((64, 64))
    hr = np.stack([(rows // 4 % 2 + columns / 64) / 2, (columns // 4 % 2 + rows / 64) / 2, (rows + columns) / 128], -1)
    error = np.full((64, 64), blur / 100)
    error[8:16, 40:48] = 0.5
    grid = (2 * np.arange(12) + 1) * 64 // 24
    spectra = hr.mean(-1)[grid[:, None], grid] * np.linspace(1, 0.5, BANDS)[:, None, None]
    np.savez(
        path,
        hr=np.float32(hr),
        sr=np.float32(hr + error[..., None]),
        bands=np.minimum(COMPOSITE, BANDS),
        error=np.float32(error),
        rows=grid,
        columns=grid,
        spectra_hr=np.float32(spectra),
        spectra_sr=np.float32(spectra + error[grid[:, None], grid]),
    )


def write_claims(root: Path, word: str = "word") -> Path:
    """Write claims.json and claims.csv: three claims of different outcomes, with `word` in every text."""
    checked = []
    for name, section, paper, ours, value in (
        ("A1", "Abstract", "holds", "reproduced", {"value": 2.0, "low": 1.5, "high": 2.5}),
        ("C10", "IV-C", "fails", "contradicted", [{"value": 0.25, "low": None, "high": None}] * 2),
        ("C9", "IV-C", "cannot be told", "not run", None),
    ):
        checked.append(
            {
                "id": name,
                "section": section,
                "kind": "ranking",
                "says": f"Claim {name} says {word}.",
                "needs": "tables",
                "expression": f"v('{word}', 'MPSNR') > 0",
                "replication": None,
                "note": f"A note, {word}.",
                "paper": {"outcome": paper, "why": f"Print: {word}.", "values": {"gain, dB": 0.125} if value else {}},
                "ours": {
                    "outcome": ours,
                    "why": f"Ours: {word}.",
                    "points_to": None,
                    "values": {"gain, dB": value} if value else {},
                },
            }
        )
    contradictions = [{"says": f"The paper says two things, {word}.", "about": ["C10", "A1"]}]
    _write_json(root / "claims.json", {"claims": checked, "contradictions": contradictions})
    (root / "claims.csv").write_text(f'id,says\nA1,"{word}"\n', encoding="utf-8")
    return root / "claims.json"


def write_efficiency(
    root: Path,
    names: Iterable[str],
    scene: str = "chikusei",
    device: str = "AMD EPYC",
    disturbed: dict[str, str] | None = None,
) -> Path:
    """Write measured times at x4: 1 ms for the first model, for each further one twice the time of the one before.

    Ratios are exact, with an interval of 2 % to both sides, if lkca_lr is among the models.

    The model "twin" is the same network as lkca_lr, if that is among the models, and has the same numbers.

    Args:
        names: The models.
        disturbed: Model -> why its times cannot be quoted.
    """
    disturbed, models = disturbed or {}, list(names)
    ratios = {model: 2.0 ** (i - models.index("lkca_lr")) for i, model in enumerate(models) if "lkca_lr" in models}
    models = {
        model: {
            "latency_s": 0.001 * 2**i,
            "latency_low_s": 0.0009 * 2**i,
            "latency_high_s": 0.0012 * 2**i,
            "batch": 8,
            "throughput_per_s": None if model in disturbed else 4000 / 2**i,
            "memory_mib": 512.0,
            "energy_j": None,
            "time_ratio": {"value": ratios[model], "low": 0.98 * ratios[model], "high": 1.02 * ratios[model]}
            if model in ratios and not {model, "lkca_lr"} & disturbed.keys()
            else None,
            "disturbed": disturbed.get(model, ""),
        }
        for i, model in enumerate(models)
    }
    if "lkca_lr" in models:
        models["twin"] = models["lkca_lr"]
    path = root / "efficiency" / f"{scene}_x4.json".replace("/", "_")
    measured = [{"device": "cpu", "name": device, "threads": 1, "processors": 2, "models": models}]
    facts = {"scene": scene, "scale": 4, "bands": BANDS, "lr_side": 16, "commit": None, "versions": {}}
    _write_json(path, {**facts, "measured": measured})
    return path


# Scores of the three test images of `write_report` that differ from SCORES: model -> seed -> scores
REPORT_RUNS = {
    "bicubic": {3000: {"MPSNR": [37.0, 38.0, 39.0]}, 3001: {"MPSNR": [37.0, 38.0, 39.0]}},
    "lkca_lr": {3000: {"MPSNR": [8.0, 9.0, 10.0]}, 3001: {"MPSNR": [8.5, 9.5, 10.5]}},
    "lkca": {3000: {"MPSNR": [38.9, 40.0, 40.8]}, 3001: {"MPSNR": [39.2, 40.0, 41.1]}},
    "sspsr": {3000: {"MPSNR": [20.0, 21.0, 22.0]}, 3001: {"MPSNR": [20.5, 21.5, 22.5]}},
}
REPORT_MACS = {"bicubic": 0, "lkca_lr": 338_000_000, "lkca": 867_000_000, "sspsr": 43_484_000_000}


def write_report(
    root: Path,
    *,
    stand_in: str | None = None,
    word: str | None = None,
    scene: str | None = None,
    measured: bool = True,
    manifest: dict[str, Any] | None = None,
    facts: dict[str, Any] | None = None,
) -> Path:
    """Write a report of two tables and three kinds of figures, and all its source files.

    It has the runs of REPORT_RUNS and a teacher that is in no table.

    Args:
        word: Replaces every text and name that a user may choose: scene, model, titles, device, words of claims.
        scene: Name of the scene, by default `word` or chikusei; the paper prints numbers of chikusei.
        measured: Whether time and memory were measured.
        manifest: Entries of the manifest that differ from those of `write_scene`.
        facts: Facts about the scene in the settings that differ.

    Returns:
        The path of the page.
    """
    scene, model, seeds = scene or word or "chikusei", word or "lkca", [3000, 3001]
    scores = _write_report_runs(root, scene, model)
    teacher = write_run(root, "teacher", scene=scene, max_rss="NA")
    spectra = [scores[4].with_name("spectrum.json")]
    rows = {"Bicubic": "bicubic", "LKCA-LR": "lkca_lr", word or "LKCA-Net": model, "SSPSR": "sspsr", "VDSR": None}
    rows["3DFCNN"] = "not possible: its groups do not divide"
    table_rows = {"V": rows, "own": {"Bicubic": "bicubic", "16": model, "32": "twin"}}
    scene_manifest = write_scene(root, scene, **(manifest or {}))
    report_tables, report_figures = [], []
    for name, rows_of_table in table_rows.items():
        title = f"Table of {word or 'methods'}"
        table = {"name": name, "title": title, "scene": scene, "scales": [4], "header": "Method", "rows": rows_of_table}
        settings = table_settings(scene_title=scene, seeds=seeds, stand_in=stand_in, **table)
        files = [root / f"tables/{name}.{suffix}" for suffix in TABLE_FILES]
        tables.write_table(settings, scores, PRINTED, *files)
        report_tables.append(table)
    for name, kind in {"1": "share", "4": "spectrum", "6": "composite"}.items():
        changes = {"title": f"A {kind} of {word or 'methods'}", "rows": dict(list(rows.items())[:3])}
        settings = figure_settings(kind, scenes={scene: scene}, stand_in=stand_in, **changes)
        images = [path.with_name("image.npz") for path in scores]
        files = [root / f"figures/{name}.{suffix}" for suffix in ("png", "pdf")]
        draw_figure(settings, scores, spectra, images, [], [], [scene_manifest], *files)
        report_figures.append({"name": name, "kind": kind, "scenes": [scene], "scale": 4, **changes})
    macs = {model if name == "lkca" else name: number for name, number in REPORT_MACS.items()}
    settings = ReportSettings(
        experiment="demo",
        title=word or "A fake result",
        stand_in=stand_in,
        seeds=seeds,
        adopted=[],
        scenes={
            scene: {
                "title": scene,
                "image": 0,
                "sensor": "Headwall Hyperspec-VNIR-C",
                "gsd_m": 2.5,
                "source": f"https://example.org/{scene}",
                "citation": f"N. Yokoya and A. Iwasaki, {scene}",
                "terms": "CC BY 3.0",
                **(facts or {}),
            }
        },
        tables=report_tables,
        figures=report_figures,
        looks={name: i for i, name in enumerate(rows.values()) if name},
    )
    page.write_report(
        settings,
        scenes=[scene_manifest],
        splits=[write_split(root, scene)],
        runs=[path.with_name("run.json") for path in (*scores, teacher)],
        tables=[root / f"tables/{table['name']}.html" for table in report_tables],
        figures=[root / f"figures/{figure['name']}.png" for figure in report_figures],
        spectra=spectra,
        efficiency=[write_efficiency(root, macs, scene, word or "CPU")] if measured else [],
        claims=write_claims(root, word or "something"),
        printed=PRINTED,
        out=root / "report.html",
        provenance=root / "report.json",
    )
    return root / "report.html"


def _write_report_runs(root: Path, scene: str, lkca: str) -> list[Path]:
    """Write the runs of REPORT_RUNS, the model lkca under the name `lkca`; return the paths of scores.json."""
    paths = []
    for model, seeds in REPORT_RUNS.items():
        settings: dict[str, Any] = {"steps": 2 if model == "sspsr" else 1200, "untrained": model == "sspsr"}
        if model == "bicubic":
            settings = {"steps": 0, "params": 0, "upsampler_params": 0, "max_rss": None}
        name = lkca if model == "lkca" else model
        paths += write_runs(root, name, seeds, scene=scene, macs=REPORT_MACS[model], **settings)
    return paths
