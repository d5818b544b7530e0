"""Downloads of the files of a cube: the order of sources, the mirror, terms, and files that exist already."""

import io
import json
import sys

import pytest

from lkca.data.catalog import Cube
from lkca.data.download import download_cube
from lkca.errors import ConfigError, DataError, LkcaError
from tests.downloads import (
    DATA,
    OTHER,
    SHA256,
    assert_downloads,
    assert_fails,
    fast_network,
    make_cube,
    names_in_folder,
)
from tests.server import Server

__all__ = ["fast_network"]


def test_sources_are_tried_in_order(tmp_path):
    files = dict.fromkeys(("a", "b", "c", "d"), DATA)
    with Server(files, {"a": "403", "b": "other", "c": "cut 50000"}) as server:
        assert_downloads(tmp_path, *(server.url(name) for name in files), sha256=SHA256)
    assert [target for _, target, _ in server.requests] == ["/a", "/b", "/c", "/c", "/c", "/c", "/d"]


def test_mirror_is_tried_first_and_its_password_is_not_printed(tmp_path, monkeypatch, capsys):
    with Server({"own/x.bin": DATA, "x.bin": DATA}) as server:
        mirror = server.url("own/").replace("//", "//me:secret@", 1)
        monkeypatch.setenv("LKCA_MIRROR", mirror)
        download_cube("it", make_cube(server.url("x.bin")), False, tmp_path / "receipt.json")
        assert [target for _, target, _ in server.requests] == ["/own/x.bin"]
        assert server.requests[0][2]["Authorization"].startswith("Basic ")
        assert "secret" not in capsys.readouterr().out + (tmp_path / "receipt.json").read_text()
        (tmp_path / "data/raw/it/x.bin").unlink()
        server.behaviours["own/x.bin"] = "404"
        assert_downloads(tmp_path, server.url("x.bin"))
        (tmp_path / "data/raw/it/x.bin").unlink()
        monkeypatch.setenv("LKCA_MIRROR", "/a/folder")
        assert_downloads(tmp_path, server.url("x.bin"))


def test_unwritable_folder_is_reported_in_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with Server({"x.bin": DATA}) as server:
        (tmp_path / "data/raw").mkdir(parents=True)
        for folder in ("/proc/1", str(tmp_path / "file")):  # not even root may write there
            (tmp_path / "data/raw/it").symlink_to(folder)
            with pytest.raises(LkcaError, match=r"cannot be written \(.*writable.*\.$"):
                download_cube("it", make_cube(server.url("x.bin")), False, None)
            (tmp_path / "data/raw/it").unlink()
        (tmp_path / "data/raw/it/x.bin").mkdir(parents=True)
        with pytest.raises(LkcaError, match=r"x.bin is a folder, but a file is needed there: .*move it away\."):
            download_cube("it", make_cube(server.url("x.bin")), False, None)


def test_existing_file_is_verified_and_not_downloaded(tmp_path, capsys):
    path = tmp_path / "data/raw/it/x.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    with Server({"x.bin": DATA}) as server:
        download_cube("it", make_cube(server.url("x.bin"), confirm=True), False, tmp_path / "receipt.json")
        first = (tmp_path / "receipt.json").read_bytes()
        download_cube("it", make_cube(server.url("x.bin"), confirm=True), False, tmp_path / "receipt.json")
        assert (tmp_path / "receipt.json").read_bytes() == first
        assert "data/raw/it/x.bin exists" in capsys.readouterr().out
        path.write_bytes(OTHER)
        with pytest.raises(LkcaError, match="x.bin has the SHA-256 .*: get it from https://far"):
            download_cube("it", make_cube(server.url("x.bin"), sha256=SHA256), False, None)
    assert server.requests == [] and path.read_bytes() == OTHER


def test_alternative_file_is_used_and_missing_source_is_reported(tmp_path):
    assert_fails(
        tmp_path, kind=DataError, words=("x.bin or y.mat is missing", "https://far.example/page"), forms=("y.mat",)
    )
    (tmp_path / "data/raw/it").mkdir(parents=True)
    (tmp_path / "data/raw/it/y.mat").write_bytes(DATA)
    download_cube("it", make_cube("http://no-such-host.invalid/", forms=("y.mat",)), False, None)
    assert names_in_folder(tmp_path) == {"y.mat", "SHA256SUMS"}


def test_two_members_of_one_archive_are_one_download(tmp_path):
    content = b"PK\x03\x04" + DATA
    with Server({"x.zip": content}) as server:
        one = make_cube(server.url("x.zip"), name="x.zip")
        files = [{**one.files[0].model_dump(), "path": f"data/raw/it/x.zip/{name}.bsq"} for name in "ab"]
        download_cube("it", Cube(**{**one.model_dump(), "files": files}), False, tmp_path / "receipt.json")
        assert len(server.requests) == 1
        rows = json.loads((tmp_path / "receipt.json").read_text())["files"]
        assert [row["path"] for row in rows] == ["data/raw/it/x.zip"]


def test_terms_are_confirmed_once_and_again_when_they_change(tmp_path):
    with Server({"x.bin": DATA}) as server:
        url, command = server.url("x.bin"), f"{sys.executable} -m lkca fetch it --accept-terms"
        assert_fails(
            tmp_path, url, confirm=True, kind=ConfigError, words=(command, "CC BY 4.0", "https://far.example/page")
        )
        assert server.requests == []
        download_cube("it", make_cube(url, confirm=True), True, None)
        assert "CC BY 4.0" in (tmp_path / "data/raw/it/TERMS").read_text()
        (tmp_path / "data/raw/it/x.bin").unlink()
        assert_downloads(tmp_path, url, confirm=True, remaining=("SHA256SUMS", "TERMS", "x.bin"))
        (tmp_path / "data/raw/it/x.bin").unlink()
        with pytest.raises(LkcaError, match="CC BY 5.0"):
            download_cube("it", make_cube(url, confirm=True, terms="CC BY 5.0"), False, None)


@pytest.mark.parametrize("answer, downloads", [("yes\n", 1), ("\n", 0), ("", 0), ("no\n", 0)])
def test_terms_are_asked_for_in_a_terminal(tmp_path, monkeypatch, capsys, answer, downloads):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    shown = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    monkeypatch.setattr(sys, "stderr", shown)
    with Server({"x.bin": DATA}) as server:
        if downloads:
            download_cube("it", make_cube(server.url("x.bin"), confirm=True), False, None)
        else:
            assert_fails(tmp_path, server.url("x.bin"), confirm=True, kind=ConfigError, words="--accept-terms")
    assert len(server.requests) == downloads
    assert "CC BY 4.0" in shown.getvalue() and "A. Author" in shown.getvalue()
