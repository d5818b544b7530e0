"""The check of the bicubic rows: it names the cause of each difference, and finds the paper's own numbers equal."""

import csv
from math import radians
from pathlib import Path
from types import SimpleNamespace

import fake_results
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from lkca.config.settings import BicubicCheckSettings
from lkca.core.files import read_json, write_json
from lkca.data.resize import resize
from lkca.errors import DataError
from lkca.paper.bicubic_check import bicubic_check
from lkca.paper.columns import PRINTED_SCORES
from lkca.scoring.metrics import scores as score

PRINTED = Path(__file__).parents[1] / "lkca/paper/paper_tables.csv"
TITLES = {"chikusei": "Chikusei", "houston2018": "Houston 2018", "pavia_centre": "Pavia Centre"}
OURS, THEIRS = 5000.0, 8000.0  # divisors


@pytest.fixture(scope="module")
def cube() -> np.ndarray:
    """A smooth cube (6, 136, 264), values of about 500 to 4500, brighter to the right, bands of different contrast."""
    rng = np.random.default_rng(7)
    fine, coarse = (gaussian_filter(rng.standard_normal((6, 136, 264)), (0.5, s, s)) for s in (1.2, 8))
    fine, coarse = fine / np.abs(fine).max(), coarse / np.abs(coarse).max()
    contrast = np.linspace(100, 800, 6)[:, None, None]
    return 2200 + contrast * (fine + coarse) + np.linspace(-600, 900, 264) + np.linspace(0, 300, 6)[:, None, None]


def bicubic_run(
    data: np.ndarray, scale: int = 4, scene: str = "chikusei", scored=score, enlarge=lambda x, scale: resize(x, scale)
) -> dict:
    """Return scores.json of the bicubic reconstructions of two images, the first 128 x 256 pixels of a scene."""
    images = []
    for i in range(2):
        hr = data[:, :128, 128 * i : 128 * (i + 1)]
        images.append({"window": [0, 128 * i, 128, 128], **scored(enlarge(resize(hr, 1 / scale), scale), hr, scale)})
    mean = {name: float(np.mean([image["scores"][name] for image in images])) for name in PRINTED_SCORES}
    return {"scene": scene, "scale": scale, "model": "bicubic", "seed": 3000, "mean": mean, "images": images}


def check(
    folder: Path, runs: list[dict], paper: Path = PRINTED, absent: dict | None = None, stand_in: str | None = None
):
    """Return the verdict, the rows by scene and scale, and the Markdown."""
    paths = [folder / f"{i}/scores.json" for i in range(len(runs))]
    for path, run in zip(paths, runs, strict=True):
        write_json(path, fake_results.complete_scores(run))
    manifests = [folder / f"{scene}.json" for scene in sorted({run["scene"] for run in runs})]
    for path in manifests:
        write_json(path, {"scene": path.stem, "divisor": OURS})
    out, markdown = folder / "check.json", folder / "check.md"
    settings = BicubicCheckSettings(experiment="paper", scenes=TITLES, stand_in=stand_in, absent=absent or {})
    bicubic_check(settings, paths, manifests, paper, out, markdown)
    result = read_json(out)
    rows = {(row["scene"], row["scale"]): row for row in result["rows"]}
    return SimpleNamespace(verdict=result["verdict"], rows=rows, markdown=markdown.read_text(encoding="utf-8"))


def write_printed(folder: Path, *runs: dict, **changes: float) -> Path:
    """Write a table with the scores of these runs as they would be printed, with `changes`."""
    path = folder / "printed.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["table", "scene", "scale", "row", *PRINTED_SCORES])
        writer.writeheader()
        for run in runs:
            numbers = {name: f"{value:.4f}" for name, value in (run["mean"] | changes).items()}
            writer.writerow({"table": "V", "scene": run["scene"], "scale": run["scale"], "row": "Bicubic", **numbers})
    return path


def finding_kinds(row: dict) -> list[str]:
    return [finding["kind"] for finding in row["findings"]]


def single_finding(folder: Path, ours: dict, paper: Path) -> dict:
    """Return the only finding on the only row."""
    (row,) = check(folder, [ours], paper).rows.values()
    (finding,) = row["findings"]
    return finding


