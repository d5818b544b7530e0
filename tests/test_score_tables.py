"""Tables from any source: impossible and doubtful numbers are reported, sound ones are not."""

import csv
import io
import os
from pathlib import Path
from time import monotonic

import fake_results
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lkca.cli import main

PRINTED = Path(__file__).parents[1] / "lkca/paper/paper_tables.csv"


def check_changed(tmp_path, capsys, change=lambda line: None, keep=lambda line: True, columns=None):
    """Return the output of `lkca score-tables` for the paper's table after a change of its lines."""
    with PRINTED.open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if keep(line)]
    for line in lines:
        change(line)
    path = tmp_path / "table.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns or list(lines[0]), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(lines)
    assert main(["score-tables", str(path)]) == 0
    return capsys.readouterr().out


def scale_column(column, factor, keep=lambda line: True):
    def change(line):
        if line[column] and keep(line):
            line[column] = f"{float(line[column]) * factor:.4f}"

    return change


def test_printed_tables_are_sound_and_false_claims_are_named(tmp_path, capsys):
    output = check_changed(tmp_path, capsys)
    assert "71 rows, 530 numbers" in output
    assert "impossible" not in output and "doubtful" not in output
    assert "in all 69 rows that have both" in output and "the factor 100 / r in 27 methods" in output
    failing = {line.split()[1] for line in output.splitlines() if line.startswith("- ") and " fails: " in line}
    # Of the claims that fail in the paper, those that need only tables.
    assert " ".join(sorted(failing)) == "A2 H10 H12 I2 P6 S7 T2e T3c X1"


@pytest.mark.parametrize(
    "change, message",
    [
        (
            scale_column("MPSNR", 0.9),
            "impossible: MPSNR of Bicubic on chikusei x4",
        ),  # 3.8 dB less: below Jensen's bound
        (
            scale_column("ERGAS", 2, lambda x: x["scale"] == "8"),
            "ERGAS has the same factor at every scale in 27 methods",
        ),
        (scale_column("ERGAS", 4, lambda x: x["scale"] == "8"), "ERGAS has the factor 100 r in 27 methods"),
        (scale_column("ERGAS", 1.5, lambda x: x["scale"] == "8"), "ERGAS has no known factor in 27 methods"),
        (scale_column("MACs_G", 2), "twice, so these are FLOPs"),
        (scale_column("MACs_G", 16), "16 times as many: another network, or an LR image that is not 16 x 16"),
        (scale_column("SAM", 3.14159 / 180), "too small for degrees"),
        (scale_column("RMSE", 0.5), "another peak value, or other images"),
        (scale_column("RMSE", 2), "another divisor, other images or another factor of ERGAS"),
        (scale_column("CC", 1.2), "CC of Bicubic on houston2018 x4 (Table VI) is 1.1689, outside -1 to 1"),
        (
            scale_column("RMSE", 0.7, lambda x: x["row"] == "VDSR" and x["scale"] == "8"),
            "of VDSR on pavia_centre x8 (Table VII) is",
        ),
        (scale_column("MPSNR", 0.9, lambda x: x["row"] == "LKCA-KD"), "X3 fails"),
    ],
)
def test_damage_is_found(tmp_path, capsys, change, message):
    assert message in check_changed(tmp_path, capsys, change)


def test_few_rows_and_columns_are_enough(tmp_path, capsys):
    def rename(line):
        line["row"] = f"{line['row']} (ours)"

    columns = ["scene", "scale", "row", "MPSNR", "RMSE"]
    output = check_changed(tmp_path, capsys, rename, lambda line: line["table"] == "VII", columns)
    assert "18 rows, 36 numbers" in output
    assert "0 hold on this table, 0 fail, 64 need numbers that it does not have" in output


