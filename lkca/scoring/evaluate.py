"""Score a run on its test images."""

import platform
from pathlib import Path
from time import monotonic

import numpy as np
import torch

from lkca.config.run import read_run
from lkca.core.environment import default_device, git_commit, package_versions
from lkca.core.files import atomic_write, json_digest, read_csv, read_json, sha256, write_json
from lkca.core.gpus import acquire_gpus
from lkca.data import patches
from lkca.data.resize import resize
from lkca.errors import LkcaError
from lkca.models.cost import macs, parameters
from lkca.models.layers import upsamplers
from lkca.scoring.metrics import absolute_error, edges, scores
from lkca.training import checkpoint
from lkca.training.train import network, steps_of_all_patches

SPECTRA = 12  # a side of the grid of pixels whose spectra are kept


@acquire_gpus(1)
@torch.no_grad()
def evaluate(
    run: Path,
    scene: Path,
    split: Path,
    weights: Path | None,
    history: Path | None,
    image: int,
    composite: list[int],
    out: Path,
    picture: Path,
) -> None:
    """Reconstruct every test image whole, score it, and keep of one image what the figures show.

    Args:
        run: Its run.json.
        scene: (bands, rows, columns), .npy.
        split: The test windows.
        weights: Trained weights; None for a method without training.
        history: What training wrote beside them.
        image: The test image of the figures, from 0.
        composite: Its three bands for red, green and blue, from 1.
        out: The scores.json to write: who, sizes, times, hashes, `mean`, the six scores over all images, and `images`,
            of each what `lkca.scoring.metrics.scores` returns, `mae`, the mean over bands and pixels of the absolute error, and
            `mae_edges`, the same over the pixels that `lkca.scoring.metrics.edges` chooses. `digest`, of all else, shows edits.
        picture: The image.npz to write: `hr`, `sr` (rows, columns, 3), `error` (rows, columns), the mean over bands of
            the absolute error; `spectra_hr`, `spectra_sr` (bands, 12, 12) of the pixels `rows` x `columns`, (12,) each:
            the centres of a grid of equal cells, fewer where a side is shorter; float32, pixels as integers from 0.

    Raises:
        LkcaError: If the files do not belong together, or there is no such image.
    """
    settings, places, on, began = read_run(run), read_json(split), default_device(), monotonic()
    if (settings.train is None) != (weights is None):
        raise LkcaError(f"{run}: --weights and --history are for trained models, all of them and no others.")
    if settings.split_sha256 != sha256(split):
        raise LkcaError(f"{split} is not the split that {run} was made for: run snakemake again.")
    if not 0 <= image < len(places["test"]):
        raise LkcaError(f"--image {image}: {split} has no such test image, choose from 0 to {len(places['test']) - 1}.")
    net, epoch, lines = network(settings).to(on).eval(), None, []
    if weights:
        epoch = checkpoint.load(weights, net, sha256(run))
        lines = read_csv(history)
    cube = patches.load_scene(scene, settings.scene_sha256, on)
    images = []
    for i, (row, column, height, width) in enumerate(places["test"]):
        hr = cube[:, row : row + height, column : column + width].to(on)
        sr = net(resize(hr[None], 1 / settings.scale))[0].cpu().numpy()
        hr = hr.cpu().numpy()
        error = absolute_error(sr, hr)
        absolute = {"mae": float(error.mean()), "mae_edges": float(error[edges(hr)].mean())}
        images.append({"window": [row, column, height, width], **scores(sr, hr, settings.scale), **absolute})
        if i == image:
            rgb = [band - 1 for band in composite]
            rows, columns = centres(height), centres(width)
            with atomic_write(picture) as part:
                np.savez(
                    part,
                    hr=hr[rgb].transpose(1, 2, 0),
                    sr=sr[rgb].transpose(1, 2, 0),
                    error=np.float32(error),
                    rows=rows,
                    columns=columns,
                    spectra_hr=hr[:, rows[:, None], columns],
                    spectra_sr=sr[:, rows[:, None], columns],
                )
    names = images[0]["scores"]
    made = {
        "experiment": settings.experiment,
        "scene": settings.scene,
        "scale": settings.scale,
        "model": settings.model,
        "seed": settings.seed,
        "params": parameters(net),
        "upsampler_params": sum(map(parameters, upsamplers(net).values())),
        "macs": macs(net, settings.bands),
        "steps": int(lines[-1]["steps"]) if lines else 0,
        "untrained": bool(lines) and int(lines[-1]["steps"]) < steps_of_all_patches(settings.train, places),
        "epoch": epoch,
        "seconds": {"training": float(lines[-1]["seconds"]) if lines else 0, "evaluation": monotonic() - began},
        "mean": {name: float(np.mean([each["scores"][name] for each in images])) for name in names},
        "images": images,
        "device": torch.cuda.get_device_name() if on == "cuda" else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "commit": git_commit(),
        "versions": package_versions(),
        "run_sha256": sha256(run),
        "weights_sha256": sha256(weights) if weights else None,
        "history_sha256": sha256(history) if weights else None,
        "image_sha256": sha256(picture),
    }
    write_json(out, made | {"digest": json_digest(made)})


def centres(side: int) -> np.ndarray:
    """The pixels in the middle of SPECTRA equal parts of a side, or all of a shorter one."""
    parts = min(SPECTRA, side)
    return (2 * np.arange(parts) + 1) * side // (2 * parts)
