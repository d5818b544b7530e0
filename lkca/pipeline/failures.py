"""Keep Snakemake from repeating, hour after hour, a job that is bound to fail again.

The profiles set `retries`, for jobs that lose their node, their memory or their time. Snakemake retries whatever the
exit code, so a training that diverges would be submitted and trained several times. A job that fails with an error of
exit code 2 therefore leaves a note. A retry that finds the note, and is about the same settings, code and input,
prints the same message and fails at once. The next call of snakemake deletes the notes, so it tries every job again.

A failure of another kind leaves no note: exit code 75 (memory, disk, GPU, network), a kill, or an unexpected exception.
"""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lkca.core.files import json_digest, read_json, write_json
from lkca.core.paths import FAILURES, WORKFLOW_CACHE
from lkca.errors import LkcaError


def forget_failures() -> None:
    """Delete the notes of all failures; the Snakefile does so once a call."""
    shutil.rmtree(FAILURES, ignore_errors=True)


@contextmanager
def failing_once(job: str, made_from: dict[str, Any]) -> Iterator[None]:
    """Run a job in the block, unless it has failed before in this call of snakemake in a way that repeats.

    Args:
        job: Name of the job.
        made_from: What decides its result, as JSON has it; with other values the job is tried again.

    Raises:
        LkcaError: The error of the job, or one with the same message if the job has failed already.
    """
    note, digest = FAILURES / f"{job}.json", json_digest(made_from)
    if message := _read_message(note, digest):
        print(f"{job} is not tried again: it would fail as before. Run snakemake again to try it.", file=sys.stderr)
        raise LkcaError(message)
    try:
        yield
    except LkcaError as error:
        if error.exit_code == LkcaError.exit_code and WORKFLOW_CACHE.is_dir():
            with suppress(LkcaError):  # where it cannot be written, the job is retried
                write_json(note, {"made_from": digest, "message": str(error)})
        raise


def _read_message(note: Path, digest: str) -> str | None:
    """Return the message of a failure; None if there is no note, a damaged one, or one about other input."""
    try:
        failure = read_json(note)
        return str(failure["message"]) if failure["made_from"] == digest else None
    except (LkcaError, KeyError, TypeError):
        return None
