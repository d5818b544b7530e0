"""Rehearse download, cropping and splitting of the three scenes at full size: `make rehearsal`.

It takes a few minutes and 8 GB of disk. The published files were not available. This program generates files of their
formats and sizes (tests/generated_cubes.py), serves them on this machine, and processes them by the commands and with
the settings of the workflow. It compares the scenes with the generated numbers. Each row of the CSV is one command:

- seconds, cpu_seconds: wall-clock time, and CPU time of all its processes.
- process_GiB: the largest resident memory of any of its processes, as the system reports it.
- tree_GiB: the largest resident memory of all its processes together, sampled every 50 ms. Shared memory counts once
  for each process, and pages of mapped files are included.
- raw_bytes: size of the downloaded file.
- derived_peak_bytes, derived_bytes: size of all other files: the largest during the command, and that after it.
- derived_peak_ratio, derived_ratio: the same divided by the size of the crop in float32.
- grid, train, validation: number of patches on the grid of a split, for training, and for validation.

All processes, including the server, share two cores. A file that was just downloaded is read from the system's cache.
The temporary folder is deleted at the end, also after Ctrl-C.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, sleep
from typing import Any, NamedTuple

import psutil
import yaml

from lkca.config.load import dump_snapshot, parse_config, read_config
from lkca.config.yaml_files import deep_merge
from lkca.core.files import read_json, sha256
from lkca.data.catalog import CUBES
from lkca.errors import LkcaError, ResourceError
from tests.server import Server

REPOSITORY = Path(__file__).parents[1]
NUM_CORES, MIN_FREE_BYTES = 2, 8 * 10**9
# Limits for Chikusei: time to read, crop and split; memory; derived files relative to the crop.
MAX_SECONDS, MAX_MEMORY_BYTES, MAX_DERIVED_RATIO = 120, 4 * 10**9, 1.1


class Case(NamedTuple):
    """A scene whose raw file is generated, processed and checked.

    Args:
        scene: Key of the scene in config.yaml.
        form: Index of the raw file in the cube's `forms`; None for the file that the workflow downloads.
        writer: Name of the function of tests/generated_cubes.py that writes the raw file.
        size: Rows, columns and bands as the writer takes them, and the largest value.
        patches: Scale -> expected numbers of patches: grid, training, validation.
    """

    scene: str
    form: int | None
    writer: str
    size: tuple[int, int, int, int]
    patches: dict[int, tuple[int, int, int]]


CHIKUSEI = {4: (3465, 3024, 378), 8: (837, 713, 93)}
CASES = {
    "chikusei": Case("chikusei", None, "write_chikusei_zip", (2517, 2335, 128, 15133), CHIKUSEI),
    "chikusei_mat": Case("chikusei", 1, "write_matlab73", (2517, 2335, 128, 15133), CHIKUSEI),
    "houston2018": Case(
        "houston2018", None, "write_houston_zip", (1202, 4172, 50, 40000), {4: (4068, 3600, 432), 8: (952, 833, 102)}
    ),
    "pavia_centre": Case(
        "pavia_centre", None, "write_pavia_centre", (1096, 715, 102, 8000), {4: (546, 462, 63), 8: (120, 90, 20)}
    ),
}


class Usage(NamedTuple):
    """The resources that a command used: seconds of wall-clock and CPU time, else bytes; see the columns of the CSV."""

    seconds: float
    cpu_seconds: float
    process: int
    tree: int
    derived_peak: int
    derived: int


def run_measured(arguments: list[str], work: Path, raw: Path) -> Usage:
    """Run Python with these arguments in the folder `work` and return the resources that it used.

    Args:
        arguments: Command line after the name of the interpreter.
        work: Working folder.
        raw: The downloaded file, which does not count as derived.

    Raises:
        LkcaError: If the command fails; the message ends with the last line of its output.
    """
    (work / "tmp").mkdir(parents=True, exist_ok=True)
    env = {key: value for key, value in os.environ.items() if not key.startswith("LKCA_")}
    env |= {"PYTHONPATH": str(REPOSITORY), "TMPDIR": str(work / "tmp"), "NO_PROXY": "127.0.0.1"}
    with tempfile.TemporaryFile("w+") as log:
        start, tree, derived_peak, ended = perf_counter(), 0, 0, 0
        # The command has its own session, so that Ctrl-C reaches only this program, which then kills the whole session.
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=work,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            while not ended:
                sleep(0.05)
                tree = max(tree, resident_memory(process.pid))
                derived_peak = max(derived_peak, derived_bytes(work, raw))
                ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            seconds, process.returncode = perf_counter() - start, os.waitstatus_to_exitcode(status)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.seek(0)
        if process.returncode:
            last = [*filter(None, map(str.strip, log))][-1:] or ["no output"]
            command = " ".join(arguments[:3])
            raise LkcaError(f"{command} failed with code {process.returncode}: {last[0].rstrip('.')}.")
    largest = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    derived = derived_bytes(work, raw)
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return Usage(seconds, cpu_seconds, largest, max(tree, largest), max(derived_peak, derived), derived)


def resident_memory(pid: int) -> int:
    """Return the resident memory of a process and its descendants in bytes."""
    total = 0
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with suppress(psutil.Error):
                total += process.memory_info().rss
    return total


def derived_bytes(work: Path, raw: Path) -> int:
    """Return the size in bytes of all files in a folder, without the downloaded file and its partial file."""
    total = 0
    for folder, _, names in os.walk(work):
        for name in names:
            path = Path(folder, name)
            if path not in (raw, raw.with_name(f".{raw.name}.part")):
                with suppress(FileNotFoundError):
                    total += path.stat().st_size
    return total


def generate(case: Case, path: Path) -> None:
    """Generate the raw file of a case."""
    from tests import generated_cubes

    scene = generated_cubes.Scene(*case.size)
    variable = ["chikusei"] if case.writer == "write_matlab73" else []
    getattr(generated_cubes, case.writer)(path, *variable, scene)


def check(case: Case, array: Path) -> None:
    """Compare every tenth band of a scene with the generated numbers.

    Raises:
        ValueError: If they differ.
    """
    import numpy as np

    from tests import generated_cubes

    cube, bands = CUBES[case.scene], np.load(array, mmap_mode="r")
    top, bottom, left, right = cube.crop or (0, cube.shape[0], 0, cube.shape[1])
    for i, band in enumerate(generated_cubes.Scene(*case.size)):
        if i % 10 == 0 and i < len(bands):
            image = band.T if cube.files[0].axes == "bands columns rows" else band
            expected = image[top:bottom, left:right] / np.float32(case.size[3])
            if np.abs(bands[i] - expected).max() > 1e-6:
                raise ValueError(f"band {i + 1} of {array} differs from the generated one")


def rehearse(name: str, folder: Path) -> list[dict[str, Any]]:
    """Download, crop and split a case in an empty folder, and check the scene.

    Returns:
        The rows of the CSV.

    Raises:
        LkcaError: If a command fails.
    """
    case, paper = CASES[name], read_config([REPOSITORY / "config.yaml"])
    scene = paper.scenes[case.scene]
    cube = scene.resolve_cube().model_dump(mode="json")
    file = cube["files"][0] if case.form is None else cube["forms"][case.form]
    raw = re.sub(r"(?<=\.zip)/.*", "", file["path"])
    work, source = folder / "work", folder / "served" / Path(raw).name
    source.parent.mkdir()
    generation = run_measured([__file__, "--write", name, str(source)], work, work / raw)
    size = source.stat().st_size
    print(f"{name}: {source.name} generated in {generation.seconds:.0f} s, {size:,} bytes", flush=True)
    if file["sha256"]:  # none is published for Pavia.mat and Chikusei's .mat
        file["sha256"] = sha256(source)
    if file["bytes"]:
        file["bytes"] = size
    top, bottom, left, right = cube["crop"] or (0, cube["shape"][0], 0, cube["shape"][1])
    crop = 4 * (bottom - top) * (right - left) * scene.bands
    root = "results/rehearsal"
    array, manifest = f"{root}/scenes/{case.scene}.npy", f"{root}/scenes/{case.scene}.json"
    rows = []

    def run_step(label: str, arguments: list[str]) -> dict[str, Any]:
        usage = run_measured(["-m", "lkca", *arguments], work, work / raw)
        row = {
            "case": name,
            "step": label,
            "seconds": f"{usage.seconds:.2f}",
            "cpu_seconds": f"{usage.cpu_seconds:.2f}",
            "process_GiB": f"{usage.process / 2**30:.3f}",
            "tree_GiB": f"{usage.tree / 2**30:.3f}",
            "raw_bytes": (work / raw).stat().st_size,
            "derived_peak_bytes": usage.derived_peak,
            "derived_bytes": usage.derived,
            "derived_peak_ratio": f"{usage.derived_peak / crop:.4f}",
            "derived_ratio": f"{usage.derived / crop:.4f}",
            **dict.fromkeys(("grid", "train", "validation"), ""),
        }
        rows.append(row)
        return row

    with Server({source.name: source}) as server:
        file["sources"] = [server.url(source.name)]
        cube |= {"files": [file], "forms": []}
        overlay = {"experiment": "rehearsal", "scenes": {case.scene: {"cube": cube}}}
        (work / "overlay.yaml").write_text(json.dumps(overlay))  # YAML holds JSON
        config = deep_merge(yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8")), overlay)
        (work / "experiment.json").write_text(dump_snapshot(parse_config(config)))
        terms = ["--accept-terms"] if cube["confirm"] else []
        files = ["--config", str(REPOSITORY / "config.yaml"), "overlay.yaml"]
        print_row(run_step("fetch", ["fetch", case.scene, *files, *terms]))
    job = ["--experiment", "experiment.json", "--outputs"]
    print_row(run_step("scene", ["step", f"scenes/{case.scene}", *job, array, manifest]))
    run_measured([__file__, "--check", name, array], work, work / raw)
    for scale, expected in case.patches.items():
        out = f"{root}/splits/{case.scene}_x{scale}.json"
        row = run_step(f"split x{scale}", ["step", f"splits/{case.scene}_x{scale}", *job, out])
        row |= {key: read_json(work / out)["numbers"][key] for key in ("grid", "train", "validation")}
        patches = row["grid"], row["train"], row["validation"]
        print_row(row, "as expected" if patches == expected else f"NOT AS EXPECTED, {expected}")
    return rows


HEAD = ("case", "step", "seconds", "cpu_seconds", "process_GiB", "tree_GiB", "derived_peak_ratio", "derived_ratio")


def print_row(row: dict[str, Any], remark: str = "") -> None:
    """Print a row of the table."""
    patches = f"{row['grid']}: {row['train']} + {row['validation']}, {remark}" if remark else ""
    print("{:14}{:10}{:>9}{:>12}{:>13}{:>10}{:>20}{:>15}".format(*(row[key] for key in HEAD)), "", patches, flush=True)


def print_limits(rows: list[dict[str, Any]]) -> None:
    """Print whether the commands on each of Chikusei's two files stay within the limits."""
    for name in ("chikusei", "chikusei_mat"):
        steps = [row for row in rows if row["case"] == name]
        if not steps:
            continue
        download, rest = float(steps[0]["seconds"]), sum(float(row["seconds"]) for row in steps[1:])
        memory = max(float(row["tree_GiB"]) for row in steps) * 2**30
        ratio = max(float(row["derived_peak_ratio"]) for row in steps)
        for text, value, limit in (
            (f"read, crop and split in {rest:.1f} s ({download + rest:.1f} s with download)", rest, MAX_SECONDS),
            (f"peak of memory {memory / 1e9:.2f} GB", memory / 1e9, MAX_MEMORY_BYTES / 1e9),
            (f"peak of derived files {ratio:.3f} of the crop", ratio, MAX_DERIVED_RATIO),
        ):
            print(f"{name}: {text}, limit {limit:g}: {'holds' if value <= limit else 'EXCEEDED'}")


