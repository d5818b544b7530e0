"""Figures of fake results show their known numbers, are not blank, and have the same bytes twice."""

import json
from itertools import combinations
from pathlib import Path

import fake_results
import matplotlib.image
import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text
from PIL import Image

from lkca.config.figure_kinds import FIGURE_KINDS, check_kind
from lkca.config.schema import MAX_LABEL
from lkca.core.files import read_json
from lkca.errors import ConfigError
from lkca.paper.statistics import block_intervals, pseudovalues
from lkca.report.figures import DRAWING_FUNCTIONS, draw_figure
from lkca.report.figures.style import RC_PARAMS, curve_style, method_style

TRAINED = {"VDSR": "vdsr", "LKCA-Net": "lkca"}


@pytest.fixture
def figures(monkeypatch) -> list[Figure]:
    """The drawn figures with their metadata; they are not saved, because their encoding takes most of the time."""
    saved: list[Figure] = []

    def save(figure, path, metadata, **_):
        figure.metadata = getattr(figure, "metadata", {}) | metadata
        saved.append(figure)
        path.touch()

    monkeypatch.setattr(Figure, "savefig", save)
    return saved


@pytest.fixture
def scores(tmp_path) -> list[Path]:
    return [
        fake_results.write_run(tmp_path, "bicubic", params=0, upsampler_params=0, macs=0, steps=0, MPSNR=37.25),
        fake_results.write_run(tmp_path, "lkca", params=4_000_000, upsampler_params=2_500_000, MPSNR=40.5),
        # Another seed and another scale, which are not shown
        fake_results.write_run(tmp_path, "lkca", params=9, upsampler_params=9, seed=1, MPSNR=99),
        fake_results.write_run(tmp_path, "lkca", params=9, upsampler_params=9, scale=8, MPSNR=99),
    ]


def draw(
    root: Path,
    kind: str,
    scores: list[Path],
    measured: list[Path] | None = None,
    manifest: dict | None = None,
    **changes,
) -> tuple[Path, Path]:
    """Draw a figure from all files next to the scores; return PNG and PDF. By default bicubic took 1 ms, lkca 2 ms.

    Args:
        manifest: Entries of the manifests that differ from those of `fake_results.write_scene`.
        changes: Arguments of `fake_results.figure_settings`.
    """
    png, pdf = root / "figure.png", root / "figure.pdf"
    run_files = [
        [path.with_name(name) for path in scores if path.with_name(name).exists()]
        for name in ("spectrum.json", "image.npz", "history.csv")
    ]
    if measured is None:
        measured = [fake_results.write_efficiency(root, {"bicubic": 0, "lkca": 867_000_000})]
    settings = fake_results.figure_settings(kind, **changes)
    manifests = [fake_results.write_scene(root, scene, **(manifest or {})) for scene in settings.scenes]
    draw_figure(settings, scores, *run_files, measured, manifests, png, pdf)
    return png, pdf


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def has_sentence(figure: Figure, sentence: str) -> bool:
    """Return whether a sentence is on the page, regardless of its line breaks."""
    return any(sentence in " ".join(text.split()) for text in texts(figure))


def lines(axes: Axes, label: str) -> list[Line2D]:
    return [line for line in axes.lines if line.get_label() == label]


@pytest.mark.parametrize("kind", FIGURE_KINDS)
def test_figure_is_not_blank_and_reproducible(tmp_path, scores, kind):
    first = [path.read_bytes() for path in draw(tmp_path, kind, scores)]
    picture = matplotlib.image.imread(tmp_path / "figure.png")
    assert picture.shape[1] == 1440  # 7.2 inches at 200 dpi
    assert 0.01 < np.mean(picture[..., :3].min(axis=-1) < 0.9) < 0.9
    assert first[1].startswith(b"%PDF") and b"CreationDate" not in first[1]
    with Image.open(tmp_path / "figure.png") as image:
        assert image.text.keys() == {"Title", "Description"}
        start = image.text["Description"][:15]
    assert any(start.encode(coding) in first[1] for coding in ("ascii", "utf-16-be"))
    assert [path.read_bytes() for path in draw(tmp_path, kind, scores[::-1])] == first


@pytest.mark.parametrize("kind", FIGURE_KINDS)
def test_title_and_footer_are_plain_text_inside_the_page(tmp_path, scores, figures, kind):
    """Names are plain text, not formulas."""
    names, title, stand_in = ["_^$\\oops$ & <x> of any length", "$x_1$"], "$\\oops$ & _x^", "5 $ or $\\oops$"
    rows, scenes = {names[0]: "bicubic", names[1]: "lkca", "VDSR": "vdsr"}, {"chikusei": "_$\\oops$"}
    measured = [fake_results.write_efficiency(tmp_path, {"bicubic": 0, "lkca": 1}, device="$\\oops_1$")]
    draw(tmp_path, kind, scores, measured, title=title, rows=rows, scenes=scenes, stand_in=stand_in)
    words = texts(figures[0])
    trained_only = kind in ("spectrum", "curves")
    missing = [names[0], "VDSR"] if trained_only else ["VDSR"]
    assert f"{title}, ×4" in words
    (footer,) = (text for text in words if text.startswith("Not run:"))
    assert footer.startswith(f"Not run: {', '.join(missing)}.")
    assert "stand-in data" in words and not has_sentence(figures[0], stand_in)  # a badge instead of the sentence
    assert has_sentence(figures[0], "Seed 3000.") == (kind != "share")
    shown = [*scenes.values()] if kind == "spectrum" else names[trained_only:]
    lines_joined = [" ".join(text.split()) for text in words if text != footer]  # names may have two lines
    assert all(any(name in text for text in lines_joined) for name in shown)
    assert min(text.get_size() for text in figures[0].findobj(Text)) >= 7
    box = figures[0].get_tightbbox(FigureCanvasAgg(figures[0]).get_renderer())  # inches
    width, height = figures[0].get_size_inches()
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


