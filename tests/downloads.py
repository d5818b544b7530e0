"""Helpers of the tests that download: a cube of one file, and checks after a download or a failure."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from lkca.data import transfer
from lkca.data.catalog import Cube
from lkca.data.download import download_cube
from lkca.errors import ResourceError

DATA = np.random.default_rng(0).bytes(300_000)
OTHER = np.random.default_rng(1).bytes(300_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "LKCA_MIRROR")
LIMITS = {
    "PAUSES": (0, 0, 0),
    "CONNECT_TIMEOUT": 1,
    "SPEED_WINDOW": 5,  # long, because a machine with much to do answers slowly
    "BLOCK_BYTES": 10_000,
}


@pytest.fixture(autouse=True)
def fast_network(tmp_path, monkeypatch):
    """Run each test in its own folder, with short timeouts and without a proxy, in all modules that import this."""
    monkeypatch.chdir(tmp_path)
    for name in (*VARIABLES, *(name.upper() for name in VARIABLES)):
        monkeypatch.delenv(name, raising=False)
    for name, value in LIMITS.items():
        monkeypatch.setattr(transfer, name, value)


@pytest.fixture
def impatient(monkeypatch):
    """Leave a server that sends too little in half a second."""
    monkeypatch.setattr(transfer, "SPEED_WINDOW", 0.5)


def make_cube(*sources, name="x.bin", confirm=False, terms="CC BY 4.0", forms=(), **facts) -> Cube:
    """Return a cube of one file in data/raw/it.

    Args:
        sources: URLs of the file.
        name: Name of the file.
        confirm, terms: As in `Cube`.
        forms: Names of other files with the same content.
        facts: More arguments of `File`.
    """
    file = {"path": f"data/raw/it/{name}", "axes": "bands rows columns", "sources": sources, **facts}
    others = [{"path": f"data/raw/it/{form}", "axes": "bands rows columns"} for form in forms]
    texts = {"source": "https://far.example/page", "citation": "A. Author, 2020", "terms": terms, "confirm": confirm}
    return Cube(files=(file,), forms=others, bands="1-4", sensor="none", gsd_m=1, nanometres=(400, 500), **texts)


def assert_downloads(tmp_path, *sources, content=DATA, remaining=("SHA256SUMS", "x.bin"), **facts) -> None:
    """Download, and check that the folder contains the right file and nothing else but `remaining`."""
    download_cube("it", make_cube(*sources, **facts), False, None)
    name = facts.get("name", "x.bin")
    assert (tmp_path / "data/raw/it" / name).read_bytes() == content
    names = {name if file == "x.bin" else file for file in remaining} - ({"SHA256SUMS"} if "sha256" in facts else set())
    assert names_in_folder(tmp_path) == names


def assert_fails(tmp_path, *sources, words, part=None, kind=ResourceError, **facts) -> None:
    """Check that a download fails with one sentence that contains `words`, and keeps a partial file of `part` bytes."""
    with pytest.raises(kind) as caught:
        download_cube("it", make_cube(*sources, **facts), False, None)
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message
    for word in [words] if isinstance(words, str) else words:
        assert word in message
    name = facts.get("name", "x.bin")
    assert names_in_folder(tmp_path) - {"SHA256SUMS"} == ({f".{name}.part", f".{name}.part.json"} if part else set())
    if part:
        assert (tmp_path / f"data/raw/it/.{name}.part").stat().st_size == part


def names_in_folder(tmp_path: Path) -> set[str]:
    """Return the names of the files in data/raw/it, none if there is no such folder."""
    folder = tmp_path / "data/raw/it"
    return {path.name for path in folder.iterdir()} if folder.exists() else set()
