"""The settings of the paper's experiment, and the messages about wrong settings."""

import copy
from dataclasses import replace

import pytest
import yaml

from lkca.config import load
from lkca.config.figure_kinds import FIGURE_KINDS, FigureKind
from lkca.config.validate import check_references
from lkca.config.yaml_files import deep_merge
from lkca.core.paths import RunGroup
from lkca.errors import ConfigError, LkcaError
from lkca.models.registry import MODELS
from tests.conftest import REPOSITORY, paper_settings

CONFIG = paper_settings()


def with_overlay(**overlay):
    return load.parse_config(deep_merge(copy.deepcopy(CONFIG), overlay))


def test_paper_needs_66_trainings(paper):
    """66 per seed; the supplementary tables add four networks with a grouped layer on Chikusei and five on Houston."""
    trained = [run for run in paper.runs() if paper.models[run[2]].train]
    extra = ["vdsr_lr", "fcnn3d_lr", "sspsr_lr", "msdformer_lr", "essaformer_lr"]
    printed = [run for run in trained if run[2] not in extra]
    assert len([run for run in printed if run[:2] == ("chikusei", 4)]) == 21
    assert (len(printed), len(trained)) == (66, 66 + 4 + 5)


def test_added_network_is_not_counted_as_the_papers(paper, tmp_path):
    """A model, its row in tables and figures, and a table of its own leave the experiment that these tests count."""
    settings = copy.deepcopy(CONFIG)
    settings["models"]["mine"] = {"base": "vdsr"}
    for entry in (*settings["tables"].values(), *settings["figures"].values()):
        entry["rows"]["Mine"] = "mine"
    settings["tables"]["MINE"] = {**settings["tables"]["V"], "rows": {"Mine": "mine"}}
    settings["report"]["tables"].append("MINE")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
    added, counted = load.parse_config(settings), load.parse_config(paper_settings(tmp_path / "config.yaml"))
    assert len(added.runs()) == len(paper.runs()) + 6
    assert (counted.runs(), counted.tables, counted.figures) == (paper.runs(), paper.tables, paper.figures)


def test_wrong_entry_of_a_network_is_a_sentence_of_its_own(monkeypatch):
    monkeypatch.setitem(MODELS, "vdsr", replace(MODELS["vdsr"], class_name="VDSL"))
    with pytest.raises(LkcaError, match=r"models\.vdsr: lkca/models/vdsr\.py has no class VDSL: "):
        with_overlay()


def test_seeds_multiply_runs(paper):
    assert len(with_overlay(seeds=[1, 2, 3]).runs()) == 3 * len(paper.runs())


def test_overlay_of_a_base_reaches_its_variants():
    experiment = with_overlay(models={"lkca": {"args": {"width": 64}}, "lkca_kd": {"distill": {"every": 2}}})
    assert experiment.models["lkca_kd_d100"].args["width"] == 64
    assert (experiment.models["lkca_kd_d100"].distill.every, experiment.models["lkca_kd_d100"].distill.decay) == (
        2,
        1.0,
    )


def test_override_applies_to_its_runs_only():
    override = {"scene": "chikusei", "scale": 4, "models": ["lkca"], "train": {"epochs": 7}}
    experiment = with_overlay(overrides=[override])
    assert experiment.train_settings(RunGroup("chikusei", 4, "lkca")).epochs == 7
    others = RunGroup("chikusei", 8, "lkca"), RunGroup("chikusei", 4, "vdsr")
    assert all(experiment.train_settings(other) == experiment.models["lkca"].train for other in others)


def own_cube(used="both", axes="rows columns bands", sha=None, twice=False, **changes):
    """Return an overlay with a cube described in place in Chikusei; `changes` make it wrong."""
    file = {"path": "a.npy", "use": used, "axes": axes} | ({"sha": sha} if sha else {})
    facts = {"sensor": "x", "gsd_m": 1, "nanometres": [400, 900], "source": "x", "citation": "x", "terms": "x"}
    return {"scenes": {"chikusei": {"cube": {"files": [file] * (1 + twice), "bands": "1-128", **facts, **changes}}}}


