"""The paper's claims on the paper's own tables: every outcome, the numbers that are quoted, its contradictions."""

from dataclasses import replace

import pytest

from lkca.paper.claims.check import check_on_results, check_on_table, collect_claims, collect_contradictions
from lkca.paper.claims.definitions import Claim
from lkca.paper.claims.numbers import PrintedNumbers
from tests.printed_results import LINES, numbers

CLAIMS, CONTRADICTIONS = collect_claims(), collect_contradictions()
PAPER = PrintedNumbers(LINES)

# Determined by hand and with other programs while reading the paper
OUTCOMES = {
    "holds": """A1 A3 I1 I3 M3 M4 U1 U2 U8 K2 T1a T1b T1c T1d T2a T2b T2c T2d T3a T3b T3d T4a T4b S2 S3 S4 S5 S6 C1
        C3 C4 C5 C6 C7 C8 C9 C10 C11 C13 H1 H3 H4 H5 H6 H7 H8 H9 H11 H13 P1 P2 P3 P4 P5 P7 P8 P9 P10 X2 X3 X4 X5 X6""",
    "fails": "A2 I2 U3 U4 U9 K3 T2e T3c S7 C2 H2 H10 H12 P6 X1",
    "cannot be told": "M1 M2 U5 U6 U7 U10 K1 S1 S8 C12 P11",
}
FAILS, NOT_IN_TABLES = OUTCOMES["fails"].split(), OUTCOMES["cannot be told"].split()
NUMBERS = {  # as printed in the text or computed separately; equal to half of the last digit
    "A1": [28.6, 573.7],
    "A2": [10.6, 176.9],
    "A3": [0.4275, 0.1654, 0.5966, 0.3005, 0.1081, 0.0265],
    "I1": [0.615, 0.865, 0.390, 0.719, 0.565, 0.839],
    "I2": [0.406, 0.500],
    "I3": [0.637, 0.875, 0.414, 0.738, 0.589, 0.851],
    "U1": [-0.00038, 0.00046, -0.00014, 0.00042, -0.00006, -0.00022],
    "U3": [1152, 768, 1152],
    "K2": [0.0157],
    "K3": [0.4597],
    "T1c": [0.2869, 0.2630, 0.1931, 0.0553, 0.0203],
    "T2a": [0.0029],
    "T2b": [0.0660],
    "T2e": [2.3341, 2.3219, 5.0618, 5.0552],
    "T4a": [0.0348],
    "S2": [0.4804, 0.5064],
    "S3": [1.21, 1.54, 1.34, 1.75, 0.77, 1.03],
    "S4": [0.0574, 0.0577, 0.0739, 0.0742, 0.1055, 0.1054],
    "C6": [4.19, 15.12],
    "C8": [9.45, 38.78],
    "C9": [0.1415, 0.0525, 0.0880, 0.0982, -0.0178, -0.0355],
    "H2": [3660],
    "H9": [0.565],
    "H12": [1.2680, 1.1336, 1.1340],
    "P5": [0.607],
    "P9": [3465, 837, 4068, 952, 546, 120],
    "X1": [0.0660, 0.0180, 0.0328, 0.0372, 0.0422, -0.0265],
}


def find(name: str) -> Claim:
    return next(claim for claim in CLAIMS if claim.id == name)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_outcomes_on_print(outcome):
    ids = [claim.id for claim in CLAIMS if check_on_table(claim, PAPER)["outcome"] == outcome]
    assert ids == OUTCOMES[outcome].split()


@pytest.mark.parametrize("name", NUMBERS)
def test_values_on_print(name):
    values = check_on_table(find(name), PAPER)["values"].values()
    flat = [number for value in values for number in (value if isinstance(value, list) else [value])]
    digits = max(len(str(number).partition(".")[2]) for number in NUMBERS[name])
    assert flat == pytest.approx(NUMBERS[name], abs=0.5001 * 10**-digits)


def test_all_values_exist_on_print():
    for claim in CLAIMS:
        if claim.id not in NOT_IN_TABLES:
            assert set(check_on_table(claim, PAPER)["values"]) == set(claim.values or {}), claim.id