@pytest.mark.parametrize("kind", FIGURE_KINDS)
def test_figure_without_runs_names_missing_rows(tmp_path, figures, kind):
    draw(tmp_path, kind, [])
    assert has_sentence(figures[0], "Not run: Bicubic, VDSR, SSPSR, LKCA-Net.")


def test_missing_rows_are_named_with_their_scenes(tmp_path, scores, figures):
    scores.append(fake_results.write_run(tmp_path, "vdsr", scene="pavia_centre"))
    draw(tmp_path, "share", scores, scenes={"chikusei": "Chikusei", "pavia_centre": "Pavia"})
    assert "Not run: Bicubic (Pavia), VDSR (Chikusei), SSPSR, LKCA-Net (Pavia)." in texts(figures[0])


def test_share_is_that_of_the_upsampling_layer(tmp_path, scores, figures):
    draw(tmp_path, "share", scores)
    words = [text.strip() for text in texts(figures[0])]
    assert {"62.5%", "2.500 M", "1.500 M", "4.000 M", "no parameters", "Chikusei, ×4"} <= set(words)
    bars = [bar for bar in figures[0].axes[0].patches if bar.get_height() == pytest.approx(0.7)]
    assert [(bar.get_x(), bar.get_width()) for bar in bars] == [(0, 0.625), (0.625, 0.375)]


def test_spectrum_is_cumulative_sum_with_rank(tmp_path, figures):
    scores = [fake_results.write_run(tmp_path, "lkca", scene=scene) for scene in ("chikusei", "pavia_centre")]
    scenes = {"chikusei": "Chikusei", "pavia_centre": "Pavia"}
    draw(tmp_path, "spectrum", scores, scenes=scenes, rows={"Net": "lkca"})
    axes = figures[0].axes[0]
    names = [
        f"{scene}, layer {i} of 2:\n90 % at 1 of 10, at the start 9" for scene in ("Chikusei", "Pavia") for i in (1, 2)
    ]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == names
    for name in names:
        trained, start = lines(axes, name)
        assert trained.get_ydata()[:2] == pytest.approx([0.91, 0.92])
        assert start.get_ydata() == pytest.approx(np.linspace(0.1, 1, 10))
        assert trained.get_color() == start.get_color() and trained.get_linestyle() != start.get_linestyle()
        assert (trained.get_markevery(), start.get_markevery()) == ([0], [8])  # at the ranks 1 and 9
    first, second = (lines(axes, name)[0] for name in names[:2])
    assert first.get_linewidth() > second.get_linewidth()
    assert first.get_marker() != lines(axes, names[2])[0].get_marker()  # scenes differ without colours, too
    assert {"1", "9", "index of the singular value (the first 10 of 10)"} <= set(texts(figures[0]))


def test_composites_share_stretch_and_error_scale(tmp_path, scores, figures):
    draw(tmp_path, "composite", scores, image=1)
    assert {"Ground truth\n", "Bicubic\n38.25 dB", "LKCA-Net\n41.50 dB"} <= set(texts(figures[0]))  # of test image 1
    images = [image for axes in figures[0].axes for image in axes.images]
    errors = [image for image in images if image.get_array().ndim == 2 and image.get_array().size > 256]
    zooms = [image for image in images if image.get_array().ndim == 2 and image not in errors]
    assert len(images) == 2 + 2 * 4 + 0 and len(errors) == 2  # the colour bar is none of them
    assert len({error.get_clim() for error in errors + zooms}) == 1
    pictures = [np.asarray(image.get_array()) for image in images]
    truth, ours = (next(p for p in pictures[i:] if p.shape == (64, 64, 3)) for i in (0, 1))
    assert (ours >= truth).all()  # ours is brighter by the error, as stretched
    assert truth.min() == 0 and truth.max() == 1
    with np.load(scores[1].with_name("image.npz")) as arrays:
        assert f"{arrays['error'].mean():.4f}" in texts(figures[0])


def test_untrained_methods_are_named_beside_the_composites(tmp_path, scores, figures):
    """All else is as without them, although their errors are larger and elsewhere: pictures, error scale and zoom."""
    outlier = fake_results.write_run(tmp_path, "vdsr", steps=2, untrained=True)
    with np.load(outlier.with_name("image.npz")) as arrays:
        np.savez(outlier.with_name("image.npz"), **{**arrays, "error": arrays["error"][::-1, ::-1] * 100})
    trained = {"Bicubic": "bicubic", "LKCA-Net": "lkca"}
    draw(tmp_path, "composite", scores, rows=trained)
    draw(tmp_path, "composite", [*scores, outlier], rows={"VDSR": "vdsr", **trained})
    without, beside = figures[::2]
    shown, expected = ([i for axes in figure.axes for i in axes.images] for figure in (beside, without))
    assert len(shown) == len(expected) > 0
    for image, other in zip(shown, expected, strict=True):
        np.testing.assert_array_equal(image.get_array(), other.get_array())
        assert image.get_clim() == other.get_clim()
    (text,) = (text for text in beside.findobj(Text) if text.get_text() == "VDSR\nuntrained: 2 steps")
    assert not text.axes.images and text.axes.get_position().x0 > max(i.axes.get_position().x1 for i in shown)
    canvas = FigureCanvasAgg(beside)
    canvas.draw()
    box, panel = (artist.get_window_extent(canvas.get_renderer()) for artist in (text, text.axes))
    assert panel.x0 <= box.x0 < box.x1 <= panel.x1 and panel.y0 <= box.y0 < box.y1 <= panel.y1


