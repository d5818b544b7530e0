"""Records of jobs: when a file counts as the same without being read, and what a job leaves behind."""

import json
import os
import time
from pathlib import Path

import pytest

from lkca.config.load import read_config
from lkca.core.files import sha256
from lkca.data.catalog import Cube, File
from lkca.errors import LkcaError
from lkca.pipeline import records
from lkca.pipeline.records import Hashes, Results, is_settled, read_record, stamp
from tests.conftest import REPOSITORY


@pytest.fixture
def read(monkeypatch):
    """Counts how often files are read."""
    calls = []
    monkeypatch.setattr(records, "sha256", lambda path: calls.append(path) or sha256(path))
    return calls


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "x.bin"
    path.write_bytes(b"abcd")
    while not is_settled(stamp(path)):
        time.sleep(0.01)
    return path


def hashed(path: Path, cache: Path) -> str | None:
    """What a new process would find."""
    hashes = Hashes(cache)
    digest = hashes.of(str(path))
    hashes.save()
    return digest


def test_a_file_is_read_once_and_again_after_every_change(file, tmp_path, read):
    cache, first = tmp_path / "hashes.json", sha256(file)
    assert [hashed(file, cache) for _ in range(3)] == [first] * 3 and len(read) == 1
    times = file.stat()
    file.write_bytes(b"abce")  # as long, and with the old times
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert hashed(file, cache) == sha256(file) != first and len(read) == 2
    other = tmp_path / "y.bin"
    other.write_bytes(b"abcf")
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(file)
    assert hashed(file, cache) == sha256(file) and len(read) == 3
    file.unlink()
    assert hashed(file, cache) is None


def test_a_link_is_what_it_leads_to(file, tmp_path, read):
    cache, link, other = tmp_path / "hashes.json", tmp_path / "link", tmp_path / "other"
    link.symlink_to(file)
    other.write_bytes(b"efgh")
    assert hashed(link, cache) == sha256(file)
    link.unlink()
    link.symlink_to(other)
    assert hashed(link, cache) == sha256(other) != sha256(file)


def test_what_was_just_written_is_not_trusted_by_its_stamp(tmp_path, read):
    """A second change within one tick of the file system's clock would leave the stamp as it is."""
    path, cache = tmp_path / "x.bin", tmp_path / "hashes.json"
    deadline = time.monotonic() + 10
    while True:
        path.write_bytes(b"abcd")
        if not is_settled(stamp(path)):
            break
        assert time.monotonic() < deadline
    hashes = Hashes(cache)
    monkey = stamp(path)
    assert hashes.of(str(path)) == sha256(path)
    if monkey not in hashes.by_stamp:  # unless reading it took that long
        hashes.save()
        assert not cache.exists()


def test_coarse_clocks_are_waited_for(file, monkeypatch):
    """Of a file system that keeps whole seconds, as some of networks and sticks do."""
    whole = stamp(file)._replace(ctime_ns=1_000_000_000 * 10**9)
    monkeypatch.setattr(records, "time_ns", lambda: whole.ctime_ns + 1_500_000_000)
    assert not is_settled(whole) and is_settled(whole._replace(ctime_ns=whole.ctime_ns + 1))
    monkeypatch.setattr(records, "time_ns", lambda: whole.ctime_ns + 2_500_000_000)
    assert is_settled(whole)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"x": 1}', '{"x": ["a"]}', '{"x": ["a", 1, 2, 3]}'])
def test_a_damaged_cache_is_made_again(file, tmp_path, read, text):
    cache = tmp_path / "hashes.json"
    cache.write_text(text)
    assert hashed(file, cache) == sha256(file) and hashed(file, cache) == sha256(file)
    assert len(read) == 1


def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path):
    with pytest.raises(LkcaError, match="is a folder, and a file is expected there"):
        Hashes().of(str(tmp_path))


