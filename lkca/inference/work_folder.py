"""The folder of `lkca sharpen`: what was computed, and the hashes by which a later call knows that it is unchanged."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lkca.core.files import check_digest, json_digest, read_json, sha256, write_json
from lkca.errors import ConfigError, DataError, LkcaError

RECORD_FILE = "settings.json"  # the options of the call, and the hash of each file
RESULT_FOLDER = "result"  # files that move to their places when all are complete
MOVES_FILE = "moves.json"  # the names and hashes of these files, while they move


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
        if path.is_symlink():  # files cannot be moved out of it in one step if it is on another disk
            raise ConfigError(f"{path} is a link, and must be a folder: delete it, or choose another name.")
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


def move_result(folder: Path, output: Path, options: dict[str, Any]) -> None:
    """Move the files of a result to their places next to `output`, which is moved last.

    Args:
        folder: The folder of the call.
        output: The result.
        options: What the result depends on besides the files of the folder, a JSON object: name -> value.

    Raises:
        DataError: If there is a file at one of the places.
    """
    paths = sorted((folder / RESULT_FOLDER).iterdir(), key=lambda path: path.name == output.name)
    for path in paths:
        if output.with_name(path.name).exists():
            raise DataError(f"{output.with_name(path.name)} exists: move it away, and call the same command again.")
    content = {"options": options, "files": {path.name: sha256(path) for path in paths}}
    write_json(folder / MOVES_FILE, content | {"digest": json_digest(content)})
    finish_moves(folder, output, options)


def list_moved(folder: Path, output: Path) -> list[Path]:
    """Return the files of a result that a killed call has moved to their places before it could move all."""
    try:
        names = _read_moves(folder)["files"]
    except (ValueError, TypeError):  # `finish_moves` says what is wrong
        return []
    return [output.with_name(name) for name in names if not (folder / RESULT_FOLDER / name).exists()]


def finish_moves(folder: Path, output: Path, options: dict[str, Any]) -> bool:
    """Move the files of a result that a killed call did not move any more.

    Args:
        folder: The folder of the call.
        output: The result.
        options: As in `move_result`.

    Returns:
        Whether there was such a result; all of its files are then at their places.

    Raises:
        DataError: If it is the result of other options, or a file is missing or was changed; nothing is moved then.
    """
    if not (folder / MOVES_FILE).exists():
        return False
    if problem := _find_problem(folder, output, options):
        files = ", ".join(str(path) for path in [folder / MOVES_FILE, *filter(Path.exists, list_moved(folder, output))])
        raise DataError(
            f"A call that was stopped while it moved the files of {output} {problem}: delete {files}, and call the "
            "command again."
        )
    moves = _read_moves(folder)
    for name in moves["files"]:
        if (source := folder / RESULT_FOLDER / name).exists():
            source.replace(output.with_name(name))
    (folder / MOVES_FILE).unlink()
    (folder / RESULT_FOLDER).rmdir()
    return True


def _find_problem(folder: Path, output: Path, options: dict[str, Any]) -> str | None:
    """Return why the moves of a stopped call cannot be finished, as the end of a sentence about this call, or None."""
    try:
        moves = _read_moves(folder)
    except (ValueError, TypeError):  # ValueError: also LkcaError
        return f"has left a damaged {MOVES_FILE}"
    if moves["options"] != options:
        return "had other options"
    if output.name not in moves["files"]:
        return "had a result of another name"
    for name, digest in moves["files"].items():
        source, target = folder / RESULT_FOLDER / name, output.with_name(name)
        if source.exists() and target.exists():
            return f"did not write {target}, which exists"
        present = source if source.exists() else target
        if not present.is_file() or sha256(present) != digest:
            return f"wrote another {name} than there is now"
    return None


def _read_moves(folder: Path) -> dict[str, Any]:
    """Return the options and the hashes of the files of a result whose move was begun; no files if there is none.

    Raises:
        ValueError, TypeError: If the file is damaged.
    """
    if not (folder / MOVES_FILE).exists():
        return {"files": {}}
    moves: dict[str, Any] = check_digest(read_json(folder / MOVES_FILE))
    if set(moves) != {"options", "files", "digest"}:
        raise ValueError("it has other keys")
    return moves


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