UNTRAINED_NOTE = "Not drawn, untrained (2 steps at most, not every patch was seen): "


@pytest.mark.parametrize("kind", FIGURE_KINDS)
def test_untrained_methods_are_not_drawn_as_results(tmp_path, scores, figures, kind):
    """The first row is untrained; nothing that depends on training is shown of it."""
    scores.append(fake_results.write_run(tmp_path, "sspsr", steps=2, untrained=True, MPSNR=77.0))
    scores.append(fake_results.write_run(tmp_path, "vdsr", MPSNR=40.0))
    measured = [fake_results.write_efficiency(tmp_path, {"bicubic": 0, "lkca": 10**9, "sspsr": 10**9, "vdsr": 10**9})]
    rows = {"LKCA-Net": "lkca", "SSPSR": "sspsr", "VDSR": "vdsr", "Bicubic": "bicubic"}
    if FIGURE_KINDS[kind].untrained_lacks:
        del rows["Bicubic"]
    draw(tmp_path, kind, scores, measured, rows=rows)
    words = [" ".join(text.split()) for text in texts(figures[0])]
    if kind == "share":  # the parameters do not depend on training
        assert "SSPSR" in words and not any("untrained" in text for text in words)
        return
    named = [text for text in words if "SSPSR" in text]
    notes = {"SSPSR untrained: 2 steps"} if kind == "composite" else set()
    (footer,) = set(named) - notes
    assert f"{UNTRAINED_NOTE}SSPSR." in footer and set(named) - {footer} == notes
    assert not any(line.get_label() == "SSPSR" for axes in figures[0].axes for line in axes.lines)
    assert any("VDSR" in text for text in words if text != footer)


@pytest.mark.parametrize("kind", sorted(FIGURE_KINDS.keys() - {"share"}))
def test_figure_of_untrained_methods_only_says_so(tmp_path, figures, kind):
    """On one of two scenes, then on both; no panel is left over."""
    titles = {"chikusei": "Chikusei"} if FIGURE_KINDS[kind].one_scene else {"chikusei": "Chikusei", "mine": "Mine"}
    untrained = [
        fake_results.write_run(tmp_path, model, scene=scene, steps=2, untrained=True)
        for scene in titles
        for model in ("vdsr", "lkca")
    ]
    draw(tmp_path, kind, untrained, [], rows=TRAINED, scenes=titles)
    assert has_sentence(figures[0], f"{UNTRAINED_NOTE}VDSR, LKCA-Net.") and not figures[0].axes
    if len(titles) > 1:
        trained = [fake_results.write_run(tmp_path, model, scene="mine") for model in ("vdsr", "lkca")]
        draw(tmp_path, kind, untrained[:2] + trained, [], rows=TRAINED, scenes=titles)
        assert has_sentence(figures[2], f"{UNTRAINED_NOTE}VDSR (Chikusei), LKCA-Net (Chikusei).")
        assert not any(text.startswith("Chikusei") for text in texts(figures[2]))


@pytest.mark.parametrize(("zoom", "box"), [([5, 20, 10], (19.5, 4.5, 10)), (None, None)], ids=["given", "by rule"])
def test_zoom_is_given_or_the_worst_window(tmp_path, scores, figures, zoom, box):
    draw(tmp_path, "composite", scores, zoom=zoom)
    boxes = {
        (b.get_x(), b.get_y(), b.get_width()) for axes in figures[0].axes for b in axes.patches if b.get_width() > 1
    }
    ((x, y, size),) = boxes  # in pictures and error maps alike
    if box:
        assert (x, y, size) == box
    else:  # the worst square is rows 8 to 15, columns 40 to 47
        assert y < 8 and y + size > 15 and x < 40 and x + size > 47


@pytest.mark.parametrize("kind", ["composite", "pixels"])
def test_runs_without_image_are_left_out(tmp_path, scores, figures, kind):
    settings = fake_results.figure_settings(kind)
    images = [path.with_name("image.npz") for path in scores if "bicubic" in str(path)]
    manifests = [fake_results.write_scene(tmp_path)]
    draw_figure(settings, scores, [], images, [], [], manifests, tmp_path / "a.png", tmp_path / "a.pdf")
    assert has_sentence(figures[0], "Not run: VDSR, SSPSR, LKCA-Net.")


