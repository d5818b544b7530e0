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
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, model_validator
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from lkca.config.run import read_run
from lkca.config.schema import MAX_ENTRIES, MAX_KEY, Key, RunConfig, Scale
from lkca.core.files import atomic_write, check_digest, is_file, open_file, sha256, system_error
from lkca.core.paths import RUN_FILE, SCORES_FILE, WEIGHTS_FILE, ExperimentPaths
from lkca.core.printing import printable
from lkca.core.result_files import Digest, Number, ShownManifest, damaged, describe_first, read_result
from lkca.data.catalog import CUBES, MAX_BANDS, Positive, Text, Wavelength
from lkca.data.degrade import BICUBIC
from lkca.errors import ConfigError, DataError, StaleInput
from lkca.inference.work_folder import RECORD_FILE, check_files, read_record
from lkca.models.registry import MODELS, build, check_arguments, check_sizes, estimate_cost
from lkca.scoring.score_files import read_scores
from lkca.training.checkpoint import load_weights

LAYOUT = 1  # of SharedModel; another one is refused
METADATA = "lkca"  # the only entry: safetensors writes several in random order
MAX_HEADER = 2**24  # bytes; 10000 bands and 10000 tensors need 2 MB
MAX_ARGUMENTS = 100
MAX_REASON = 200  # characters
PARAMETERS_PER_WEIGHT, MORE_PARAMETERS = 4, 10**6  # by which the estimate of a network may exceed its weights
KEY = re.compile(rf"[A-Za-z0-9_]{{1,{MAX_KEY}}}")
SCENE_FILE = "scene.json"  # the manifest, in a folder that has all files of a run side by side
Bands = Annotated[int, Field(ge=1, le=MAX_BANDS)]
Blur = Annotated[str, StringConstraints(pattern=r"^(bicubic|mtf:(0\.[0-9]{1,6}|1(\.0{1,6})?))$")]
Name = Annotated[str, StringConstraints(max_length=100)]


class SharedModel(BaseModel):
    """What is said about a network in the file of its weights.

    Args:
        layout: Version of this description.
        model: Key of the model in its experiment.
        arch: Key of `lkca.models.registry.MODELS`.
        args, upsampler: Arguments of the network, as in run.json.
        bands: Spectral bands, in and out.
        scale: Upsampling factor.
        divisor: The network computes with physical values divided by this number.
        minimum, maximum: Range of the training scene, physical values.
        units: Units of the physical values, as the file of the scene names them; None if it does not.
        nanometres: Wavelength of each band, nm; None if they are unknown.
        fwhm: Full width at half maximum of each band, nm; None if they are unknown.
        sensor: Name of the sensor; None if it is unknown.
        blur: How LR images of the training were made: "bicubic", or "mtf:" and the MTF at the Nyquist frequency.
        run_sha256: Hash of the run.json of the training.
        epoch: Epoch of the weights, from 1.
        licence: Licence of the weights; None if none was stated.
        citation, source, terms: What to cite for the data, where they are from, and the terms of their owner.
        versions: Versions of the software that scored the network before its export: name -> version; else empty.
        commit: Commit of the code that scored it.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    layout: Literal[1]
    model: Key
    arch: Name
    args: Annotated[dict[Name, int | Annotated[float, Field(allow_inf_nan=False)]], Field(max_length=MAX_ARGUMENTS)]
    upsampler: Annotated[dict[Name, Annotated[int, Field(ge=1, le=10**6)]], Field(max_length=MAX_ARGUMENTS)] | None
    bands: Bands
    scale: Scale
    divisor: Positive
    minimum: Number
    maximum: Number
    units: Text | None
    nanometres: Annotated[tuple[Wavelength, ...], Field(max_length=MAX_BANDS)] | None
    fwhm: Annotated[tuple[Wavelength | None, ...], Field(max_length=MAX_BANDS)] | None
    sensor: Text | None
    blur: Blur
    run_sha256: Digest
    epoch: Annotated[int, Field(ge=1, le=10**9)]
    licence: Text | None
    citation: Text | None
    source: Text | None
    terms: Text | None
    versions: Annotated[dict[Name, Name], Field(max_length=MAX_ENTRIES)]
    commit: Name | None

    def metadata(self) -> dict[str, str]:
        """Return the metadata of the file: one entry, which is JSON."""
        content = self.model_dump(mode="json")
        return {METADATA: json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.arch not in MODELS or not MODELS[self.arch].trainable:
            raise ValueError(f"arch: {printable(self.arch, 50)} is no network of this version")
        for name, values in (("nanometres", self.nanometres), ("fwhm", self.fwhm)):
            if values is not None and len(values) != self.bands:
                raise ValueError(f"{name} has {len(values)} values for {self.bands} bands")
        if self.minimum > self.maximum:
            raise ValueError("minimum is above maximum")
        try:
            check_arguments(self.arch, self.args, self.upsampler)
            check_sizes(self.arch, self.bands, self.scale, self.args, self.upsampler)
        except ConfigError as error:
            raise ValueError(str(error).rstrip(".")) from None
        return self


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
        raise _refuse(run_file, "its scene has a name that no scene can have", "restore the original")
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
    facts = facts.model_copy(update={"epoch": epoch})
    return LoadedModel(network.eval().requires_grad_(False), facts, sha256(weights))


def _describe_run(path: Path, run: RunConfig, manifest: dict[str, Any]) -> SharedModel:
    """Return what the files of a run say about its network; the epoch is not yet that of the weights.

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
        "licence": None,
        **{name: getattr(cube, name) if cube else None for name in ("citation", "source", "terms")},
        "versions": {},
        "commit": None,
    }
    try:
        return SharedModel.model_validate(facts)
    except ValidationError as error:
        raise _refuse(
            path, f"the files of its run are wrong ({describe_first(error)})", "restore the original"
        ) from None


