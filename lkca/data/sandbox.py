"""Run functions that read untrusted files in a separate process, so that a crash or a hang ends only that process."""

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

from lkca.core.printing import escape_output
from lkca.core.stopwatch import Stopwatch
from lkca.errors import DataError, LkcaError

MAX_MEMORY = 7 * 2**29  # bytes, 3.5 GiB
TIMEOUT = 25  # seconds between two heartbeats, plus the time to read the file at MIN_SPEED
MIN_SPEED = 5_000_000  # bytes a second, of a slow disk


def run_sandboxed(function: Callable[..., Any], *args: Any) -> Any:
    """Return `function(*args)`, run in a new process with limited memory and limited time between two heartbeats.

    If both processes are stopped for longer than that, the function is run again.

    Raises:
        DataError: If the process crashes, exceeds its memory or hangs; the message names the file of the last call of
            `set_current_file`.
        LkcaError: If the function raises it.
        OSError: If the function raises it, for example when it writes to a full disk. An error of the file that is read
            is a DataError, which the readers raise.
    """
    context = get_context("spawn")  # a fork would copy locks that other threads hold
    connection, child_connection = context.Pipe()
    process = context.Process(target=_run_child, args=(child_connection, function, args), daemon=True)
    stopwatch = Stopwatch()
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
        timed_out = process.exitcode == -signal.SIGALRM
        if timed_out and stopwatch.stopped():
            return run_sandboxed(function, *args)
        reason = "the reader timed out" if timed_out else "the reader crashed"
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
    """State of this process; it has the default values unless `run_sandboxed` started the process."""

    connection: Connection | None = None
    timeout = 0  # seconds; 0 means no limit


def set_current_file(path: Path) -> None:
    """Declare which file is read from now on: messages name it, and its size determines the time limit."""
    if _Child.connection:
        _Child.connection.send(("file", str(path)))
        _Child.timeout = TIMEOUT + path.stat().st_size // MIN_SPEED
        heartbeat()


def heartbeat() -> None:
    """Declare that reading makes progress, and restart the time limit."""
    signal.alarm(_Child.timeout)


def _run_child(connection: Connection, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Run the function in the new process and send its result or its error to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches both processes; the parent reports it
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    escape_output()
    _Child.connection = connection
    Thread(target=_exit_with_parent, args=(connection,), daemon=True).start()
    try:
        message = ("result", function(*args))
    except MemoryError:
        message = ("memory", None)
    except LkcaError as error:
        message = ("error", error)
    except OSError as error:
        message = ("error", OSError(error.errno, error.strerror))  # a subclass of a library may not be picklable
    connection.send(message)


def _exit_with_parent(connection: Connection) -> None:
    """Exit when the parent has ended: it sends nothing, so `recv` returns only then."""
    with suppress(EOFError, OSError):
        connection.recv()
    os._exit(1)
