"""The three scenes at full size, from a server to the splits: `make rehearsal`, a few minutes and 8 GB of disk.

The published files are not at hand: files of their formats and sizes are made up (tests/official.py), served by this
machine, and fetched, cut and split by the commands that the workflow gives, with its settings. What was cut is compared
with what was made up. One line of the CSV is one command:

- seconds, cpu_seconds: from start to end, and of all its processes together.
- process_GiB: the most resident memory of any one of its processes, as the system counts it.
- tree_GiB: the same of all its processes together, looked at every 50 ms; memory that two of them share counts twice,
  pages of a mapped file count too.
- raw_bytes: of the downloaded file.
- derived_peak_bytes, derived_bytes: of all that the commands have written otherwise, the most during this one and after
  it; derived_peak_ratio, derived_ratio: the same as a share of the crop in float32.
- grid, train, validation: patches that a split finds, before and after the validation rows are taken away.

All processes share two cores, the server's too. A file that was just fetched is read from the system's cache. What
lies in the temporary folder is removed at the end, after Ctrl-C too.
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

from lkca.config.load import deep_merge, parse_config, read_config
from lkca.core.files import read_json, sha256
from lkca.data.catalog import CUBES
from lkca.errors import LkcaError
from tests.server import Server

REPOSITORY = Path(__file__).parents[1]
CORES, DISK = 2, 8 * 10**9
SECONDS, MEMORY, DERIVED = 120, 4 * 10**9, 1.1  # Chikusei's limits: read, crop and split; bytes; times the crop


class Case(NamedTuple):
    """A made-up file.

    Args:
        scene: A key of config.yaml's scenes.
        form: Which of the cube's forms it has, None for the one that is downloaded.
        writer: Of tests/official.py.
        size: Rows, columns and bands as the writer takes them, and the largest value.
        patches: What the splits at x4 and x8 have to find: grid, training, validation.
    """

    scene: str
    form: int | None
    writer: str
    size: tuple[int, int, int, int]
    patches: dict[int, tuple[int, int, int]]


CHIKUSEI = {4: (3465, 3024, 378), 8: (837, 713, 93)}
CASES = {
    "chikusei": Case("chikusei", None, "chikusei_envi", (2517, 2335, 128, 15133), CHIKUSEI),
    "chikusei_mat": Case("chikusei", 1, "chikusei_matlab", (2517, 2335, 128, 15133), CHIKUSEI),
    "houston2018": Case(
        "houston2018", None, "houston_zip", (1202, 4172, 50, 40000), {4: (4068, 3600, 432), 8: (952, 833, 102)}
    ),
    "pavia_centre": Case(
        "pavia_centre", None, "pavia_centre", (1096, 715, 102, 8000), {4: (546, 462, 63), 8: (120, 90, 20)}
    ),
}


class Used(NamedTuple):
    """What a command took: seconds; bytes of memory; bytes of derived data, the most and in the end."""

    seconds: float
    cpu_seconds: float
    process: int
    tree: int
    derived_peak: int
    derived: int


def run(words: list[str], work: Path, raw: Path) -> Used:
    """Run Python with `words` in the folder `work` and watch it.

    Raises:
        LkcaError: If it fails, with its last words.
    """
    (work / "tmp").mkdir(parents=True, exist_ok=True)
    surroundings = {key: value for key, value in os.environ.items() if not key.startswith("LKCA_")}
    surroundings |= {"PYTHONPATH": str(REPOSITORY), "TMPDIR": str(work / "tmp"), "NO_PROXY": "127.0.0.1"}
    with tempfile.TemporaryFile("w+") as log:
        began, tree, most, ended = perf_counter(), 0, 0, 0
        # In a session of its own, so that Ctrl-C comes here alone and all its processes end together.
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=work,
            env=surroundings,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            while not ended:
                sleep(0.05)
                tree, most = max(tree, memory(process.pid)), max(most, derived(work, raw))
                ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            seconds, process.returncode = perf_counter() - began, os.waitstatus_to_exitcode(status)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.seek(0)
        if process.returncode:
            told = [*filter(None, map(str.strip, log))][-1:] or ["without a word"]
            raise LkcaError(f"{' '.join(words[:3])} failed with code {process.returncode}: {told[0].rstrip('.')}.")
    largest = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    left = derived(work, raw)
    return Used(seconds, usage.ru_utime + usage.ru_stime, largest, max(tree, largest), max(most, left), left)


def memory(pid: int) -> int:
    """Resident bytes of a process and of all that it started."""
    total = 0
    with suppress(psutil.Error):
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            with suppress(psutil.Error):
                total += process.memory_info().rss
    return total


def derived(work: Path, raw: Path) -> int:
    """Bytes of all files in a folder but the raw one, whole or still on its way."""
    total = 0
    for folder, _, names in os.walk(work):
        for name in names:
            path = Path(folder, name)
            if path not in (raw, raw.with_name(f".{raw.name}.part")):
                with suppress(FileNotFoundError):
                    total += path.stat().st_size
    return total


def write(case: Case, path: Path) -> None:
    """Make up the file of a case."""
    from tests import official

    scene = official.Scene(*case.size)
    if case.writer == "chikusei_matlab":
        official.matlab73(path, "chikusei", scene)
    else:
        getattr(official, case.writer)(path, scene)


def check(case: Case, array: Path) -> None:
    """Compare every tenth band of a cut scene with the made-up one.

    Raises:
        ValueError: If they differ.
    """
    import numpy as np

    from tests import official

    cube, cut = CUBES[case.scene], np.load(array, mmap_mode="r")
    top, bottom, left, right = cube.crop or (0, cube.shape[0], 0, cube.shape[1])
    for i, band in enumerate(official.Scene(*case.size)):
        if i % 10 == 0 and i < len(cut):
            image = band.T if cube.files[0].axes == "bands columns rows" else band
            expected = image[top:bottom, left:right] / np.float32(case.size[3])
            if np.abs(cut[i] - expected).max() > 1e-6:
                raise ValueError(f"band {i + 1} of {array} is not the made-up one")


def rehearse(name: str, folder: Path) -> list[dict[str, Any]]:
    """Fetch, cut and split a case in an empty folder.

    Returns:
        The lines of the CSV.

    Raises:
        LkcaError: If a command fails.
    """
    case, paper = CASES[name], read_config([REPOSITORY / "config.yaml"])
    scene = paper.scenes[case.scene]
    cube = scene.resolve_cube().model_dump(mode="json")
    file = cube["files"][0] if case.form is None else cube["forms"][case.form]
    place = re.sub(r"(?<=\.zip)/.*", "", file["path"])
    work, source = folder / "work", folder / "served" / Path(place).name
    source.parent.mkdir()
    made = run([__file__, "--write", name, str(source)], work, work / place)
    size = source.stat().st_size
    print(f"{name}: {source.name} made up in {made.seconds:.0f} s, {size:,} bytes", flush=True)
    if file["sha256"]:  # Pavia.mat and Chikusei's .mat have no published hash
        file["sha256"] = sha256(source)
    if file["bytes"]:
        file["bytes"] = size
    top, bottom, left, right = cube["crop"] or (0, cube["shape"][0], 0, cube["shape"][1])
    crop = 4 * (bottom - top) * (right - left) * scene.bands
    root = "results/rehearsal"
    array, manifest = f"{root}/scenes/{case.scene}.npy", f"{root}/scenes/{case.scene}.json"
    lines = []

    def step(called: str, words: list[str]) -> dict[str, Any]:
        used = run(["-m", "lkca", *words], work, work / place)
        line = {
            "case": name,
            "step": called,
            "seconds": f"{used.seconds:.2f}",
            "cpu_seconds": f"{used.cpu_seconds:.2f}",
            "process_GiB": f"{used.process / 2**30:.3f}",
            "tree_GiB": f"{used.tree / 2**30:.3f}",
            "raw_bytes": (work / place).stat().st_size,
            "derived_peak_bytes": used.derived_peak,
            "derived_bytes": used.derived,
            "derived_peak_ratio": f"{used.derived_peak / crop:.4f}",
            "derived_ratio": f"{used.derived / crop:.4f}",
            **dict.fromkeys(("grid", "train", "validation"), ""),
        }
        lines.append(line)
        return line

    with Server({source.name: source}) as server:
        file["sources"] = [server.url(source.name)]
        cube |= {"files": [file], "forms": []}
        overlay = {"experiment": "rehearsal", "scenes": {case.scene: {"cube": cube}}}
        (work / "overlay.yaml").write_text(json.dumps(overlay))  # YAML holds JSON
        config = deep_merge(yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8")), overlay)
        (work / "experiment.json").write_text(parse_config(config).model_dump_json())
        terms = ["--accept-terms"] if cube["confirm"] else []
        files = ["--config", str(REPOSITORY / "config.yaml"), "overlay.yaml"]
        show(step("fetch", ["fetch", case.scene, *files, *terms]))
    job = ["--experiment", "experiment.json", "--outputs"]
    show(step("scene", ["step", f"scenes/{case.scene}", *job, array, manifest]))
    run([__file__, "--check", name, array], work, work / place)
    for scale, expected in case.patches.items():
        out = f"{root}/splits/{case.scene}_x{scale}.json"
        line = step(f"split x{scale}", ["step", f"splits/{case.scene}_x{scale}", *job, out])
        line |= {key: read_json(work / out)["numbers"][key] for key in ("grid", "train", "validation")}
        found = line["grid"], line["train"], line["validation"]
        show(line, "as it should be" if found == expected else f"SHOULD BE {expected}")
    return lines


HEAD = ("case", "step", "seconds", "cpu_seconds", "process_GiB", "tree_GiB", "derived_peak_ratio", "derived_ratio")


def show(line: dict[str, Any], remark: str = "") -> None:
    """Print a line of the table."""
    patches = f"{line['grid']}: {line['train']} + {line['validation']}, {remark}" if remark else ""
    print("{:14}{:10}{:>9}{:>12}{:>13}{:>10}{:>20}{:>15}".format(*(line[key] for key in HEAD)), "", patches, flush=True)


def limits(lines: list[dict[str, Any]]) -> None:
    """Say what holds of the limits of each of Chikusei's two files."""
    for name in ("chikusei", "chikusei_mat"):
        steps = [line for line in lines if line["case"] == name]
        if not steps:
            continue
        fetched, rest = float(steps[0]["seconds"]), sum(float(line["seconds"]) for line in steps[1:])
        held = max(float(line["tree_GiB"]) for line in steps) * 2**30
        ratio = max(float(line["derived_peak_ratio"]) for line in steps)
        for what, value, most in (
            (f"read, crop and split in {rest:.1f} s ({fetched + rest:.1f} s with fetch)", rest, SECONDS),
            (f"peak of memory {held / 1e9:.2f} GB", held / 1e9, MEMORY / 1e9),
            (f"peak of derived data {ratio:.3f} of the crop", ratio, DERIVED),
        ):
            print(f"{name}: {what}, limit {most:g}: {'holds' if value <= most else 'DOES NOT HOLD'}")


