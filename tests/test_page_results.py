"""The sentences at the top of the page."""

from types import SimpleNamespace

import pytest

from lkca.report.page_comparisons import ScoreDifference
from lkca.report.page_results import Case, CaseResults, describe_findings

MACS = {"Bicubic": 0, "Small": 1, "Large": 9}


def make_case(psnr, resolved=(), *, title="Chikusei", steps=None, untrained=(), why="the interval holds 0"):
    """Return the results of a case; `resolved`: pairs (better method, worse method)."""
    runs = {
        label: [
            SimpleNamespace(
                scores={
                    "macs": MACS[label],
                    "steps": (steps or {}).get(label, 100 * (label != "Bicubic")),
                    "untrained": label in untrained,
                    "weights_sha256": None if label == "Bicubic" else "11" * 32,
                }
            )
        ]
        for label in psnr
    }
    outcomes = dict.fromkeys(resolved, "better") | {(worse, better): "worse" for better, worse in resolved}
    differences = {
        reference: {
            method: ScoreDifference("", "", "", outcomes.get((method, reference), "not resolved"), why)
            for method in psnr
            if method != reference
        }
        for reference in psnr
    }
    return CaseResults(Case(title, 4, title), runs, psnr, differences)


@pytest.mark.parametrize(
    ("cases", "sentences"),
    [
        (
            [make_case({"Bicubic": 40, "Small": 40.4, "Large": 40.5}, why="one seed cannot carry an interval")],
            [
                "No trained method is shown to be better than Bicubic here: one seed cannot carry an interval.",
                "Large has the highest MPSNR, 40.50 dB, 0.50 dB above Bicubic.",
            ],
        ),
        (
            [make_case({"Bicubic": 40, "Small": 40.4, "Large": 40.5}, [("Large", "Bicubic"), ("Small", "Bicubic")])],
            [
                "Small is the method to use: of the methods that are not shown to be worse than the best here, it "
                "needs the fewest multiply-accumulates (the others: Large).",
                "Large has the highest MPSNR, 40.50 dB, 0.50 dB above Bicubic.",
            ],
        ),
        (  # the difference of the second method is smaller, but resolved
            [make_case({"Bicubic": 40, "Small": 40.4, "Large": 40.5}, [("Small", "Bicubic")])],
            [
                "Small is the method to use: of the methods that are not shown to be worse than the best here, it "
                "needs the fewest multiply-accumulates (the others: Large).",
                "Large has the highest MPSNR, 40.50 dB, 0.50 dB above Bicubic.",
            ],
        ),
        (
            [
                make_case({"Bicubic": 40, "Small": 40.4, "Large": 40.9}, [("Large", "Small"), ("Large", "Bicubic")]),
                make_case({"Bicubic": 38, "Small": 39.5, "Large": 38.5}, [("Small", "Bicubic")], title="Pavia"),
            ],
            [
                "Large is the method to use: it is the only one that is not shown to be worse than the best in any "
                "case.",
                "Highest MPSNR in 2 cases (a scene at one scale): Large in 1, 0.90 dB above Bicubic; "
                "Small in 1, 1.50 dB above Bicubic.",
            ],
        ),
        (
            [
                make_case({"Small": 40.4, "Large": 40.9}, [("Large", "Small")]),
                make_case({"Small": 39.5, "Large": 38.5}, [("Small", "Large")], title="Pavia"),
                make_case({"Small": 35.5, "Large": 34.5}, [("Small", "Large")], title="Houston"),
            ],
            [
                "No method is among the best in every case; Small is among them in 2 of 3.",
                "Highest MPSNR in 3 cases (a scene at one scale): Small in 2; Large in 1.",
            ],
        ),
        (
            [make_case({"Bicubic": 40, "Small": 39.0, "Large": 44.0}, untrained=["Large"])],
            [
                "No trained method is shown to be better than Bicubic here.",
                "Bicubic has the highest MPSNR, 40.00 dB.",
            ],
        ),
        (  # 40.004 is shown as 40.00
            [make_case({"Bicubic": 40, "Large": 40.004}, title=title) for title in ("Pavia", "Houston")],
            [
                "No trained method is shown to be better than Bicubic in any case: the interval holds 0.",
                "Highest MPSNR in 2 cases (a scene at one scale): Large in 2, less than 0.01 dB above Bicubic.",
            ],
        ),
        (
            [make_case({"Bicubic": 40, "Large": 40 + gain}, title=f"{gain}") for gain in (0.004, 0.17)],
            [
                "No trained method is shown to be better than Bicubic in any case: the interval holds 0.",
                "Highest MPSNR in 2 cases (a scene at one scale): Large in 2, up to 0.17 dB above Bicubic.",
            ],
        ),
        (
            [make_case({"Small": 40.4, "Large": 40.9}, [("Large", "Small")], steps={"Small": 1_000, "Large": 12_000})],
            [
                "Large has the highest MPSNR, 40.90 dB.",
                "On Chikusei ×4 Large was trained for 12,000 steps and the others for at most 1,000, so their scores "
                "do not compare the methods.",
            ],
        ),
        (  # a longer training makes no comparison with Large, but one with Bicubic
            [
                make_case({"Bicubic": 40, "Large": 40.1}, title="Pavia"),
                make_case(
                    {"Bicubic": 40, "Small": 40.5, "Large": 40.1},
                    [("Small", "Bicubic")],
                    steps={"Small": 900, "Large": 100, "Bicubic": 0},
                ),
            ],
            [
                "No trained method is shown to be better than Bicubic in any case except Chikusei ×4: the interval "
                "holds 0.",
                "Highest MPSNR in 2 cases (a scene at one scale): Large in 1, 0.10 dB above Bicubic; Small in 1, 0.50 "
                "dB above Bicubic.",
                "On Chikusei ×4 Small was trained for 900 steps and the others for at most 100, so their scores do "
                "not compare the methods.",
            ],
        ),
        (
            [make_case({"Small": 40.4, "Large": 40.9}, untrained=["Small", "Large"])],
            ["No two methods were trained long enough to be compared."],
        ),
        ([], ["Nothing was run yet."]),
    ],
    ids=[
        "unresolved",
        "tied",
        "second resolved",
        "cases",
        "no best",
        "baseline",
        "tiny gain",
        "gains",
        "unequal",
        "unequal in one case",
        "untrained",
        "empty",
    ],
)
def test_findings(cases, sentences):
    assert describe_findings(cases) == sentences
