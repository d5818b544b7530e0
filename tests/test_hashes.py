"""The SHA-256 of files: when a file is read again."""

import os
import time
from pathlib import Path

import pytest

from lkca.core.files import sha256
from lkca.errors import DataError
from lkca.pipeline import hashes
from lkca.pipeline.hashes import FileHashes, is_settled, read_stamp


@pytest.fixture
def read(monkeypatch):
    """Record which files are read."""
    calls = []
    monkeypatch.setattr(hashes, "sha256", lambda path: calls.append(path) or sha256(path))
    return calls


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "x.bin"
    path.write_bytes(b"abcd")
    while not is_settled(read_stamp(path)):
        time.sleep(0.01)
    return path


def hashed(path: Path, cache: Path) -> str | None:
    """Return what a new process finds."""
    file_hashes = FileHashes(cache)
    digest = file_hashes.get(str(path))
    file_hashes.save()
    return digest


def test_file_is_read_once_and_again_after_every_change(file, tmp_path, read):
    cache, first = tmp_path / "hashes.json", sha256(file)
    assert [hashed(file, cache) for _ in range(3)] == [first] * 3 and len(read) == 1
    times = file.stat()
    file.write_bytes(b"abce")  # same size and same times
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert hashed(file, cache) == sha256(file) != first and len(read) == 2
    other = tmp_path / "y.bin"
    other.write_bytes(b"abcf")
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(file)
    assert hashed(file, cache) == sha256(file) and len(read) == 3
    file.unlink()
    assert hashed(file, cache) is None


def test_link_has_the_hash_of_its_target(file, tmp_path, read):
    cache, link, other = tmp_path / "hashes.json", tmp_path / "link", tmp_path / "other"
    link.symlink_to(file)
    other.write_bytes(b"efgh")
    assert hashed(link, cache) == sha256(file)
    link.unlink()
    link.symlink_to(other)
    assert hashed(link, cache) == sha256(other) != sha256(file)


def test_stamp_of_a_new_file_is_not_trusted(tmp_path, read):
    """A second change within one tick of the file system's clock leaves the stamp as it is."""
    path, cache = tmp_path / "x.bin", tmp_path / "hashes.json"
    deadline = time.monotonic() + 10
    while True:
        path.write_bytes(b"abcd")
        if not is_settled(read_stamp(path)):
            break
        assert time.monotonic() < deadline
    file_hashes, stamp = FileHashes(cache), read_stamp(path)
    assert file_hashes.get(str(path)) == sha256(path)
    if not file_hashes.has(stamp, sha256(path)):  # unless reading took that long
        file_hashes.save()
        assert not cache.exists()


def test_coarse_clock_settles_later(file, monkeypatch):
    """Some network file systems and memory sticks store whole seconds."""
    whole = read_stamp(file)._replace(ctime_ns=1_000_000_000 * 10**9)
    monkeypatch.setattr(hashes, "time_ns", lambda: whole.ctime_ns + 1_500_000_000)
    assert not is_settled(whole) and is_settled(whole._replace(ctime_ns=whole.ctime_ns + 1))
    monkeypatch.setattr(hashes, "time_ns", lambda: whole.ctime_ns + 2_500_000_000)
    assert is_settled(whole)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"x": 1}', '{"x": ["a"]}', '{"x": ["a", 1, 2, 3]}'])
def test_damaged_cache_is_written_again(file, tmp_path, read, text):
    cache = tmp_path / "hashes.json"
    cache.write_text(text)
    assert hashed(file, cache) == sha256(file) and hashed(file, cache) == sha256(file)
    assert len(read) == 1


def test_folder_instead_of_file(tmp_path):
    with pytest.raises(DataError, match="is a folder"):
        FileHashes().get(str(tmp_path))


def test_links_that_lead_to_each_other(tmp_path):
    for name, target in (("a", "b"), ("b", "a")):
        (tmp_path / name).symlink_to(tmp_path / target)
    with pytest.raises(DataError, match="its links lead to each other"):
        FileHashes().get(str(tmp_path / "a"))
