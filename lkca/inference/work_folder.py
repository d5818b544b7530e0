"""The folder of `lkca sharpen`: what was computed, and the hashes by which a later call knows that it is unchanged."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lkca.core.files import check_digest, json_digest, read_json, sha256, write_json
from lkca.errors import ConfigError, DataError, LkcaError

RECORD_FILE = "settings.json"  # the options of the call, and the hash of each file
RESULT_FOLDER = "result"  # files that move to their places when all are complete
MOVES_FILE = "moves.json"  # the names of these files, while they move


class WorkFolder:
    """The folder of a call.

    Args:
        path: The folder; it is created if it is missing.
        options: What the files depend on, a JSON object: name -> value.

    Raises:
        ConfigError: If the folder is that of a call with other options, or of something else.
        DataError: If a file in it was changed.
    """

    def __init__(self, path: Path, options: dict[str, Any]) -> None:
        self.path = path
        if path.is_dir() and any(path.iterdir()):
            known = read_record(path)
            if different := [name for name, value in options.items() if known["options"].get(name) != value]:
                raise ConfigError(
                    f"{path} is of a call with another {' and another '.join(different)}: choose another name for the "
                    "result, or delete that folder."
                )
            self._files: dict[str, str] = known["files"]
            check_files(path, self._files)
        else:
            self._files = {}
            path.mkdir(exist_ok=True)
        self._options = options
        self._save()

    def ensure(self, names: Sequence[str], make: Callable[[], object]) -> None:
        """Make files, unless an earlier call has made them.

        Args:
            names: Their names in the folder.
            make: Function that writes them.
        """
        if all(name in self._files for name in names):
            return
        for name in names:
            (self.path / name).unlink(missing_ok=True)
        try:
            make()
        except LkcaError:
            if not self._files:  # nothing is worth keeping, and another call may have other options
                shutil.rmtree(self.path)
            raise
        self._files |= {name: sha256(self.path / name) for name in names}
        self._save()

    def _save(self) -> None:
        content = {"options": self._options, "files": self._files}
        write_json(self.path / RECORD_FILE, content | {"digest": json_digest(content)})


def start_result(folder: Path) -> Path:
    """Return the folder in which the files of a result are written, without files that a killed call may have left."""
    (folder / MOVES_FILE).unlink(missing_ok=True)
    if (result := folder / RESULT_FOLDER).exists():
        shutil.rmtree(result)
    result.mkdir()
    return result


def move_result(folder: Path, output: Path) -> None:
    """Move the files of a result to their places next to `output`, which is moved last.

    Raises:
        DataError: If there is a file at one of the places.
    """
    names = sorted((path.name for path in (folder / RESULT_FOLDER).iterdir()), key=lambda name: name == output.name)
    for name in names:
        if output.with_name(name).exists():
            raise DataError(f"{output.with_name(name)} exists: move it away, and call the same command again.")
    write_json(folder / MOVES_FILE, names)
    finish_moves(folder, output)


def list_moved(folder: Path, output: Path) -> list[Path]:
    """Return the files of a result that a killed call has moved to their places before it could move all."""
    names = read_json(folder / MOVES_FILE) if (folder / MOVES_FILE).exists() else []
    return [output.with_name(name) for name in names if not (folder / RESULT_FOLDER / name).exists()]


def finish_moves(folder: Path, output: Path) -> bool:
    """Move the files that a killed call did not move any more; return whether all files of the result are then there.

    Raises:
        DataError: If there is a file at one of the places.
    """
    if not (folder / MOVES_FILE).exists():
        return False
    names = read_json(folder / MOVES_FILE)
    for name in names:
        source, target = folder / RESULT_FOLDER / name, output.with_name(name)
        if source.exists() and target.exists():
            raise DataError(f"{target} exists: move it away, and call the same command again.")
        if source.exists():
            source.replace(target)
    (folder / MOVES_FILE).unlink()
    shutil.rmtree(folder / RESULT_FOLDER)
    return all(output.with_name(name).exists() for name in names)


def read_record(path: Path) -> dict[str, Any]:
    """Return the options and the hashes of the files of a folder.

    Raises:
        ConfigError: If it is not a folder of `lkca sharpen`.
    """
    try:
        record: dict[str, Any] = check_digest(read_json(path / RECORD_FILE))
        if set(record) == {"options", "files", "digest"}:
            return record
    except (ValueError, TypeError):  # ValueError: also LkcaError
        pass
    raise ConfigError(
        f"{path} is not a folder that lkca sharpen has made, or its {RECORD_FILE} was changed: delete it, or choose "
        "another name for the result."
    )


def check_files(path: Path, files: dict[str, str]) -> None:
    """Compare the files of a folder with their hashes.

    Raises:
        DataError: If a file is missing or was changed.
    """
    for name, digest in files.items():
        file = path / name
        if not file.is_file() or sha256(file) != digest:
            raise DataError(f"{file} was changed or is missing: delete the folder {path}, and call the command again.")
