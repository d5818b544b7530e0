"""Trained networks with what is needed to apply them: files to share (.safetensors), and folders of runs.

A shared file may come from a stranger. All that it says is checked against bounds before anything of its size is
allocated, and nothing in it is executed.
"""

import json
import math
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from lkca.config.run import read_run
from lkca.config.schema import MAX_KEY, RunConfig
from lkca.core.environment import default_device
from lkca.core.files import atomic_write, check_digest, is_file, open_file, sha256, system_error
from lkca.core.paths import RUN_FILE, SCORES_FILE, WEIGHTS_FILE, ExperimentPaths
from lkca.core.result_files import ShownManifest, damaged, describe_first, read_result
from lkca.data.catalog import CUBES
from lkca.data.degrade import BICUBIC
from lkca.errors import ConfigError, DataError, StaleInput
from lkca.inference.cube_file import ArrayImage, WriteArray
from lkca.inference.enlarge import enlarge_arrays
from lkca.inference.result import Deviation, Mode
from lkca.inference.shared_model import LAYOUT, METADATA, SharedModel, read_facts, refuse
from lkca.inference.tiles import find_margin
from lkca.inference.work_folder import RECORD_FILE, check_files, read_record
from lkca.models.registry import build, estimate_cost
from lkca.scoring.score_files import read_scores
from lkca.training.checkpoint import load_weights

MAX_HEADER = 2**24  # bytes; 10000 bands and 10000 tensors need 2 MB
PARAMETERS_PER_WEIGHT, MORE_PARAMETERS = 4, 10**6  # by which the estimate of a network may exceed its weights
KEY = re.compile(rf"[A-Za-z0-9_]{{1,{MAX_KEY}}}")
SCENE_FILE = "scene.json"  # the manifest, in a folder that has all files of a run side by side


class _Tensor(BaseModel):
    """A tensor in the header of a .safetensors file; where it is, safetensors checks itself."""

    model_config = ConfigDict(strict=True)

    dtype: Literal["F32"]
    shape: Annotated[list[Annotated[int, Field(ge=0, le=10**9)]], Field(max_length=8)]


TENSORS = TypeAdapter(dict[str, _Tensor])


@dataclass(frozen=True)
class LoadedModel:
    """A trained network that is ready to be applied.

    Args:
        network: The network, in evaluation mode and without gradients.
        facts: What is known about it.
        sha256: SHA-256 of the file of its weights.
    """

    network: nn.Module
    facts: SharedModel
    sha256: str

    def enlarge(self, image: ArrayImage, mode: Mode, scratch: Path, write: WriteArray) -> Deviation | None:
        """Apply the network to an image, on a GPU if there is one; see `lkca.inference.enlarge.enlarge`."""
        try:
            return enlarge_arrays(self.network.to(default_device()), self.facts.scale, image, mode, scratch, write)
        finally:
            self.network.cpu()


def load_model(path: Path) -> LoadedModel:
    """Load a trained network.

    Args:
        path: A .safetensors file that `write_model` has written; or the folder of a run, with run.json and
            weights.safetensors, whose scene is described by scene.json in the folder or by scenes/{scene}.json of the
            experiment.

    Raises:
        DataError: If it is neither, or damaged, or not of this version.
        StaleInput: If the files of the folder do not belong together.
    """
    return _load_run(path) if path.is_dir() else _load_shared(path)


def write_model(model: LoadedModel, path: Path) -> None:
    """Write a network and what is known about it to a .safetensors file; the same model always gives the same bytes.

    Raises:
        DataError, ResourceError: If the file cannot be written.
    """
    weights = {name: weight.contiguous() for name, weight in model.network.state_dict().items()}
    with atomic_write(path, fsync=True) as part:
        part.write_bytes(save(weights, model.facts.metadata()))  # save_file would let only this user read the file


