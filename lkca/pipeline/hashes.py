"""The SHA-256 of files, computed again only for files that may have changed."""

import os
from contextlib import suppress
from pathlib import Path
from time import time_ns
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from lkca.core.files import read_text, remedy, sha256, write_json
from lkca.errors import DataError, LkcaError

# A change of a file that comes later than this after the previous one changes the time stamp: on most file systems, and
# on those that store whole seconds.
TICK_NS, COARSE_TICK_NS = 20_000_000, 2_100_000_000


class Stamp(NamedTuple):
    """Facts from the file system about a file; while they stay the same, its content is taken to be the same."""

    size: int
    mtime_ns: int
    ctime_ns: int  # no program can set it
    inode: int


HashAndStamp = tuple[str, int, int, int, int]  # SHA-256, and the fields of Stamp
CACHE = TypeAdapter(dict[str, HashAndStamp])  # path -> its entry


def read_stamp(path: str | Path) -> Stamp:
    """Return the stamp of a file; of a link, that of its target.

    Raises:
        OSError: If there is no such file.
    """
    status = os.stat(path)
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def is_settled(stamp: Stamp) -> bool:
    """Return whether any later change of the file will change its stamp."""
    coarse = stamp.ctime_ns % 10**9 == 0
    return time_ns() - stamp.ctime_ns > (COARSE_TICK_NS if coarse else TICK_NS)


class FileHashes:
    """The SHA-256 of files. Each file is read at most once, and not at all if its stamp is known.

    Args:
        cache: A JSON file with the hashes of earlier calls; None for no cache.
    """

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache
        self._by_stamp: dict[Stamp, str] = {}
        self._by_path: dict[str, str | None] = {}
        self._cached: dict[str, HashAndStamp] = {}
        self._has_new = False
        if cache:
            with suppress(OSError, LkcaError, ValidationError):  # a bad cache is ignored
                self._cached = CACHE.validate_json(read_text(cache))
        for digest, *stamp in self._cached.values():
            self.add(digest, Stamp(*stamp))

    def add(self, digest: str, stamp: Stamp) -> None:
        """Add the SHA-256 of the file with this stamp."""
        self._by_stamp[stamp] = digest

    def has(self, stamp: Stamp, digest: str | None) -> bool:
        """Return whether this is known to be the SHA-256 of the file with this stamp."""
        return digest is not None and self._by_stamp.get(stamp) == digest

    def get(self, path: str) -> str | None:
        """Return the SHA-256 of a file; None if there is no such file.

        Raises:
            DataError: If the file cannot be read.
        """
        if path not in self._by_path:
            self._by_path[path] = self._hash(path)
        return self._by_path[path]

    def forget_paths(self) -> None:
        """Forget the hashes of paths, so that stamps are checked again; files with a known stamp are still not read."""
        self._by_path.clear()

    def _hash(self, path: str) -> str | None:
        try:
            stamp = read_stamp(path)
            if stamp in self._by_stamp:
                return self._by_stamp[stamp]
            settled, digest = is_settled(stamp), sha256(Path(path))
            if settled and read_stamp(path) == stamp:
                self.add(digest, stamp)
                self._cached[path], self._has_new = (digest, *stamp), True
        except (FileNotFoundError, NotADirectoryError):
            return None
        except IsADirectoryError:
            raise DataError(f"{path} is a folder, but a file is expected at this path: move the folder away.") from None
        except OSError as error:
            what_to_do = remedy(error) or "make it readable"
            raise DataError(f"{path} cannot be read ({error.strerror}): {what_to_do}.") from error
        return digest

    def save(self) -> None:
        """Write new hashes to the cache; if that is not possible, they are computed again in the next call."""
        if self._cache and self._has_new:
            with suppress(LkcaError):
                write_json(self._cache, {path: entry for path, entry in self._cached.items() if os.path.exists(path)})
