"""Untrusted files: each is read correctly or refused with one sentence, and no other file is read or written.

A sandboxed process reads all files of tests/hostile_files.py as `lkca verify` does.
"""

import json
import re
import subprocess
import sys
import time
import warnings
import zlib
from contextlib import chdir
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from lkca.data import inspection, measurement
from lkca.data.catalog import Cube, File
from lkca.data.sandbox import run_sandboxed
from lkca.errors import LkcaError
from tests.hostile_files import (
    BANDS,
    CLASSES,
    COLUMNS,
    FORMATS,
    ROWS,
    SECRET,
    HostileFile,
    envi_header,
    hdf5,
    pixels,
)

pytestmark = pytest.mark.slow


class Outcome(NamedTuple):
    """The result of reading a file.

    Args:
        error: The error message, None if the file was read.
        crc: CRC-32 of all pixels that were read.
        secret: Whether pixels of another file (SECRET) were among them.
        seconds: The time that it took.
        memory: Peak memory of the process so far, bytes.
    """

    error: str | None
    crc: int = 0
    secret: bool = False
    seconds: float = 0
    memory: int = 0


class Case(NamedTuple):
    """A hostile file, the description of its place on the disk, and the outcome of reading it."""

    hostile: HostileFile
    file: File
    outcome: Outcome


def read_all(files: list[tuple[Cube, File]], log: Path) -> None:
    """Read files as `lkca verify` does, and write a line of JSON for each. Runs in the sandbox."""
    measure, seen = measurement.measure_band, {}

    def spy(image: np.ndarray) -> measurement.BandStatistics:
        seen["crc"] = zlib.crc32(np.ascontiguousarray(image), seen["crc"])
        seen["secret"] |= bool((image == SECRET).any())
        return measure(image)

    measurement.measure_band = spy
    with log.open("a", encoding="utf-8") as lines:
        for cube, file in files:
            start = time.monotonic()
            seen.update(crc=0, secret=False)
            try:
                properties, problems, _ = inspection.inspect_file(cube, file, cube.band_numbers())
                error = problems[0] if problems else None
                assert error or re.match(r"-?\d\S* to -?\d", properties["values"])  # neither NaN nor infinite
            except LkcaError as refusal:
                error = str(refusal)
            except Exception as bug:
                error = f"Traceback: {bug!r}"
            peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
            outcome = Outcome(error, **seen, seconds=time.monotonic() - start, memory=1024 * int(peak[1]))
            print(json.dumps(outcome), file=lines, flush=True)


def read_outcomes(files: list[tuple[Cube, File]], log: Path) -> list[Outcome]:
    """Return the outcome of each file; if a file ends the process, continue with the next file in a new process."""
    log.touch()
    while len(lines := log.read_text(encoding="utf-8").splitlines()) < len(files):
        try:
            run_sandboxed(read_all, files[len(lines) :], log)
        except LkcaError as error:
            assert str(files[0][1].local_path().parents[2]) in str(error)  # the error names one of these files
            with log.open("a", encoding="utf-8") as more:
                print(json.dumps(Outcome(str(error))), file=more)
    return [Outcome(*json.loads(line)) for line in lines]


def make_cube(file: File) -> Cube:
    """Return a cube that consists of a file."""
    texts = dict.fromkeys(("sensor", "source", "citation", "terms"), "x")
    return Cube(files=(file,), bands=f"1-{BANDS}", gsd_m=1, nanometres=(400, 1000), **texts)


def write_hostile(folder: Path, hostile: HostileFile) -> File:
    """Write a hostile file and its neighbours to a new folder; return its description."""
    folder.mkdir(parents=True)
    form = FORMATS[hostile.format]
    for name, data in {form.name: hostile.data, **hostile.neighbours}.items():
        (folder / name).write_bytes(data)
    member = hostile.member or form.member
    path = f"{folder / form.name}/{member}" if member else str(folder / form.name)
    return File(path=path, variable="cube" if form.name in ("a.mat", "a.h5", "a.nc") else None, axes=form.axes)


