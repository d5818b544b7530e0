"""Locks between processes, held on files: the kernel frees them whatever ends the process."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import IO, Any

from lkca.core.files import unwritable
from lkca.errors import LkcaError


def try_lock(file: IO[Any], path: Path) -> bool:
    """Take the lock of an open file; False if another process has it, or has just renamed or removed the file."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError:  # a file system without locks
        return True


def lock_path(path: Path) -> Path:
    """Return the path of the lock file that `exclusive_lock` uses for a file."""
    return path.with_name(f".{path.stem}.lock")


@contextmanager
def exclusive_lock(path: Path, wait: bool = False) -> Iterator[None]:
    """Keep other processes from making the same file at the same time.

    Args:
        path: The file.
        wait: Whether to wait for a process that is about it, rather than to refuse.

    Raises:
        LkcaError: If one is about it, or if nothing can be written there.
    """
    lock, told = lock_path(path), False
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = lock.open("a")
        except OSError as error:
            raise unwritable(path, error) from error
        with file:
            if try_lock(file, lock):
                try:
                    yield
                finally:
                    lock.unlink(missing_ok=True)
                return
        if not wait:
            raise LkcaError(f"{path} is being made by another process: wait until that one has ended.")
        if not told:
            print(f"{path} is being made by another process: waiting until that one has ended.", flush=True)
        told = True
        sleep(1)