TILE_OF_3 = {"chikusei": {"test": {"rows": 504, "columns": 2016, "tile": 504}}}
WRONG = [
    ({"modles": {}}, "modles is not a setting: did you mean models?"),
    ({"train": {"learning_rat": 1.0}}, "train.learning_rat is not a setting: did you mean learning_rate?"),
    ({"models": {"lkca": {"trian": {}}}}, "models.lkca.trian is not a setting: did you mean train?"),
    ({"models": {"lkca": {"args": {"blocs": 3}}}}, "models.lkca.args: blocs does not exist: did you mean blocks?"),
    ({"models": {"lkca": {"args": {"depth": 3}}}}, "Or give it a range at lkca in MODELS (lkca/models/registry.py)."),
    ({"models": {"lkca": {"arch": "swin"}}}, "Or add it to MODELS (lkca/models/registry.py)."),
    (
        {"models": {"lkca": {"args": {"blocks": 0}}}},
        "models.lkca.args.blocks: 0 is out of range: choose a whole number from 1",
    ),
    (
        {"models": {"lkca": {"args": {"width": 10**9}}}},
        "models.lkca.args.width: 1000000000 is out of range",
    ),
    ({"models": {"lkca": {"args": {"width": "64"}}}}, "models.lkca.args.width is the text '64', not a number"),
    ({"models": {"bicubic": {"args": {"width": 3}}}}, "models.bicubic.args: width does not exist: there are none"),
    (
        {"models": {"vdsr": {"args": {"layers": 1}}}},
        "models.vdsr.args.layers: 1 is out of range: choose a whole number from 2",
    ),
    ({"models": {"lkca": {"args": {"drop_path": 1.5}}}}, "models.lkca.args.drop_path: 1.5 is out of range"),
    ({"models": {"lkca": {"arch": "lkka"}}}, "models.lkca.arch: lkka does not exist: did you mean lkca?"),
    ({"models": {"x": {"base": "lkcaa"}}}, "models.x.base: lkcaa does not exist: did you mean lkca?"),
    ({"models": {"lkca": {"base": "lkca_lr"}}}, "models.lkca_lr.base: lkca is itself based on lkca_lr"),
    ({"models": {"bicubic": {"upsampler": {"groups": 1}}}}, "models.bicubic.upsampler: bicubic has no learnable"),
    ({"models": {"vdsr": {"upsampler": None}}}, "models.vdsr.upsampler: vdsr needs it"),
    (
        {"models": {"lkca_kd": {"distill": {"teacher": "lkca_640"}}}},
        "models.lkca_kd.distill.teacher: lkca_640 does not exist: did you mean lkca_64?",
    ),
    ({"models": {"lkca_kd": {"distill": {"teacher": "bicubic"}}}}, "teacher and student must be trained"),
    ({"models": {"lkca_kd": {"distill": {"decay": 1.5}}}}, "models.lkca_kd.distill.decay is 1.5: input should be less"),
    ({"train": {"epochs": 0}}, "train.epochs is 0: input should be greater than or equal to 1"),
    ({"train": {"learning_rate": "1e-3"}}, "train.learning_rate is the text '1e-3', not a number"),
    ({"train": {"cosine_to": 1.0}}, "cosine_to 1.0 is above learning_rate 0.002"),
    ({"train": {"step_epochs": 30}}, "set either cosine_to or both step_epochs and step_factor"),
    ({"models": {"sspsr": {"train": {"cosine_to": 1.0e-5}}}}, "models.sspsr.train: set either cosine_to or both"),
    ({"models": {"sspsr": {"train": {"step_factor": None}}}}, "models.sspsr.train: set either cosine_to or both"),
    (
        {"tables": {"S1": {"rows": {"3DFCNN-LR": "fcnn3d_lr"}}}},
        "tables.S1.rows.3DFCNN-LR: models.fcnn3d_lr on chikusei x4: upsampler.groups: 3 must divide",
    ),
    ({"tables": {"S1": {"rows": {"3DFCNN-LR": "impossible"}}}}, "tables.S1.rows.3DFCNN-LR: impossible does not exist"),
    ({"scenes": {"chikusei": {"bands": 7, "composite": {"bands": [1, 2, 3]}}}}, "bands: sspsr needs at least 8"),
    (
        {"models": {"sspsr": {"args": {"width": 100}}}},
        "models.sspsr.args.width: 100 is not a multiple of 16: choose 96",
    ),
    (
        {"patches": {"x3": {"size": 63, "stride": 30}}, "tables": {"V": {"scales": [3]}}, "scenes": TILE_OF_3},
        "sspsr upsamples in steps of two and cannot reach x3: choose x2, x4, x8 or x16",
    ),
    ({"tables": {"V": {"rows": {"VDSR": "vsdr"}}}}, "tables.V.rows.VDSR: vsdr does not exist: did you mean vdsr?"),
    ({"tables": {"V": {"scales": [3]}}}, "tables.V.scales: x3 does not exist"),
    ({"report": {"tables": ["VIIII"]}}, "report.tables: VIIII does not exist: did you mean VII?"),
    ({"scenes": {"chikusei": {"bands": 129}}}, "scenes.chikusei.bands: 129 is more than the cube's 128"),
    ({"scenes": {"chikusei": {"cube": "chikusai"}}}, "did you mean chikusei?"),
    ({"scenes": {"chikusei": {"composite": {"image": 4}}}}, "there are 4 test images: choose from 0 to 3"),
    (
        {"scenes": {"chikusei": {"composite": {"bands": [660, 2, 1]}}}},
        "scenes.chikusei.composite.bands: 660 is more than the number of bands: choose from 1 to 128, or write a wave",
    ),
    (
        {"scenes": {"chikusei": {"composite": {"bands": ["660", "550 nm", 1]}}}},
        "scenes.chikusei.composite.bands.0 is '660': write the number of a band without quotes, or a wavelength",
    ),
    ({"scenes": {"chikusei": {"composite": {"bands": ["6 feet", 2, 1]}}}}, "or a wavelength such as 660 nm or 0.66 um"),
    ({"scenes": {"chikusei": {"composite": {"bands": [3, 0, 1]}}}}, "bands.1 is 0: bands are numbered from 1"),
    ({"scenes": {"chikusei": {"composite": {"bands": [3.5, 2, 1]}}}}, "scenes.chikusei.composite.bands.0 is 3.5: "),
    ({"scenes": {"chikusei": {"composite": {"bands": [True, 2, 1]}}}}, "scenes.chikusei.composite.bands.0 is True: "),
    ({"scenes": {"chikusei": {"test": {"tile": 100}}}}, "tile 100 must divide"),
    ({"patches": {"x4": {"size": 63}}}, "patches.x4.size: 63 is not a multiple of the scale 4: choose 60"),
    ({"overrides": [{"scene": "pavia", "scale": 4, "models": [], "train": {}}]}, "did you mean pavia_centre?"),
    ({"seeds": []}, "seeds is []: list should have at least 1 item"),
    ({"seeds": [1, 1]}, "seeds is [1, 1]: duplicate value 1"),
    ({"report": {"tables": ["I", "I"]}}, "report.tables is ['I', 'I']: duplicate value I"),
    ({"models": {"lkca_4": None}}, "models.lkca_4: None is not a map of settings"),
    (
        {"models": {"lkca_lr": {"upsampler": {"groups": 7}}}},
        "upsampler.groups: 7 must divide the 128 input and the 2048 output channels of lkca's upsampling layer: "
        "choose 8",
    ),
    ({"models": {"bicubic": {"train": {}}}}, "models.bicubic.train: bicubic has nothing to train: write null"),
    ({"models": {"vdsr": {"train": None}}}, "models.vdsr.train: vdsr has to be trained"),
    ({"figures": {"4": {"rows": {"Bicubic": "bicubic"}}}}, "bicubic has no trained upsampling layer"),
    ({"figures": {"6": {"scenes": ["chikusei", "pavia_centre"]}}}, "a composite figure shows one scene"),
    ({"figures": {"S6": {"rows": {"Bicubic": "bicubic"}}}}, "bicubic has no training: choose another model"),
    ({"figures": {"S7": {"rows": {"LKCA-KD": None}}}}, "compares with the first row"),
    ({"tables": {"I": {"rows": {4: "lkca_4"}}}}, "put the key in quotes"),
    (
        {"tables": {"new": {"title": "", "header": "", "scene": "chikusei", "scales": [4], "rows": {}}}},
        "tables.new.rows",
    ),
    ({"scenes": {"chikusei": {"cube": 5}}}, "scenes.chikusei.cube is 5"),
    (own_cube(bands="1-0"), "scenes.chikusei.cube.bands is '1-0': "),
    (own_cube(axes="rows bands"), "files.0.axes is 'rows bands': name the three axes"),
    (own_cube(used="train"), "scenes.chikusei.cube.files: no file is for testing"),
    (own_cube(crop=[0, 600, 9, 9]), "crop is [0, 600, 9, 9]: "),
    (
        own_cube(crop=[0, 500, 0, 3000]),
        "scenes.chikusei.test: 512 x 2048 leaves no room for training in 500 x 3000 pixels",
    ),
    (own_cube(twice=True), "files: duplicate file"),
    (own_cube(divide_by=True), "divide_by is True: input should be a valid number"),
    ({"scenes": {"chikusei": {"test": {"tile": [512]}}}}, "scenes.chikusei.test.tile is"),
    (own_cube(bands="1-100"), "128 is more than the cube's 100"),
    (own_cube(sensr="x"), "scenes.chikusei.cube.sensr is not a setting: did you mean sensor?"),
    (own_cube(sha="12"), "files.0.sha is not a setting"),
    ({"scenes": {"chikusei": {"mirror": ["bands"]}}}, "mirror.0 is 'bands'"),
    ({"sampling": "anywhere"}, "sampling is 'anywhere', which does not exist: choose one of "),
    ({"figures": {"6": {"kind": "composit"}}}, "figures.6.kind is 'composit', which does not exist: did you mean comp"),
    ({"scenes": {"chikusei": {"test": {"rows": 2560}}}}, "scenes.chikusei.test: 2560 x 2048 leaves no room"),
    ({"scenes": {"chikusei": {"composite": {"zoom": [500, 0, 40]}}}}, "scenes.chikusei.composite.zoom: the box"),
    ({"patches": {"x0": {"size": 1, "stride": 1}}}, "patches.x0"),
    ({"train": []}, "train is []: write a map of settings"),
    ({"experiment": "../paper"}, "experiment is '../paper'"),
]


