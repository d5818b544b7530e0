"""The partial download of a file: `.NAME.part`, and `.NAME.part.json`, which records its origin."""

import hashlib
import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict
from rich.filesize import decimal

from lkca.core.locks import try_lock
from lkca.data.urls import is_public, public_url
from lkca.errors import ResourceError


class Origin(BaseModel):
    """The file on a server from which a partial file is downloaded.

    Args:
        url: The URL of the file.
        validator: ETag or date that identifies its version, for If-Range; None if the server sends neither.
        length: Bytes of the whole file, None if unknown.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    url: str
    validator: str | None
    length: int | None


class PartialFile:
    """The partial download of a file; only one process at a time may open it.

    Args:
        path: Where the whole file will be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.part = path.with_name(f".{path.name}.part")
        self.note = path.with_name(f".{path.name}.part.json")
        self.data: io.FileIO
        self.origin: Origin | None = None  # of content that this process has downloaded

    @contextmanager
    def open(self) -> Iterator[Self]:
        """Open the partial file for this process only; delete it afterwards if it is empty.

        Raises:
            ResourceError: If another process has it open, or it cannot be written.
        """
        with self._disk_errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.data = self.part.open("a+b", buffering=0)  # unbuffered, so that a kill does not lose received bytes
        with self.data:
            if not try_lock(self.data, self.part):
                raise ResourceError(
                    f"{self.path} is being downloaded by another process: wait until that process ends."
                )
            try:
                yield self
            finally:
                if not self.size():
                    for path in (self.part, self.note):
                        with suppress(OSError):  # it does not exist, or its folder was removed
                            path.unlink()

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """Turn errors of the disk into ResourceError."""
        try:
            yield
        except OSError as error:
            raise ResourceError(
                f"{self.part} cannot be written ({error.strerror}): free disk space or make its folder writable, then "
                "try again; the download resumes."
            ) from error

    def size(self) -> int:
        """Return the number of bytes downloaded so far."""
        return os.fstat(self.data.fileno()).st_size

    def read_origin(self, url: str) -> Origin | None:
        """Return the origin of the partial file; None if it is unknown or has another URL than `url`."""
        if self.origin:
            return self.origin if self.origin.url == url else None
        origin = self.read_note()
        return origin if origin and origin.url == public_url(url) else None

    def read_note(self) -> Origin | None:
        """Return the stored origin, None if there is none; see `restart`."""
        try:
            return Origin.model_validate_json(self.note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def restart(self, origin: Origin) -> None:
        """Delete all content and record the origin of the new content.

        Only the public part of the URL is stored. If that is not all, another file may have the same public part and
        validator: then no validator is stored, and another process continues only if the SHA-256 is known.
        """
        self.clear()  # before the write: a kill between the two must not leave old content with a new origin
        self.origin = origin
        validator = origin.validator if is_public(origin.url) else None
        stored = Origin(url=public_url(origin.url), validator=validator, length=origin.length)
        with self._disk_errors():
            self.note.write_text(stored.model_dump_json(), encoding="utf-8")

    def clear(self) -> None:
        """Delete all content."""
        with self._disk_errors():
            self.data.truncate(0)

    def append(self, block: bytes) -> None:
        """Append bytes; if the disk becomes full, keep all bytes that were written before.

        Raises:
            ResourceError: If the disk is full or fails.
        """
        with self._disk_errors():
            rest = memoryview(block)
            while rest:
                rest = rest[self.data.write(rest) :]

    def check_space(self, needed: int) -> None:
        """Raise ResourceError if the disk has less than `needed` bytes free."""
        with self._disk_errors():
            free = shutil.disk_usage(self.part.parent).free
        if needed > free:
            raise ResourceError(
                f"{self.path} needs {decimal(needed)} more, but its disk has {decimal(free)} free: free disk space."
            )

    def sha256(self) -> str:
        """Return the SHA-256 of the content, 64 hexadecimal digits."""
        with self._disk_errors():
            self.data.seek(0)
            return hashlib.file_digest(self.data, "sha256").hexdigest()

    def finish(self) -> None:
        """Rename the partial file to its final name, after all data are on the disk."""
        with self._disk_errors():
            os.fsync(self.data.fileno())
            os.replace(self.part, self.path)
            self.note.unlink(missing_ok=True)
