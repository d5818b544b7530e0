"""Score a run on its test images."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lkca.config.run import read_run
from lkca.core.environment import cpu_name, default_device, disable_malloc_trim, git_commit, package_versions
from lkca.core.files import atomic_write, json_digest, sha256, write_json
from lkca.core.gpus import acquire_gpus
from lkca.core.result_files import ManifestFile, SplitFile, read_history, read_result
from lkca.core.stopwatch import Stopwatch
from lkca.data import patches
from lkca.data.composite import choose_bands
from lkca.data.degrade import degrade
from lkca.errors import ConfigError, StaleInput
from lkca.models.cost import count_macs, count_parameters
from lkca.models.layers import find_upsamplers
from lkca.scoring.metrics import absolute_error, edges, scores
from lkca.training.checkpoint import load_weights
from lkca.training.networks import build_network
from lkca.training.schedule import steps_for_all_patches

GRID_SIDE = 12  # rows and columns of the grid of pixels whose spectra are stored


@acquire_gpus(1)
@torch.no_grad()
def evaluate(
    run: Path,
    scene: Path,
    split: Path,
    manifest: Path,
    weights: Path | None,
    history: Path | None,
    image: int,
    composite: list[int | str] | None,
    out: Path,
    picture: Path,
) -> None:
    """Reconstruct every test image, score it, and store what the figures show of one image.

    Args:
        run: The run.json.
        scene: The scene, (bands, rows, columns), .npy.
        split: The split of the scene, with the windows of the test images.
        manifest: The manifest of the scene, with the wavelengths of its bands.
        weights: The trained weights; None for a method without training.
        history: The history.csv of the training; None for a method without training.
        image: Number of the test image that the figures show, from 0.
        composite: Its bands for red, green and blue, as in `lkca.data.composite.choose_bands`.
        out: The scores.json to write: the run, its sizes, times and hashes; `mean`, the mean of each score over the
            images; `images`, for each image its `window` and the result of `score_image`; and `digest`, a hash of all
            this, which reveals edits.
        picture: The image.npz to write, as in `write_picture`.

    Raises:
        ConfigError: If the options do not suit the run, or there is no such image or band.
        StaleInput: If the split is not that of the run.
    """
    settings, split_content, stopwatch = read_run(run), read_result(split, SplitFile), Stopwatch()
    if (settings.train is None) != (weights is None) or (weights is None) != (history is None):
        raise ConfigError(f"{run}: give --weights and --history for a trained model, and only for a trained model.")
    if settings.split_sha256 != sha256(split):
        raise StaleInput(f"{split} is not the split that {run} was made for: run snakemake again.")
    if not 0 <= image < len(split_content["test"]):
        raise ConfigError(
            f"--image {image}: {split} has no such test image: use 0 to {len(split_content['test']) - 1}."
        )
    nanometres = read_result(manifest, ManifestFile).get("nanometres")
    if nanometres and len(nanometres) != settings.bands:
        raise StaleInput(f"{manifest} has {len(nanometres)} bands, {run} {settings.bands}: run snakemake again.")
    rgb = choose_bands(settings.scene, composite, nanometres, settings.bands)
    device = default_device()
    disable_malloc_trim()  # reconstructions and scores allocate the same large arrays for each image
    net, epoch = build_network(settings).to(device).eval(), None
    if weights:
        epoch = load_weights(weights, net, sha256(run))
    epochs = read_history(history, "steps", "seconds") if history else []
    steps = int(epochs[-1]["steps"]) if epochs else 0
    cube = patches.load_scene(scene, settings.scene_sha256, device)
    images = []
    for i, window in enumerate(split_content["test"]):
        sr, hr = reconstruct(net, cube, window, settings.scale, settings.blur, device)
        images.append({"window": list(window), **score_image(sr, hr, settings.scale)})
        if i == image:
            write_picture(picture, sr, hr, rgb)
    content: dict[str, Any] = {
        "experiment": settings.experiment,
        "scene": settings.scene,
        "scale": settings.scale,
        "model": settings.model,
        "seed": settings.seed,
        "params": count_parameters(net),
        "upsampler_params": sum(map(count_parameters, find_upsamplers(net).values())),
        "macs": count_macs(net, settings.bands),
        "steps": steps,
        "untrained": settings.train is not None and steps < steps_for_all_patches(settings.train, split_content),
        "epoch": epoch,
        "seconds": {"training": float(epochs[-1]["seconds"]) if epochs else 0, "evaluation": stopwatch.seconds()},
        "mean": {name: float(np.mean([each["scores"][name] for each in images])) for name in images[0]["scores"]},
        "images": images,
        "device": torch.cuda.get_device_name() if device == "cuda" else cpu_name(),
        "threads": torch.get_num_threads(),
        "commit": git_commit(),
        "versions": package_versions(),
        "run_sha256": sha256(run),
        "weights_sha256": sha256(weights) if weights else None,
        "history_sha256": sha256(history) if history else None,
        "image_sha256": sha256(picture),
    }
    write_json(out, content | {"digest": json_digest(content)})


def reconstruct(
    net: nn.Module, cube: torch.Tensor, window: list[int], scale: int, blur: str | None, device: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the reconstruction of a test image from its degraded version, and the test image.

    Args:
        net: The network.
        cube: The scene, (bands, rows, columns).
        window: First row, first column, number of rows and number of columns of the test image.
        scale: Upsampling factor.
        blur: How the test image is degraded; see `lkca.data.degrade.degrade`.
        device: Where the network is.
    """
    row, column, rows, columns = window
    hr = cube[:, row : row + rows, column : column + columns].to(device)
    sr = net(degrade(hr[None], scale, blur))[0]
    return sr.cpu().numpy(), hr.cpu().numpy()


