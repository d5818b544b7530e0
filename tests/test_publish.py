"""The published small benchmark: what may be published, and what the README says about it."""

import json
import re
from statistics import fmean, stdev
from types import SimpleNamespace

import pytest

from benchmarks import publish
from lkca.config.jobs import Jobs
from lkca.core.files import json_digest
from lkca.errors import StaleInput
from lkca.scoring.metrics import SCORES
from tests import fake_results

COMMIT = "0123456789ab"
README = publish.README.read_text()


SHOWN = {"MPSNR ↑ (dB)": ("MPSNR", max), "MSSIM ↑": ("MSSIM", max), "SAM ↓ (degrees)": ("SAM", min)}  # name and best


def read_readme_table() -> list[dict[str, str]]:
    """Return the rows of the README's table: heading -> cell."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in README.splitlines() if line[:1] == "|"]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def test_pages_show_the_published_numbers():
    for path, text in publish.render_pages(publish.read_published()).items():
        assert path.read_text() == text


def test_table_has_mean_and_deviation_over_seeds_and_marks_the_best():
    published, table = publish.read_published(), read_readme_table()
    assert [row["Method"] for row in table] == ["Bicubic", "VDSR", "LKCA-Net", "LKCA-LR", "LKCA-KD"]
    methods = {method: published[published["method"] == method] for method in published["method"].unique()}
    for heading, (name, best) in SHOWN.items():
        means = {method: fmean(runs[name]) for method, runs in methods.items()}
        for row in table:
            mark = "**" if means[row["Method"]] == best(means.values()) else ""
            deviation = stdev(methods[row["Method"]][name])
            assert row[heading] == f"{mark}{means[row['Method']]:.4f} ± {deviation:.4f}{mark}"
    for row in table:
        assert methods[row["Method"]]["seed"].tolist() == [3000, 3001]
        for heading, name, unit in (("Params (M)", "params", 1e6), ("MACs (G)", "macs", 1e9)):
            assert float(row[heading]) == pytest.approx(methods[row["Method"]][name].iloc[0] / unit, abs=5e-4)


def test_sentence_about_gains_is_true():
    assert "Every LKCA network is then more than half a decibel better than bicubic" in " ".join(README.split())
    means = publish.read_published().groupby("method")["MPSNR"].mean()
    gains = means.filter(like="LKCA") - means["Bicubic"]
    assert len(gains) == 3 and gains.between(0.5, 0.6).all()


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Write a fake run for each line of the table, and return their scores.json."""
    experiment, methods = publish.read_experiment()
    results = SimpleNamespace(jobs=Jobs(experiment), pending=dict)
    monkeypatch.setattr(publish, "Results", lambda experiment: results)
    monkeypatch.chdir(tmp_path)
    paths = []
    for i, run in enumerate(run for runs in methods.values() for run in runs):
        key = {"scene": run.scene, "scale": run.scale, "seed": run.seed}
        paths.append(fake_results.write_run(tmp_path / "results/indian_pines", run.model, **key, MPSNR=40.0 + i))
        set_commit(paths[-1], COMMIT)
    return paths


def set_commit(path, commit):
    content = json.loads(path.read_text()) | {"commit": commit}
    path.write_text(json.dumps(content | {"digest": json_digest(content)}))


def test_each_run_has_a_line(runs):
    rows = publish.collect_rows()
    assert [float(row["MPSNR"]) for row in rows] == [40.0 + i for i in range(10)]
    assert [row["method"] for row in rows[::2]] == [row["method"] for row in rows[1::2]]
    assert {(row["commit"], row["device"], row["torch"]) for row in rows} == {(COMMIT, "cpu", "2.9.0")}
    assert rows[0].keys() >= SCORES.keys() and [*rows[0]] == [*publish.read_published()]


@pytest.mark.parametrize(
    ("commit", "message"),
    [
        (None, "was computed at an unknown commit: commit the changes"),
        (f"{COMMIT} with uncommitted changes", f"was computed at {COMMIT} with uncommitted changes: commit"),
        ("ba9876543210", f"computed at several commits, {COMMIT} and ba9876543210: run snakemake -R evaluate"),
    ],
)
def test_scores_without_one_known_commit_are_refused(runs, commit, message):
    set_commit(runs[3], commit)
    with pytest.raises(StaleInput, match=re.escape(message)):
        publish.collect_rows()


def test_missing_run_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StaleInput, match=r"runs/\S+ has to run first \(not made yet\): run make publish"):
        publish.collect_rows()


def test_changed_settings_and_code_are_noted(tmp_path, monkeypatch):
    """The learning rate of a teacher changes its student, too."""
    experiment, methods = publish.read_experiment()
    jobs = Jobs(experiment)
    digests = [publish.digest_run(jobs, run) for runs in methods.values() for run in runs]
    published = publish.read_published().assign(digest=digests)
    assert publish.describe_outdated(published) == ""
    other = published.assign(digest=[*digests[:3], "other code", *digests[4:]])
    assert "the code of VDSR have changed" in publish.describe_outdated(other)
    (tmp_path / "teacher.yaml").write_text("models: {lkca_32: {train: {learning_rate: 5.0e-4}}}")
    monkeypatch.setattr(publish, "CONFIG", [*publish.CONFIG, tmp_path / "teacher.yaml"])
    assert "the code of LKCA-KD have changed" in publish.describe_outdated(published)
