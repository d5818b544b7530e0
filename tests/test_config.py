"""The settings of the paper's experiment, and the messages about wrong settings."""

import copy
import json
import math
import os
import time
import unicodedata
from dataclasses import replace
from functools import reduce
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lkca.config import load
from lkca.config.figure_kinds import FIGURE_KINDS, FigureKind
from lkca.config.validate import check_references
from lkca.config.yaml_files import FORBIDDEN, deep_merge, find_place, list_places, parse_yaml
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


def merge(*overlays):
    """Return several overlays as one."""
    return reduce(deep_merge, overlays)


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
    (own_cube(crop=5), "crop is 5: write a list, in square brackets"),
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
    # Names that no file may have, and those that are one file on some disks
    ({"experiment": "x" * 65}, "experiment is 'xxx"),
    ({"experiment": ".paper"}, "experiment is '.paper'"),
    ({"experiment": "-n"}, "experiment is '-n'"),
    ({"experiment": "Com1"}, "experiment is 'Com1': Windows does not allow files of this name"),
    ({"models": {"nul": {"base": "lkca"}}}, "models.nul is 'nul': Windows does not allow files of this name"),
    ({"models": {"LKCA": {"base": "lkca"}}}, "models: lkca and LKCA differ only in upper and lower case"),
    ({"tables": {"s1": CONFIG["tables"]["S1"]}}, "tables: S1 and s1 differ only in upper and lower case"),
    (own_cube(files=[{"path": "a/" * 2500 + "a", "axes": "rows columns bands"}]), "files.0: path is longer than file"),
    (own_cube(files=[{"path": f"{'é' * 128}.npy", "axes": "rows columns bands"}]), "files.0: path is longer than file"),
    (own_cube(files=[{"path": "a.npy", "mask": "a/" + "x" * 256}]), "files.0: mask is longer than file systems allow"),
    # Numbers
    (
        {"train": {"batch": 10**20}},
        "train.batch is 100000000000000000000: input should be less than or equal to 1000000",
    ),
    ({"train": {"epochs": 10**12}}, "train.epochs is 1000000000000: input should be less than or equal to 1000000"),
    ({"train": {"learning_rate": 1e300}}, "train.learning_rate"),
    ({"train": {"sam": math.nan}}, "train.sam is nan"),
    ({"seeds": [10**30]}, "seeds.0 is 1000000000000000000000000000000: input should be less than 4294967296"),
    ({"seeds": [*range(1001)]}, "seeds: list should have at most 1000 items"),
    ({"seeds": [*range(1000)]}, "seeds: 81 networks on scenes with 1,000 seeds are more than 10,000 runs"),
    (
        {"overrides": [{"scene": "x", "scale": 4, "models": [], "train": {}}] * 201},
        "overrides: list should have at most 200",
    ),
    ({"models": {f"m{i}": {"base": "lkca"} for i in range(1001)}}, "models: there are 1,"),
    (
        {"models": {f"m{i}": {"base": f"m{i + 1}" if i < 30 else "lkca"} for i in range(31)}},
        "20 models are based on each",
    ),
    ({"models": {"lkca": {"args": {"width": 4096, "blocks": 4096}}}}, "needs about 5 TB of memory: choose a smaller"),
    (
        {"tables": {"V": {"rows": {f"row {i}": "lkca" for i in range(1001)}}}},
        "tables.V.rows: dictionary should have at m",
    ),
    (
        {"figures": {"6": {"rows": {f"row {i}": "lkca" for i in range(60)}}}},
        "figures.6: a figure has at most 50 rows, and",
    ),
    (own_cube(gsd_m=math.inf), "gsd_m is inf"),
    (own_cube(nanometres=[400, 1e30]), "nanometres.1 is 1e+30"),
    (own_cube(divide_by=1e-300), "divide_by is 1e-300"),
    (own_cube(bands="1-99999"), "bands is '1-99999': list at least two bands in ascending order"),
    (own_cube(bands=", ".join(["1-9999"] * 400)), "list at least two bands in ascending order"),
    (own_cube(crop=[0, 10**9, 0, 10**9]), "crop.1 is 1000000000"),
    (
        own_cube(files=[{"path": "a.npy", "invalid": math.nan}]),
        "files.0.invalid is nan: input should be a finite number",
    ),
    (
        own_cube(files=[{"path": "data/raw/a.npy", "sources": ["ftp://x/a"]}]),
        "sources: write URLs that begin with http:// or",
    ),
    (
        own_cube(crop=[0, 10**5, 0, 10**5]),
        "patches.x4.stride: chikusei has 9,759,376 of these patches, more than 1,000,000",
    ),
    ({"title": "x" * 2001}, "title: string should have at most 2000 characters"),
    (
        {"scenes": {"chikusei": {"test": {"rows": 10**6, "columns": 10**6, "tile": 8}, "cube": "chikusei"}}},
        "scenes.chikusei.test: 1000000 x 1000000 leaves no room",
    ),
    (
        merge(
            own_cube(crop=[0, 10**6, 0, 9000]),
            {"scenes": {"chikusei": {"test": {"rows": 8000, "columns": 8000, "tile": 8}}}},
        ),
        "scenes.chikusei.composite.image: there are 1,000,000 test images, more than 10,000",
    ),
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