def printed_runs() -> list[dict]:
    """Return runs that score exactly what the paper prints."""
    with PRINTED.open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["row"] == "Bicubic"]
    rows = []
    for line in lines:
        mean = {name: float(line[name]) for name in PRINTED_SCORES}
        identity = {"scene": line["scene"], "scale": int(line["scale"]), "model": "bicubic", "seed": 3000}
        rows.append({**identity, "mean": mean, "images": [{"window": [0, 0, 9, 9], "scores": mean, "bands": {}}]})
    return rows


# The paper's own numbers ------------------------------------------------------------------------------------------


def test_printed_numbers_are_equal(tmp_path, capsys):
    result = check(tmp_path, printed_runs())
    assert result.verdict == "The protocol is the paper's in 6 of 6 rows present."
    assert all(finding_kinds(row) == ["equal"] for row in result.rows.values())
    assert {cell["says"] for row in result.rows.values() for cell in row["cells"].values()} == {"equal"}
    assert capsys.readouterr().out == result.markdown  # the terminal shows the content of the file


def test_printed_brightness_of_each_scene(tmp_path):
    rows = check(tmp_path, printed_runs()).rows
    implied = {"chikusei": (0.0574, 0.0577), "houston2018": (0.0739, 0.0742), "pavia_centre": (0.1055, 0.1054)}
    for scene, values in implied.items():
        for scale, value in zip((4, 8), values, strict=True):
            brightness = rows[scene, scale]["brightness"]
            assert brightness["printed"] == pytest.approx(value, abs=1e-4)
            assert brightness["ours"] == pytest.approx(brightness["printed"])
            assert brightness["least"] < brightness["ours"] < brightness["most"]


def test_brightness_is_about_the_mean(tmp_path, cube):
    data = cube / OURS
    ours = bicubic_run(data)
    brightness = check(tmp_path, [ours], write_printed(tmp_path, ours)).rows["chikusei", 4]["brightness"]
    assert brightness["ours"] == pytest.approx(data[:, :128, :256].mean(), rel=0.1)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (0.00004, "equal"),
        (-0.00004, "equal"),
        (0.00006, "off by 1 in the last digit"),
        (-0.0001, "off by 1 in the last digit"),
        (0.002, "off by +0.002"),
        (-0.0003, "off by -0.0003"),
    ],
)
def test_cell_says_how_far_it_is_off(tmp_path, more, says):
    run = printed_runs()[0]
    run["mean"]["MSSIM"] += more
    row = check(tmp_path, [run]).rows["chikusei", 4]
    cell = row["cells"]["MSSIM"]
    assert cell["says"] == says
    assert (cell["printed"], cell["ours"]) == ("0.8953", 0.8953 + more)
    assert finding_kinds(row) == [{"equal": "equal", "off by 1 in the last digit": "rounding"}.get(says, "unclear")]


def test_rounding_is_not_equality(tmp_path):
    rows = printed_runs()
    rows[0]["mean"]["RMSE"] += 0.0001
    result = check(tmp_path, rows)
    assert (
        result.verdict
        == "The protocol is the paper's in 5 of 6 rows present. To 1 in the last digit also in: Chikusei ×4."
    )
    assert "RMSE" in result.rows["chikusei", 4]["findings"][0]["says"]


# Missing scenes, seeds and stand-in data --------------------------------------------------------------------------


def test_missing_scenes_are_named_with_their_source(tmp_path):
    sentence = "data/raw/Pavia.mat is missing: get it from https://somewhere."
    result = check(tmp_path, printed_runs()[:3], absent={"pavia_centre": sentence})
    assert result.verdict.startswith(
        "The protocol is the paper's in 3 of 3 rows present. Missing scenes, 1: Pavia Centre."
    )
    assert result.verdict.endswith("Not computed: Houston 2018 ×8.")
    assert sentence in result.markdown


def test_nothing_to_compare(tmp_path):
    with pytest.raises(DataError, match=r"^there are no scores .* get it from https://somewhere\)\.$"):
        check(tmp_path, [], absent={"chikusei": "x.mat is missing: get it from https://somewhere."})
    with pytest.raises(DataError, match="add a table with such a row to the report"):
        check(tmp_path, [{**printed_runs()[0], "scene": "indian_pines"}])