RECORD = b'{"step": "x", "archs": [], "settings": {}, "code": "", "modules": {}, "writes": {}, "reads": {"a": %s}}'


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"step": "train"}', b"\xff\xfe", RECORD % b"[]", RECORD % b'["a", 1]']
)
def test_a_damaged_record_counts_as_none(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    assert read_record(tmp_path / "x.json") is None
    assert read_record(tmp_path / "no.json") is None
    (tmp_path / "x.json").write_bytes(RECORD % b'["a"]')
    assert read_record(tmp_path / "x.json").reads == {"a": ["a"]}


def test_the_files_that_decide_pixels(tmp_path):
    """An ENVI file with headers in every spelling that GDAL takes; an archive; files that are not there."""
    for name in ("q.bsq", "q.hdr", "q.bsq.HDR", "Q.HDR", "r.hdr", "q.hdr.txt", "x.zip"):
        (tmp_path / name).touch()
    (tmp_path / "q.bsq.hdr").mkdir()
    file, archive = (
        File(path=str(tmp_path / path), axes="bands rows columns") for path in ("q.bsq", "x.zip/folder/q.bsq")
    )
    assert [Path(path).name for path in file.pixel_files()] == ["q.bsq", "Q.HDR", "q.bsq.HDR", "q.hdr"]
    assert [Path(path).name for path in archive.pixel_files()] == ["x.zip"]
    facts = {"sensor": "x", "gsd_m": 1, "nanometres": (1, 2), "source": "", "citation": "", "terms": "", "bands": "1-2"}
    gone = File(path=str(tmp_path / "gone.bsq"), axes="bands rows columns")
    assert Cube(files=(gone,), **facts).pixel_files() == {}
    assert list(Cube(files=(gone,), forms=(archive,), **facts).pixel_files()) == [str(tmp_path / "x.zip")]
    carried = File(path="tensorly:datasets/data/Indian_pines_corrected.npy", axes="rows columns bands")
    assert list(carried.pixel_files()) == [carried.path]


def test_a_job_that_reads_what_changes_meanwhile_is_refused(tmp_path, monkeypatch):
    """A split, whose manifest another program replaces."""
    monkeypatch.chdir(tmp_path)
    e = read_config([REPOSITORY / "config.yaml", REPOSITORY / "tests/tiny.yaml"])
    (tmp_path / "e.json").write_text(e.model_dump_json())
    manifest = Path("results/tiny/scenes/chikusei.json")
    manifest.parent.mkdir(parents=True)
    area = {"use": "both", "row": 0, "rows": 145, "columns": 145, "crop": [0, 145, 0, 145]}
    manifest.write_text(json.dumps({"scene": "chikusei", "divisor": 1, "sha256": "c0" * 32, "areas": [area]}))
    words = "splits/chikusei_x4", tmp_path / "e.json", [Path("results/tiny/splits/chikusei_x4.json")], 0
    records.step(*words)
    record = read_record(Path("results/tiny/records/splits/chikusei_x4.json"))
    assert record.reads[str(manifest)][0] == sha256(manifest)
    job = Results(e).jobs.by_name("splits/chikusei_x4")
    assert Results(e).reason(job) is None
    from lkca.data import splits

    split = splits.split
    monkeypatch.setattr(splits, "split", lambda *args, **words: [split(*args, **words), manifest.write_text("{}")])
    with pytest.raises(LkcaError, match="scenes/chikusei.json was changed while splits/chikusei_x4 read it"):
        records.step(*words)
    assert Results(e).reason(job).text == f"{manifest} has changed"


def test_a_job_that_does_not_exist_is_one_sentence(tmp_path):
    e = read_config([REPOSITORY / "config.yaml"])
    (tmp_path / "e.json").write_text(e.model_dump_json())
    with pytest.raises(LkcaError, match="runs/x_x4/lkca/seed0/train is no job of paper"):
        records.step("runs/x_x4/lkca/seed0/train", tmp_path / "e.json", [], 0)
    for name in ("tables/NOPE", "splits/chikusei_x5", "runs/chikusei_x4/bicubic/seed3000/train"):
        with pytest.raises(LkcaError, match=f"{name} is no job of paper"):
            records.step(name, tmp_path / "e.json", [], 0)
    with pytest.raises(LkcaError, match="--outputs: claims writes 2 files, not 1"):
        records.step("claims", tmp_path / "e.json", [tmp_path / "a"], 0)
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(LkcaError, match="is no configuration that the workflow has written"):
        records.step("claims", tmp_path / "bad.json", [], 0)
    with pytest.raises(LkcaError, match="cannot be read"):
        records.step("claims", tmp_path / "none.json", [], 0)


def test_needed_jobs_write_what_a_job_reads(paper):
    jobs = Results(paper).jobs
    assert len([job for job in jobs.all if job.step == "train"]) == 75
    for job in jobs.all:
        written = {path for needed in jobs.needs(job) for path in needed.outputs.values()}
        assert {path for path in job.reads() if path.startswith("results/")} <= written, job.name


def test_every_job_is_found_by_its_name(paper):
    jobs = Results(paper).jobs
    assert all(jobs.by_name(job.name) is job for job in jobs.all)