@pytest.mark.parametrize(
    "row, column, factor, changed",
    [
        ("LKCA-LR", "MACs_G", 30, "A1 U2 C8"),
        ("LKCA-Net", "Param_M", 1.1, "U1 T1d S6 C6 H11"),
        ("VDSR", "MPSNR", 1.2, "A3 H4 H13 P2 X3 X4 X6"),
        ("Bicubic", "ERGAS", 1.3, "C4"),  # not S2 and S4, where the factor cancels or helps
        ("LKCA-KD", "MPSNR", 0.98, "A3 T3d C10 C11 H13 P2 P3 P7 X3"),
    ],
)
def test_changed_table_changes_its_claims(row, column, factor, changed):
    lines = [
        line | {column: str(float(line[column]) * factor)} if line["row"] == row and line[column] else line
        for line in LINES
    ]
    differ = [
        claim.id
        for claim in CLAIMS
        if check_on_table(claim, PrintedNumbers(lines))["outcome"] != check_on_table(claim, PAPER)["outcome"]
    ]
    assert differ == changed.split()


# Our results --------------------------------------------------------------------------------------------------------


def test_results_as_printed_agree_with_print():
    """Also the claims with a replication, and those about code: our settings are the paper's."""
    measured = numbers(seeds=(3000, 3001))
    outcomes = {claim.id: check_on_results(claim, measured, stand_in=False)["outcome"] for claim in CLAIMS}
    assert {name for name, outcome in outcomes.items() if outcome == "contradicted"} == {*FAILS, "U10", "S1"}
    assert set(outcomes.values()) == {"reproduced", "contradicted"}


@pytest.mark.parametrize(
    "name, scene, row, mpsnr, outcome",
    [
        ("T2a", "chikusei", "d=1.00", 40.1691 + 0.019, "reproduced"),  # LKCA-LR and ...
        ("T2a", "chikusei", "d=1.00", 40.1691 + 0.021, "contradicted"),
        ("T2b", "chikusei", "LKCA-KD", 40.1691 + 0.001, "reproduced"),
        ("T2b", "chikusei", "LKCA-KD", 40.1691 - 0.001, "contradicted"),
        ("T4a", "chikusei", "sam+grad", 40.2351 - 0.001, "reproduced"),  # LKCA-KD and ...
        ("T4a", "chikusei", "sam+grad", 40.2351 + 0.001, "contradicted"),
        ("P3", "pavia_centre", "LKCA-KD", 32.7185 - 0.19, "reproduced"),  # ESSAformer and ...
        ("P3", "pavia_centre", "LKCA-KD", 32.7185 - 0.21, "contradicted"),
    ],
)
def test_results_need_not_have_the_printed_digits(name, scene, row, mpsnr, outcome):
    measured = numbers(change=lambda *cell: {"MPSNR": mpsnr} if cell == (scene, 4, row) else {})
    assert check_on_results(find(name), measured, stand_in=False)["outcome"] == outcome
    digits = replace(find(name), replication=None)
    assert check_on_results(digits, measured, stand_in=False)["outcome"] == "contradicted"


# Contradictions -----------------------------------------------------------------------------------------------------


def test_every_claim_that_fails_has_its_sentence():
    about = {name for contradiction in CONTRADICTIONS for name in contradiction.about}
    assert about >= {*FAILS, *(claim.id for claim in CLAIMS if claim.kind == "inconsistency")}


@pytest.mark.parametrize("contradiction", CONTRADICTIONS, ids=lambda c: c.sentence.__name__)
def test_sentence_is_complete(contradiction):
    sentence = contradiction.sentence(PAPER)
    assert sentence.endswith(".") and not set("{}") & set(sentence) and not {"nan", "inf"} & set(sentence.split())


@pytest.mark.parametrize(
    "about, words",
    [
        (["A1", "A2"], "28.6 to 573.7 times"),
        (["C2"], "leave 256 rows"),
        (["H2"], "the rest has 3660"),
        (["H9"], "0.565 %, which rounds to 0.6 %"),
        (["H10"], "0.54 dB behind at ×4"),
        (["H12"], "1.268 M stands at VDSR and 1.134 M at 3DFCNN"),
        (["U3"], "no more than 768"),
        (["P6"], "behind 4 methods"),
        (["X1"], "by 0.0265 dB, from 28.2605 to 28.2340"),
    ],
    ids=lambda x: x[0] if isinstance(x, list) else "",
)
def test_numbers_of_a_sentence(about, words):
    sentences = [each.sentence(PAPER) for each in CONTRADICTIONS if [*each.about] == about]
    assert any(words in sentence for sentence in sentences)