def test_seeds_share_a_row_and_other_scenes_have_none(tmp_path):
    run = printed_runs()[0]
    result = check(tmp_path, [run, {**run, "seed": 3001}, {**run, "scene": "indian_pines"}])
    assert list(result.rows) == [("chikusei", 4)]
    assert "1 of 1 rows" in result.verdict


def test_stand_ins_get_no_verdict(tmp_path):
    run = printed_runs()[0]
    run["mean"]["SAM"] *= 2
    result = check(tmp_path, [run], stand_in=fake_results.STAND_IN)
    assert result.verdict.startswith("No verdict") and "stand-ins" in result.verdict and "NOT" not in result.verdict
    assert finding_kinds(result.rows["chikusei", 4]) == ["stand-in"]
    assert fake_results.STAND_IN in result.markdown
    # The numbers are compared nevertheless.
    assert result.rows["chikusei", 4]["cells"]["SAM"]["says"] == "off by +3.404"


# Causes of differences --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [4, 8])
def test_other_divisor(tmp_path, cube, scale):
    finding = single_finding(
        tmp_path, bicubic_run(cube / OURS, scale), write_printed(tmp_path, bicubic_run(cube / THEIRS, scale))
    )
    assert finding["kind"] == "normalisation"
    assert finding["low"] < THEIRS < finding["high"]  # the scores determine it to 12 parts in a million
    assert finding["high"] - finding["low"] < 0.2
    assert finding["ratio"] == pytest.approx(1.6, rel=1e-5) and finding["by_rmse"] == pytest.approx(1.6, rel=0.02)
    assert "SAM, CC, ERGAS agree" in finding["says"]


def test_divisor_too_close_for_rmse(tmp_path, cube):
    finding = single_finding(tmp_path, bicubic_run(cube / OURS), write_printed(tmp_path, bicubic_run(cube / 5005)))
    assert finding["kind"] == "normalisation" and finding["low"] < 5005 < finding["high"]


def test_scores_that_need_two_divisors_are_unclear(tmp_path):
    run = printed_runs()[0]
    run["mean"] |= {"MPSNR": run["mean"]["MPSNR"] + 6, "RMSE": run["mean"]["RMSE"] * 2}
    assert finding_kinds(check(tmp_path, [run]).rows["chikusei", 4]) == ["unclear", "unclear"]


def test_divisor_for_each_band(tmp_path, cube):
    normalised = cube / cube.max(axis=(1, 2), keepdims=True)
    assert (
        single_finding(tmp_path, bicubic_run(cube / OURS), write_printed(tmp_path, bicubic_run(normalised)))["kind"]
        == "bands"
    )


def test_subtracted_minimum(tmp_path, cube):
    shifted = (cube - 400) / (OURS - 400)
    assert (
        single_finding(tmp_path, bicubic_run(cube / OURS), write_printed(tmp_path, bicubic_run(shifted)))["kind"]
        == "offset"
    )


@pytest.mark.parametrize("change", [{"RMSE": 1.1}, {"CC": 1.0001}], ids=["same brightness", "other correlation"])
def test_other_images_are_not_an_offset(tmp_path, change):
    """SAM and ERGAS differ as if a constant were subtracted, but the brightness agrees or CC does not."""
    run = printed_runs()[0]
    for name, factor in {"SAM": 1.1, "ERGAS": 1.1, **change}.items():
        run["mean"][name] *= factor
    if "RMSE" in change:
        run["mean"]["MPSNR"] -= 20 * np.log10(1.1)
    assert finding_kinds(check(tmp_path, [run]).rows["chikusei", 4]) == ["images"]


@pytest.mark.parametrize(
    "cut", [lambda x: x[:, 8:, 8:], lambda x: x[:, :, ::-1], lambda x: x[:, ::-1]], ids=["offset", "mirror", "flip"]
)
def test_other_crop(tmp_path, cube, cut):
    finding = single_finding(tmp_path, bicubic_run(cube / OURS), write_printed(tmp_path, bicubic_run(cut(cube) / OURS)))
    assert finding["kind"] == "images" and "crop" in finding["says"]


