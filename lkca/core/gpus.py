"""GPU slots without a cluster: each job gets cards of its own, and jobs share none by accident.

Nothing needs torch, which must not be initialised before cards are taken.
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

from lkca.errors import LkcaError

VISIBLE = "CUDA_VISIBLE_DEVICES"


@cache
def installed_gpus() -> tuple[tuple[str, str], ...]:
    """UUID and name of each card of this machine; none where nvidia-smi is missing or fails."""
    command = ["nvidia-smi", "--query-gpu=index,uuid,name", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    lines = [[part.strip() for part in line.split(",")] for line in told.splitlines()]
    return tuple((line[1], " ".join(line[2:])) for line in lines if len(line) > 1)


def visible_gpus() -> dict[str, str]:
    """The cards that this process may use: their words in CUDA_VISIBLE_DEVICES -> UUIDs.

    What a scheduler has set is respected: indices, UUIDs and their beginnings, and parts of cards, MIG-...
    """
    uuids = [uuid for uuid, _ in installed_gpus()]
    if not uuids or VISIBLE not in os.environ:
        return {uuid: uuid for uuid in uuids}
    chosen: dict[str, str] = {}
    for word in map(str.strip, os.environ[VISIBLE].split(",")):
        if word.isdigit() and int(word) < len(uuids):
            chosen[word] = uuids[int(word)]
        elif word.startswith(("GPU-", "MIG-")):
            chosen[word] = next((uuid for uuid in uuids if uuid.startswith(word)), word)
        else:
            break  # like CUDA, which ignores what follows a word that names no card
    return chosen


@contextmanager
def acquire_gpus(number: int) -> Iterator[None]:
    """Take so many cards, all or none; wait while they are not free. This process then sees no others.

    A card is held by the lock of a file in the temporary folder, which the kernel frees whatever ends the process. With
    number 0, and where there is no card to be seen, nothing happens.

    Raises:
        LkcaError: If this process may not use so many, or the folder cannot be written.
    """
    usable, before, told = visible_gpus() if number else {}, os.environ.get(VISIBLE), False
    if not usable:
        yield
        return
    if number > len(usable):
        raise LkcaError(f"{number} GPUs are wanted and this process may use {len(usable)}: ask for fewer.")
    while True:
        with ExitStack() as held:
            taken: list[str] = []
            for word, uuid in usable.items():
                if len(taken) < number and _locked(held, uuid):
                    taken.append(word)
            if len(taken) == number:
                os.environ[VISIBLE] = ",".join(taken)
                try:
                    yield
                finally:
                    os.environ.pop(VISIBLE)
                    os.environ.update({VISIBLE: before} if before is not None else {})
                return
        if not told:
            print(f"waiting for {number} of {len(usable)} GPUs, which other jobs use", file=sys.stderr, flush=True)
            told = True
        sleep(random.uniform(0.5, 1.5))  # not in step: two that want the same cards would hinder each other for ever


def _locked(held: ExitStack, uuid: str) -> bool:
    """Take the lock of a card until `held` ends; False if another job has it."""
    path = Path(tempfile.gettempdir()) / f"lkca-{uuid.replace('/', '-')}.lock"
    try:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)  # another user's can be read, not made again
        except FileNotFoundError:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CREAT, 0o644)
            os.fchmod(descriptor, 0o644)  # whatever the umask
        held.callback(os.close, descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise LkcaError(f"{path} cannot be locked ({error.strerror}): set TMPDIR to another folder.") from error
    return True
