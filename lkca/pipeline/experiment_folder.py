"""Read the files of an experiment that may come from others, and nothing outside of its folder."""

import json
import shlex
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel
from rich.filesize import decimal
from safetensors import SafetensorError, safe_open

from lkca.core.files import MAX_TEXT_BYTES, remedy
from lkca.core.paths import REPORT_FILE, ExperimentPaths
from lkca.core.result_files import WeightsMetadata
from lkca.pipeline.phrases import MAX_LISTED_NAMES, describe_error, escape

T = TypeVar("T", bound=BaseModel)
RECORDS = ExperimentPaths().records()  # relative to the folder of the experiment
MAX_PATH = 400  # characters of a path in a suggested command


class ExperimentFolder:
    """The folder of an experiment, with the errors and notes about its files.

    Args:
        root: results/{experiment}, or a copy of it.

    Attributes:
        errors: Sentences about what is wrong, without duplicates.
        notes: Sentences about files that are unusual but not wrong, or could not be checked.
        sizes: Path relative to `root` -> bytes, of the files that exist.
        missing: Paths of files that do not exist.
        damaged: Paths of files that could not be read.
        outputs: Path of the record of a job -> a file that the job writes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.errors: list[str] = []
        self.notes: list[str] = []
        self.sizes: dict[str, int] = {}
        self.missing: set[str] = set()
        self.damaged: set[str] = set()
        self.outputs: dict[str, str] = {}

    def add_error(self, problem: str, remedy: str) -> None:
        """Add the sentence "problem: remedy." to the errors, unless they have it already."""
        sentence = f"{problem}: {remedy}."
        if sentence not in self.errors:
            self.errors.append(sentence)

    def add_damage(self, path: str, error: Exception) -> None:
        """Add an error about a file that cannot be read, or whose content is wrong."""
        self.damaged.add(path)
        if isinstance(error, OSError):
            what_to_do = remedy(error) or self.restore_or_rerun([path])
            self.add_error(f"{escape(path)} cannot be read ({describe_error(error)})", what_to_do)
        else:
            problem = f"{escape(path)} was damaged or edited ({describe_error(error)})"
            self.add_error(problem, self.restore_or_rerun([path]))

    def rerun(self, paths: Iterable[str]) -> str:
        """Return the remedy that makes files again; for the record of a job, the one that runs the job again."""
        files = dict.fromkeys(self.outputs.get(path, path) for path in paths)
        if all(path.startswith(f"{RECORDS}/") for path in files):  # damaged ones, which name no file
            return "run snakemake, which runs its job again"
        arguments = [shlex.quote(escape(self.root / path, MAX_PATH)) for path in files]
        more = f" ... ({len(arguments)} files)" if len(arguments) > MAX_LISTED_NAMES else ""
        pronoun = "them" if arguments[1:] else "it"
        return f"run snakemake -R {' '.join(arguments[:MAX_LISTED_NAMES])}{more} to make {pronoun} again"

    def restore_or_rerun(self, paths: Iterable[str]) -> str:
        """Return the remedy that brings back the original files, or makes them again."""
        return f"restore the original, or {self.rerun(paths)}"

    def exists(self, path: str) -> bool:
        """Return whether a file exists and may be read: inside of the folder, not behind a link, and a regular file.

        A file that may not be read becomes an error, and a missing file is added to `missing`.
        """
        if path in self.sizes or path in self.missing:
            return path in self.sizes
        parts = path.split("/")
        if {"", ".", ".."} & {*parts}:
            self.add_error(
                f"{escape(path)!r} is not a path inside of the experiment", self.restore_or_rerun([REPORT_FILE])
            )
            return False
        try:
            for depth in range(1, len(parts) + 1):
                status = self.root.joinpath(*parts[:depth]).lstat()
                if stat.S_ISLNK(status.st_mode):
                    link = escape("/".join(parts[:depth]))
                    self.add_error(f"{link} is a link, and links are not followed", "replace it with its target")
                    return False
            if stat.S_ISREG(status.st_mode):
                self.sizes[path] = status.st_size
                return True
            self.add_error(f"{escape(path)} is not a regular file", self.restore_or_rerun([path]))
        except (FileNotFoundError, NotADirectoryError):
            self.missing.add(path)
        except OSError as error:
            self.add_damage(path, error)
        except ValueError as error:  # no file has such a name
            self.add_error(f"{escape(path)} cannot be read ({describe_error(error)})", self.restore_or_rerun([path]))
        return False

    def read_text(self, path: str) -> str:
        """Return the content of a text file.

        Raises:
            OSError: If it cannot be read.
            ValueError: If it is too large or not UTF-8.
        """
        with (self.root / path).open("rb") as file:
            data = file.read(MAX_TEXT_BYTES + 1)
        if len(data) > MAX_TEXT_BYTES:
            raise ValueError(f"it has more than {decimal(MAX_TEXT_BYTES)}")
        return data.decode("utf-8")

    def read(self, path: str, kind: type[T]) -> T | None:
        """Return the content of a JSON file; None if it is missing or damaged. Damage is added to the errors."""
        if not self.exists(path):
            return None
        try:
            return kind.model_validate(json.loads(self.read_text(path)))
        except (OSError, ValueError, RecursionError) as error:
            self.add_damage(path, error)
            return None

    def read_weights_header(self, path: str) -> WeightsMetadata | None:
        """Return the metadata of weights without reading tensors; None in the same cases as `read`."""
        if not self.exists(path):
            return None
        try:
            with safe_open(self.root / path, "numpy") as file:
                return WeightsMetadata.model_validate_json((file.metadata() or {}).get("lkca", "{}"))
        except (OSError, SafetensorError, ValueError, RecursionError) as error:
            self.add_damage(path, error)
            return None