def test_speed_shows_psnr_against_cost(tmp_path, figures):
    """MACs order the networks as 0.5, 1, 2; time as 4, 2, 8 ms, so one pair of three is swapped; SSPSR is far below."""
    macs = {"bicubic": 0, "lkca": 1_000_000_000, "vdsr": 500_000_000, "sspsr": 2_000_000_000}
    scores = [fake_results.write_run(tmp_path, "bicubic", steps=0, macs=0, MPSNR=37)]
    scores += fake_results.write_runs(tmp_path, "lkca", {3000: {"MPSNR": 40}, 3001: {"MPSNR": 42}}, macs=macs["lkca"])
    scores += [fake_results.write_run(tmp_path, "vdsr", macs=macs["vdsr"], MPSNR=38)]
    scores += [fake_results.write_run(tmp_path, "sspsr", macs=macs["sspsr"], MPSNR=20)]
    scores += [fake_results.write_run(tmp_path, "fcnn3d", macs=3_000_000_000, MPSNR=38)]
    rows = {"Bicubic": "bicubic", **TRAINED, "SSPSR": "sspsr", "3DFCNN": "fcnn3d"}
    draw(tmp_path, "speed", scores, [fake_results.write_efficiency(tmp_path, macs)], rows=rows, seeds=[3000, 3001])
    cost, time = figures[0].axes

    def at(axes, label):
        (mark,) = lines(axes, label)
        return float(mark.get_xdata()[0]), float(mark.get_ydata()[0])

    assert at(cost, "LKCA-Net") == pytest.approx((1, 41)) and at(time, "LKCA-Net") == pytest.approx((2, 41))
    assert at(cost, "VDSR") == pytest.approx((0.5, 38)) and at(time, "VDSR") == pytest.approx((4, 38))
    bars = [np.ptp(line.get_ydata()) / 2 for line in time.lines if line.get_xdata()[0] == pytest.approx(2)]
    assert max(bars) == pytest.approx(2**0.5)  # the standard deviation of 40 and 42
    quartiles = [tuple(line.get_xdata()) for line in time.lines if line.get_ydata()[0] == pytest.approx(41)]
    assert (pytest.approx(1.8), pytest.approx(2.4)) in quartiles
    words = texts(figures[0])
    assert "1 of 3 pairs swapped against MACs" in words
    assert "Bicubic, 0 G" in words and at(cost, "Bicubic")[0] == cost.get_xlim()[0]  # a logarithm has no 0
    assert "SSPSR, 20.0 dB" in words and at(time, "SSPSR")[1] == time.get_ylim()[0] > 30
    assert has_sentence(figures[0], "Not measured: 3DFCNN. Seeds 3000, 3001.")
    assert cost.get_ylim() == time.get_ylim() and not lines(time, "3DFCNN")
    assert has_sentence(figures[0], "CPU: AMD EPYC, 1 thread")


def test_speed_has_empty_panel_for_unmeasured_scene(tmp_path, scores, figures):
    scores.append(fake_results.write_run(tmp_path, "lkca", scene="pavia_centre"))
    path = fake_results.write_efficiency(tmp_path, {"bicubic": 0, "lkca": 1})
    facts = read_json(path)
    facts["measured"].append({**facts["measured"][0], "device": "cuda", "name": "H100"})
    path.write_text(json.dumps(facts))
    draw(tmp_path, "speed", scores, [path], scenes={"chikusei": "Chikusei", "pavia_centre": "Pavia"})
    assert len(figures[0].axes) == 6 and texts(figures[0]).count("no times") == 2
    assert has_sentence(figures[0], "GPU: H100")
    assert has_sentence(figures[0], "Not measured: LKCA-Net (Pavia).")


def test_speed_names_disturbed_networks_and_counts_clear_pairs(tmp_path, figures):
    """Times 1, 2, 4 and 8 ms, of which the second was disturbed, and MACs in the opposite order; one pair overlaps."""
    macs = {"vdsr": 4_000_000_000, "lkca": 3_000_000_000, "sspsr": 2_000_000_000, "fcnn3d": 1_000_000_000}
    scores = [fake_results.write_run(tmp_path, model, macs=number, MPSNR=38) for model, number in macs.items()]
    path = fake_results.write_efficiency(tmp_path, macs, disturbed={"lkca": "Other programs ran."})
    facts = read_json(path)
    facts["measured"][0]["models"]["sspsr"]["latency_high_s"] = 0.0075  # above the lower quartile of the next, 7.2 ms
    path.write_text(json.dumps(facts))
    rows = {"VDSR": "vdsr", "LKCA-Net": "lkca", "SSPSR": "sspsr", "3DFCNN": "fcnn3d"}
    draw(tmp_path, "speed", scores, [path], rows=rows)
    _, time = figures[0].axes
    assert lines(time, "SSPSR") and not lines(time, "LKCA-Net")
    assert "2 of 2 pairs swapped against MACs" in texts(figures[0])
    note = "No time, because other work disturbed its measurement (CPU: AMD EPYC, 1 thread): LKCA-Net."
    assert has_sentence(figures[0], note)
    assert not has_sentence(figures[0], "Not measured")


def test_names_of_points_do_not_overlap(tmp_path, figures):
    rows = {f"Method {i}": f"m{i}" for i in range(8)}
    scores = [
        fake_results.write_run(tmp_path, model, macs=1_000_000_000 + 10**7 * i, MPSNR=40 + i % 3 / 10)
        for i, model in enumerate(rows.values())
    ]
    scores.append(fake_results.write_run(tmp_path, "bicubic", macs=90_000_000_000, MPSNR=38))
    draw(tmp_path, "speed", scores, [], rows={**rows, "Bicubic": "bicubic"})
    (axes,) = figures[0].axes
    renderer = FigureCanvasAgg(figures[0]).get_renderer()
    boxes = [
        text.get_window_extent(renderer) for text in axes.texts if isinstance(text, Annotation) and text.get_text()
    ]
    assert len(boxes) == 9 and not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    marks = [axes.transData.transform(lines(axes, label)[0].get_xydata()[0]) for label in rows]
    assert not any(box.contains(*mark) for box in boxes for mark in marks)


