"""Assign GPUs to jobs on a machine without a scheduler, so that no two jobs use the same GPU.

This module does not import torch, which must not be initialised before the GPUs are acquired.
"""

import fcntl
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from time import sleep

from lkca.errors import ConfigError, ResourceError

VISIBLE = "CUDA_VISIBLE_DEVICES"


@cache
def installed_gpus() -> tuple[tuple[str, str], ...]:
    """Return UUID and name of each GPU of this machine; none if nvidia-smi is missing or fails."""
    command = ["nvidia-smi", "--query-gpu=uuid,name", "--format=csv,noheader"]
    try:
        stdout = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = [line.partition(",") for line in stdout.splitlines()]
    return tuple((uuid.strip(), name.strip()) for uuid, comma, name in rows if comma)


def visible_gpus() -> dict[str, str]:
    """Return the GPUs that this process may use: identifier in CUDA_VISIBLE_DEVICES -> UUID.

    If CUDA_VISIBLE_DEVICES is not set, all GPUs are visible, each under its UUID. A scheduler may have set it to a list
    of indices, UUIDs, first characters of UUIDs, or MIG slices (MIG-...).
    """
    uuids = [uuid for uuid, _ in installed_gpus()]
    if not uuids or VISIBLE not in os.environ:
        return {uuid: uuid for uuid in uuids}
    visible: dict[str, str] = {}
    for identifier in map(str.strip, os.environ[VISIBLE].split(",")):
        if identifier.isdigit() and int(identifier) < len(uuids):
            visible[identifier] = uuids[int(identifier)]
        elif identifier.startswith(("GPU-", "MIG-")):
            visible[identifier] = next((uuid for uuid in uuids if uuid.startswith(identifier)), identifier)
        else:
            break  # CUDA ignores everything after an invalid identifier
    return visible


@contextmanager
def acquire_gpus(count: int) -> Iterator[None]:
    """Acquire `count` GPUs for the block, all at once; wait while too few are free.

    In the block, CUDA_VISIBLE_DEVICES contains only the acquired GPUs. A GPU is acquired by a lock on a file in the
    temporary folder; the kernel releases the lock when the process ends, even if it is killed. If `count` is 0 or no
    GPU is visible, nothing is acquired or changed.

    Raises:
        ConfigError: If fewer than `count` GPUs are visible.
        ResourceError: If the lock files cannot be used.
    """
    usable = visible_gpus() if count else {}
    if not usable:
        yield
        return
    if count > len(usable):
        raise ConfigError(f"{count} GPUs are requested and this process may use {len(usable)}: request fewer.")
    original, warned = os.environ.get(VISIBLE), False
    while True:
        with ExitStack() as locks:
            acquired: list[str] = []
            for identifier, uuid in usable.items():
                if len(acquired) < count and _try_lock_gpu(locks, uuid):
                    acquired.append(identifier)
            if len(acquired) == count:
                os.environ[VISIBLE] = ",".join(acquired)
                try:
                    yield
                finally:
                    os.environ.pop(VISIBLE)
                    os.environ.update({VISIBLE: original} if original is not None else {})
                return
        if not warned:
            print(f"waiting for {count} of {len(usable)} GPUs, which other jobs use", file=sys.stderr, flush=True)
            warned = True
        sleep(random.uniform(0.5, 1.5))  # random, so that two jobs do not block each other again and again


def _try_lock_gpu(locks: ExitStack, uuid: str) -> bool:
    """Lock a GPU until `locks` closes; return False if another job holds it."""
    path = Path(tempfile.gettempdir()) / f"lkca-{uuid.replace('/', '-')}.lock"
    try:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)  # another user's file can be read, not created
        except FileNotFoundError:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CREAT, 0o644)
            os.fchmod(descriptor, 0o644)  # readable for all users, whatever the umask
        locks.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise ResourceError(f"{path} cannot be locked ({error.strerror}): set TMPDIR to another folder.") from error
    return True
