"""Figures: what is drawn agrees with made-up results of known truth, is no blank page, and has the same bytes twice."""

from pathlib import Path

import made_up
import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from lkca.figures import FIGURES, figure


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """Every figure that is saved."""
    saved, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (saved.append(self), save(self, *a, **k)))
    return saved


@pytest.fixture
def scores(tmp_path) -> list[Path]:
    return [
        made_up.run(tmp_path, "bicubic", params=0, upsampler_params=0, steps=0, MPSNR=37.25),
        made_up.run(tmp_path, "lkca", params=4_000_000, upsampler_params=2_500_000, MPSNR=40.5),
        made_up.run(tmp_path, "lkca", params=9, upsampler_params=9, seed=1, MPSNR=99),  # of no interest: seed, scale
        made_up.run(tmp_path, "lkca", params=9, upsampler_params=9, scale=8, MPSNR=99),
    ]


def draw(root: Path, kind: str, scores: list[Path], **changes) -> tuple[Path, Path]:
    png, pdf = root / "figure.png", root / "figure.pdf"
    spectra = [path.with_name("spectrum.json") for path in scores if path.with_name("spectrum.json").exists()]
    images = [path.with_name("image.npz") for path in scores]
    figure(made_up.figure_settings(kind, **changes), scores, spectra, images, png, pdf)
    return png, pdf


def texts(of: Figure) -> list[str]:
    return [text.get_text() for text in of.findobj(Text) if text.get_text()]


@pytest.mark.parametrize("kind", FIGURES)
def test_a_figure_is_no_blank_page_and_has_the_same_bytes_twice(tmp_path, scores, kind):
    first = [path.read_bytes() for path in draw(tmp_path, kind, scores)]
    picture = matplotlib.image.imread(tmp_path / "figure.png")
    assert picture.shape[1] == 1440  # 7.2 inches at 200 dpi
    assert 0.01 < np.mean(picture[..., :3].min(axis=-1) < 0.9) < 0.9
    assert first[1].startswith(b"%PDF") and b"CreationDate" not in first[1]
    assert [path.read_bytes() for path in draw(tmp_path, kind, scores[::-1])] == first


@pytest.mark.parametrize("kind", FIGURES)
def test_every_figure_says_its_title_what_was_not_run_and_what_stands_in(tmp_path, scores, drawn, kind):
    draw(tmp_path, kind, scores, stand_in=made_up.STAND_IN, title="A title")
    said = texts(drawn[0])
    missing = "VDSR, SSPSR" if kind != "spectrum" else "Bicubic, VDSR, SSPSR"
    assert "A title" in said
    assert f"Not run: {missing}.\n{made_up.STAND_IN}" in said
    assert min(text.get_size() for text in drawn[0].findobj(Text)) >= 7


@pytest.mark.parametrize("kind", FIGURES)
def test_names_are_text_and_never_formulas(tmp_path, scores, drawn, kind):
    draw(tmp_path, kind, scores, title="$\\oops$ & _x^", rows={"$\\oops$": "lkca"}, stand_in="5 $ or $\\oops$")
    assert "$\\oops$ & _x^" in texts(drawn[0])


@pytest.mark.parametrize("kind", FIGURES)
def test_without_any_run_a_figure_says_so(tmp_path, drawn, kind):
    draw(tmp_path, kind, [])
    assert "Not run: Bicubic, VDSR, SSPSR, LKCA-Net." in texts(drawn[0])


def test_the_share_is_that_of_the_upsampling_layer(tmp_path, scores, drawn):
    draw(tmp_path, "share", scores)
    said = [text.strip() for text in texts(drawn[0])]
    assert {"62.5%", "2.500 M", "1.500 M", "4.000 M", "no parameters", "Chikusei, ×4"} <= set(said)
    bars = [bar for bar in drawn[0].axes[0].patches if bar.get_height() == pytest.approx(0.7)]
    assert [(bar.get_x(), bar.get_width()) for bar in bars] == [(0, 0.625), (0.625, 0.375)]