def test_bands_are_means_over_test_images(tmp_path, scores, figures):
    """Each image's bands lie evenly from 1 dB below its MPSNR to 1 above it."""
    scores.append(fake_results.write_run(tmp_path, "vdsr", MPSNR=30.0))
    draw(tmp_path, "bands", scores)
    values, gains = figures[0].axes[1:]
    (bicubic,), (ours,) = lines(values, "Bicubic"), lines(gains, "LKCA-Net")
    assert bicubic.get_ydata() == pytest.approx(np.linspace(36.25, 38.25, 128))
    assert bicubic.get_xdata() == pytest.approx(np.linspace(363, 1018, 128))
    assert ours.get_ydata() == pytest.approx(np.full(128, 3.25))
    assert "above Bicubic (dB)" in texts(figures[0])
    assert has_sentence(figures[0], "Not drawn, more than 6 dB below the best: VDSR.")
    assert not lines(values, "VDSR") and "VDSR" not in texts(figures[0])


# Wavelengths of a multispectral camera, in the order of the file; the usual step is 50 nm
IRREGULAR = [450, 550, 560, 570, 660, 700, 720, 750, 800, 1600, 2200, 2400]


@pytest.fixture
def twelve_bands(monkeypatch):
    """Let `fake_results` write runs and manifests of 12 bands."""
    monkeypatch.setattr(fake_results, "BANDS", 12)


@pytest.mark.parametrize("kind", ["bands", "pixels"])
def test_bands_are_drawn_at_their_wavelengths(tmp_path, twelve_bands, figures, kind):
    """PSNR rises from band to band, true spectra fall; lines do not cross 800 to 1600 nm, where no band is."""
    scores = [fake_results.write_run(tmp_path, "lkca", MPSNR=40.0)]
    draw(tmp_path, kind, scores, manifest={"nanometres": IRREGULAR}, rows={"Net": "lkca"})
    panels = [axes for axes in figures[0].axes if axes.get_xlabel() or lines(axes, "Ground truth")]
    label = "Net" if kind == "bands" else "Ground truth"
    (line,) = lines(panels[0], label)
    x, y = line.get_xdata(), line.get_ydata()
    gap = float("nan")
    np.testing.assert_array_equal(x, [*IRREGULAR[:9], gap, 1600, gap, 2200, gap, 2400])
    heights = {nanometres: height for nanometres, height in zip(x, y, strict=True) if nanometres == nanometres}
    expected = np.linspace(39, 41, 12) if kind == "bands" else np.linspace(1, 0.5, 12) * y[0]
    assert [heights[nanometres] for nanometres in IRREGULAR] == pytest.approx(expected)
    assert line.get_marker() != "None" and {10, 12, 14} <= set(line.get_markevery())  # points without lines
    assert all(axes.get_xlim()[0] < 450 and axes.get_xlim()[1] > 2400 for axes in panels)
    assert {axes.get_xlabel() for axes in panels} - {""} == {"wavelength (nm)"}
    assert has_sentence(figures[0], f"Wavelengths: {fake_results.WAVELENGTH_SOURCE}. Lines have gaps where bands are")


@pytest.mark.parametrize("kind", ["bands", "pixels"])
def test_curves_are_in_the_order_of_wavelengths(tmp_path, twelve_bands, figures, kind):
    """As those of PRISMA, which descend."""
    scores = [fake_results.write_run(tmp_path, "lkca")]
    for wavelengths in (np.arange(400, 520, 10.0), np.arange(510, 390, -10.0)):
        draw(tmp_path, kind, scores, manifest={"nanometres": wavelengths.tolist()}, rows={"Net": "lkca"})
    first, second = (figure.axes[-2].lines[-1].get_xydata() for figure in figures[::2])  # as PNG, not PDF
    np.testing.assert_array_equal(first[:, 0], np.arange(400, 520, 10))
    np.testing.assert_array_equal(second[:, 0], np.arange(400, 520, 10))
    assert kind == "pixels" or second[:, 1] == pytest.approx(first[::-1, 1])
    assert not has_sentence(figures[0], "Lines have gaps")