@pytest.mark.parametrize(
    "names",
    [
        {"chikusei": "Chikusei", "houston2018": "Houston 2018", "pavia_centre": "Pavia Center"},
        {"LKCA-Net": "lkca-net", "VDSR": "vdsr", "LKCA-KD": "LKCA KD"},
        {"V": "Table V", "VI": "vi", "III": "table iii"},
    ],
    ids=["scenes", "rows", "tables"],
)
def test_other_spellings_of_names_change_nothing(tmp_path, capsys, names):
    def rename(line):
        line |= {column: names.get(line[column], line[column]) for column in ("scene", "row", "table")}

    assert check_changed(tmp_path, capsys, rename) == check_changed(tmp_path, capsys)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scene": "Pavia University"}, "no scene Pavia University (chikusei, houston2018, pavia_centre)"),
        ({"table": "2"}, "no Table 2 on pavia_centre (VII); leave the column table empty"),
        ({"table": "V"}, "no Table V on pavia_centre (VII)"),
        ({"scale": "2"}, "Table VII on pavia_centre has no scale x2 (x4, x8)"),
        ({"row": "VDSR+"}, "VDSR+: claims and MACs are not compared, because the paper's Table VII"),
        ({"row": "\x1b[31mred"}, "\\x1b[31mred: claims and MACs are not compared"),
    ],
)
def test_comparisons_that_are_skipped_are_named(tmp_path, capsys, change, message):
    def rename(line):
        if (line["table"], line["scale"], line["row"]) == ("VII", "4", "VDSR"):
            line |= change

    output = check_changed(tmp_path, capsys, rename)
    (skipped,) = (line for line in output.splitlines() if line.startswith("- skipped: "))
    assert message in skipped
    assert "skipped" not in check_changed(tmp_path, capsys)


# Our own tables.


def test_table_of_an_experiment_is_accepted(tmp_path, capsys):
    """Its numbers are those of the paper's Table V at x4, so the same claims hold as on the paper's rows."""
    with PRINTED.open(encoding="utf-8", newline="") as file:
        rows = [line for line in csv.DictReader(file) if (line["table"], line["scale"]) == ("V", "4")]
    runs = [
        fake_results.write_run(
            tmp_path,
            line["row"],
            params=round(float(line["Param_M"] or 0) * 1e6),
            macs=round(float(line["MACs_G"] or 0) * 1e9),
            **{name: float(line[name]) for name in ("MPSNR", "MSSIM", "SAM", "CC", "RMSE", "ERGAS")},
        )
        for line in rows
    ]
    labels = {line["row"]: line["row"] for line in rows} | {"none": None, "never": "not possible: no groups"}
    fake_results.write_table(tmp_path, runs, rows=labels)
    assert main(["score-tables", str(tmp_path / "table.csv")]) == 0
    output = capsys.readouterr().out
    assert "11 rows, 72 numbers\n# Table V. Quantitative comparison." in output
    assert "- skipped: none, never: claims" in output
    assert "impossible" not in output and "doubtful" not in output
    at_x4 = check_changed(tmp_path, capsys, keep=lambda line: (line["table"], line["scale"]) == ("V", "4"))
    claims = [[line for line in text.splitlines() if " holds: " in line] for text in (output, at_x4)]
    assert claims[0] == claims[1] and len(claims[0]) > 2


def test_untrained_rows_of_an_experiment_decide_no_claim(tmp_path, capsys):
    """C9 compares the MPSNR of LKCA-LR and LKCA-Net at x4."""
    for untrained in (False, True):
        runs = [fake_results.write_run(tmp_path, model, untrained=untrained) for model in ("lkca", "lkca_lr")]
        fake_results.write_table(tmp_path, runs, rows={"LKCA-Net": "lkca", "LKCA-LR": "lkca_lr"})
        assert main(["score-tables", str(tmp_path / "table.csv")]) == 0
        output = capsys.readouterr().out
        assert (" C9 " in output) is not untrained
        assert ("The scores of 2 untrained rows are left out." in output) is untrained


def test_table_of_an_own_scene_is_accepted(tmp_path, capsys):
    run = fake_results.write_run(tmp_path, "lkca", scene="indian_pines")
    fake_results.write_table(tmp_path, [run], name="S3", scene="indian_pines")
    assert main(["score-tables", str(tmp_path / "table.csv")]) == 0
    assert "skipped" in capsys.readouterr().out


