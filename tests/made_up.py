"""Made-up results in the pipeline's file formats; every number follows from the arguments, so tests know the truth."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

SCORES = {"MPSNR": 40.0, "MSSIM": 0.95, "SAM": 2.0, "CC": 0.96, "RMSE": 0.01, "ERGAS": 5.0}
STAND_IN = "Stand-in data: 5 % of <the> real scene & nothing more."
HOSTILE = "<script>alert(1)</script>"


def scene(root: Path, name: str = "chikusei") -> Path:
    """The manifest of a scene of 128 bands, 2304 x 2048."""
    path = root / "scenes" / f"{name}.json".replace("/", "_")
    _json(
        path,
        {
            "scene": name,
            "cube": "chikusei",
            "shape": [128, 2304, 2048],
            "minimum": 0.0,
            "maximum": 15133.0,
            "divisor": 15133.0,
            "bands": list(range(1, 129)),
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
        },
    )
    return path


def split(root: Path, name: str = "chikusei", scale: int = 4) -> Path:
    """A split with 7 training patches, 3 validation patches and 2 test images."""
    path = root / "splits" / f"{name}_x{scale}.json".replace("/", "_")
    windows = {"train": [[512, 32 * i] for i in range(7)], "validation": [[2240, 32 * i] for i in range(3)]}
    test = [[0, 0, 512, 512], [0, 512, 512, 512]]
    _json(path, {"scene": name, "scale": scale, "size": 64, "stride": 32, **windows, "test": test, "sha256": "ab" * 32})
    return path


def run(
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
    **scores: float,
) -> Path:
    """A finished run's folder: run.json, scores.json, history.csv, spectrum.json, image.npz and two benchmark files.

    Args:
        max_rss: The peak memory in MiB that Snakemake wrote for the training, None for no benchmark files.
        scores: What differs from SCORES. Of the two test images the first scores that, the second one more.

    Returns:
        The path of scores.json.
    """
    folder = root / "runs" / f"{scene}_x{scale}".replace("/", "_") / model.replace("/", "_") / f"seed{seed}"
    who = {"scene": scene, "scale": scale, "model": model, "seed": seed}
    first = {**SCORES, **scores}
    args = {"arch": "lkca", "args": {"width": 128}, "upsampler": {"groups": 1}, "train": {"epochs": 3}, "distill": None}
    digests = {"code": "c0de", "scene_sha256": "c0" * 32, "split_sha256": "ab" * 32, "teacher_sha256": None}
    _json(folder / "run.json", {"experiment": "demo", **who, "bands": 128, **args, **digests})
    _json(
        folder / "scores.json",
        {
            "experiment": "demo",
            **who,
            "params": params,
            "macs": macs,
            "upsampler_params": upsampler_params,
            "steps": steps,
            "untrained": untrained,
            "epoch": 2 if steps else None,
            "seconds": {"training": 3725.0 if steps else 0.0, "evaluation": 12.3},
            "mean": first,
            "images": [
                {"window": [0, 512 * i, 512, 512], "scores": {k: v + i for k, v in first.items()}, "bands": {}}
                for i in range(2)
            ],
            "device": "cpu",
            "threads": 2,
            "commit": "abc1234 with uncommitted changes",
            "versions": {"python": "3.11.9", "torch": "2.9.0"},
            "run_sha256": "00" * 32,
            "weights_sha256": "11" * 32 if steps else None,
        },
    )
    if steps:
        _history(folder / "history.csv", steps)
        _spectrum(folder / "spectrum.json", who)
    if max_rss:
        for name, peak in (("train", max_rss), ("evaluate", "NA")):
            (folder / f"{name}.benchmark.tsv").write_text(f"s\th:m:s\tmax_rss\n3800.0\t1:03:20\t{peak}\n")
    _image(folder / "image.npz", blur=1 + seed % 7 + len(model) % 5)
    return folder / "scores.json"


def table_settings(**changes: Any) -> str:
    """Settings of a small Table V."""
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
    return json.dumps({**settings, **changes})


def figure_settings(kind: str, **changes: Any) -> str:
    """Settings of a small figure of one scene."""
    settings = {
        "name": "6",
        "kind": kind,
        "title": "Composites and error maps of a test image",
        "scenes": ["chikusei"],
        "scene_titles": ["Chikusei"],
        "scale": 4,
        "rows": {"Bicubic": "bicubic", "VDSR": "vdsr", "SSPSR": None, "LKCA-Net": "lkca"},
        "zoom": None,
        "image": 0,
        "composite": [31, 98, 61],
        "seed": 3000,
        "stand_in": None,
    }
    return json.dumps({**settings, **changes})


def _json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def _history(path: Path, steps: int) -> None:
    """Three epochs; the loss goes from 0.5 to 0.125, the validation MPSNR ends at 38.25."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        names = ["epoch", "steps", "loss", "loss_h", "loss_kd", "val_l1", "val_mpsnr", "learning_rate", "seconds"]
        writer.writerow(names)
        for epoch, loss, mpsnr in ((1, 0.5, 30.5), (2, 0.25, 38.5), (3, 0.125, 38.25)):
            writer.writerow([epoch, epoch * steps // 3, loss, loss, "", 0.01, mpsnr, 0.002, epoch * 1241.0])


def _spectrum(path: Path, who: dict[str, Any]) -> None:
    """Two layers of ten values, 91 % of the sum in the first; at the start ten equal ones, so nine hold 90 %."""
    values = {"trained": [91.0] + [1.0] * 9, "start": [1.0] * 10, "rank90": {"trained": 1, "start": 9}}
    _json(path, {**who, "layers": [{"name": f"up.{i}", "shape": [10, 16], **values} for i in range(2)]})


def _image(path: Path, blur: int) -> None:
    """Stripes as truth; the reconstruction misses them by `blur` hundredths, most in the square (8:16, 40:48)."""
    rows, columns = np.indices((64, 64))
    hr = np.stack([(rows // 4 % 2 + columns / 64) / 2, (columns // 4 % 2 + rows / 64) / 2, (rows + columns) / 128], -1)
    error = np.full((64, 64), blur / 100)
    error[8:16, 40:48] = 0.5
    np.savez(path, hr=np.float32(hr), sr=np.float32(hr + error[..., None]), error=np.float32(error))


def report(root: Path, *, stand_in: str | None = None, title: str = "A made-up result", **names: str) -> Path:
    """A report of two tables and the three kinds of figures, from two runs and a teacher that was never scored.

    Args:
        names: scene and model, where they shall not be chikusei and lkca.
    """
    from lkca.figures import figure
    from lkca.report import report
    from lkca.tables import table

    scene_name, model = names.get("scene", "chikusei"), names.get("model", "lkca")
    scores = [run(root, "bicubic", scene=scene_name, params=0, upsampler_params=0, steps=0, max_rss=None)]
    scores.append(run(root, model, scene=scene_name, seed=3000))
    unscored = run(root, "teacher", scene=scene_name, max_rss="NA")
    unscored.unlink()
    shared = {
        "scene_title": scene_name,
        "stand_in": stand_in,
        "rows": {"Bicubic": "bicubic", model: model, "SSPSR": None},
    }
    printed = Path(__file__).parents[1] / "workflow/resources/paper_tables.csv"
    tables = {"V": "Comparison", "own": "A table of our own"}
    for name, heading in tables.items():
        written = [root / f"tables/{name}.{suffix}" for suffix in ("csv", "md", "tex", "html")]
        table(table_settings(name=name, title=heading, scene=scene_name, **shared), scores, printed, *written)
    figures = {"1": ("share", "Parameters"), "4": ("spectrum", "Singular values"), "6": ("composite", "Composites")}
    del shared["scene_title"]
    spectra, images = [scores[1].with_name("spectrum.json")], [path.with_name("image.npz") for path in scores]
    for name, (kind, heading) in figures.items():
        settings = figure_settings(kind, title=heading, scenes=[scene_name], scene_titles=[scene_name], **shared)
        figure(settings, scores, spectra, images, root / f"figures/{name}.png", root / f"figures/{name}.pdf")
    settings = {
        "experiment": "demo",
        "title": title,
        "stand_in": stand_in,
        "seeds": [3000],
        "scenes": {
            scene_name: {
                "title": scene_name,
                "sensor": "Headwall Hyperspec-VNIR-C",
                "gsd_m": 2.5,
                "nanometres": [363, 1018],
                "source": f"https://example.org/{scene_name}",
                "citation": f"N. Yokoya and A. Iwasaki, {scene_name}",
                "terms": "CC BY 3.0",
            }
        },
        "tables": [{"name": name, "title": heading} for name, heading in tables.items()],
        "figures": [{"name": name, "title": heading} for name, (_, heading) in figures.items()],
    }
    report(
        json.dumps(settings),
        [scene(root, scene_name)],
        [split(root, scene_name)],
        [path.with_name("run.json") for path in (*scores, unscored)],
        [root / f"tables/{name}.html" for name in tables],
        [root / f"figures/{name}.png" for name in figures],
        root / "report.html",
    )
    return root / "report.html"