def _refuse(path: Path, reason: object, what_to_do: str = "get the file again from who exported it") -> DataError:
    """Return the error about a file that cannot be loaded."""
    return DataError(f"{path} is not a model of lkca: {printable(str(reason), MAX_REASON)}; {what_to_do}.")


def _read_header(path: Path) -> dict[str, Any]:
    """Return the header of a .safetensors file: name of a tensor -> its dtype and shape, and the metadata.

    Raises:
        DataError: If the file is missing or has another format, or its header is damaged or huge.
    """
    try:
        with open_file(path) as file:
            start, brace = file.read(8), file.read(1)  # length and first character of the header
            if brace != b"{" and start[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
                raise _refuse(path, "it is a pickle or an archive, which could run any code", "use a .safetensors file")
            if len(start) < 8:
                raise _refuse(path, "it is empty or cut off")
            size = struct.unpack("<Q", start)[0]
            if size > MAX_HEADER:
                raise _refuse(path, f"it is no .safetensors file, or has a header of more than {MAX_HEADER} bytes")
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
        raise _refuse(path, f"its header is damaged ({reason})") from None
    return header


def _read_facts(path: Path, header: dict[str, Any]) -> SharedModel:
    """Return the description in the header of a shared file.

    Raises:
        DataError: If there is none, or it is damaged or not of this version.
    """
    metadata = header.get("__metadata__")
    text = metadata.get(METADATA) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise _refuse(path, "it has weights of another program", "use a file that lkca export has written")
    try:
        content = json.loads(text)
        layout = content.get("layout") if isinstance(content, dict) else None
        if isinstance(content, dict) and layout is None and "run_sha256" in content:
            raise _refuse(path, "it is the weights of a run without its description", "name the folder of the run")
        if layout != LAYOUT:
            raise _refuse(
                path, f"its layout is {layout!r}, and this version reads {LAYOUT}", "use the lkca of its export"
            )
        return SharedModel.model_validate_json(text)
    except ValidationError as error:
        raise _refuse(path, f"its description is wrong ({describe_first(error)})") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise _refuse(path, "its description is no JSON") from None


def _build(path: Path, header: dict[str, Any], facts: SharedModel) -> nn.Module:
    """Return the network of a file with initial weights, after comparing it with the header of the file.

    Raises:
        DataError: If the file is cut off or has tensors of other names, shapes or types than the network.
    """
    try:
        tensors = TENSORS.validate_python({name: each for name, each in header.items() if name != "__metadata__"})
    except ValidationError:
        raise _refuse(path, "its header is damaged") from None
    weights = sum(math.prod(tensor.shape) for tensor in tensors.values())
    if 4 * weights > path.stat().st_size:
        raise _refuse(path, "it is cut off")
    estimate = estimate_cost(facts.arch, facts.bands, facts.scale, facts.args, facts.upsampler).parameters
    other = "its weights are not those of the network that it describes"
    # First by the estimate, so that a small file cannot make this process allocate a huge network.
    if estimate > PARAMETERS_PER_WEIGHT * weights + MORE_PARAMETERS:
        raise _refuse(path, other)
    with torch.random.fork_rng(devices=[]):
        network = build(facts.arch, facts.bands, facts.scale, facts.args, facts.upsampler)
    expected = {name: list(weight.shape) for name, weight in network.state_dict().items()}
    if {name: tensor.shape for name, tensor in tensors.items()} != expected:
        raise _refuse(path, other)
    return network


def _load_shared(path: Path) -> LoadedModel:
    """Load a file that `write_model` has written.

    Raises:
        DataError: As in `load_model`.
    """
    header = _read_header(path)
    facts = _read_facts(path, header)
    network = _build(path, header, facts)
    try:
        with safe_open(path, "pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        network.load_state_dict(weights)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise _refuse(path, f"its weights are damaged ({error})") from None
    if not all(weight.isfinite().all() for weight in weights.values()):
        raise _refuse(path, "it has weights that are NaN or infinite")
    return LoadedModel(network.eval().requires_grad_(False), facts, sha256(path))