# Files, lines, numbers and texts --------------------------------------------------------------------------------------

OWN = """\
train:
  batch: 1e1
scenes:
  mine:
    title: "1e3"
    cube: {files: [{path: a.npy, axes: rows columns bands}], bands: 1-128, sensor: x, gsd_m: 1e0,
      nanometres: [400, 900],
      source: x, citation: 2024-01-02, terms: "{id}"}
    bands: 128
    mirror: []
    test: {rows: 64, columns: 64, tile: 64}
    composite: {image: 0, bands: [3, 2, 1], zoom: null}
patches:
  x4:
    size: 32
    stride: 8
models:
  mine:
    base: lkca
    args:
      width: 16
tables:
  V:
    rows:
      "VDSR (a.b) [12]": vdsr
      4: mine
"""


def read_own(tmp_path, old="", new="", options=()):
    """Read the paper's settings and an overlay, in which `old` is replaced by `new`."""
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    assert old in OWN
    (tmp_path / "own.yaml").write_text(OWN.replace(old, new, 1) if old else OWN)
    return load.read_config([tmp_path / "base.yaml", tmp_path / "own.yaml"], options)


def test_overlay_is_read_as_people_write_it(tmp_path):
    experiment = read_own(tmp_path)
    scene = experiment.scenes["mine"]
    assert (experiment.train.batch, scene.title, scene.cube.gsd_m) == (10, "1e3", 1.0)
    assert (scene.cube.citation, scene.cube.terms) == ("2024-01-02", "{id}")
    assert experiment.tables["V"].rows["4"] == "mine" and experiment.models["mine"].args["width"] == 16


PLACES = [  # what is written instead of what, and the message without the path of the overlay
    ("batch: 1e1", "batch: 0", "own.yaml:2: train.batch is 0: "),
    ("batch: 1e1", "bacth: 1", "own.yaml:2: train.bacth is not a setting: did you mean batch?"),
    ("title: \"1e3\"", "title: 1e3", "own.yaml:5: scenes.mine.title is 1000, not a text: put a text in quotes."),
    ("title: \"1e3\"", "title: yes", "own.yaml:5: scenes.mine.title is True, not a text"),
    ("title: \"1e3\"", "title: ", "own.yaml:5: scenes.mine.title is None, not a text"),
    ("gsd_m: 1e0,", "gsd: 1,", "own.yaml:6: scenes.mine.cube.gsd is not a setting: did you mean gsd_m?"),
    ("nanometres: [400, 900]", "nanometres: [400, x]", "own.yaml:7: scenes.mine.cube.nanometres.1 is the text 'x'"),
    ("path: a.npy, ", "", "own.yaml:6: scenes.mine.cube.files.0.path is missing: set it."),
    ("tile: 64", "tile: 48", "own.yaml:11: scenes.mine.test: tile 48 must divide rows 64 and columns 64."),
    ("columns: 64, ", "", "own.yaml:11: scenes.mine.test.columns is missing: set it."),
    ("bands: [3, 2, 1]", "bands: [3, 2]", "own.yaml:12: scenes.mine.composite.bands"),
    ("size: 32", "size: 33", "own.yaml:15: patches.x4.size: 33 is not a multiple of the scale 4: choose 32."),
    ("stride: 8", "stride: 8\n    stride: 9", "own.yaml:17: stride is written twice in one map, the first time in li"),
    ("base: lkca", "base: lkcaa", "own.yaml:19: models.mine.base: lkcaa does not exist: did you mean lkca?"),
    ("width: 16", "width: 0", "own.yaml:21: models.mine.args.width: 0 is out of range"),
    ("width: 16", "widht: 16", "own.yaml:20: models.mine.args: widht does not exist: did you mean width?"),
    ("[12]\": vdsr", "[12]\": vdrs", "own.yaml:25: tables.V.rows.VDSR (a.b) [12]: vdrs does not exist: did you"),
    ("4: mine", "4: mine\n      \"4\": vdsr", "own.yaml:27: 4 is written twice in one map, the first time in line 26"),
    ("tables:\n  V:", "tables:\n  V:\n    scales: [3]", "own.yaml:24: tables.V.scales: x3 does not exist"),
    ("tables:", "seeds: [1, 1]\ntables:", "own.yaml:22: seeds is [1, 1]: duplicate value 1"),
    (
        "tables:",
        "overrides:\n  - {scene: x, scale: 4, models: [], train: {}}\ntables:",
        "own.yaml:23: overrides.0.scene: x does not exist",
    ),
    ("tables:", "tables: [\n", "own.yaml:25: this is not valid YAML ("),
    ("tables:", "\ttables:", "own.yaml:22: this is not valid YAML ("),
    ("tables:", "report: &r {tables: [*r]}\ntables:", "own.yaml:22: this value contains itself"),
    ("tables:", "title: !!python/name:os.system x\ntables:", "own.yaml:22: the tag tag:yaml.org,2002:python/name:"),
    ("tables:", "seeds: !!int x\ntables:", "own.yaml:22: x cannot be read as int"),
    ("tables:", "seeds: {\"a\\nb\": 1, \"a\\nb\": 2}\ntables:", "own.yaml:22: a\\nb is written twice"),
    ("tables:", "? [a]\n: b\ntables:", "own.yaml:22: a map or a list cannot be a key"),
    ("tables:", "train: {epochs: 3}\ntables:", "own.yaml:22: train is written twice in one map, the first time in li"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), PLACES)
