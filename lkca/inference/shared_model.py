"""What is said about a trained network in the file of its weights, in the header of a .safetensors or an .onnx file.

The file may come from a stranger. All that it says is checked against bounds. This module does not import torch.
"""

import json
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from lkca.config.schema import MAX_ENTRIES, Key, Scale
from lkca.core.printing import printable
from lkca.core.result_files import Digest, Number, describe_first
from lkca.data.catalog import MAX_BANDS, Positive, Text, Wavelength
from lkca.data.degrade import BICUBIC
from lkca.errors import ConfigError, DataError
from lkca.models.registry import MODELS, check_arguments, check_sizes

LAYOUT = 2  # of SharedModel; another one is refused
METADATA = "lkca"  # the only entry: safetensors writes several in random order
MAX_ARGUMENTS = 100
MAX_REASON = 200  # characters
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
        margin: LR pixels that a tile of an image needs on each side; see `lkca.inference.tiles.find_margin`.
        licence: Licence of the weights; None if none was stated.
        citation, source, terms: What to cite for the data, where they are from, and the terms of their owner.
        versions: Versions of the software that scored the network before its export: name -> version; else empty.
        commit: Commit of the code that scored it.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    layout: Literal[2]
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
    margin: Annotated[int, Field(ge=0, le=10**6)]
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


def refuse(path: Path, reason: object, what_to_do: str = "get the file again from who exported it") -> DataError:
    """Return the error about a file that cannot be loaded."""
    return DataError(f"{path} is not a model of lkca: {printable(str(reason), MAX_REASON)}; {what_to_do}.")


def read_facts(path: Path, metadata: object) -> SharedModel:
    """Return the description in the metadata of a shared file.

    Raises:
        DataError: If there is none, or it is damaged or not of this version.
    """
    text = metadata.get(METADATA) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise refuse(path, "it has weights of another program", "use a file that lkca export has written")
    try:
        content = json.loads(text)
        layout = content.get("layout") if isinstance(content, dict) else None
        if isinstance(content, dict) and layout is None and "run_sha256" in content:
            raise refuse(path, "it is the weights of a run without its description", "name the folder of the run")
        if layout != LAYOUT:
            raise refuse(
                path, f"its layout is {layout!r}, and this version reads {LAYOUT}", "use the lkca of its export"
            )
        return SharedModel.model_validate_json(text)
    except ValidationError as error:
        raise refuse(path, f"its description is wrong ({describe_first(error)})") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise refuse(path, "its description is no JSON") from None


def describe_network(facts: SharedModel) -> str:
    """Return the architecture with its arguments in words."""
    arguments: dict[str, float] = dict(sorted(facts.args.items()))
    arguments |= {f"upsampler {name}": value for name, value in (facts.upsampler or {}).items()}
    listed = ", ".join(f"{name} {value:g}" for name, value in arguments.items())
    return f"{facts.arch} ({listed})" if listed else facts.arch


def describe_bands(facts: SharedModel) -> str:
    """Return the number of bands and their range in words."""
    if not facts.nanometres:
        return f"{facts.bands}, of unknown wavelengths"
    widths = [width for width in facts.fwhm or () if width]
    fwhm = f", FWHM {min(widths):g} to {max(widths):g} nm" if widths else ""
    return f"{facts.bands}, {min(facts.nanometres):g} to {max(facts.nanometres):g} nm{fwhm}"


def describe_values(facts: SharedModel) -> str:
    """Return the range of the training scene, its units and the divisor in words."""
    units = f" {facts.units}" if facts.units else ""
    return f"{facts.minimum:g} to {facts.maximum:g}{units} in the training scene, divided by {facts.divisor:g}"


def describe_blur(facts: SharedModel) -> str:
    """Return in words how the LR images of the training were made."""
    if facts.blur == BICUBIC:
        return f"bicubic with antialiasing, as MATLAB's imresize by 1/{facts.scale}"
    return f"a Gaussian whose MTF at the LR Nyquist frequency is {facts.blur.removeprefix('mtf:')}"