def score_image(sr: np.ndarray, hr: np.ndarray, scale: int) -> dict[str, Any]:
    """Return the scores of an image.

    Args:
        sr: (bands, rows, columns), the reconstruction.
        hr: (bands, rows, columns), the ground truth.
        scale: Upsampling factor.

    Returns:
        The result of `lkca.scoring.metrics.scores`, with `mae`, the mean absolute error, and `mae_edges`, the same over
        the pixels of `lkca.scoring.metrics.edges`.
    """
    error = absolute_error(sr, hr)
    mean_errors = {"mae": float(error.mean()), "mae_edges": float(error[edges(hr)].mean())}
    return {**scores(sr, hr, scale), **mean_errors}


def write_picture(path: Path, sr: np.ndarray, hr: np.ndarray, rgb: list[int]) -> None:
    """Write what the figures show of an image as .npz.

    Args:
        path: The .npz to write: `hr` and `sr` (rows, columns, 3), the composites, and `bands` (3,), which bands they
            show, from 1; `error` (rows, columns), the mean over bands of the absolute error; `rows` and `columns`
            (12,), the rows and columns of a grid of pixels, from 0; `spectra_hr` and `spectra_sr` (bands, 12, 12), the
            spectra of these pixels. `bands`, `rows` and `columns` are integers, the others are float32.
        sr: (bands, rows, columns), the reconstruction.
        hr: (bands, rows, columns), the ground truth.
        rgb: The bands for red, green and blue, from 1.
    """
    indices = [band - 1 for band in rgb]
    rows, columns = cell_centres(hr.shape[1]), cell_centres(hr.shape[2])
    with atomic_write(path) as part:
        np.savez(
            part,
            hr=hr[indices].transpose(1, 2, 0),
            sr=sr[indices].transpose(1, 2, 0),
            bands=rgb,
            error=np.float32(absolute_error(sr, hr)),
            rows=rows,
            columns=columns,
            spectra_hr=hr[:, rows[:, None], columns],
            spectra_sr=sr[:, rows[:, None], columns],
        )


def cell_centres(side: int) -> np.ndarray:
    """Return the middle pixels of GRID_SIDE equal parts of a side, or all pixels if the side is shorter."""
    parts = min(GRID_SIDE, side)
    return (2 * np.arange(parts) + 1) * side // (2 * parts)
