"""All texts of a user are data: no program that they pass through takes them for a pattern, a formula or markup."""

import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import fake_results
import numpy as np
import pytest
from matplotlib.image import imread
from test_figures import draw

from docs.generated import find_settings
from lkca.config.figure_kinds import FIGURE_KINDS
from lkca.config.load import read_config
from lkca.config.schema import MAX_LABEL, Experiment
from tests.conftest import REPOSITORY, clean_shell, copy_checkout

# Patterns of Snakemake, str.format, shells, LaTeX, matplotlib, Markdown, HTML, Jinja, rich and YAML
LABEL = r"R^{2} $L_{1}$ \cite{Shi} {id} <b> *_x_*"
TEXT = LABEL + r" {IEEE} {0} {} }{ { {wildcards.scene} {input:q} %d 100% $(touch pwned) `touch pwned` ; | & ' "
TEXT += '"quoted" #1 ~ [red](x) {{x}} {% x %} << y >> \\\\ \\n ±é→\n- a line: {<<: *x}'
FILE = TEXT.partition("%")[0].replace("<b>", "'b'") + ".npy"
URL = "https://example.org/{id}/$(touch pwned)?a={0}&b=%20#c"

# The settings that hold a text of the user; the other texts are keys or one of several words.
TEXTS = {"Experiment": "title stand_in", "Scene": "title", "Table": "title header rows", "Figure": "title rows"}
TEXTS |= {"Cube": "not_this sensor source citation terms", "File": "path variable mask sources"}
OTHERS = {"Experiment": "experiment scenes patches models tables figures", "Report": "tables figures", "Scene": "cube"}
OTHERS |= {"Cube": "bands", "File": "axes sha256", "Composite": "bands", "Override": "scene models train"}
OTHERS |= {"Model": "arch args", "Distill": "teacher", "Table": "scene", "Figure": "scenes"}


def has_text(annotation: Any) -> bool:
    """Return whether a value of a type can contain a text that is not one of a few words."""
    return annotation is str or (get_origin(annotation) is not Literal and any(map(has_text, get_args(annotation))))


def test_texts_are_all_settings_that_hold_texts():
    found = {
        f"{model.__name__}.{name}"
        for model, _ in find_settings(Experiment)
        for name, field in model.model_fields.items()
        if has_text(field.annotation)
    }
    known = {f"{kind}.{name}" for group in (TEXTS, OTHERS) for kind, names in group.items() for name in names.split()}
    assert found == known


def hostile_experiment(file: str, suffix: str = "") -> dict[str, Any]:
    """Return an overlay with the hostile text in each of TEXTS, with a suffix, for each kind of figure."""
    text, label = TEXT + suffix, LABEL + suffix
    assert len(label) <= MAX_LABEL - 8
    trained = {f"{label} lkca": "lkca_lr", f"{label} vdsr": "vdsr"}
    rows = {f"{label} bicubic": "bicubic", **trained, f"{label} no": f"not possible: {text}", f"{label} none": None}
    cube = {"files": [{"path": file, "axes": "rows columns bands", "sources": [URL + suffix]}], "bands": "1-100"}
    cube |= {"shape": [145, 145, 200], "not_this": [[[1, 2, 3], text]], "nanometres": [400, 2500]}
    cube |= dict.fromkeys(("sensor", "source", "citation", "terms"), text)
    kinds = {kind.upper(): (kind, trained if spec.untrained_lacks else rows) for kind, spec in FIGURE_KINDS.items()}
    shown = {"title": text, "scale": 4}
    return {
        "experiment": "hostile",
        "title": text,
        "stand_in": text,
        "report": {"tables": ["T"], "figures": list(kinds)},
        "scenes": {"mine": {"title": label, "cube": cube, "test": {"rows": 64, "columns": 128, "tile": 64}}},
        "patches": {"x4": {"size": 32, "stride": 32}},
        "tables": {"T": {"title": text, "header": text, "scene": "mine", "scales": [4], "rows": rows}},
        "figures": {
            name: {"kind": kind, "scenes": ["mine"], "rows": rows, **shown} for name, (kind, rows) in kinds.items()
        },
    }


def test_configuration_keeps_the_texts(tmp_path):
    (tmp_path / "hostile.yaml").write_text(json.dumps(hostile_experiment("data/a.npy")))  # YAML contains JSON
    experiment = read_config([REPOSITORY / "config.yaml", tmp_path / "hostile.yaml"])
    cube = experiment.scenes["mine"].resolve_cube()
    assert {experiment.title, experiment.stand_in, cube.source, cube.terms, experiment.figures["SPEED"].title} == {TEXT}
    assert f"{LABEL} no" in experiment.tables["T"].rows and cube.files[0].sources == (URL,)


@pytest.mark.slow
def test_snakemake_takes_no_text_for_a_pattern(tmp_path):
    """The scene is cut; then all texts change, and the reasons of the jobs contain the old and the new ones."""
    folder = copy_checkout(tmp_path / "lkca")
    (folder / "data").mkdir()
    cube = Path(find_spec("tensorly").origin).parent / "datasets/data/Indian_pines_corrected.npy"
    for suffix in ("", " 2"):
        shutil.copy(cube, folder / f"data/{suffix}{FILE}")

    def snakemake(suffix: str, *words: str) -> str:
        (folder / "hostile.yaml").write_text(json.dumps(hostile_experiment(f"data/{suffix}{FILE}", suffix)))
        command = [
            Path(sys.executable).with_name("snakemake"),
            "--cores",
            "all",
            "--configfile",
            "hostile.yaml",
            *words,
        ]
        done = subprocess.run(command, cwd=folder, env=clean_shell(folder), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert "Job 1: " in snakemake("", "--dry-run")
    scene = "results/hostile/scenes/mine.json"
    snakemake("", "--", scene)
    assert json.loads((folder / scene).read_text())["areas"][0]["file"] == f"data/{FILE}"
    reasons = re.findall(
        r"^Job \d+: scenes/mine: (.*)$", snakemake(" 2", "--dry-run", "--printshellcmds"), re.MULTILINE
    )
    assert len(reasons) == 1 and "R^{2} $L_{1}$" in reasons[0]
    assert not list(folder.rglob("pwned"))


@pytest.mark.parametrize("kind", FIGURE_KINDS)
def test_figures_write_the_texts(tmp_path, kind):
    """As PNG and as PDF, whose metadata have the title."""
    scores = [fake_results.write_run(tmp_path, model, MPSNR=40.5) for model in ("bicubic", "lkca", "vdsr")]
    rows = {f"{LABEL} {model}": model for model in ("bicubic", "lkca", "vdsr")} | {
        f"{LABEL} no": f"not possible: {TEXT}"
    }
    png, pdf = draw(tmp_path, kind, scores, title=TEXT, rows=rows, scenes={"chikusei": LABEL}, stand_in=TEXT)
    assert 0.01 < np.mean(imread(png)[..., :3].min(axis=-1) < 0.9) < 0.9
    assert pdf.read_bytes().startswith(b"%PDF")
