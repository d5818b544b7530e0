"""Models of the files in results/ with the fields that `lkca check` reads; other fields are ignored."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lkca.core.files import check_digest
from lkca.core.paths import RunKey

Corner = Annotated[list[int], Field(min_length=2, max_length=2)]  # row and column of a patch
Window = Annotated[list[int], Field(min_length=4, max_length=4)]  # first row, first column, rows and columns


class FileModel(BaseModel):
    """The base class: wrong types are errors, unknown fields are ignored."""

    model_config = ConfigDict(strict=True)


class ReportListing(FileModel):
    """report.json: path relative to the experiment -> SHA-256 of every file that the report depends on."""

    files: dict[str, str]


class Manifest(FileModel):
    """scenes/{scene}.json."""

    cube: str | None
    sha256: str


class Split(FileModel):
    """splits/{scene}_x{scale}.json."""

    scene_sha256: str
    size: int
    train: list[Corner]
    validation: list[Corner]
    test: list[Window]

    def overlap(self) -> str | None:
        """Return which training or validation patch shares pixels with a test image, in words; None if none does."""
        for part, corners in (("training", self.train), ("validation", self.validation)):
            for i, (row, column, rows, columns) in enumerate(self.test):
                for top, left in corners:
                    if row - self.size < top < row + rows and column - self.size < left < column + columns:
                        return f"the {part} patch at row {top}, column {left} shares pixels with test image {i}"
        return None


class RunOutput(FileModel):
    """A file in the folder of a run that names its run, such as spectrum.json."""

    scene: str
    scale: int
    model: str
    seed: int

    @property
    def run(self) -> RunKey:
        """The run that the file names."""
        return RunKey(self.scene, self.scale, self.model, self.seed)


class Scores(RunOutput):
    """scores.json."""

    device: str
    commit: str | None
    versions: dict[str, str]
    run_sha256: str
    weights_sha256: str | None
    history_sha256: str | None
    image_sha256: str | None
    digest: str

    _check_digest = model_validator(mode="before")(check_digest)


class WeightsHeader(FileModel):
    """The metadata of weights.safetensors."""

    run_sha256: str
