"""Files of others are read in a process of its own: what a library may do there ends that process alone."""

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

from lkca.errors import LkcaError

MEMORY = 7 * 2**29  # bytes, 3.5 GiB
SECONDS = 25  # between two signs of life, for a small file ...
BYTES_A_SECOND = 5_000_000  # ... and longer for a large one, so that a slow disk may serve it


def run_sandboxed(function: Callable[..., Any], *args: Any) -> Any:
    """`function(*args)` in a fresh process with limits on its memory and on the time between two signs of life.

    Returns:
        What the function returns.

    Raises:
        LkcaError: If the function raises it, or when the process crashes, wants too much memory or hangs; the sentence
            names the file that it was `reading`.
        OSError: If the function raises it, which then has nothing to do with reading.
    """
    context = get_context("spawn")  # a fork would copy locks that threads hold
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there, function, args), daemon=True)
    process.start()
    there.close()
    kind, value, path = "reading", None, "a file"
    try:
        while kind == "reading":
            path = value or path
            kind, value = here.recv()
    except (EOFError, ConnectionResetError):
        process.join()
        why = "takes too long" if process.exitcode == -signal.SIGALRM else "ends in a crash"
        raise LkcaError(f"{path} cannot be read (reading it {why}): it is damaged or another file.") from None
    finally:
        process.kill()
        process.join()
    if kind == "memory":
        raise LkcaError(f"{path} wants more than {MEMORY / 2**30} GiB of memory: it is damaged or another file.")
    if kind == "refused":
        raise LkcaError(value)
    if kind == "disk":
        raise OSError(*value)
    return value


class _Child:
    """What a process knows when it is one of `guarded`."""

    pipe: Connection | None = None
    seconds = 0


def set_current_file(path: Path) -> None:
    """The file whose name a sentence shall have if reading it ends badly; the time for it starts."""
    if _Child.pipe:
        _Child.pipe.send(("reading", str(path)))
        _Child.seconds = SECONDS + path.stat().st_size // BYTES_A_SECOND
        heartbeat()


def heartbeat() -> None:
    """A sign of life: the time starts anew."""
    signal.alarm(_Child.seconds)


def _work(pipe: Connection, function: Callable[..., Any], args: tuple) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches both: the parent has the word
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _Child.pipe = pipe
    Thread(target=_end_with, args=(pipe,), daemon=True).start()
    try:
        answer = ("done", function(*args))
    except LkcaError as error:
        answer = ("refused", str(error))
    except MemoryError:
        answer = ("memory", None)
    except OSError as error:
        answer = ("disk", (error.errno, error.strerror))
    pipe.send(answer)


def _end_with(pipe: Connection) -> None:
    """End this process when the parent has ended, which sends nothing."""
    with suppress(EOFError, OSError):
        pipe.recv()
    os._exit(1)