@pytest.mark.parametrize("kind", ["bands", "pixels"])
def test_unknown_wavelengths_are_band_numbers(tmp_path, twelve_bands, figures, kind):
    """One scene has wavelengths, the other has none: each has its own label."""
    titles = {"chikusei": "Chikusei", "mine": "Mine"}
    scores = [fake_results.write_run(tmp_path, "lkca", scene=scene) for scene in titles]
    numbers = [*range(1, 9), 10, 14, 15, 16]
    manifests = [
        fake_results.write_scene(tmp_path),
        fake_results.write_scene(tmp_path, "mine", bands=numbers, nanometres=None, wavelength_source=None),
    ]
    settings = fake_results.figure_settings(kind, scenes=titles, rows={"Net": "lkca"})
    images = [path.with_name("image.npz") for path in scores]
    draw_figure(settings, scores, [], images, [], [], manifests, tmp_path / "a.png", tmp_path / "a.pdf")
    labelled = [axes for axes in figures[0].axes if axes.get_xlabel()]
    columns = {"bands": 2, "pixels": 3}[kind]
    assert [axes.get_xlabel() for axes in labelled] == ["wavelength (nm)"] * columns + ["band"] * columns
    (line,) = lines(labelled[-1], "Net")
    np.testing.assert_array_equal(line.get_xdata(), [*range(1, 9), 10, float("nan"), 14, 15, 16])
    assert has_sentence(figures[0], f"Wavelengths of Chikusei: {fake_results.WAVELENGTH_SOURCE}.")
    canvas = FigureCanvasAgg(figures[0])
    canvas.draw()  # positions the labels
    renderer = canvas.get_renderer()
    names = [text for axes in figures[0].axes for text in (axes.xaxis.label, axes.title) if text.get_text()]
    boxes = [name.get_window_extent(renderer) for name in names]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_composite_names_bands_as_the_file_numbers_them(tmp_path, scores, figures):
    """Bands 31, 98 and 61 of the scene, whose bands are evenly spaced from 363 to 1018 nm, 655 / 127 nm apart."""
    named = "Red, green and blue are the file's bands"
    draw(tmp_path, "composite", scores)
    assert has_sentence(figures[0], f"{named} 31 (517.72 nm), 98 (863.28 nm), 61 (672.45 nm).")
    draw(tmp_path, "composite", scores, manifest={"nanometres": None})
    assert has_sentence(figures[2], f"{named} 31, 98, 61.")
    numbers = [*range(1, 61), *range(101, 169)]
    widths = {"fwhm": [9.9] * 60 + [None] * 68}
    draw(tmp_path, "composite", scores, manifest={"bands": numbers, **widths})
    assert has_sentence(figures[4], f"{named} 31 (517.72 nm, FWHM 9.9 nm), 138 (863.28 nm), 101 (672.45 nm).")


def test_pixels_are_brightest_edge_and_median_error(tmp_path, figures, monkeypatch):
    """On 24 x 24 pixels the grid has the odd rows and columns."""
    monkeypatch.setattr(fake_results, "BANDS", 5)
    path = fake_results.write_run(tmp_path, "lkca", steps=0)
    grid = 2 * np.arange(12) + 1
    hr, error = np.full((24, 24, 3), 0.1), np.arange(576.0).reshape(24, 24) / 576
    hr[7, 8], hr[7, 10] = 0, 1  # around (7, 9)
    truth = np.full((5, 12, 12), 0.2)
    truth[:, 1, 2] = 0.9  # at (3, 5)
    spectra = {"spectra_hr": truth, "spectra_sr": truth + np.arange(5.0)[:, None, None] / 10, "bands": [1, 2, 3]}
    np.savez(path.with_name("image.npz"), hr=hr, sr=hr, error=error, rows=grid, columns=grid, **spectra)
    manifest = {"bands": [1, 2, 3, 4, 5], "nanometres": [400, 410, 420, 430, 440]}
    draw(tmp_path, "pixels", [path], manifest=manifest, rows={"Net": "lkca"})
    _, whole, *panels = figures[0].axes
    marked = [tuple(float(line.get_data()[i][0]) for i in (0, 1)) for line in whole.lines]
    assert marked == [(5, 3), (9, 7), (23, 11)]  # the 72nd of the 144 errors in their order is row 5's last
    assert {"A: brightest", "B: strongest edge", "C: median error"} <= set(texts(figures[0]))
    assert len(panels) == 6
    for spectrum, difference in zip(panels[::2], panels[1::2], strict=True):
        (expected,), (ours,), (difference_line,) = (
            lines(spectrum, "Ground truth"),
            lines(spectrum, "Net"),
            lines(difference, "Net"),
        )
        assert difference_line.get_ydata() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
        assert ours.get_ydata() - expected.get_ydata() == pytest.approx(difference_line.get_ydata())
        assert expected.get_xdata() == pytest.approx([400, 410, 420, 430, 440])
        assert difference.get_ylim() == panels[1].get_ylim()
    assert lines(panels[0], "Ground truth")[0].get_ydata() == pytest.approx(np.full(5, 0.9))


def test_curves_show_every_seed_and_the_best_epoch(tmp_path, figures):
    scores = fake_results.write_runs(tmp_path, "lkca", {3000: {}, 3001: {}}) + [
        fake_results.write_run(tmp_path, "vdsr", steps=600)
    ]
    draw(tmp_path, "curves", scores, rows=TRAINED, seeds=[3000, 3001])
    axes = figures[0].axes[1]
    for label, steps, seeds in (("VDSR", [200, 400, 600], 1), ("LKCA-Net", [400, 800, 1200], 2)):
        curves = [line for line in lines(axes, label) if line.get_linestyle() != "None"]
        marks = [line for line in lines(axes, label) if line.get_marker() not in ("", "None")]
        assert len(curves) == len(marks) == seeds
        for line, mark in zip(curves, marks, strict=True):
            assert line.get_xdata() == pytest.approx(steps) and line.get_ydata() == pytest.approx([30.5, 38.5, 38.25])
            assert mark.get_xydata() == pytest.approx(np.array([[steps[1], 38.5]]))  # epoch 2 is the best
    bottom, top = axes.get_ylim()
    assert 37 < bottom < 38.25 and 38.5 < top < 39  # 30.5, where training began, would flatten the rest
    assert {"validation MPSNR (dB)", "steps", *TRAINED} <= set(texts(figures[0]))


def three_images(root: Path, seeds: tuple[int, ...], rows: dict[str, list[float]]) -> list[Path]:
    """Write runs with these MPSNR on three test images, equal for all seeds; SAM is 2 for bicubic, 1 for the others."""
    sam = {model: [2.0 if model == "bicubic" else 1.0] * 3 for model in rows}
    return [
        path
        for model, values in rows.items()
        for path in fake_results.write_runs(
            root,
            model,
            {seed: {"MPSNR": values, "SAM": sam[model]} for seed in seeds},
            steps=0 if model == "bicubic" else 1200,
        )
    ]


