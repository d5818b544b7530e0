"""Run functions that read untrusted files in a separate process: a library that crashes or hangs ends only that one."""

import os
import resource
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any

from lkca.errors import DataError, LkcaError

MAX_MEMORY = 7 * 2**29  # bytes, 3.5 GiB
TIMEOUT = 25  # seconds between two heartbeats, ...
MIN_SPEED = 5_000_000  # ... and one second more for so many bytes of the file, which may be on a slow disk


def run_sandboxed(function: Callable[..., Any], *args: Any) -> Any:
    """Return `function(*args)`, run in a new process with limited memory and limited time between two heartbeats.

    Raises:
        DataError: If the process crashes, exceeds its memory or hangs; the message names the file of the last
            `set_current_file`.
        LkcaError: If the function raises it.
        OSError: If the function raises it; not for the file that is read, of which readers raise a DataError.
    """
    context = get_context("spawn")  # a fork would copy locks that other threads hold
    connection, child_connection = context.Pipe()
    process = context.Process(target=_run_child, args=(child_connection, function, args), daemon=True)
    process.start()
    child_connection.close()
    path = "a file"
    try:
        kind, value = connection.recv()
        while kind == "file":
            path = value
            kind, value = connection.recv()
    except (EOFError, ConnectionResetError):
        process.join()
        reason = "the reader timed out" if process.exitcode == -signal.SIGALRM else "the reader crashed"
        raise DataError(f"{path} cannot be read ({reason}): it is damaged or the wrong file.") from None
    finally:
        process.kill()
        process.join()
    if kind == "memory":
        limit = f"{MAX_MEMORY / 2**30} GiB of memory"
        raise DataError(f"{path} cannot be read (the reader needs more than {limit}): it is damaged or the wrong file.")
    if kind == "error":
        raise value
    return value


class _Child:
    """State of this process if `run_sandboxed` started it."""

    connection: Connection | None = None
    timeout = 0  # seconds; 0: no limit


def set_current_file(path: Path) -> None:
    """Declare which file is read from now on, for messages and for the time that its size allows."""
    if _Child.connection:
        _Child.connection.send(("file", str(path)))
        _Child.timeout = TIMEOUT + path.stat().st_size // MIN_SPEED
        heartbeat()


def heartbeat() -> None:
    """Declare that reading makes progress: the time limit starts again."""
    signal.alarm(_Child.timeout)


def _run_child(connection: Connection, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Run the function in the new process and send what it returns or raises."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches both processes; the parent reports it
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _Child.connection = connection
    Thread(target=_exit_with_parent, args=(connection,), daemon=True).start()
    try:
        message = ("result", function(*args))
    except MemoryError:
        message = ("memory", None)
    except LkcaError as error:
        message = ("error", error)
    except OSError as error:
        message = ("error", OSError(error.errno, error.strerror))  # subclasses of libraries may not be picklable
    connection.send(message)


def _exit_with_parent(connection: Connection) -> None:
    """Exit when the parent, which sends nothing, has ended."""
    with suppress(EOFError, OSError):
        connection.recv()
    os._exit(1)