def test_the_spectrum_is_a_cumulative_sum_with_its_rank(tmp_path, drawn):
    scores = [made_up.run(tmp_path, "lkca", scene=scene) for scene in ("chikusei", "pavia_centre")]
    scenes = {"scenes": ["chikusei", "pavia_centre"], "scene_titles": ["Chikusei", "Pavia"], "rows": {"Net": "lkca"}}
    draw(tmp_path, "spectrum", scores, **scenes)
    curves = {line.get_label(): line for line in drawn[0].axes[0].lines if not line.get_label().startswith("_")}
    names = [
        f"{scene}, layer {i} of 2:\n90 % at 1 of 10, at the start 9" for scene in ("Chikusei", "Pavia") for i in (1, 2)
    ]
    assert list(curves) == names
    starts = [line for line in drawn[0].axes[0].lines if line.get_linestyle() == "--"]
    assert len(starts) == 4
    for name, start in zip(names, starts, strict=True):
        assert curves[name].get_ydata()[:2] == pytest.approx([0.91, 0.92])
        assert start.get_ydata() == pytest.approx(np.linspace(0.1, 1, 10))
        assert curves[name].get_color() == start.get_color()
    assert curves[names[0]].get_linewidth() > curves[names[1]].get_linewidth()
    assert "index of the singular value (the first 10 of 10)" in texts(drawn[0])


def test_composites_share_a_stretch_and_errors_a_scale(tmp_path, scores, drawn):
    draw(tmp_path, "composite", scores, image=1)
    assert {"Ground truth\n", "Bicubic\n38.25 dB", "LKCA-Net\n41.50 dB"} <= set(texts(drawn[0]))  # of test image 1
    pictures = [np.asarray(image.get_array()) for axes in drawn[0].axes for image in axes.images]
    errors = [image for axes in drawn[0].axes for image in axes.images if image.get_array().shape == (64, 64)]
    assert len(pictures) == 2 * 3 + len(errors) == 8
    assert len({error.get_clim() for error in errors}) == 1
    truth, ours = (next(p for p in pictures[i:] if p.shape == (64, 64, 3)) for i in (0, 2))
    assert (
        (ours >= truth).all() and truth.min() == 0 and truth.max() == 1
    )  # ours is brighter by the error, as stretched


def test_untrained_methods_are_named_and_do_not_set_the_colours_of_errors(tmp_path, scores, drawn):
    draw(tmp_path, "composite", scores)
    before = [i for axes in drawn[0].axes for i in axes.images if i.get_array().shape == (64, 64)][0].get_clim()
    wild = made_up.run(tmp_path, "vdsr", steps=2, untrained=True)
    with np.load(wild.with_name("image.npz")) as arrays:
        np.savez(wild.with_name("image.npz"), **{**arrays, "error": arrays["error"] * 100})
    draw(tmp_path, "composite", [*scores, wild], rows={"Bicubic": "bicubic", "VDSR": "vdsr", "LKCA-Net": "lkca"})
    assert "Untrained: VDSR (2 steps)." in "\n".join(texts(drawn[-1]))
    errors = [i for axes in drawn[-1].axes for i in axes.images if i.get_array().shape == (64, 64)]
    assert {error.get_clim() for error in errors} == {before}


@pytest.mark.parametrize(("zoom", "box"), [([5, 20, 10], (19.5, 4.5, 10)), (None, None)], ids=["given", "by rule"])
def test_the_zoom_is_the_box_given_or_where_the_first_method_errs_most(tmp_path, scores, drawn, zoom, box):
    draw(tmp_path, "composite", scores, zoom=zoom)
    red = drawn[0].axes[0].patches[0]
    x, y, size = red.get_x(), red.get_y(), red.get_width()
    if box:
        assert (x, y, size) == box
    else:  # the worst square is rows 8 to 15, columns 40 to 47
        assert y < 8 and y + size > 15 and x < 40 and x + size > 47


def test_only_runs_with_an_image_are_composed(tmp_path, scores, drawn):
    settings = made_up.figure_settings("composite")
    images = [path.with_name("image.npz") for path in scores if "bicubic" in str(path)]
    figure(settings, scores, [], images, tmp_path / "a.png", tmp_path / "a.pdf")
    assert "Not run: VDSR, SSPSR, LKCA-Net." in texts(drawn[0])