def test_lists_of_an_experiment_are_refused(tmp_path, capsys):
    fake_results.write_table(tmp_path, [fake_results.write_run(tmp_path, "lkca")])
    for name in ("verdicts", "comparisons"):
        assert main(["score-tables", str(tmp_path / f"table.{name}.csv")]) == 2
        message = f"table.{name}.csv is a list of {name}, not a table of scores: name {tmp_path}/table.csv.\n"
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "rows",
    ["own,4,a,40,0.0100\nown,4,b,45,0.0100\n", "own,4,a,39.99,0.010008\n"],
    ids=["two rows have no usual gap", "a bound that rounding explains"],
)
def test_sound_rows(tmp_path, capsys, rows):
    path = tmp_path / "table.csv"
    path.write_text(f"scene,scale,row,MPSNR,RMSE\n{rows}")
    assert main(["score-tables", str(path)]) == 0
    output = capsys.readouterr().out
    assert "impossible" not in output and "doubtful" not in output


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "the column scene is missing"),
        ("scene,scale,row\n", "has no rows"),
        ("scene,scale,row,PSNR\nx,4,a,1\n", "'PSNR' is unknown"),
        ("scene,scale,row,SAM\nx,4,a,1\nx,4,a,2\n", "line 3: a on x x4 is already in the table"),
        ("# a comment\n# and another\nscene,scale,row,SAM\nx,4,a,-\n", "line 4: SAM is '-'"),
        ("scene,scale,row,SAM,SAM\nx,4,a,1,2\n", "'SAM' is in the table twice"),
        ("scene,scale,row,SAM_mean\nx,4,a,1\n", "'SAM_mean' is unknown"),
        (
            "scene,scale,row,SAM\nchikusei,4,VDSR,1\nChikusei,4,vdsr,2\n",
            "line 3: VDSR on chikusei x4 (Table V) is already",
        ),
        ("scene,scale,row,SAM\nx,4.5,a,1\n", "line 2: the scale '4.5'"),
        ("scene,scale,row,SAM\nx,4,a,40.31±0.02\n", "line 2: SAM is '40.31±0.02', not a number"),
        ("scene,scale,row,SAM\nx,4,a,nan\n", "SAM is 'nan', not a number"),
        ("scene,scale,row,SAM\nx,4,a\n", "line 2 does not have 4 cells"),
        ("scene,scale,row,SAM\nx,4,a,1,2\n", "line 2 does not have 4 cells"),
        ('scene,scale,row,SAM\nx,4,"a,1\n', "is not CSV"),
        ("scene,scale,row,SAM\nx,4,\udcff,1\n", "is not CSV in UTF-8"),
    ],
)
def test_wrong_table_is_one_sentence(tmp_path, capsys, text, message):
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert main(["score-tables", str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and str(path) in error


def test_missing_file_folder_and_device_are_refused(tmp_path, capsys):
    refused = {tmp_path / "none.csv": "cannot be read", tmp_path: "is not a file", "/dev/zero": "is not a file"}
    for path, message in refused.items():
        assert main(["score-tables", str(path)]) == 2
        assert message in capsys.readouterr().err


NUMBERS = [
    "inf",
    "-inf",
    "nan",
    "1e400",
    "-1e400",
    "1e300",
    "1e-300",
    "0",
    "-0",
    "-1",
    "1e-31",
    "1e31",
    "1e30",
    "1e-30",
]
NUMBERS += [
    "9" * 5000,
    "1" + "0" * 400,
    "0." + "0" * 39 + "1",
    "1e-99999999999999999999",
    "1_0",
    "１",
    "0,5",
    "",
    " 1 ",
]
NUMBERS += ["0x10", "1e", "--1", "+1", ".5", "5.", "NaN(1)", "infinity", "1\x00", "٣", "1e+30", "0.5", "40.1", "2.0"]
SCALES = ["4", "8", "2", "16", "04", "0", "-4", "4.0", "9" * 5000, "1e1", "", "٤", "x4", "17", "inf"]
SCENES = ["chikusei", "Pavia Centre", "houston2018", "mine", "", "\x1b[2J", "x" * 10**5]
ROWS = ["Bicubic", "VDSR", "LKCA-Net", "LKCA-LR", "LKCA-KD", "SSPSR", "mine", "'+ mine", "", "a\nb", "\x00"]
COLUMNS = [
    "table",
    "scene",
    "scale",
    "row",
    "Param_M",
    "MACs_G",
    "MPSNR",
    "MSSIM",
    "SAM",
    "CC",
    "RMSE",
    "ERGAS",
    "steps",
]


@st.composite
def tables(draw):
    """Draw the bytes of a file that is nearly a table of scores."""
    columns = draw(st.one_of(st.just(COLUMNS), st.lists(st.sampled_from([*COLUMNS, "x", "note"]), max_size=14)))
    sound = st.floats(1e-30, 1e30).map(repr)  # what passes the check of each cell
    number = draw(st.sampled_from([sound, sound, st.sampled_from(NUMBERS), st.text(max_size=6)]))
    cells = {
        "scene": SCENES[:4],
        "scale": SCALES[:4],
        "row": ROWS[:7],
        "table": ["", "V", "VII", "I", "2"],
        "steps": [""],
    }
    if draw(st.booleans()):
        cells |= {"scene": SCENES, "scale": SCALES, "row": ROWS}
    rows = [
        [draw(st.sampled_from(cells[name]) if name in cells else number) for name in columns]
        for _ in range(draw(st.integers(0, 8)))
    ]
    text = io.StringIO()
    csv.writer(text, delimiter=draw(st.sampled_from(",,,,;\t"))).writerows([columns, *rows])
    comment = draw(st.sampled_from(["", "# \x1b]0;x\x07\n", "#\r"]))
    encoding = draw(st.sampled_from(["utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"]))
    content = (comment + text.getvalue()).encode(encoding, "replace")
    return content[: draw(st.integers(0, len(content)))] if draw(st.integers(0, 9)) == 0 else content


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(tables())
def test_any_file_gives_findings_or_one_sentence(tmp_path, capsys, content):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    code = main(["score-tables", str(path)])
    captured = capsys.readouterr()
    assert (code == 0 and not captured.err) or (code == 2 and captured.err.startswith(f"lkca: {path}"))
    assert not code or (captured.err.count("\n") == 1 and captured.err.endswith(".\n"))
    assert all(char.isprintable() or char == "\n" for char in captured.out + captured.err)
    assert len(captured.err) < 5000


def test_ratio_of_the_largest_and_the_smallest_numbers(tmp_path, capsys):
    """No rule divides by zero or overflows for numbers that are accepted."""
    extremes = ["1e30", "1e-30"]
    for high in extremes:
        for low in extremes:
            lines = [
                f"{row},chikusei,{scale},{number},{number},{high}"
                for row in ("VDSR", "a", "b")
                for scale, number in (("4", high), ("8", low))
            ]
            path = tmp_path / "t.csv"
            path.write_text("\n".join(["row,scene,scale,RMSE,MACs_G,ERGAS", *lines]))
            assert main(["score-tables", str(path)]) == 0
            assert "inf" not in capsys.readouterr().out


def test_large_and_special_files_are_refused_quickly(tmp_path, capsys):
    def refuse(path, *parts):
        start = monotonic()
        assert main(["score-tables", str(path)]) == 2
        error = capsys.readouterr().err
        assert monotonic() - start < 5 and all(part in error for part in parts), error

    path = tmp_path / "t.csv"
    with path.open("wb") as file:
        file.truncate(10**9)  # one line of zeros
    refuse(path, "at most 10 MB")
    path.write_bytes(b"\0" * 10**6)
    refuse(path, "131072")
    path.write_text(",".join(f"c{i}" for i in range(10**5)) + "\n")
    refuse(path, "the column scene is missing")
    path.write_text(",".join(["scene", "scale", "row", *["RMSE"] * 10**6]) + "\n")
    refuse(path, "'RMSE' is in the table twice")
    path.write_text("row,scene,scale\n" + "a,b,4\n" * 10**6)
    refuse(path, "more than 10000 rows")
    path.write_text("row,scene,scale\n" + "\n".join(f"{i},b,4" for i in range(10**4)))
    assert main(["score-tables", str(path)]) == 0
    capsys.readouterr()
    path.unlink()
    path.mkdir()
    refuse(path, "is not a file")
    path.rmdir()
    os.mkfifo(path)
    refuse(path, "is not a file")
    path.unlink()
    path.symlink_to("t.csv")
    refuse(path, "cannot be read")