def test_differences_are_paired_and_have_intervals(tmp_path, figures):
    """Differences of 1, 2, 3 dB: mean 2, standard error 1/sqrt(3), Student's t 4.30265 with 2 degrees of freedom."""
    scores = three_images(
        tmp_path, (3000, 3001), {"bicubic": [37, 38, 39], "lkca": [38, 40, 42], "vdsr": [38, 39, 40.3]}
    )
    draw(tmp_path, "differences", scores, rows={"Bicubic": "bicubic", **TRAINED}, seeds=[3000, 3001])
    _, mpsnr, sam = figures[0].axes
    assert [label.get_text() for label in mpsnr.get_yticklabels()] == ["VDSR", "LKCA-Net"]

    def ends(axes, y, width):
        (bar,) = (line for line in axes.lines if line.get_linewidth() == width and tuple(line.get_ydata()) == (y, y))
        return bar.get_xdata()

    half = 4.302652729911275 / 3**0.5
    assert ends(mpsnr, 1, 4) == pytest.approx([2 - half, 2 + half])
    assert ends(sam, 1, 4) == pytest.approx([-1, -1])
    facts = {m: [read_json(p) for p in scores if p.parts[-3] == m] for m in ("bicubic", "lkca")}
    differences = pseudovalues(facts["lkca"], "MPSNR") - pseudovalues(facts["bicubic"], "MPSNR")
    assert ends(mpsnr, 1.3, 0.9) == pytest.approx(
        block_intervals(differences[None])[0], abs=2e-3
    )  # evenly spaced blocks have resamples of equal means, whose order is a matter of rounding
    points = {
        (axes, y): line.get_markerfacecolor()
        for axes in (mpsnr, sam)
        for y in (0, 1)
        for line in axes.lines
        if line.get_marker() == "o" and line.get_ydata()[0] == y
    }
    assert points[mpsnr, 1] == "white" and points[sam, 1] != "white"  # the first interval holds 0
    assert points[mpsnr, 0] != "white"  # 1, 1, 1.3
    words = texts(figures[0])
    assert {"+2.000 [−0.484, +4.484]", "−1.000 [−1.000, −1.000]"} <= set(words)
    assert {"Chikusei, differences from Bicubic", "MPSNR (dB), better →", "SAM (degrees), ← better"} <= set(words)
    assert not any("no interval" in text.lower() for text in words)


def test_missing_intervals_are_explained(tmp_path, scores, figures):
    draw(tmp_path, "differences", scores)
    words = texts(figures[0])
    assert "+3.250, no interval" in words
    assert has_sentence(figures[0], "No interval over test images and seeds: 2 test images, one seed.")
    several = three_images(tmp_path / "b", (3000,), {"bicubic": [37, 38, 39], "lkca": [38, 40, 42]})
    again = [fake_results.write_run(tmp_path / "b", "again", steps=0, MPSNR=[37, 38, 39], SAM=[2.0] * 3)]
    draw(tmp_path, "differences", several + again, rows={"Bicubic": "bicubic", "LKCA-Net": "lkca", "Again": "again"})
    words = texts(figures[-1])
    assert has_sentence(figures[-1], "No interval over test images and seeds: one seed (LKCA-Net).")
    assert "0.000 [0.000, 0.000]" in words


def test_differences_need_the_first_row(tmp_path, scores, figures):
    draw(tmp_path, "differences", scores, rows={"VDSR": "vdsr", "LKCA-Net": "lkca"})
    assert has_sentence(figures[0], "VDSR, from which differences are taken, or all others have no results to draw.")
    assert not figures[0].axes


def test_every_kind_has_a_drawing_function():
    assert DRAWING_FUNCTIONS.keys() == FIGURE_KINDS.keys()
    for kind in FIGURE_KINDS:
        check_kind(kind)


def test_drawing_function_without_figure_is_named(tmp_path, scores, monkeypatch):
    def draw_nothing(data):
        pass

    monkeypatch.setitem(DRAWING_FUNCTIONS, "share", draw_nothing)
    with pytest.raises(ConfigError, match="figures.6: draw_nothing returned NoneType, not a Page"):
        draw(tmp_path, "share", scores)
    assert not (tmp_path / "figure.png").exists()


@pytest.mark.parametrize("kind", FIGURE_KINDS)
def test_long_names_stay_inside_the_page(tmp_path, scores, figures, kind):
    """Labels and titles of scenes of the longest length that config.yaml may have, with and without spaces."""
    first, second = "a method with a very long name, trained by us on three scenes"[:MAX_LABEL], "x" * MAX_LABEL
    scores.append(fake_results.write_run(tmp_path, "sspsr", MPSNR=40.6))
    rows = {first: "bicubic", second: "lkca", "SSPSR": "sspsr", first[::-1]: "vdsr", "y" * MAX_LABEL: "fcnn3d"}
    scores += [fake_results.write_run(tmp_path, model, steps=2, untrained=True) for model in ("vdsr", "fcnn3d")]
    scenes, title = {"chikusei": first}, "long words " * 30
    draw(tmp_path, kind, scores, rows=rows, scenes=scenes, title=title, stand_in="Not the real scene.")
    box = figures[0].get_tightbbox(FigureCanvasAgg(figures[0]).get_renderer())
    assert box.x0 >= 0 and box.x1 <= figures[0].get_size_inches()[0]


