"""Remember the failures of jobs that a retry would only repeat.

The profiles set `retries` for jobs that lose their node or run out of memory or time. Snakemake retries jobs whatever
their exit code is, so a training that diverges would be trained several times. Therefore, a job that fails with exit
code 2 leaves a note. A retry with the same settings, code and input finds the note, prints the message again and fails
at once; on a cluster it still waits in the queue. The next call of snakemake deletes the notes and tries every job.

Other failures leave no note: exit code 75 (memory, disk, GPU, network), a kill, an unexpected exception.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from lkca.core.files import json_digest, read_json, write_json
from lkca.core.paths import FAILURES, WORKFLOW_CACHE
from lkca.errors import Diverged, LkcaError, ResourceError


class Failure(NamedTuple):
    """The failure of a job.

    Args:
        message: The message of the error.
        diverged: Whether a training diverged.
    """

    message: str
    diverged: bool


def forget_failures() -> None:
    """Delete all notes; the Snakefile calls this once for each call of snakemake."""
    shutil.rmtree(FAILURES, ignore_errors=True)


@contextmanager
def remember_failure(job: str, made_from: dict[str, Any]) -> Iterator[None]:
    """Run the block, which does the work of a job, or raise at once if a note says that the job has failed.

    Args:
        job: Name of the job.
        made_from: The settings, code and input that determine its result, JSON-serializable. A note about others is
            ignored.

    Raises:
        LkcaError: The error of the job, or one with the message of the note.
    """
    if failure := read_failure(job, made_from):
        print(
            f"{job} is not tried again, because it would fail again: correct the cause and run snakemake again.",
            file=sys.stderr,
        )
        raise LkcaError(failure.message)
    try:
        yield
    except LkcaError as error:
        if error.exit_code != ResourceError.exit_code and WORKFLOW_CACHE.is_dir():
            with suppress(LkcaError):  # if the note cannot be written, the job is retried
                failure = Failure(str(error), isinstance(error, Diverged))
                write_json(_note_path(job), {"made_from": json_digest(made_from), **failure._asdict()})
        raise


def read_failure(job: str, made_from: dict[str, Any]) -> Failure | None:
    """Return the failure of a job in the last call of snakemake; None if it did not fail, or was made from others."""
    try:
        note = read_json(_note_path(job))
        is_same = note["made_from"] == json_digest(made_from)
        return Failure(str(note["message"]), bool(note["diverged"])) if is_same else None
    except (LkcaError, OSError, KeyError, TypeError):  # there is no note, or it is damaged
        return None


def _note_path(job: str) -> Path:
    return FAILURES / f"{job}.json"