def test_errors_name_file_and_line(tmp_path, old, new, message):
    with pytest.raises(ConfigError) as caught:
        read_own(tmp_path, old, new)
    assert str(caught.value).startswith(f"{tmp_path}/{message}")
    assert str(caught.value).endswith((".", "?")) and "\n" not in str(caught.value)


def test_errors_of_inherited_settings_name_the_place_that_is_wrong(tmp_path):
    """The width of a base, and the learning rate below `train`, which a model of the overlay inherits."""
    text = yaml.safe_dump({"models": {"lkca": {"args": {"width": 0}}}, "tables": {}})
    (tmp_path / "wrong.yaml").write_text(f"# a comment\n{text}")
    with pytest.raises(ConfigError, match=r"wrong\.yaml:5: models\.lkca\.args\.width: 0 is out of range"):
        load.read_config([REPOSITORY / "config.yaml", tmp_path / "wrong.yaml"])
    (tmp_path / "wrong.yaml").write_text("models:\n  mine: {base: lkca_48}\n\ntrain:\n  cosine_to: 1\n")
    with pytest.raises(ConfigError, match=r"wrong\.yaml:[45]: train: cosine_to 1(\.0)? is above learning_rate 0\.002"):
        load.read_config([REPOSITORY / "config.yaml", tmp_path / "wrong.yaml"])


def test_options_are_a_place_of_their_own(tmp_path):
    with pytest.raises(ConfigError, match=r"^--config: train\.batch is 0: "):
        read_own(tmp_path, options=["train={batch: 0}"])
    with pytest.raises(ConfigError, match=r"^--config: epochs is written twice"):
        read_own(tmp_path, options=["train={epochs: 1, epochs: 2}"])
    assert read_own(tmp_path, options=["seeds=[1, 2]", "title=$L_{1}$"]).title == "$L_{1}$"


def test_shared_maps_have_the_lines_of_their_anchor(tmp_path):
    """<<, which later keys and earlier maps of its list override."""
    parsed = parse_yaml(
        "a: &a {x: 1, y: 2}\nb: &b\n  y: 3\n  z: 4\nc:\n  <<: [*b, *a]\n  z: 5\n  w: *b\n", lambda line: f"f:{line}"
    )
    assert parsed["c"] == {"x": 1, "y": 3, "z": 5, "w": {"y": 3, "z": 4}}
    assert list(parsed["c"]) == ["x", "y", "z", "w"]  # the order of rows is that of a table
    places = {key: find_place(list_places(parsed), key) for key in ("c", "c.x", "c.y", "c.z", "c.w.z", "c.none")}
    assert places == {"c": "f:5", "c.x": "f:1", "c.y": "f:3", "c.z": "f:7", "c.w.z": "f:4", "c.none": "f:5"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000), ("1.0e3", 1000), ("1e-3", 0.001), ("-2.5E+2", -250), (".5", 0.5), ("1.", 1.0),
        ("1e400", math.inf),
        ("010", 10), ("1_000", 1000), ("0x1F", 31), ("0o17", 15), ("+7", 7), ("12:30", "12:30"), ("1e", "1e"),
        ("2024-99-99", "2024-99-99"), ("1_", "1_"), ("e3", "e3"), ("'1e3'", "1e3"), ("~", None), ("true", True),
        (".inf", math.inf), ("-.inf", -math.inf), ("0b1", "0b1"), ("1.2.3", "1.2.3"), ("!!str 1e3", "1e3"),
        ("!!float 3", 3.0), ("0777777777777777777777", 777777777777777777777),
    ],
)  # fmt: skip
def test_numbers_and_texts_of_yaml(text, value):
    """As the core schema of YAML 1.2 says (section 10.3.2), and underscores between digits."""
    parsed = parse_yaml(f"a: {text}", str)["a"]
    assert parsed == value and isinstance(parsed, type(value))


