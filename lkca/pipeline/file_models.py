"""Models of the files in results/ with the fields that `lkca check` reads; other fields are ignored."""

from pydantic import BaseModel, ConfigDict, model_validator

from lkca.core.files import check_digest
from lkca.core.paths import RunKey


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
