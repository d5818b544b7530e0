"""Models of the files in results/ with the fields that `lkca check` reads; other fields are ignored."""

import numpy as np
from pydantic import model_validator

from lkca.core.files import check_digest
from lkca.core.paths import RunKey
from lkca.core.result_files import Corner, ResultFile, RunIdentity, Window


class ReportListing(ResultFile):
    """report.json: path relative to the experiment -> SHA-256 of every file that the report depends on."""

    files: dict[str, str]


class Manifest(ResultFile):
    """scenes/{scene}.json."""

    cube: str | None
    sha256: str


class Split(ResultFile):
    """splits/{scene}_x{scale}.json."""

    scene_sha256: str
    size: int
    train: list[Corner]
    validation: list[Corner]
    test: list[Window]

    def overlap(self) -> str | None:
        """Return which training or validation patch shares pixels with a test image, in words; None if none does."""
        for part, corners in (("training", self.train), ("validation", self.validation)):
            top, left = np.array(corners).reshape(-1, 2).T
            for i, (row, column, rows, columns) in enumerate(self.test):
                in_rows = (row - self.size < top) & (top < row + rows)
                in_columns = (column - self.size < left) & (left < column + columns)
                if (found := np.flatnonzero(in_rows & in_columns)).size:
                    place = f"row {top[found[0]]}, column {left[found[0]]}"
                    return f"the {part} patch at {place} shares pixels with test image {i}"
        return None


class RunOutput(RunIdentity):
    """A file in the folder of a run that names its run, such as spectrum.json."""

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
