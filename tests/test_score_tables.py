"""Tables from any source: impossible and doubtful numbers are reported, sound ones are not."""

import csv
from pathlib import Path

import fake_results
import pytest

from lkca.cli import main
from tests.conftest import REPOSITORY

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
        ({"row": "\x1b[31mred"}, "?[31mred: claims and MACs are not compared"),
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


def test_committed_tables_are_accepted(capsys):
    files = list((REPOSITORY / "results").glob("*/tables/*.csv"))
    assert files
    for file in files:
        assert main(["score-tables", str(file)]) == 0
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