@given(st.binary(max_size=80) | st.text(st.sampled_from("a1:-[]{}&*!|>'\"#%@,? \n\t<e."), max_size=40).map(str.encode))
def test_any_bytes_are_settings_or_one_sentence(content):
    try:
        parse_yaml(content, str)
    except ConfigError as error:
        assert "\n" not in str(error) and str(error).endswith(".")  # noqa: PT017


REORDERING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}  # classes of Unicode's bidi algorithm


def is_forbidden(code: int) -> bool:
    """Return whether no text may contain a code point, from what Unicode says about it."""
    char = chr(code)
    no_character = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF  # section 23.7 of the standard
    no_text = unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") and char not in "\t\n"
    return no_character or no_text or unicodedata.bidirectional(char) in REORDERING


TEXTS = st.text(st.characters().filter(lambda char: not is_forbidden(ord(char))))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
        lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
        max_leaves=8,
    )
)
def test_values_are_those_that_were_written(value):
    """PyYAML writes texts that look like numbers in quotes; it writes the key null as 'null', so that it is read so."""
    text = yaml.safe_dump({"a": value}, allow_unicode=True)
    assert parse_yaml(text, str) == {"a": value}


# Texts and sizes that no configuration has ----------------------------------------------------------------------------


def test_forbidden_characters_are_those_of_unicode():
    assert [code for code in range(0x110000) if bool(FORBIDDEN.match(chr(code))) != is_forbidden(code)] == []


@pytest.mark.parametrize(
    "title",
    ["Łódź", "中文", "日本語のタイトル", "हिन्दी", "می‌خواهم", "שלום", "👩‍🚀 🏴󠁧󠁢󠁥󠁮󠁧󠁿", "é", "a\n\tb", "½ µm², R²"],
)
def test_titles_of_any_script_are_texts(tmp_path, title):
    assert read_own(tmp_path, 'title: "1e3"', "title: mine", ["title=" + json.dumps(title, ensure_ascii=False)])
    (tmp_path / "title.yaml").write_text(yaml.safe_dump({"title": title}, allow_unicode=True), encoding="utf-8")
    assert load.read_config([REPOSITORY / "config.yaml", tmp_path / "title.yaml"]).title == title


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("\\0", "0000"), ("\\e[31m", "001B"), ("\\x9b", "009B"), ("\\r", "000D"), ("\\N", "0085"), ("\\L", "2028"),
        ("\\u202e", "202E"), ("\\u2067", "2067"), ("\\uffff", "FFFF"), ("\\U0001fffe", "1FFFE"), ("\\x07", "0007"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ['title: "ab{}c"', 'tables: {{V: {{rows: {{"ab{}c": lkca}}}}}}', '{{"ab{}c": 1}}'])
def test_forbidden_character_is_named_with_its_line(tmp_path, text, code, where):
    (tmp_path / "evil.yaml").write_text("# a comment\n" + where.format(text))
    with pytest.raises(
        ConfigError, match=rf"evil\.yaml:2: after ab is the character U\+{code}, which no text may have"
    ):
        load.read_config([REPOSITORY / "config.yaml", tmp_path / "evil.yaml"])


def test_half_a_surrogate_pair_is_refused(tmp_path):
    """By the parser of libyaml itself, else by ours."""
    (tmp_path / "evil.yaml").write_text(r'title: "\ud800"')
    with pytest.raises(ConfigError, match=r"evil\.yaml:1: "):
        load.read_config([REPOSITORY / "config.yaml", tmp_path / "evil.yaml"])


def laughs(start: str, opening: str, closing: str, key: str = "") -> str:
    """Return ten levels of nine aliases each; every level is written between two texts, and each alias after a key."""
    levels = [
        f"k{i}: &k{i} {opening}{', '.join(f'{key.format(j)}*k{i - 1}' for j in range(9))}{closing}"
        for i in range(1, 10)
    ]
    return "\n".join([f"k0: &k0 {start}", *levels])


