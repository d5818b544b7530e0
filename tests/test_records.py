"""Records of jobs: which are valid, and which files the code of two records differs in."""

import json

import pytest

from lkca.core.files import json_digest
from lkca.core.fingerprint import Code
from lkca.pipeline.records import Record, changed_files, read_record

RECORD = {"step": "x", "archs": [], "settings": {"r": 4}, "code": "c", "modules": {}, "writes": {"w": ("b",)}}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"step": "train"}', b"\xff\xfe", b"[" * 10_000])
def test_damaged_record_is_none(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    assert read_record(tmp_path / "x.json") is None
    assert read_record(tmp_path / "no.json") is None


@pytest.mark.parametrize("hashes", [[], ["a", 1]])
def test_record_with_a_wrong_hash_is_none(tmp_path, hashes):
    content = RECORD | {"reads": {"a": hashes}}
    (tmp_path / "x.json").write_text(json.dumps(content | {"digest": json_digest(content)}))
    assert read_record(tmp_path / "x.json") is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"r": 4', '"r": 8'),
        ('"code": "c"', '"code": "d"'),
        ('"b"', '"e"'),
        ('"adopted": []', '"adopted": [{"code": "", "to": "", "modules": [], "because": "", "date": ""}]'),
        ('"digest"', '"adopted"'),
    ],
)
def test_edited_record_is_none(tmp_path, old, new):
    path = tmp_path / "x.json"
    Record.model_validate(RECORD | {"reads": {"a": ("a",)}}).write(path)
    assert read_record(path).reads == {"a": ("a",)}
    edited = " ".join(path.read_text().split()).replace("[ ]", "[]")
    assert old in edited
    path.write_text(edited)  # other white space is the same content
    assert read_record(path)
    path.write_text(edited.replace(old, new))
    assert read_record(path) is None


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
