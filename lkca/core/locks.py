"""Locks between processes, held on files. The kernel releases them when the process ends, even if it is killed.

The library `filelock` would not make this code shorter: it does not delete its lock files, and on file systems without
locks it either raises or uses marker files, which remain after a kill.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import IO, Any

from lkca.core.files import write_error
from lkca.errors import ResourceError


def try_lock(file: IO[Any], path: Path) -> bool:
    """Lock an open file without waiting; closing it releases the lock.

    Args:
        file: The open file.
        path: Its path.

    Returns:
        False if another process holds the lock, or has renamed or removed the file since it was opened.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError:  # the file system has no locks: proceed without one
        return True


def lock_path(path: Path) -> Path:
    """Return the path of the lock file that `exclusive_lock` uses for a file."""
    return path.with_name(f".{path.stem}.lock")


@contextmanager
def exclusive_lock(path: Path, wait: bool = False) -> Iterator[None]:
    """Prevent two processes from writing the same file at the same time.

    Args:
        path: The file to write. The lock is held on the file `.STEM.lock` next to it, which is removed afterwards.
        wait: Whether to wait for a process that holds the lock, instead of raising.

    Raises:
        ResourceError: If another process holds the lock and `wait` is false, or the disk is full or fails.
        DataError: If the folder cannot be written.
    """
    lock, warned = lock_path(path), False
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = lock.open("a")
        except OSError as error:
            raise write_error(path, error) from error
        with file:
            if try_lock(file, lock):
                try:
                    yield
                finally:
                    lock.unlink(missing_ok=True)
                return
        if not wait:
            raise ResourceError(f"{path} is being written by another process: wait until that process ends.")
        if not warned:
            print(f"{path} is being written by another process: waiting until that process ends.", flush=True)
        warned = True
        sleep(1)