def is_shared_model(path: Path) -> bool:
    """Return whether a file is one that `write_model` has written, of any version.

    Raises:
        DataError, ResourceError: If it cannot be read.
    """
    try:
        metadata = _read_header(path).get("__metadata__")
    except DataError:
        return False
    return isinstance(metadata, dict) and METADATA in metadata


def experiment_folder(folder: Path) -> Path:
    """Return the folder of the experiment that has a run's folder as runs/{scene}_x{scale}/{model}/seed{n}."""
    parents = Path(os.path.abspath(folder)).parents
    return parents[3] if len(parents) > 3 else folder


def find_scene_file(folder: Path, run: RunConfig) -> Path:
    """Return the path of the manifest of the scene of a run, in its folder or in its experiment."""
    beside = folder / SCENE_FILE
    return beside if is_file(beside) else experiment_folder(folder) / ExperimentPaths().manifest(run.scene)


def read_scores_of(folder: Path) -> dict[str, Any] | None:
    """Return the scores.json in the folder of a run, None if there is none.

    Raises:
        DataError: If it is damaged.
        StaleInput: If it is that of another run.
    """
    path = folder / SCORES_FILE
    if not is_file(path):
        return None
    scores, weights = read_scores(path), folder / WEIGHTS_FILE
    try:
        check_digest(scores)
    except ValueError as error:
        raise damaged(path, error) from None
    if scores["run_sha256"] != sha256(folder / RUN_FILE) or (
        scores["weights_sha256"] and scores["weights_sha256"] != sha256(weights)
    ):
        raise StaleInput(f"{path} has the scores of other weights: evaluate the network again, or delete it.")
    return scores


def _load_run(folder: Path) -> LoadedModel:
    """Load the network of a run.

    Raises:
        DataError, StaleInput: As in `load_model`.
    """
    run_file, weights = folder / RUN_FILE, folder / WEIGHTS_FILE
    if is_file(folder / RECORD_FILE):  # the folder of lkca sharpen
        check_files(folder, read_record(folder)["files"])
    if not is_file(run_file):
        raise DataError(
            f"{folder} has no {RUN_FILE}: name the folder of a run, or a file that lkca export has written."
        )
    try:
        run = read_run(run_file)
    except ConfigError as error:
        raise DataError(str(error)) from None
    if not KEY.fullmatch(run.scene):
        raise refuse(run_file, "its scene has a name that no scene can have", "restore the original")
    if run.train is None:
        raise DataError(f"{folder} has no weights, because {run.model} is not trained: name the run of a network.")
    if not is_file(weights):
        raise DataError(f"{weights} is missing: wait for the end of the training, or train the network.")
    if not is_file(scene_file := find_scene_file(folder, run)):
        raise DataError(f"{scene_file}, which describes the scene of {folder}, is missing: copy it to its place.")
    manifest = read_result(scene_file, ShownManifest)
    if manifest["sha256"] != run.scene_sha256:
        raise StaleInput(f"{scene_file} describes another scene than that of {run_file}: restore the original.")
    facts = _describe_run(run_file, run, manifest)
    network = _build(weights, _read_header(weights), facts)
    epoch = load_weights(weights, network, facts.run_sha256)
    facts = facts.model_copy(update={"epoch": epoch, "margin": find_margin(network)})
    return LoadedModel(network.eval().requires_grad_(False), facts, sha256(weights))