LARGE = {  # what is written -> the message
    "aliases": (laughs("[x]", "[", "]"), "50,000 values"),
    "aliases in maps": (laughs("{b: 1}", "{", "}", "k{}: "), "50,000 values"),
    "merge keys": (laughs("{b: 1}", "{<<: [", "]}"), "50,000 values"),
    "long texts": ("a: &a " + "x" * 4999 + "\nb: [" + "*a, " * 300 + "]", "1,000,000 characters"),
    "chain of aliases": ("k0: &k0 [x]\n" + "\n".join(f"k{i}: &k{i} [*k{i - 1}]" for i in range(1, 5000)), "nested too"),
    "lists": ("a: " + "[" * 3000 + "]" * 3000, "nested too deep"),
    "open lists": ("[" * 500_000, "nested too deep|valid YAML"),
    "block lists": ("- " * 400_000, "nested too deep"),
    "maps in maps": ("a: " + "{a: " * 3000 + "1" + "}" * 3000, "nested too deep"),
    "keys": ("\n".join(f"k{i}: 1" for i in range(80_000)), "50,000 values"),
    "numbers": (f"seeds: {[*range(60_000)]}", "50,000 values"),
    "documents": ("---\na: 1\n" * 100_000, "valid YAML|50,000 values"),
    "merged itself": ("a: &a {<<: *a, b: 1}", "contains itself"),
    "merged each other": ("a: &a {b: &b {<<: *a}, <<: *b}", "contains itself"),
    "one text": ("title: " + "x" * 900_000, "is the start of 900,000 characters: write at most 5000"),
    "one key": ("x" * 900_000 + ": 1", "valid YAML|write at most 200"),
    "quoted key": ('? "' + "x" * 900_000 + '"\n: 1', "write at most 200"),
    "one number": ("seeds: [" + "9" * 900_000 + "]", "write at most 100"),
    "one hexadecimal number": ("seeds: [0x" + "f" * 900_000 + "]", "write at most 100"),
    "bytes": ("# " + "x" * 1_000_000, "more than 1,000,000 bytes"),
}


@pytest.mark.parametrize(("text", "message"), LARGE.values(), ids=LARGE)
def test_large_file_is_refused_at_once(tmp_path, text, message):
    (tmp_path / "evil.yaml").write_text(text)
    start = time.process_time()
    with pytest.raises(ConfigError, match=rf"evil\.yaml\b.*({message})") as caught:
        load.read_config([REPOSITORY / "config.yaml", tmp_path / "evil.yaml"])
    assert len(str(caught.value)) < 500 + len(str(tmp_path)) and "\n" not in str(caught.value)
    assert time.process_time() - start < 10  # usually below 1 s


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, problem in (
        (tmp_path, "is a folder"),
        (tmp_path / "pipe", "is a device or a pipe"),
        (Path("/dev/zero"), "is a device or a pipe"),
        (tmp_path / "loop", "links lead to each other"),
        (tmp_path / ("x" * 300), "choose a shorter path"),
        (tmp_path / "a\0b", "is not a valid file name"),
        (tmp_path / "none", "cannot be read"),
    ):
        with pytest.raises(LkcaError, match=problem):
            load.read_config([path])


def test_base_of_overlays_is_config_yaml_of_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base, overlay = Path("config.yaml"), Path("own.yaml")
    overlay.touch()
    assert load.find_config_files([overlay]) == [overlay]
    for paths in ([], [base]):
        with pytest.raises(ConfigError, match=f"{tmp_path}/config.yaml does not exist: .*cd {REPOSITORY}"):
            load.find_config_files(paths)
    base.touch()
    for paths, files in (([], [base]), ([base], [base]), ([overlay], [base, overlay]), ([base, overlay],) * 2):
        assert load.find_config_files(paths) == files
    absolute = [tmp_path / "config.yaml", overlay]
    assert load.find_config_files(absolute) == absolute
    assert load.find_config_files([overlay, base]) == [base, overlay, base]


def test_later_errors_about_settings_are_located(tmp_path):
    experiment = read_own(tmp_path)
    place = rf"^{tmp_path}/own\.yaml:11: scenes\.mine\.test: too small\.$"
    with pytest.raises(ConfigError, match=place), load.locate_errors(experiment):
        raise ConfigError("scenes.mine.test: too small.")
    with pytest.raises(ConfigError, match=r"^--bands 3: no\.$"), load.locate_errors(experiment):
        raise ConfigError("--bands 3: no.")
