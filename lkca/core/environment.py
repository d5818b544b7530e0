"""The machine and the software: device, memory, processor, versions and commit."""

import ctypes
import os
import platform
import re
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

PACKAGES = ["torch", "numpy", "scipy", "fvcore", "safetensors"]  # that a score depends on


def package_versions() -> dict[str, str]:
    """Of Python and of PACKAGES."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def git_commit() -> str | None:
    """Return the commit of the checkout that this file belongs to, with a note when files differ from it.

    None where the file is not tracked, or not by a repository of this project: a package that was installed inside of
    somebody else's repository has no commit.
    """
    file = Path(__file__).resolve()
    checkout = file.parents[2]
    name = file.relative_to(checkout).as_posix()
    try:
        if _git(checkout, "ls-files", "--full-name", name) != name:  # its name from the top of the repository
            return None
        return _git(checkout, "describe", "--always", "--dirty= with uncommitted changes", "--abbrev=12", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *words: str) -> str:
    """Return what git prints in a folder, whoever owns the folder, and also within a hook of another repository."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or "CONFIG" in name}
    command = ["git", "-c", "safe.directory=*", "-C", str(folder), *words]
    env = kept | {"GIT_OPTIONAL_LOCKS": "0"}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.strip()


def total_memory() -> int:
    """Bytes of memory of this machine, or of the container that this process is in."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(whole, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no cgroups, or "max"
        return whole


def die_with_parent() -> None:
    """Have the system kill this process when its parent has ended, which then no longer holds the cards for it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def disable_malloc_trim() -> None:
    """Have the C library keep what is freed: else large tensors' pages go back, and come zeroed from the system again.

    That takes a quarter of a step's time. It is a setting of glibc's; other libraries are left as they are.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(-4, 0)  # M_MMAP_MAX: no tensor gets pages of its own, ...
        library.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: ... and freed ones wait for the next


def default_device() -> str:
    """Where networks run: on a GPU when there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def cpu_name() -> str:
    """The CPU's name, as well as the system tells it."""
    try:
        return re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())[1]
    except (OSError, TypeError):
        return platform.processor() or platform.machine()