def test_other_place_changes_brightness(tmp_path, cube):
    far = np.roll(cube, -128, axis=2)[:, :, :128]  # only bright images
    finding = single_finding(
        tmp_path, bicubic_run(cube / OURS), write_printed(tmp_path, bicubic_run(np.tile(far, 2) / OURS))
    )
    assert finding["kind"] == "images" and "The brightness differs: check the crop" in finding["says"]


def test_other_bicubic_keeps_brightness(tmp_path, cube):
    def torch_bicubic(image, scale):
        return torch.nn.functional.interpolate(torch.tensor(image)[None], scale_factor=scale, mode="bicubic")[0].numpy()

    finding = single_finding(
        tmp_path, bicubic_run(cube / OURS), write_printed(tmp_path, bicubic_run(cube / OURS, enlarge=torch_bicubic))
    )
    assert finding["kind"] == "images" and "The brightness agrees: check the bicubic" in finding["says"]


# Scores by another definition -------------------------------------------------------------------------------------


def test_ergas_with_constant_ratio(tmp_path, cube):
    ours = bicubic_run(cube / OURS, 8)
    constant = bicubic_run(cube / OURS, 8, scored=lambda sr, hr, scale: score(sr, hr, 4))
    finding = single_finding(tmp_path, ours, write_printed(tmp_path, constant))
    assert (finding["kind"], finding["name"], finding["how"]) == ("definition", "ERGAS", "with 100/4 for 100/r")


def test_rmse_band_by_band(tmp_path, cube):
    ours = bicubic_run(cube / OURS)
    by_band = np.mean([image["bands"]["RMSE"] for image in ours["images"]])
    finding = single_finding(tmp_path, ours, write_printed(tmp_path, ours, RMSE=by_band))
    assert (finding["kind"], finding["name"]) == ("definition", "RMSE") and "band by band" in finding["how"]


def test_mpsnr_of_whole_cube(tmp_path, cube):
    ours = bicubic_run(cube / OURS)
    whole = np.mean([-20 * np.log10(image["scores"]["RMSE"]) for image in ours["images"]])
    finding = single_finding(tmp_path, ours, write_printed(tmp_path, ours, MPSNR=whole))
    assert (finding["kind"], finding["name"]) == ("definition", "MPSNR") and "over all bands" in finding["how"]


def test_sam_in_radians_with_other_divisor(tmp_path, cube):
    theirs = bicubic_run(cube / THEIRS)
    row = check(
        tmp_path, [bicubic_run(cube / OURS)], write_printed(tmp_path, theirs, SAM=radians(theirs["mean"]["SAM"]))
    )
    findings = row.rows["chikusei", 4]["findings"]
    assert [finding["kind"] for finding in findings] == ["definition", "normalisation"]
    assert findings[0]["how"] == "in radians" and findings[1]["low"] < THEIRS < findings[1]["high"]


def test_other_ssim(tmp_path, cube):
    def gaussian(sr, hr, scale):
        scored, pairs = score(sr, hr, scale), zip(sr, hr, strict=True)
        mssim = np.mean([structural_similarity(a, b, data_range=1, gaussian_weights=True) for a, b in pairs])
        return {**scored, "scores": {**scored["scores"], "MSSIM": mssim}}

    finding = single_finding(
        tmp_path, bicubic_run(cube / OURS), write_printed(tmp_path, bicubic_run(cube / OURS, scored=gaussian))
    )
    assert (finding["kind"], finding["name"]) == ("unclear", "MSSIM") and "window" in finding["says"]


def test_verdict_names_what_differs(tmp_path, cube):
    runs = [bicubic_run(cube / OURS), bicubic_run(cube / OURS, 8), bicubic_run(cube / OURS, scene="houston2018")]
    result = check(tmp_path, runs, write_printed(tmp_path, runs[0], bicubic_run(cube / THEIRS, 8), runs[2]))
    assert result.verdict == (
        "The protocol is the paper's in 2 of 3 rows present. It is NOT in: Chikusei ×8 (normalisation)."
    )