def main() -> int:
    """Rehearse the cases, print a table and write the CSV; return the exit code."""
    parser = argparse.ArgumentParser(description="Download, crop and split generated scenes of full size.")
    parser.add_argument(
        "--scene", choices=CASES, nargs="+", default=list(CASES), help="a CSV is written only if all are rehearsed"
    )
    parser.add_argument("--folder", type=Path, help="where to create the temporary folder")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks", help="folder of the CSV")
    for hidden in ("--write", "--check"):  # `rehearse` calls them in other processes
        parser.add_argument(hidden, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for function, arguments in ((generate, options.write), (check, options.check)):
        if arguments:
            function(CASES[arguments[0]], Path(arguments[1]))
            return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if os.getloadavg()[0] > 0.5:
        print(
            f"rehearsal: the machine is busy (load {os.getloadavg()[0]:.1f}): timings will be too long.",
            file=sys.stderr,
        )
    rows, code = [], 0
    try:
        with tempfile.TemporaryDirectory(prefix="rehearsal-", dir=options.folder) as temporary:
            free = shutil.disk_usage(temporary).free
            if free < MIN_FREE_BYTES:
                space = f"{free / 1e9:.1f} GB free, and {MIN_FREE_BYTES / 1e9:g} are needed"
                raise ResourceError(f"{Path(temporary).parent} has {space}: choose another --folder.")
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:NUM_CORES])
            print("{:14}{:10}{:>9}{:>12}{:>13}{:>10}{:>20}{:>15}".format(*HEAD), "", "patches: training + validation")
            for name in options.scene:
                (folder := Path(temporary, name)).mkdir()
                try:
                    rows += rehearse(name, folder)
                except LkcaError as error:
                    print(f"rehearsal: {name}: {error}", file=sys.stderr)
                    code = 1
                shutil.rmtree(folder)
        print_limits(rows)
        if code == 0 and set(options.scene) == set(CASES):
            print(save(rows, options.out))
    except OSError as error:
        print(f"rehearsal: {error}: choose another --folder.", file=sys.stderr)
        return 1
    except LkcaError as error:
        print(f"rehearsal: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def save(rows: list[dict[str, Any]], folder: Path) -> Path:
    """Write the CSV and return its path."""
    # Imported here, because they import torch, and the peak memory of a child process includes that of its parent.
    from networks import cpu_name, make_slug, write_rows

    from lkca.core.environment import git_commit

    device = cpu_name()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = {
        "device": device,
        "cores": cores,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": git_commit() or "",
    }
    path = folder / f"rehearsal_{make_slug(device)}.csv"
    write_rows(path, [row | facts for row in rows])
    return path


if __name__ == "__main__":
    sys.exit(main())