def main() -> int:
    """Rehearse the cases, print a table and write the CSV. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Fetch, cut and split made-up scenes of full size.")
    parser.add_argument("--scene", choices=CASES, nargs="+", default=list(CASES), help="without all of them no CSV")
    parser.add_argument("--folder", type=Path, help="where the temporary folder shall be")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "benchmarks", help="folder of the CSV")
    for hidden in ("--write", "--check"):  # what `rehearse` calls in a process of its own
        parser.add_argument(hidden, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    for function, words in ((write, options.write), (check, options.check)):
        if words:
            function(CASES[words[0]], Path(words[1]))
            return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if os.getloadavg()[0] > 0.5:
        print(f"rehearsal: the machine is busy (load {os.getloadavg()[0]:.1f}): timings will be off.", file=sys.stderr)
    lines, code = [], 0
    try:
        with tempfile.TemporaryDirectory(prefix="rehearsal-", dir=options.folder) as temporary:
            free = shutil.disk_usage(temporary).free
            if free < DISK:
                room = f"{free / 1e9:.1f} GB free, and {DISK / 1e9:g} are needed"
                raise LkcaError(f"{Path(temporary).parent} has {room}: choose another --folder.")
            if hasattr(os, "sched_setaffinity"):
                os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
            print("{:14}{:10}{:>9}{:>12}{:>13}{:>10}{:>20}{:>15}".format(*HEAD), "", "patches: training + validation")
            for name in options.scene:
                (folder := Path(temporary, name)).mkdir()
                try:
                    lines += rehearse(name, folder)
                except LkcaError as error:
                    print(f"rehearsal: {name}: {error}", file=sys.stderr)
                    code = 1
                shutil.rmtree(folder)
        limits(lines)
        if code == 0 and set(options.scene) == set(CASES):
            print(save(lines, options.out))
    except OSError as error:
        print(f"rehearsal: {error}: choose another --folder.", file=sys.stderr)
        return 1
    except LkcaError as error:
        print(f"rehearsal: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def save(lines: list[dict[str, Any]], folder: Path) -> Path:
    """Write the CSV."""
    # Only now: they bring torch, and the peak of a process counts what the one that starts it holds.
    from networks import cpu_name, file_name, write

    from lkca.core.environment import git_commit

    device = cpu_name()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = {
        "device": device,
        "cores": cores,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": git_commit() or "",
    }
    path = folder / f"rehearsal_{file_name(device)}.csv"
    write(path, [line | facts for line in lines])
    return path


if __name__ == "__main__":
    sys.exit(main())