@pytest.mark.parametrize("overlay, message", WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_wrong_setting_names_its_key(overlay, message):
    with pytest.raises(LkcaError) as caught:
        with_overlay(**overlay)
    assert message in str(caught.value)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        (FigureKind(), "has no drawing function: add it to DRAWING_FUNCTIONS in lkca/report/figures/__init__.py"),
        (
            FigureKind(reads=("image",)),
            "in lkca/config/figure_kinds.py reads image, which is not a file of a run: "
            "choose from scores, spectra, images, histories",
        ),
    ],
)
def test_incomplete_kind_of_figure(paper, monkeypatch, declaration, message):
    monkeypatch.setitem(FIGURE_KINDS, "tradeoff", declaration)
    figures = {"MINE": paper.figures["6"].model_copy(update={"kind": "tradeoff"})}
    with pytest.raises(ConfigError, match=f"figures.MINE: the kind tradeoff {message}"):
        check_references(paper.model_copy(update={"figures": paper.figures | figures}))


def test_missing_setting_is_named():
    with pytest.raises(LkcaError, match="train.batch is missing"):
        load.parse_config({**CONFIG, "train": {key: value for key, value in CONFIG["train"].items() if key != "batch"}})


def test_invalid_file_is_named(tmp_path):
    for text, message in (("a: [", "config.yaml:2: this is not valid YAML"), ("- 1", "config.yaml has no settings")):
        path = tmp_path / "config.yaml"
        path.write_text(text)
        with pytest.raises(LkcaError, match=message):
            load.read_config([path])
    with pytest.raises(LkcaError, match="missing.yaml cannot be read"):
        load.read_config([tmp_path / "missing.yaml"])


