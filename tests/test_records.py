"""Records of jobs: which are valid, and which files the code of two records differs in."""

import pytest

from lkca.core.fingerprint import Code
from lkca.pipeline.records import Record, changed_files, read_record

RECORD = b'{"step": "x", "archs": [], "settings": {}, "code": "", "modules": {}, "writes": {}, "reads": {"a": %s}}'


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"step": "train"}', b"\xff\xfe", RECORD % b"[]", RECORD % b'["a", 1]']
)
def test_damaged_record_is_none(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    assert read_record(tmp_path / "x.json") is None
    assert read_record(tmp_path / "no.json") is None
    (tmp_path / "x.json").write_bytes(RECORD % b'["a"]')
    assert read_record(tmp_path / "x.json").reads == {"a": ("a",)}


def test_changed_files():
    record = Record(step="x", archs=[], settings={}, code="1", modules={"lkca.cli": "a"}, reads={}, writes={})
    assert changed_files(record, Code("2", {"lkca.cli": "b", "lkca.config": "c"})) == [
        "lkca/cli.py",
        "lkca/config/__init__.py",
    ]
    assert changed_files(record, Code("2", {"lkca.cli": "a"})) == ["the calls between its functions"]


def test_unreadable_record_is_not_taken_for_a_missing_one(tmp_path):
    """Otherwise, everything would run again."""
    (tmp_path / "x.json").mkdir()
    with pytest.raises(IsADirectoryError):
        read_record(tmp_path / "x.json")