def render(figure: Figure, axes: Axes) -> np.ndarray:
    """Return the pixels of axes, (n, 3) in [0, 1]."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (left, bottom), (right, top) = axes.get_window_extent().get_points().round().astype(int)
    return np.asarray(canvas.buffer_rgba())[::-1][bottom:top, left:right, :3].reshape(-1, 3) / 255


def count_pixels(pixels: np.ndarray, colour: str) -> int:
    return int((np.abs(pixels - to_rgb(colour)).max(1) < 0.08).sum())


@pytest.mark.parametrize(("one", "other"), [*combinations(range(9), 2)])
def test_coinciding_curves_are_both_visible(one, other):
    """Without their markers, in either order of drawing."""
    for numbers in ((one, other), (other, one)):
        with rc_context(RC_PARAMS):
            figure = Figure((2, 2), dpi=200)
            axes = figure.add_axes((0, 0, 1, 1))
            for number in numbers:
                axes.plot([0, 1], [0, 1], **curve_style(number, 2) | {"marker": ""})
        pixels = render(figure, axes)
        assert min(count_pixels(pixels, method_style(number)["color"]) for number in numbers) > 100  # of 566 and more


@pytest.mark.parametrize("kind", ["bands", "pixels", "curves", "speed", "spectrum"])
def test_networks_with_equal_results_are_both_visible(tmp_path, figures, kind):
    """As LKCA-LR and LKCA-KD, which are the same network."""
    rows = {f"Method {i}": f"m{i}" for i in range(7)} | {"LKCA-LR": "lkca_lr", "LKCA-KD": "kd_lkca"}
    scores = [fake_results.write_run(tmp_path, model) for model in ("lkca_lr", "kd_lkca")]
    draw(tmp_path, kind, scores, [], rows=rows)
    figure = figures[0]
    figure.dpi = 200
    panel = next(axes for axes in figure.axes if axes.get_xlabel() or axes.get_ylabel())
    pixels = render(figure, panel)
    assert min(count_pixels(pixels, method_style(number)["color"]) for number in (7, 8)) > 50


def test_marks_at_one_place_are_around_each_other(tmp_path, figures):
    rows = {"A": "a", "B": "b", "C": "c", "D": "d"}
    macs = {"a": 10**9, "b": 10**9, "c": 10**9, "d": 10**10}
    scores = [fake_results.write_run(tmp_path, model, macs=number) for model, number in macs.items()]
    draw(tmp_path, "speed", scores, [], rows=rows)
    marks = [lines(figures[0].axes[0], label)[0] for label in rows]
    sizes = [mark.get_markersize() for mark in marks]
    assert sizes[0] < sizes[1] < sizes[2] and sizes[3] == sizes[0]
    assert [mark.get_markerfacecolor() == "none" for mark in marks] == [False, True, True, False]


DESCRIPTIONS = {  # for each kind words of the description of the fixture `scores`, whose numbers are known
    "share": ["on Chikusei: Bicubic no parameters, LKCA-Net 62.5% of 4.000 M"],
    "spectrum": ["on Chikusei: LKCA-Net 1 of 10 (at the start 9) and 1 of 10 (at the start 9)"],
    "composite": [
        "Test image 1 of 2, 512 × 512 pixels",
        "on Chikusei: Bicubic 36.25 dB and ",
        "LKCA-Net 39.50 dB and ",
    ],
    "speed": ["on Chikusei: Bicubic 37.25 dB (0, 1), LKCA-Net 40.50 dB (0.867, 2)"],
    "bands": ["on Chikusei: Bicubic 37.25 dB, LKCA-Net 40.50 dB"],
    "pixels": ["on Chikusei: Bicubic 0.", ", LKCA-Net 0."],
    "curves": ["on Chikusei: LKCA-Net 38.50 dB at step 800"],
    "differences": [
        "minus those of Bicubic",
        "on Chikusei: LKCA-Net +3.250 dB and 0.000°",
        "is resolved for no method.",
    ],
}


@pytest.mark.parametrize("kind", DESCRIPTIONS)
def test_files_describe_the_picture_with_its_numbers(tmp_path, scores, figures, kind):
    scores.append(fake_results.write_run(tmp_path, "sspsr", steps=2, untrained=True))
    rows = {"Bicubic": "bicubic", "LKCA-Net": "lkca", "SSPSR": "sspsr"}
    if kind in ("spectrum", "curves"):
        del rows["Bicubic"]
    draw(tmp_path, kind, scores, title="<Title> & $x$", stand_in="Not the real scene.", rows=rows)
    metadata = figures[0].metadata
    assert metadata["Title"] == "<Title> & $x$, ×4" and metadata["Description"] == metadata["Subject"]
    assert metadata["Description"].startswith("Stand-in data. ")
    assert all(words in metadata["Description"] for words in DESCRIPTIONS[kind])
    assert (f"{UNTRAINED_NOTE}SSPSR." in metadata["Description"]) == (kind != "share")


@pytest.mark.parametrize("kind", FIGURE_KINDS)
def test_descriptions_have_a_limit(tmp_path, figures, kind):
    rows = {f"{i} ".ljust(MAX_LABEL, "x"): f"m{i}" for i in range(15)}
    scores = [fake_results.write_run(tmp_path, model) for model in rows.values()]
    draw(tmp_path, kind, scores, [], rows=rows)
    description = figures[0].metadata["Description"]
    assert 900 < len(description) <= 1000 and description.endswith("(and more)")
