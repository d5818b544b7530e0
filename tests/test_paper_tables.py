"""lkca/paper/paper_tables.csv has the numbers that the paper prints."""

import csv
from collections import Counter

import fake_results
import pytest


def read_printed() -> list[dict[str, str]]:
    with fake_results.PRINTED.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_tables_are_complete():
    rows = read_printed()
    assert Counter(row["table"] for row in rows) == {"I": 6, "II": 4, "III": 5, "IV": 2, "V": 18, "VI": 18, "VII": 18}
    numbers = [value for row in rows for name, value in row.items() if value and name in fake_results.SCORES]
    costs = [row[name] for row in rows for name in ("Param_M", "MACs_G") if row[name]]
    assert len(rows) == 71
    assert len(numbers) + len(costs) == 530
    assert all(float(value) > 0 for value in numbers + costs)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        (("I", "chikusei", "4", "64"), {"Param_M": "7.297", "MACs_G": "1.543", "MPSNR": "40.5793"}),
        (("II", "chikusei", "4", "d=0.66"), {"Param_M": "", "MPSNR": "40.2351", "CC": "0.9554"}),
        (("III", "chikusei", "4", "alpha=0.005"), {"SAM": "2.3136", "ERGAS": "5.0219"}),
        (("IV", "chikusei", "4", "sam+grad"), {"MPSNR": "40.2003", "CC": "", "RMSE": ""}),
        (("V", "chikusei", "8", "ESSAformer"), {"MACs_G": "205.593", "MSSIM": "0.8585"}),
        (("V", "chikusei", "4", "Bicubic"), {"Param_M": "", "MACs_G": "", "MPSNR": "37.6377", "RMSE": "0.0155"}),
        (("VII", "pavia_centre", "8", "LKCA-Net"), {"MACs_G": "2.18", "SAM": "7.7476"}),  # two decimals in print
    ],
)
def test_tables_have_printed_numbers(key, values):
    (row,) = [r for r in read_printed() if (r["table"], r["scene"], r["scale"], r["row"]) == key]
    assert {name: row[name] for name in values} == values


def test_tables_keep_swapped_costs_with_notes():
    rows = {row["row"]: row for row in read_printed() if (row["table"], row["scale"]) == ("VI", "4")}
    assert (rows["VDSR"]["Param_M"], rows["VDSR"]["MACs_G"]) == ("1.268", "0.324")
    assert (rows["3DFCNN"]["Param_M"], rows["3DFCNN"]["MACs_G"]) == ("1.134", "0.290")
    assert "VDSR is 1.134 M and 0.290 G" in rows["VDSR"]["note"]
    assert "3DFCNN is 1.268 M and 0.324 G" in rows["3DFCNN"]["note"]
    assert [row["row"] for row in read_printed() if row["note"]] == ["sam+grad", "VDSR", "3DFCNN"]
