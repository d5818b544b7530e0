"""Tables from any source: impossible and doubtful numbers are reported, sound ones are not."""

import csv
from pathlib import Path

import pytest

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