def write_secrets(folder: Path) -> None:
    """Write the files outside the folders of hostile files to which hostile files refer."""
    folder.mkdir(parents=True)
    cube = np.full((BANDS, ROWS, COLUMNS), SECRET, np.uint16)
    (folder / "secret.bsq").write_bytes(cube.tobytes())
    (folder / "secret.hdr").write_bytes(envi_header())
    (folder / "secret.h5").write_bytes(hdf5(lambda file: file.__setitem__("cube", cube)))


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Return the content of a folder: relative path -> bytes of a file, None for a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> dict[str, list[Case]]:
    """Write all hostile files, read each once, and check that this changed nothing on the disk: class -> cases."""
    folder = tmp_path_factory.mktemp("hostile")
    write_secrets(folder / "outside")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries that write these files warn
        hostile = [(name, each) for name, (_, make) in CLASSES.items() for each in make()]
    files = [write_hostile(folder / name / f"{i:03}", each) for i, (name, each) in enumerate(hostile)]
    before = snapshot(folder)
    with chdir(files[0].local_path().parent):  # ../../outside exists relative to this folder too
        outcomes = read_outcomes([(make_cube(file), file) for file in files], tmp_path_factory.mktemp("log") / "log")
    assert snapshot(folder) == before
    cases: dict[str, list[Case]] = {name: [] for name in CLASSES}
    for (name, each), file, outcome in zip(hostile, files, outcomes, strict=True):
        cases[name].append(Case(each, file, outcome))
    return cases


@pytest.mark.parametrize("name", CLASSES)
def test_hostile_files_are_read_correctly_or_refused(cases, name):
    assert len(cases[name]) == CLASSES[name][0]
    wrong = [f"{case.file.path} {fault}: {case.outcome}" for case in cases[name] if (fault := find_fault(*case))]
    assert not wrong, "\n".join(wrong)


def test_harmless_changes_are_not_refused(cases):
    assert sum(case.outcome.error is None for group in cases.values() for case in group) >= 50


def find_fault(hostile: HostileFile, file: File, outcome: Outcome) -> str | None:
    """Return in which way an outcome is not the expected one, None if it is."""
    if outcome.secret:
        return "another file's pixels were read"
    if outcome.seconds > 30 or outcome.memory > 4 * 10**9:
        return "takes too much time or memory"
    if outcome.error is None:
        if hostile.message:
            return f"is not refused with {hostile.message}"
        return "is read with other pixels" if hostile.unchanged and outcome.crc != crc_of_valid() else None
    if hostile.message is None:
        return "is refused"
    if not (is_sentence(outcome.error) and str(file.local_path()) in outcome.error):
        return "is not refused with one sentence that names the file"
    return None if re.search(hostile.message, outcome.error) else f"is not refused with {hostile.message}"


def is_sentence(text: str) -> bool:
    """Return whether an error message is one printable line that ends with a full stop."""
    return text.isprintable() and text.endswith(".") and "Traceback" not in text and len(text) < 2000


@cache
def crc_of_valid() -> int:
    """Return the CRC-32 of the pixels of the valid files, as `read_all` computes it."""
    crc = 0
    for band in np.moveaxis(pixels(), 2, 0).astype(np.float32):
        crc = zlib.crc32(np.ascontiguousarray(band), crc)
    return crc


SAMPLES = [  # class, index of a file in it
    ("truncated", 25),
    ("wrong-values", 4),  # numpy would warn
    ("files-elsewhere", 12),
    ("bombs", 10),
]


def test_commands_print_one_line_and_leave_no_file(cases, tmp_path):
    def scene_command(file: File, name: str) -> list[str]:
        settings = {"name": "x", "cube": make_cube(file).model_dump(mode="json"), "cube_name": None, "bands": 3}
        path = tmp_path / f"{name}.settings"
        path.write_text(json.dumps(settings | {"mirror": [], "composite": None}))
        out = tmp_path / name
        return ["scene", "--settings", str(path), "--out", str(out / "a.npy"), "--manifest", str(out / "a.json")]

    samples = [cases[name][i] for name, i in SAMPLES]
    assert all(case.outcome.error for case in samples)
    commands = [scene_command(case.file, f"refused{i}") for i, case in enumerate(samples)]
    commands += [["verify", "pavia_centre", case.file.path] for case in samples[:2]]
    commands.append(scene_command(cases["sidecars"][0].file, "read"))
    hostile = samples[0].file.local_path().parents[2]
    hostile_before, before = snapshot(hostile), snapshot(tmp_path)
    processes = [
        subprocess.Popen([sys.executable, "-m", "lkca", *command], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for command in commands
    ]
    outputs = [(process.communicate()[1].decode(), process.returncode) for process in processes]
    assert outputs[-1] == ("", 0)
    for stderr, code in outputs[:-1]:
        assert code == 2 and stderr.startswith("lkca: ") and stderr.count("\n") == 1, stderr
        assert is_sentence(stderr.strip())
    assert snapshot(hostile) == hostile_before
    new = {name for name, data in snapshot(tmp_path).items() if before.get(name, b"new") != data}
    assert new <= {"read", "read/a.npy", "read/a.json", *(f"refused{i}" for i in range(len(SAMPLES)))}
    assert np.load(tmp_path / "read/a.npy").shape == (3, ROWS, COLUMNS)
