"""Evaluation of runs on a tiny scene."""

import hashlib
import json
import os
import platform
import resource
from concurrent.futures import ProcessPoolExecutor
from math import ceil
from multiprocessing import get_context
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lkca.config.run import read_run
from lkca.core import gpus
from lkca.core.files import json_digest, sha256
from lkca.data.resize import resize
from lkca.errors import ConfigError, LkcaError, StaleInput
from lkca.scoring import evaluate as evaluation
from lkca.scoring.evaluate import cell_centres, evaluate
from lkca.scoring.metrics import SCORES
from lkca.training.checkpoint import save_weights
from lkca.training.networks import build_network


def run_evaluate(tiny, run, weights=False, image=1, composite=(8, 4, 1)):
    """Evaluate a run; return its scores.json."""
    files = (run.with_name("weights.safetensors"), run.with_name("history.csv")) if weights else (None, None)
    out, picture = run.with_name("scores.json"), run.with_name("image.npz")
    inputs = run, tiny.scene, tiny.split, tiny.manifest, *files
    evaluate(*inputs, image=image, composite=composite and [*composite], out=out, picture=picture)
    return json.loads(out.read_text())


def write_training(run):
    """Write untrained weights and a history as if they came from a training."""
    torch.manual_seed(0)
    save_weights(run.with_name("weights.safetensors"), build_network(read_run(run)).state_dict(), sha256(run), 3)
    run.with_name("history.csv").write_text("epoch,steps,seconds\n1,10,1.5\n4,40,6.5\n")


@pytest.fixture
def bicubic(tiny):
    return tiny.run("bicubic", arch="bicubic", args={}, upsampler=None, train=None)


def test_bicubic_scores_as_resizing_does(tiny, bicubic):
    scores = run_evaluate(tiny, bicubic)
    assert (scores["params"], scores["macs"], scores["steps"], scores["epoch"]) == (0, 0, 0, None)
    assert (scores["weights_sha256"], scores["history_sha256"]) == (None, None)
    cube = np.load(tiny.scene)
    values = [SCORES["MPSNR"](resize(resize(hr, 1 / 4), 4), hr) for hr in (cube[:, :32, :32], cube[:, :32, 32:])]
    assert scores["mean"]["MPSNR"] == pytest.approx(np.mean(values), abs=1e-4)
    assert [image["window"] for image in scores["images"]] == [[0, 0, 32, 32], [0, 32, 32, 32]]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can keep freed memory")
def test_freed_memory_is_kept(tiny, bicubic):
    """Most tensors of 32 MiB take the pages of one before, which glibc by default returns to the system."""
    files = SimpleNamespace(scene=tiny.scene, split=tiny.split, manifest=tiny.manifest)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:  # whose heap no other test has used
        before = pool.submit(count_new_pages).result()
        pool.submit(run_evaluate, files, bicubic).result()
        after = pool.submit(count_new_pages).result()
    assert after < 0.3 * before and before >= 10 * 2**25 / resource.getpagesize()


def count_new_pages():
    """Return how many pages the system gives to ten tensors of 32 MiB, one after the other."""
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(2**23)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults


def test_picture_holds_chosen_image_and_bands(tiny, bicubic):
    run_evaluate(tiny, bicubic)
    with np.load(bicubic.with_name("image.npz")) as picture:
        hr = np.load(tiny.scene)[:, :32, 32:]
        assert np.array_equal(picture["hr"], np.stack([hr[7], hr[3], hr[0]], -1))
        sr = resize(resize(hr, 1 / 4), 4)
        assert picture["sr"] == pytest.approx(np.stack([sr[7], sr[3], sr[0]], -1), abs=1e-6)
        assert picture["error"] == pytest.approx(np.abs(sr - hr).mean(0), abs=1e-6)
        middle = [1, 4, 6, 9, 12, 14, 17, 20, 22, 25, 28, 30]  # of twelve parts of 2 2/3 pixels
        assert picture["rows"].tolist() == picture["columns"].tolist() == middle
        assert np.array_equal(picture["spectra_hr"], hr[:, middle][:, :, middle])
        assert picture["spectra_sr"] == pytest.approx(sr[:, middle][:, :, middle], abs=1e-6)
        assert picture["bands"].tolist() == [8, 4, 1]
        assert {picture[name].dtype for name in ("hr", "sr", "error", "spectra_hr", "spectra_sr")} == {np.dtype("f4")}


def test_picture_shows_bands_by_wavelength(tiny, bicubic):
    """The scene's bands are not in the order of their wavelengths; its default composite is 660, 550 and 480 nm."""
    manifest = json.loads(tiny.manifest.read_text())
    wavelengths = [2200, 900, 660.5, 640, 551, 470, 1600, 440]
    tiny.manifest.write_text(json.dumps(manifest | {"nanometres": wavelengths}))
    cube = np.load(tiny.scene)[:, :32, 32:]
    for composite, shown in ((None, [3, 5, 6]), (["0.66 um", 1, "440nm"], [3, 1, 8])):
        run_evaluate(tiny, bicubic, composite=composite)
        with np.load(bicubic.with_name("image.npz")) as picture:
            assert picture["bands"].tolist() == shown
            assert np.array_equal(picture["hr"], np.stack([cube[band - 1] for band in shown], -1))


