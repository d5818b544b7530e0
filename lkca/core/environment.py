"""Read properties of the machine and the software (versions, commit, memory, processor); set up this process."""

import ctypes
import os
import platform
import re
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

PACKAGES = ["torch", "numpy", "scipy", "fvcore", "safetensors"]  # packages that scores depend on


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of PACKAGES: name -> version."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def git_commit() -> str | None:
    """Return the commit of the checkout that contains this file: 12 hexadecimal digits.

    If a tracked file differs from the commit, " with uncommitted changes" follows. Return None if no repository tracks
    this file at its place in this project: a package that is installed inside another repository has no commit.
    """
    file = Path(__file__).resolve()
    checkout = file.parents[2]
    name = file.relative_to(checkout).as_posix()
    try:
        if _git(checkout, "ls-files", "--full-name", name) != name:  # git prints the path from the repository's top
            return None
        return _git(checkout, "describe", "--always", "--dirty= with uncommitted changes", "--abbrev=12", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    """Return the output of git in a folder, even if another user owns it or a hook of another repository runs this."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or "CONFIG" in name}
    env["GIT_OPTIONAL_LOCKS"] = "0"
    command = ["git", "-c", "safe.directory=*", "-C", str(folder), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.strip()


def total_memory() -> int:
    """Return the memory of this machine, or of the container that this process runs in, in bytes."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(machine, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # the system has no cgroups, or the file says "max"
        return machine


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, so that it does not keep the GPUs busy."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def disable_malloc_trim() -> None:
    """Keep glibc from returning freed memory to the system, which would zero the pages of each large tensor again.

    Zeroing them takes a quarter of the time of a training step and a fifth of that of a reconstruction. Other C
    libraries are left unchanged.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(-4, 0)  # M_MMAP_MAX: large blocks come from the heap, ...
        library.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: ... which never shrinks


def release_freed_memory() -> None:
    """Have glibc return freed memory to the system now. Other C libraries are left unchanged."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def default_device() -> str:
    """Return "cuda" if torch finds a GPU, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def cpu_name() -> str:
    """Return the name of the processor, as precisely as the system reports it."""
    try:
        model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        model = None
    return model[1] if model else platform.processor() or platform.machine()
