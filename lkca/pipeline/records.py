"""Read and describe records of jobs.

A successful job writes a record, results/{experiment}/records/{job}.json, with the settings and the digest of the code
that determined its result, and the SHA-256 of every file that it read and wrote. The record ends with a digest of its
own content, which reveals edits.
"""

from collections.abc import Mapping
from pathlib import Path
from time import sleep
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from lkca.core.files import check_digest, json_digest, read_text, write_json
from lkca.core.fingerprint import PACKAGE, Code
from lkca.errors import DataError
from lkca.pipeline.hashes import COARSE_TICK_NS, TICK_NS, FileHashes, HashAndStamp, is_settled, read_stamp


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value  # JSON has lists


# SHA-256 of a file, and its stamp at that time if the stamp was settled (`lkca.pipeline.hashes.is_settled`).
RecordedFile = Annotated[tuple[str] | HashAndStamp, BeforeValidator(_as_tuple)]


class Adoption(BaseModel):
    """A statement of the user that a change of code does not change the numbers.

    Args:
        code: Digest of the code before the change.
        to: Digest of the code after the change.
        modules: Files in which the two differ.
        because: The reason.
        date: The day of the statement, as YYYY-MM-DD.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    code: str
    to: str
    modules: list[str]
    because: str
    date: str


class Record(BaseModel):
    """The settings, code and files that a job used, and the files that it wrote.

    Args:
        step: The step, which is the rule.
        archs: Architectures of the networks that it used.
        settings: The result of `lkca.config.job.Job.canonical_settings`.
        code: Digest of the code.
        modules: Module -> digest of the definitions in it that the job used.
        reads: Label -> hash and stamp of a file that it read.
        writes: Path -> hash and stamp of a file that it wrote.
        adopted: The adoptions of its result.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    step: str
    archs: list[str]
    settings: Any
    code: str
    modules: dict[str, str]
    reads: dict[str, RecordedFile]
    writes: dict[str, RecordedFile]
    adopted: list[Adoption] = []

    def accepted_codes(self) -> set[str]:
        """Return the digests of all code that gives this result: the code of the record and of its adoptions."""
        return {self.code, *(adoption.code for adoption in self.adopted)}

    def write(self, path: Path) -> None:
        """Write the record to a file.

        Raises:
            DataError, ResourceError: If the file cannot be written.
        """
        content = self.model_dump(mode="json", exclude={"digest"})
        write_json(path, content | {"digest": json_digest(content)})


class StoredRecord(Record):
    """The content of the file of a record.

    Args:
        digest: The `json_digest` of the rest.
    """

    digest: str

    _check_digest = model_validator(mode="before")(check_digest)


def digests(files: Mapping[str, RecordedFile]) -> dict[str, str]:
    """Return the SHA-256 of recorded files, without their stamps: label or path -> SHA-256."""
    return {label: file[0] for label, file in files.items()}


def read_record(path: Path) -> StoredRecord | None:
    """Return a record; None if it is missing, damaged or edited, so that the job runs again.

    Raises:
        OSError: If it exists and cannot be read.
    """
    try:
        return StoredRecord.model_validate_json(read_text(path))
    except (DataError, ValidationError):
        return None


def describe_file(hashes: FileHashes, path: str) -> RecordedFile:
    """Return the SHA-256 of a file, with its stamp if that is settled; wait up to two seconds until it is."""
    stamp = read_stamp(path)
    for _ in range(COARSE_TICK_NS // TICK_NS):
        if is_settled(stamp):
            break
        sleep(TICK_NS / 10**9)
    digest = hashes.get(path)
    return (str(digest), *stamp) if hashes.has(stamp, digest) else (str(digest),)


def changed_files(record: Record, code: Code) -> list[str]:
    """Return the files in which the code of a record differs from another one."""
    names = {*record.modules, *code.modules}
    changed = sorted(name for name in names if record.modules.get(name) != code.modules.get(name))
    return [_module_file(name) for name in changed] or ["the calls between its functions"]


def _module_file(module: str) -> str:
    """Return the file of a module of lkca, relative to the checkout."""
    path = Path(PACKAGE.name, *module.split(".")[1:])
    return str(path / "__init__.py" if (PACKAGE.parent / path).is_dir() else path.with_suffix(".py"))