def _describe_run(path: Path, run: RunConfig, manifest: dict[str, Any]) -> SharedModel:
    """Return what the files of a run say about its network; epoch and margin are not yet those of the network.

    Raises:
        DataError: If it is outside of the bounds of `SharedModel`.
    """
    cube = CUBES.get(manifest["cube"]) if isinstance(manifest.get("cube"), str) else None
    description = manifest["areas"][0].get("description")
    facts = {
        "layout": LAYOUT,
        "model": run.model,
        "arch": run.arch,
        "args": run.args,
        "upsampler": run.upsampler,
        "bands": run.bands,
        "scale": run.scale,
        **{name: manifest[name] for name in ("divisor", "minimum", "maximum")},
        "units": description.get("units") if isinstance(description, dict) else None,
        **{name: tuple(values) if (values := manifest[name]) else None for name in ("nanometres", "fwhm")},
        "sensor": cube.sensor if cube else None,
        "blur": run.blur or BICUBIC,
        "run_sha256": sha256(path),
        "epoch": 1,
        "margin": 0,
        "licence": None,
        **{name: getattr(cube, name) if cube else None for name in ("citation", "source", "terms")},
        "versions": {},
        "commit": None,
    }
    try:
        return SharedModel.model_validate(facts)
    except ValidationError as error:
        raise refuse(
            path, f"the files of its run are wrong ({describe_first(error)})", "restore the original"
        ) from None


def _read_header(path: Path) -> dict[str, Any]:
    """Return the header of a .safetensors file: name of a tensor -> its dtype and shape, and the metadata.

    Raises:
        DataError: If the file is missing or has another format, or its header is damaged or huge.
    """
    try:
        with open_file(path) as file:
            start, brace = file.read(8), file.read(1)  # length and first character of the header
            if brace != b"{" and start[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
                raise refuse(path, "it is a pickle or an archive, which could run any code", "use a .safetensors file")
            if len(start) < 8:
                raise refuse(path, "it is empty or cut off")
            size = struct.unpack("<Q", start)[0]
            if size > MAX_HEADER:
                raise refuse(path, f"it is no .safetensors file, or has a header of more than {MAX_HEADER} bytes")
            text = brace + file.read(max(0, size - 1))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: correct the path.") from None
    except OSError as error:
        raise system_error(error) from error
    try:
        if len(text) < size:
            raise ValueError("it is cut off")
        header = json.loads(text)
        if not isinstance(header, dict):
            raise ValueError("it has no map of tensors")
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deep" if isinstance(error, RecursionError) else error
        raise refuse(path, f"its header is damaged ({reason})") from None
    return header


def _build(path: Path, header: dict[str, Any], facts: SharedModel) -> nn.Module:
    """Return the network of a file with initial weights, after comparing it with the header of the file.

    Raises:
        DataError: If the file is cut off or has tensors of other names, shapes or types than the network.
    """
    try:
        tensors = TENSORS.validate_python({name: each for name, each in header.items() if name != "__metadata__"})
    except ValidationError:
        raise refuse(path, "its header is damaged") from None
    weights = sum(math.prod(tensor.shape) for tensor in tensors.values())
    if 4 * weights > path.stat().st_size:
        raise refuse(path, "it is cut off")
    estimate = estimate_cost(facts.arch, facts.bands, facts.scale, facts.args, facts.upsampler).parameters
    other = "its weights are not those of the network that it describes"
    # First by the estimate, so that a small file cannot make this process allocate a huge network.
    if estimate > PARAMETERS_PER_WEIGHT * weights + MORE_PARAMETERS:
        raise refuse(path, other)
    with torch.random.fork_rng(devices=[]):
        network = build(facts.arch, facts.bands, facts.scale, facts.args, facts.upsampler)
    expected = {name: list(weight.shape) for name, weight in network.state_dict().items()}
    if {name: tensor.shape for name, tensor in tensors.items()} != expected:
        raise refuse(path, other)
    return network


def _load_shared(path: Path) -> LoadedModel:
    """Load a file that `write_model` has written.

    Raises:
        DataError: As in `load_model`.
    """
    header = _read_header(path)
    facts = read_facts(path, header.get("__metadata__"))
    network = _build(path, header, facts)
    try:
        with safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        network.load_state_dict(weights)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise refuse(path, f"its weights are damaged ({error})") from None
    if not all(weight.isfinite().all() for weight in weights.values()):
        raise refuse(path, "it has weights that are NaN or infinite")
    return LoadedModel(network.eval().requires_grad_(False), facts, sha256(path))