def test_wavelength_needs_wavelengths_of_the_scene(tiny, bicubic):
    with pytest.raises(
        ConfigError, match=r"scenes\.tiny\.composite\.bands: 660 nm .* not known: choose numbers from 1"
    ):
        run_evaluate(tiny, bicubic, composite=["660 nm", 2, 1])
    assert not bicubic.with_name("scores.json").exists()


def test_short_side_has_fewer_cells():
    assert cell_centres(7).tolist() == list(range(7))
    assert cell_centres(512).tolist() == [21, 64, 106, 149, 192, 234, 277, 320, 362, 405, 448, 490]


def test_absolute_errors_of_all_pixels_and_of_edges(tiny, bicubic):
    hr = torch.from_numpy(np.load(tiny.scene)[:, :32, :32])
    error = (torch.from_numpy(resize(resize(hr.numpy(), 1 / 4), 4)) - hr).abs().mean(0)
    strength = torch.stack(torch.gradient(hr.double(), dim=(1, 2))).square().sum((0, 1))
    strongest = error.flatten()[strength.flatten().topk(103).indices]  # of 32 x 32 pixels
    image = run_evaluate(tiny, bicubic)["images"][0]
    assert image["mae"] == pytest.approx(float(error.mean()), rel=1e-5)
    assert image["mae_edges"] == pytest.approx(float(strongest.mean()), rel=1e-5)


def test_training_is_reported(tiny):
    run = tiny.run("net")
    write_training(run)
    scores = run_evaluate(tiny, run, weights=True)
    assert (scores["epoch"], scores["steps"], scores["seconds"]["training"]) == (3, 40, 6.5)


@pytest.mark.parametrize(("missing", "untrained"), [(0, False), (1, True)])
def test_untrained_network_has_not_seen_all_patches(tiny, missing, untrained):
    run = tiny.run("net")
    write_training(run)
    steps = ceil(len(json.loads(tiny.split.read_text())["train"]) * 8 / read_run(run).train.batch)  # 8 orientations
    run.with_name("history.csv").write_text(f"epoch,steps,seconds\n4,{steps - missing},6.5\n")
    assert run_evaluate(tiny, run, weights=True)["untrained"] == untrained


def test_scores_record_hashes_and_reveal_edits(tiny):
    run = tiny.run("net")
    write_training(run)
    scores = run_evaluate(tiny, run, weights=True)
    files = {"run": "run.json", "weights": "weights.safetensors", "history": "history.csv", "image": "image.npz"}
    for name, file in files.items():
        assert scores[f"{name}_sha256"] == hashlib.sha256(run.with_name(file).read_bytes()).hexdigest()
    assert list(scores)[-1] == "digest"
    assert scores["digest"] == json_digest(scores)
    scores["images"][1]["without_block"]["SAM"][7] += 1e-12
    assert scores["digest"] != json_digest(scores)


def test_evaluation_acquires_one_gpu(tiny, bicubic, tmp_path, monkeypatch):
    """On a machine with two GPUs, of which another job holds the first."""
    seen = []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "installed_gpus", lambda: (("GPU-a", "NVIDIA A"), ("GPU-b", "NVIDIA A")))
    monkeypatch.setattr(evaluation, "default_device", lambda: seen.append(os.environ["CUDA_VISIBLE_DEVICES"]) or "cpu")
    with gpus.acquire_gpus(1):
        del os.environ["CUDA_VISIBLE_DEVICES"]  # set for this process, which stands for another one
        run_evaluate(tiny, bicubic)
        os.environ["CUDA_VISIBLE_DEVICES"] = "GPU-a"
    assert seen == ["GPU-b"]


def test_missing_test_image_is_refused(tiny, bicubic):
    with pytest.raises(ConfigError, match=r"image 2: .*split\.json .* 0 to 1"):
        run_evaluate(tiny, bicubic, image=2)


@pytest.mark.parametrize("trained", [True, False])
def test_weights_belong_to_trained_models_only(tiny, bicubic, trained):
    with pytest.raises(ConfigError, match="--weights and --history"):
        run_evaluate(tiny, tiny.run("net") if trained else bicubic, weights=not trained)


def test_weights_need_their_history(tiny):
    run = tiny.run("net")
    write_training(run)
    files = run.with_name("weights.safetensors"), None
    with pytest.raises(ConfigError, match="--weights and --history"):
        inputs = run, tiny.scene, tiny.split, tiny.manifest, *files
        evaluate(*inputs, 0, [1, 2, 3], run.with_name("s.json"), run.with_name("i.npz"))


def test_changed_split_is_refused(tiny, bicubic):
    tiny.split.write_text(tiny.split.read_text() + "\n")
    with pytest.raises(StaleInput, match="is not the split that"):
        run_evaluate(tiny, bicubic)


def test_wrong_weights_are_refused(tiny):
    a, b = tiny.run("a"), tiny.run("b", seed=1)
    write_training(a)
    for name in ("weights.safetensors", "history.csv"):
        a.with_name(name).rename(b.with_name(name))
    for weights in (None, b"no weights", {"x": torch.ones(1)}):
        if isinstance(weights, bytes):
            b.with_name("weights.safetensors").write_bytes(weights)
        elif weights:
            save_weights(b.with_name("weights.safetensors"), weights, sha256(b), 1)
        with pytest.raises(LkcaError, match=r"weights\.safetensors"):
            run_evaluate(tiny, b, weights=True)
    assert not b.with_name("scores.json").exists()
