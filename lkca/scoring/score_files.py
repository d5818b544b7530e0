"""Read scores.json."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from lkca.core.result_files import Count, Digest, Number, ResultFile, RunIdentity, Window, read_result, require_equal
from lkca.scoring.metrics import SCORES

MAX_DB = 1000  # far above any MPSNR; 10 to the power of a tenth of it is a finite number


def _check_scores(name: str, scores: dict[str, float]) -> None:
    """Check that all scores are there.

    Raises:
        ValueError: If one is missing, or the MPSNR is far outside of its range.
    """
    if missing := SCORES.keys() - scores.keys():
        raise ValueError(f"{name} has no {min(missing)}")
    if abs(scores["MPSNR"]) > MAX_DB:
        raise ValueError(f"{name} has an MPSNR of {scores['MPSNR']:g} dB")


class ImageScores(ResultFile):
    """The scores of a test image."""

    window: Window
    scores: dict[str, Number]
    bands: dict[str, list[Number | None]]
    without_block: dict[str, list[Number | None]]
    mae: Number
    mae_edges: Number

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_scores("scores", self.scores)
        if missing := SCORES.keys() - self.without_block.keys():
            raise ValueError(f"without_block has no {min(missing)}")
        if "MPSNR" not in self.bands:
            raise ValueError("bands has no MPSNR")
        require_equal("the scores of bands", [len(values) for values in self.bands.values()])
        require_equal("the scores without a block", [len(values) for values in self.without_block.values()])
        return self


class Seconds(ResultFile):
    """The time that a run took."""

    training: Number
    evaluation: Number


class ScoresFile(RunIdentity):
    """The content of a scores.json."""

    params: Count
    upsampler_params: Count
    macs: Count
    steps: Count
    untrained: bool
    epoch: Count | None
    seconds: Seconds
    mean: dict[str, Number]
    images: Annotated[list[ImageScores], Field(min_length=1)]
    device: str
    threads: Count
    commit: str | None
    versions: dict[str, str]
    run_sha256: Digest
    weights_sha256: Digest | None
    history_sha256: Digest | None
    image_sha256: Digest

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_scores("mean", self.mean)
        require_equal("the scores of bands", [len(image.bands["MPSNR"]) for image in self.images])
        return self


def read_scores(path: Path) -> dict[str, Any]:
    """Return the content of a scores.json.

    Raises:
        DataError: If the file is missing or has not the form that `lkca.scoring.evaluate` writes.
    """
    return read_result(path, ScoresFile)
