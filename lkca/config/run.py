"""run.json: all that one training depends on."""

import json
from pathlib import Path

from lkca.config.messages import validate
from lkca.config.schema import Run
from lkca.core.files import read_json, sha256, write_json


def read_run(path: Path) -> Run:
    """Read a run.json.

    Raises:
        LkcaError: If it is missing or no run.
    """
    return validate(Run, read_json(path), str(path))


def settings(settings: str, seed: int, scene: Path, split: Path, teacher: Path | None, out: Path) -> None:
    """Write a run.json: all that a training depends on, and nothing else.

    Args:
        settings: What `jobs.run_settings` says, as JSON.
        seed: Of the run.
        scene: The scene's manifest.
        split: The split of the scene.
        teacher: The teacher's run.json if the run distils.
        out: The run.json to write.
    """
    run = json.loads(settings) | {
        "seed": seed,
        "scene_sha256": read_json(scene)["sha256"],
        "split_sha256": sha256(split),
        "teacher_sha256": sha256(teacher) if teacher else None,
    }
    write_json(out, validate(Run, run, "run.json").model_dump())
