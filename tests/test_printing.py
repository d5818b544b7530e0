"""Nothing that comes from a file, a path or a server reaches the terminal as a control character."""

import io
import json
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from lkca.cli import main
from lkca.core.printing import PrintableStream, printable
from lkca.errors import DataError
from lkca.pipeline.rules import exit_on_error
from lkca.report.render import escape_latex, escape_markdown

HOSTILE = {
    "title": "\x1b]0;owned\x07",
    "clipboard": "\x1b]52;c;b3duZWQ=\x1b\\",
    "erase": "\x1b[2J\x1b[H",
    "hide": "\x1b[8mhidden",
    "C1": "\x9b31m\x9d0;owned\x9c",
    "overwrite": "WRONG\rfine ",
    "backspace": "WRONG\b\b\b\b\bfine ",
    "bidirectional": "a\u202egpj.exe\u2066b\u2069",
    "invisible": "a\u200bb\u2028c\ufeffd",
    "null": "a\x00b\x7f",
    "surrogate": "a\udcff",
}


def is_safe(text: str) -> bool:
    """Return whether a text has no control, format or surrogate character but newlines and tabs, by Unicode."""
    return all(c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp") for c in text)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_control_characters_are_escaped_and_the_rest_stays(text):
    assert is_safe(printable(text)) and is_safe(printable(f"×4 · {text} · ±0.3"))
    assert printable(f"×4 · {text} · ±0.3").startswith("×4 · ") and printable(f"{text}±0.3").endswith("±0.3")


@given(st.text())
def test_escapes_are_those_of_python(text):
    plain = printable(text)
    assert is_safe(plain) and "\n" not in plain
    if "\\" not in text and text.isascii():
        assert plain.encode().decode("unicode_escape") == text


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_stream_escapes_what_its_encoding_does_not_have(encoding):
    buffer = io.BytesIO()
    stream = PrintableStream(io.TextIOWrapper(buffer, encoding, newline=""))
    print("×4 – \x1b[2J\u202eé\tend", *HOSTILE.values(), file=stream, flush=True)
    shown = buffer.getvalue().decode(encoding)
    assert is_safe(shown) and "\\x1b[2J" in shown and shown.endswith("\n") and "\tend" in shown


def test_colours_of_rich_pass_and_texts_next_to_them_do_not():
    terminal = io.StringIO()
    stream = PrintableStream(terminal)
    Console(file=stream, force_terminal=True, color_system="standard").print("[bold]ours")
    assert "\x1b[1m" in terminal.getvalue()
    print("\x1b[1mtheirs", file=stream)
    assert "\x1b[1mtheirs" not in terminal.getvalue()


def run(capsys, *arguments) -> str:
    """Return all that a command prints, which must be safe."""
    main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert is_safe(captured.out + captured.err), captured
    assert "Traceback" not in captured.err
    return captured.out + captured.err


NAMES = {name: text for name, text in HOSTILE.items() if "\x00" not in text}  # no path has this character


@pytest.mark.parametrize("text", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize(
    "command",
    [
        "score-tables {}.csv",
        "check {}",
        "plan --config {}.yaml",
        "cost --config config.yaml --model {}",
        "adopt --because x {}",
        "verify {}",
        "verify indian_pines {}.mat",
        "fetch {}",
        "score --reference {}.npy --estimate b.npy --scale 4",
        "resize --input {}.npy --factor 2 --output b.npy",
        "step {} --experiment a.json --outputs b",
        "split --settings {}.json --image 0 --scene a --manifest b --out c",
        "evaluate --run {} --scene a --split b --manifest c --image 0 --out d --picture e",
        "spectrum --run a --weights b --out c --{}",
        "{}",
    ],
)
def test_arguments_in_messages(capsys, command, text):
    arguments = [word.replace("{}", text) for word in command.split(" ")]
    try:
        main(arguments)
    except SystemExit as error:  # of argparse
        assert error.code == 2
    captured = capsys.readouterr()
    assert captured.err and is_safe(captured.out + captured.err) and "Traceback" not in captured.err


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_texts_of_a_table_of_scores(tmp_path, capsys, text):
    path = tmp_path / "table.csv"
    cell = '"' + text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").replace('"', '""') + '"'
    path.write_bytes(f"# {cell}\nscene,scale,row,RMSE,MPSNR\n{cell},4,{cell},1.5,3\n".encode())
    run(capsys, "score-tables", path)
    for header in (f"scene,scale,row,{cell}\na,4,b,1\n", f"scene,scale,row,RMSE\na,{cell},b,1\n"):
        path.write_bytes(header.encode())
        assert run(capsys, "score-tables", path).startswith("lkca: ")
    path.write_bytes(f"scene,scale,row,RMSE\na,4,b,{cell}\n".encode())
    assert run(capsys, "score-tables", path).startswith("lkca: ")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_values_in_messages_about_json(tmp_path, capsys, text):
    for content in ({"scale": text}, {text: 1}, [text]):
        (tmp_path / "a.json").write_text(json.dumps(content))
        options = ["--image", 0, "--scene", "a", "--manifest", "b", "--out", "c"]
        assert run(capsys, "split", "--settings", tmp_path / "a.json", *options).startswith("lkca: ")
        options = ["--weights", "a", "--out", "c"]
        assert run(capsys, "spectrum", "--run", tmp_path / "a.json", *options).startswith("lkca: ")


def test_message_is_one_line_of_bounded_length(capsys, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"x" * 10**6: "\n" * 10**6}))
    output = run(capsys, "spectrum", "--run", tmp_path / "a.json", "--weights", "a", "--out", "c")
    assert output.count("\n") == 1 and len(output) < 5000


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_error_in_the_snakefile(text):
    with pytest.raises(SystemExit) as exit_, exit_on_error():
        raise DataError(f"{text}\nwrong.")
    assert is_safe(exit_.value.code) and "\n" not in exit_.value.code
    with pytest.raises(SystemExit) as exit_, exit_on_error():
        raise FileNotFoundError(2, "not found", text)
    assert is_safe(exit_.value.code)


def test_traceback_of_a_sandboxed_reader_is_escaped():
    """The process of the reader prints the traceback of an unexpected error by itself."""
    code = (
        "from lkca.data.sandbox import run_sandboxed\nfrom lkca.errors import LkcaError\nimport sys\n"
        "if __name__ == '__main__':\n try:\n  run_sandboxed(int, '\\x1b[2Jno number')\n"
        " except LkcaError as error:\n  print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ValueError" in done.stderr and is_safe(done.stderr) and "the reader crashed" in done.stdout


def test_no_module_writes_to_the_streams_itself():
    """Everything else prints with `print`, which `escape_output` covers, or with rich."""
    package = Path(__file__).parents[1] / "lkca"
    writers = [path for path in package.rglob("*.py") if re.search(r"std(out|err)__|\.buffer\b", path.read_text())]
    assert writers == []


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_tables_in_latex_and_markdown_have_no_control_characters(text):
    """LaTeX stops at some of them, and editors obey others."""
    for escape in (escape_latex, escape_markdown):
        assert is_safe(escape(f"a {text} ×4")) and "\n" not in escape(text)
