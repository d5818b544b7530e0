"""Tables in four formats: numbers in their cells, printed numbers, rows that were not run, stand-in data."""

import csv
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import fake_results
import pytest

from lkca.errors import StaleInput
from lkca.paper.columns import PRINTED_SCORES

FORMATS = ("csv", "md", "tex", "html")


def write(root: Path, scores: list[Path], **changes) -> dict[str, str]:
    """Write a table and return its four formats, by suffix."""
    files = fake_results.write_table(root, scores, **changes)
    return {suffix: files[suffix] for suffix in FORMATS}


def lines(text: str) -> dict[tuple[str, str], dict[str, str]]:
    """Return the lines of a table's CSV, by scale and row."""
    _comment, *rest = text.splitlines()
    return {(line["scale"], line["row"]): line for line in csv.DictReader(rest)}


class Cells(HTMLParser):
    """Collect the text of all cells and their attributes, a list for each <tr>, and all tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.attributes: list[list[dict[str, str]]] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
            self.attributes.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self.attributes[-1].append(dict(attrs))
            self.inside = True
        elif tag == "a":
            self.links.append(dict(attrs)["href"])

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data.strip("\n")


def test_each_score_has_its_cell_next_to_the_printed_one(tmp_path):
    values = {"MPSNR": 38.5, "MSSIM": 0.91, "SAM": 2.75, "CC": 0.93, "RMSE": 0.0135, "ERGAS": 6.25}
    scores = [fake_results.write_run(tmp_path, "vdsr", params=1_917_000, macs=491_000_000, steps=165_000, **values)]
    text = write(tmp_path, scores)

    line = lines(text["csv"])["4", "VDSR"]
    assert {name: float(line[name]) for name in values} == pytest.approx(values)
    assert (float(line["Param_M"]), float(line["MACs_G"]), line["steps"]) == (1.917, 0.491, "165000")
    assert (line["table"], line["scene"], line["reason"]) == ("V", "chikusei", "")
    assert (line["MPSNR_printed"], line["ERGAS_printed"], line["Param_M_printed"]) == ("38.6684", "6.1510", "1.917")

    ours = ["165,000", "1.917", "0.491", "38.5000", "0.9100", "2.7500", "0.9300", "0.0135", "6.2500"]
    paper = ["paper", "1.917", "0.491", "38.6684", "0.9227", "2.6242", "0.9364", "0.0135", "6.1510"]
    row = next(row for row in Cells(text["html"]).rows if row[1] == "VDSR")
    assert row[:3] == ["×4", "VDSR", "165,000"]
    assert [cell.split()[0] for cell in row[3 : 3 + len(paper) - 1]] == ours[1:]
    assert [cell.split()[-1] for cell in row[3 : 3 + len(paper) - 1]] == paper[1:]
    assert f"VDSR & {' & '.join(ours)} " in text["tex"]
    beside = " | ".join(f"{o} ({p})" for o, p in zip(ours[1:], paper[1:], strict=True))
    assert f"| ×4 | VDSR | 165,000 | {beside} |" in text["md"]


def test_seeds_become_mean_and_standard_deviation(tmp_path):
    scores = [
        fake_results.write_run(tmp_path, "lkca", seed=seed, MPSNR=value) for seed, value in ((1, 40), (2, 41), (3, 42))
    ]
    text = write(tmp_path, scores, seeds=[1, 2, 3])
    line = lines(text["csv"])["4", "LKCA-Net"]
    assert (line["seeds"], float(line["MPSNR"]), float(line["MPSNR_std"])) == ("1 2 3", 41, 1)
    assert "41.0000 ± 1.0000" in text["md"]
    assert "41.0000$_{\\pm 1.0000}$" in text["tex"]
    assert "41.0000 ± 1.0000" in Cells(text["html"]).rows[4][5].replace("\xa0", " ")
    assert all("3 seeds" in one for one in text.values())


def test_one_seed_has_no_standard_deviation(tmp_path):
    text = write(tmp_path, [fake_results.write_run(tmp_path, "lkca")])
    assert lines(text["csv"])["4", "LKCA-Net"]["MPSNR_std"] == ""
    assert all("±" not in text[suffix] and "\\pm" not in text[suffix] for suffix in ("csv", "md", "tex"))
    assert 'class="spread"' not in text["html"]


def test_row_without_scores_is_not_run(tmp_path):
    text = write(tmp_path, [fake_results.write_run(tmp_path, "lkca")])  # SSPSR has no model, VDSR a model but no scores
    for label in ("SSPSR", "VDSR"):
        line = lines(text["csv"])["4", label]
        assert {line[name] for name in ("seeds", "steps", "Param_M", "MACs_G", *fake_results.SCORES)} == {""}
        assert line["reason"] == "not run"
        assert f"{label} & \\multicolumn{{{3 + len(fake_results.SCORES)}}}{{l}}{{not run}}" in text["tex"]
        row = next(row for row in Cells(text["html"]).rows if row[1] == label)
        paper = [line[f"{name}_printed"] for name in ("Param_M", "MACs_G", *PRINTED_SCORES)]
        assert row[2 : 3 + len(paper)] == ["not run", *(f" – not run; paper: {number}" for number in paper)]
    assert "| ×4 | VDSR | not run | not run (1.917) | not run (0.491) | not run (38.6684) |" in text["md"]
    assert lines(text["csv"])["4", "SSPSR"]["MPSNR_printed"] == "40.3711"


def test_impossible_row_shows_reason(tmp_path):
    why = "not possible: 3 groups do not divide 2048 channels"
    rows = {"LKCA-Net": "lkca", "3DFCNN-LR": why}
    text = write(tmp_path, [fake_results.write_run(tmp_path, "lkca")], rows=rows)
    line = lines(text["csv"])["4", "3DFCNN-LR"]
    assert {line[name] for name in ("model", "seeds", "steps", "Param_M", *fake_results.SCORES)} == {""}
    assert line["reason"] == why
    assert f"3DFCNN-LR & \\multicolumn{{{3 + len(fake_results.SCORES)}}}{{l}}{{{why}}}" in text["tex"]
    assert ["×4", "3DFCNN-LR", why] in Cells(text["html"]).rows
    assert f"| ×4 | 3DFCNN-LR | {why} | not possible" in text["md"]


def test_untrained_row_is_marked_in_every_format(tmp_path):
    scores = [
        fake_results.write_run(tmp_path, "lkca"),
        fake_results.write_run(tmp_path, "vdsr", steps=2, untrained=True),
    ]
    text = write(tmp_path, scores)
    assert all(one.count("untrained: 2 steps") == 1 for one in text.values())
    assert text["html"].count('class="untrained"') == 1 and "Untrained: the training ended before" in text["html"]
    assert lines(text["csv"])["4", "VDSR"]["steps"] == "untrained: 2 steps"


def test_intervals_are_students_t_over_test_images(tmp_path):
    bicubic = fake_results.write_run(tmp_path, "bicubic", steps=0, MPSNR=[38.0, 40.0, 42.0])
    text = write(tmp_path, [bicubic, fake_results.write_run(tmp_path, "lkca", MPSNR=[39.0, 41.0, 43.0])])
    line = lines(text["csv"])["4", "Bicubic"]
    half = 4.302653 * 2 / 3**0.5  # two degrees of freedom, as tables of Student's t print it; standard deviation 2
    assert [float(line[f"MPSNR_{end}"]) for end in ("low", "high")] == pytest.approx([40 - half, 40 + half], abs=1e-5)
    assert lines(text["csv"])["4", "LKCA-Net"]["MPSNR_low"] == ""  # one seed
    cells = {row[1]: row[5] for row in Cells(text["html"]).rows[1:]}
    assert cells["Bicubic"].split()[:4] == ["40.0000", "35.0", "to", "45.0"]
    assert "to" not in cells["LKCA-Net"].split()
    for suffix in ("csv", "html"):
        note = "95 % interval of the mean over test images and seeds, except where there are too few data (one seed)."
        assert note in text[suffix]
    assert all("interval" not in text[suffix] and "45.0" not in text[suffix] for suffix in ("md", "tex"))


def test_two_images_give_no_interval(tmp_path):
    text = write(tmp_path, [fake_results.write_run(tmp_path, "bicubic", steps=0)])
    assert lines(text["csv"])["4", "Bicubic"]["MPSNR_high"] == ""
    assert all("No intervals: too few data (2 test images)." in text[suffix] for suffix in ("csv", "html"))
    assert 'class="interval"' not in text["html"]


def test_html_rows_can_be_sorted_and_link_to_runs(tmp_path):
    scores = [fake_results.write_run(tmp_path, model, scale=scale) for model in ("vdsr", "lkca") for scale in (4, 8)]
    text = write(tmp_path, scores, scales=[4, 8])
    cells = Cells(text["html"])
    assert [row[:2] for row in cells.rows[1:]] == [
        [f"×{scale}", label] for scale in (4, 8) for label in ("Bicubic", "VDSR", "SSPSR", "LKCA-Net")
    ]
    assert {len(row) for row in cells.rows} == {5 + len(fake_results.SCORES)}
    csv_lines = lines(text["csv"])
    for (scale, label, *_), attributes in zip(cells.rows[1:], cells.attributes[1:], strict=True):
        line = csv_lines[scale[1:], label]
        values = [each.get("data-value") for each in attributes[2:]]
        names = ("steps", "Param_M", "MACs_G", *fake_results.SCORES)
        assert values == [line[name] or None for name in names]
    runs, columns = [(scale, model) for scale in (4, 8) for model in ("vdsr", "lkca")], names[1:]
    verdicts = ["#verdicts"]
    assert cells.links == verdicts + [f"#run-chikusei-{scale}-{model}" for scale, model in runs for _ in columns]
    assert [text["html"].count(f'<tr data-model="{model}">') for model in ("vdsr", "lkca", "bicubic")] == [2, 2, 2]
    assert [text["html"].count(f'<tbody data-scale="{scale}">') for scale in (4, 8)] == [1, 1]
    assert text["html"].count("<tr>") == 1 + 2  # the head, and the row without a model at both scales


def test_order_of_files_does_not_matter(tmp_path):
    scores = [
        fake_results.write_run(tmp_path, "lkca", scale=8, MPSNR=35),
        fake_results.write_run(tmp_path, "vdsr", MPSNR=38),
        fake_results.write_run(tmp_path, "lkca", scene="houston2018", MPSNR=46),
        fake_results.write_run(tmp_path, "lkca", MPSNR=40),
    ]
    text = write(tmp_path, scores, scales=[4, 8])
    psnr = {key: float(line["MPSNR"]) for key, line in lines(text["csv"]).items() if line["MPSNR"]}
    assert psnr == {("4", "LKCA-Net"): 40, ("8", "LKCA-Net"): 35, ("4", "VDSR"): 38}
    assert write(tmp_path, scores[::-1], scales=[4, 8]) == text


def test_best_score_is_marked(tmp_path):
    """On two test images no difference is resolved, so the best number is bold, but not on colour."""
    scores = [
        fake_results.write_run(tmp_path, "vdsr", MPSNR=39.5, SAM=2.5, params=1_000_000),
        fake_results.write_run(tmp_path, "lkca", MPSNR=40.5, SAM=3.5),
    ]
    text = write(tmp_path, scores)
    assert "<strong>40.5000</strong>" in text["html"] and "<strong>2.5000</strong>" in text["html"]
    assert "<strong>39.5000</strong>" not in text["html"] and "<strong>3.5000</strong>" not in text["html"]
    assert "<mark>" not in text["html"]
    assert "**40.5000**" in text["md"] and "\\textbf{2.5000}" in text["tex"]
    assert "<strong>1.000</strong>" not in text["html"]  # a cost is not a score


def test_best_score_is_on_colour_if_all_comparisons_are_resolved(tmp_path):
    """LKCA-Net has the best MPSNR: 2 dB above bicubic on every image, but above VDSR only on two of three."""
    bicubic, lkca = [37.0, 38.0, 39.0], [39.0, 40.1, 40.9]
    scores = fake_results.write_runs(tmp_path, "bicubic", {3000: {"MPSNR": bicubic}}, steps=0)
    scores += fake_results.write_runs(tmp_path, "lkca", {seed: {"MPSNR": lkca} for seed in (3000, 3001)})
    assert "<mark>40.0000</mark>" in write(tmp_path, scores, seeds=[3000, 3001])["html"]
    vdsr = {seed: {"MPSNR": [38.0, 39.0, 41.0]} for seed in (3000, 3001)}
    text = write(tmp_path, [*scores, *fake_results.write_runs(tmp_path, "vdsr", vdsr)], seeds=[3000, 3001])["html"]
    assert "<strong>40.0000</strong>" in text and "<mark>" not in text


def test_untrained_score_is_not_the_best(tmp_path):
    scores = [
        fake_results.write_run(tmp_path, "lkca"),
        fake_results.write_run(tmp_path, "bicubic", steps=0, MPSNR=38.0),
    ]
    scores.append(fake_results.write_run(tmp_path, "vdsr", MPSNR=44.0, steps=2, untrained=True))
    html = write(tmp_path, scores)["html"]
    assert "<strong>40.0000</strong>" in html and "<strong>44.0000</strong>" not in html


def test_cost_of_nothing_is_zero(tmp_path):
    text = write(tmp_path, [fake_results.write_run(tmp_path, "bicubic", params=0, macs=0, steps=0)])
    assert "| ×4 | Bicubic | 0 | 0 (–) | 0 (–) | 40.0000 (37.6377) |" in text["md"]


@pytest.mark.parametrize("changes", [{"name": "depth"}, {"scene": "indian_pines"}], ids=["own table", "other scene"])
def test_own_table_has_no_printed_numbers(tmp_path, changes):
    scene = changes.get("scene", "chikusei")
    text = write(tmp_path, [fake_results.write_run(tmp_path, "lkca", scene=scene)], **changes)
    assert not [name for name in lines(text["csv"])["4", "VDSR"] if name.endswith("_printed")]
    assert not [name for name, one in text.items() if "37.6377" in one or "what the paper prints," in one]
    assert "| ×4 | LKCA-Net | 1,200 | 3.707 | 0.867 | 40.0000 |" in text["md"]


def test_seeds_with_different_steps_raise(tmp_path):
    scores = [fake_results.write_run(tmp_path, "lkca", seed=seed, steps=steps) for seed, steps in ((1, 100), (2, 200))]
    with pytest.raises(StaleInput, match="'LKCA-Net' differ in steps"):
        write(tmp_path, scores)


# Captions, notes and names ---------------------------------------------------------------------------------------


def test_every_format_has_caption_and_stand_in_sentence(tmp_path):
    sentence = "Stand-in data: fourteen bands of another scene."
    for one in write(tmp_path, [fake_results.write_run(tmp_path, "lkca")], stand_in=sentence).values():
        for part in (
            sentence,
            "Table V. Quantitative comparison.",
            "Scene: Chikusei, mean over 2 test images",
            "Flops",
        ):
            assert part in one


def test_notes_are_footnotes(tmp_path):
    text = write(tmp_path, [], name="VI", scene="houston2018", rows={"VDSR": None, "3DFCNN": None})
    assert "VDSR is 1.134 M" in lines(text["csv"])["4", "VDSR"]["note"]
    assert "VDSR <sup>a</sup>" in text["md"] and "<sup>b</sup> The paper prints" in text["md"]
    assert "VDSR\\textsuperscript{a} &" in text["tex"] and "\\textsuperscript{b} The paper prints" in text["tex"]
    assert "VDSR<sup>a</sup>" in text["html"] and "<sup>b</sup> The paper prints" in text["html"]
    assert all("nothing was run" in one for one in text.values())


HOSTILE_ROWS = {fake_results.HOSTILE: "lkca", "a_b|c & 5 % #1 $x$ {y} ^~\\z": None, "[x] & *y*": None}


def test_names_are_escaped(tmp_path):
    scores = [fake_results.write_run(tmp_path, "lkca")]
    text = write(tmp_path, scores, rows=HOSTILE_ROWS, stand_in=fake_results.STAND_IN, scene_title=fake_results.HOSTILE)
    assert "script" not in Cells(text["html"]).tags
    assert Cells(text["html"]).rows[1][1] == fake_results.HOSTILE
    assert "<script" not in text["md"]
    row = next(line for line in text["md"].splitlines() if "a\\_b" in line)
    assert "a\\_b\\|c &amp; 5 %" in row
    assert (
        r"a\_b\textbar{}c \& 5 \% \#1 \$x\$ \{y\} \textasciicircum{}\textasciitilde{}\textbackslash{}z & \multicolumn"
        in text["tex"]
    )
    assert ("4", fake_results.HOSTILE) in lines(text["csv"])


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(tmp_path):
    scores = [fake_results.write_run(tmp_path, model, seed=seed) for model in ("lkca", "vdsr") for seed in (1, 2)]
    write(tmp_path, scores, rows={**fake_results.table_settings().rows, **HOSTILE_ROWS}, stand_in="50 % & _")
    document = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\input{table.tex}\\end{document}"
    (tmp_path / "main.tex").write_text(document)
    latex = subprocess.run(
        ["pdflatex", "-halt-on-error", "main.tex"], cwd=tmp_path, capture_output=True, text=True, errors="replace"
    )
    assert latex.returncode == 0, latex.stdout[-2000:]
