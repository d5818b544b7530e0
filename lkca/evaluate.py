"""Score a run on its test images."""

import csv
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from time import monotonic

import numpy as np
import torch

from lkca import checkpoint, patches
from lkca.cards import cards
from lkca.complexity import macs, parameters
from lkca.config import read_run
from lkca.errors import InputError
from lkca.files import read_json, replacing, sha256, write_json
from lkca.metrics import scores
from lkca.models.layers import upsamplers
from lkca.resize import resize
from lkca.train import device, network, steps_of_all_patches

REPOSITORY = Path(__file__).parents[1]


@cards(1)
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
        out: The scores.json to write.
        picture: The image.npz to write: `hr`, `sr` (rows, columns, 3), `error` (rows, columns), the mean over bands of
            the absolute difference; float32.

    Raises:
        InputError: If the files do not belong together.
    """
    settings, places, on, began = read_run(run), read_json(split), device(), monotonic()
    if (settings.train is None) != (weights is None):
        raise InputError(f"{run}: --weights and --history are for trained models, all of them and no others.")
    if settings.split_sha256 != sha256(split):
        raise InputError(f"{split} is not the split that {run} was made for: run snakemake again.")
    net, epoch, lines = network(settings).to(on).eval(), None, []
    if weights:
        epoch = checkpoint.load(weights, net, sha256(run))
        with history.open(newline="") as file:
            lines = list(csv.DictReader(file))
    cube = patches.load(scene, settings.scene_sha256, on)
    images = []
    for i, (row, column, height, width) in enumerate(places["test"]):
        hr = cube[:, row : row + height, column : column + width].to(on)
        sr = net(resize(hr[None], 1 / settings.scale))[0].cpu().numpy()
        hr = hr.cpu().numpy()
        images.append({"window": [row, column, height, width], **scores(sr, hr, settings.scale)})
        if i == image:
            rgb = [band - 1 for band in composite]
            error = np.abs(sr - hr).mean(0)
            with replacing(picture) as part:
                np.savez(part, hr=hr[rgb].transpose(1, 2, 0), sr=sr[rgb].transpose(1, 2, 0), error=error)
    names = images[0]["scores"]
    write_json(
        out,
        {
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
            "commit": commit(),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
            "run_sha256": sha256(run),
            "weights_sha256": sha256(weights) if weights else None,
        },
    )


PACKAGES = ["torch", "numpy", "scipy", "fvcore", "safetensors"]  # that a score depends on


def commit() -> str | None:
    """The commit of this checkout, with a note when files differ from it; None outside of git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty= with uncommitted changes", "--abbrev=12", "--exclude=*"],
            cwd=REPOSITORY,
            env=os.environ | {"GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()