def test_overlays_are_valid():
    for overlay in ("workflow/demo.yaml", "workflow/indian_pines.yaml", "tests/tiny.yaml"):
        load.read_config([REPOSITORY / "config.yaml", REPOSITORY / overlay])


def test_figures_with_intervals_show_every_seed(paper):
    shown = {figure.kind: figure.shown_seeds([3, 1, 2]) for figure in paper.figures.values()}
    every = {kind for kind, seeds in shown.items() if seeds == [3, 1, 2]}
    assert every == {"speed", "curves", "differences"}
    assert all(shown[kind] == [3] for kind in ("share", "spectrum", "composite", "bands", "pixels"))


def test_labels_are_those_of_the_printed_rows(paper):
    """Labels of Tables I-VII are those of the printed rows, so that no number misses its counterpart."""
    import csv

    printed: dict[tuple, list] = {}
    for row in csv.DictReader((REPOSITORY / "lkca/paper/paper_tables.csv").open()):
        printed.setdefault((row["table"], row["scene"], int(row["scale"])), []).append(row["row"])
    names = {name for name, _, _ in printed}
    tables = {name: table for name, table in paper.tables.items() if name in names}
    ours = {(name, table.scene, scale): list(table.rows) for name, table in tables.items() for scale in table.scales}
    assert ours == printed
