"""Hashes of files: published ones, and those recorded in SHA256SUMS."""

import hashlib
import json
import os

import pytest

from lkca.data.catalog import Cube
from lkca.data.checksums import verify_file
from lkca.data.download import download_cube
from lkca.errors import LkcaError
from tests.downloads import (
    DATA,
    OTHER,
    SHA256,
    assert_fails,
    fast_network,
    make_cube,
    names_in_folder,
)
from tests.server import Server

__all__ = ["fast_network"]


def test_first_hash_is_recorded_and_enforced(tmp_path):
    folder = tmp_path / "data/raw/it"
    folder.mkdir(parents=True)
    line = f"{'0' * 64}  another.bin"
    (folder / "SHA256SUMS").write_text(line)  # without a final newline
    (folder / "x.bin").write_bytes(DATA)
    file = make_cube().files[0]
    assert verify_file(file, "the page") == verify_file(file, "the page") == SHA256
    assert (folder / "SHA256SUMS").read_text() == f"{line}\n{SHA256}  x.bin\n"
    (folder / "x.bin").write_bytes(OTHER)
    other = hashlib.sha256(OTHER).hexdigest()
    with pytest.raises(LkcaError, match=f"{other}, but {SHA256}.*delete its line in data/raw/it/SHA256SUMS.*the page"):
        verify_file(file, "the page")
    (folder / "x.bin").unlink()
    with Server({"x.bin": OTHER}) as server:
        assert_fails(tmp_path, server.url("x.bin"), words=(other, SHA256))  # a recorded hash holds for downloads, too
    (folder / "x.bin").write_bytes(OTHER)
    (folder / "SHA256SUMS").write_text(f"{line}\n")
    assert verify_file(file, "the page") == other


def test_hashes_of_user_files_and_packages_are_not_recorded(tmp_path):
    (tmp_path / "own.bin").write_bytes(DATA)
    own = {"path": "own.bin", "axes": "bands rows columns"}
    download_cube("it", Cube(**{**make_cube().model_dump(), "files": [own]}), False, None)
    assert not (tmp_path / "SHA256SUMS").exists()  # the folder belongs to the user
    package = {"path": "tensorly:datasets/data/Indian_pines_corrected.npy", "axes": "rows columns bands"}
    download_cube("it", Cube(**{**make_cube().model_dump(), "files": [package]}), False, tmp_path / "receipt.json")
    (row,) = json.loads((tmp_path / "receipt.json").read_text())["files"]
    assert row["path"] == package["path"] and row["sha256"].startswith("8f038e4d81569e38")
    (tmp_path / "data").mkdir()
    (tmp_path / "own.bin").rename("data/own.bin")
    own |= {"path": "data/own.bin", "sources": ["http://far.example/"]}
    download_cube("it", Cube(**{**make_cube().model_dump(), "files": [own]}), False, None)
    assert (tmp_path / "data/SHA256SUMS").read_text() == f"{SHA256}  own.bin\n"


def test_saved_web_page_is_refused_and_not_recorded(tmp_path):
    folder = tmp_path / "data/raw/it"
    folder.mkdir(parents=True)
    (folder / "x.bin").write_text("\n<html>Access denied</html>")
    with pytest.raises(LkcaError, match="x.bin is a web page"):
        verify_file(make_cube().files[0], "the page")
    assert names_in_folder(tmp_path) == {"x.bin"}


@pytest.mark.skipif(not os.path.exists("/proc/version"), reason="needs Linux")
def test_data_on_a_read_only_disk_are_used_without_a_record(tmp_path, capsys):
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/it").symlink_to("/proc")
    file = make_cube("http://far.example/", name="version").files[0]
    assert len(verify_file(file, "the page")) == 64
    assert "data/raw/it/SHA256SUMS cannot be written" in capsys.readouterr().out


def test_unreadable_sums_file_is_reported_in_one_sentence(tmp_path):
    (tmp_path / "data/raw/it/SHA256SUMS").mkdir(parents=True)
    (tmp_path / "data/raw/it/x.bin").write_bytes(DATA)
    with pytest.raises(LkcaError, match="SHA256SUMS cannot be read"):
        verify_file(make_cube().files[0], "the page")
