"""Networks, training and evaluation on a GPU; skipped on machines without one."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lkca.core.files import sha256
from lkca.inference import enlarge
from lkca.models.registry import MODELS
from lkca.scoring.evaluate import evaluate
from lkca.training.train import train
from tests.conftest import RECIPE
from tests.networks import TRAINABLE, build_small, perturb, small_arguments
from tests.test_resume import stop_at_step_10
from tests.trainings import train_run

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@pytest.mark.parametrize("arch", MODELS)
def test_gpu_equals_cpu(arch, rng, monkeypatch):
    """In float32. By default, convolutions on a GPU round their inputs to TF32, which the test switches off."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    net, lr = perturb(build_small(arch)).eval(), torch.rand(2, 9, 12, 8)
    cpu = net(lr)
    cpu.square().mean().backward() if cpu.requires_grad else None
    expected = [parameter.grad.clone() for parameter in net.parameters() if parameter.grad is not None]
    net.zero_grad()
    gpu = net.cuda()(lr.cuda())
    gpu.square().mean().backward() if gpu.requires_grad else None
    assert torch.allclose(gpu.cpu(), cpu, atol=1e-4 * cpu.abs().max().item())
    grads = [parameter.grad.cpu() for parameter in net.parameters() if parameter.grad is not None]
    largest = max((grad.abs().max().item() for grad in expected), default=0)
    assert all(torch.allclose(a, b, atol=1e-3 * largest) for a, b in zip(grads, expected, strict=True))


@pytest.mark.parametrize("arch", MODELS)
@pytest.mark.parametrize("mode", ["whole", "stats", "halo"])
def test_enlarging_on_gpu_equals_that_on_cpu(arch, mode, rng, tmp_path, monkeypatch):
    monkeypatch.setattr(enlarge, "TILE_SIDE", 20)
    lr, results = rng.random((9, 60, 50), np.float32), []
    network = perturb(build_small(arch, scale=2)).eval()

    def read(rows, columns=None):
        return lr[:, slice(*rows), slice(*columns or (0, 50))]

    image = SimpleNamespace(shape=lr.shape, read=read)
    for device in ("cpu", "cuda"):
        results.append(result := np.full((9, 120, 100), np.nan, np.float32))

        def write(block, row, column, result=result):
            result[:, row : row + block.shape[1], column : column + block.shape[2]] = block

        enlarge.enlarge_arrays(network.to(device), 2, image, mode, tmp_path, write)
    assert results[1] == pytest.approx(results[0], abs=1e-4 * float(abs(results[0]).max()))


@pytest.mark.parametrize("arch", TRAINABLE)
def test_training_and_evaluation_on_gpu(arch, tiny):
    recipe = RECIPE | {"epochs": 3, "learning_rate": 1e-3}
    run = tiny.run(arch, arch=arch, args=small_arguments(arch)[0], upsampler={"groups": 1}, train=recipe)
    files = [run.with_name(name) for name in ("weights.safetensors", "history.csv")]
    train(run, tiny.scene, tiny.split, None, *files)
    losses = [float(line["loss"]) for line in csv.DictReader(files[1].open())]
    assert losses[-1] < losses[0]
    inputs = run, tiny.scene, tiny.split, tiny.manifest, *files
    evaluate(*inputs, 0, [1, 2, 3], run.with_name("scores.json"), run.with_name("i.npz"))
    assert torch.cuda.get_device_name() in run.with_name("scores.json").read_text()


@pytest.mark.parametrize("arch", TRAINABLE)
def test_resumed_training_is_bit_identical_on_gpu(arch, tiny, monkeypatch):
    """In deterministic mode, in both precisions."""
    for precision in ("float32", "bfloat16"):
        settings = {"arch": arch, "args": small_arguments(arch)[0], "upsampler": {"groups": 1}, "model": arch}
        settings["train"] = RECIPE | {"epochs": 3, "learning_rate": 1e-3, "precision": precision}
        whole, halves = (tiny.run(f"{arch}-{precision}-{name}", **settings) for name in ("whole", "halves"))
        train_run(tiny, whole)
        stop_at_step_10(tiny, halves, monkeypatch)
        train_run(tiny, halves)
        assert sha256(whole.with_name("weights.safetensors")) == sha256(halves.with_name("weights.safetensors"))


def test_scene_outside_gpu_memory_gives_same_weights(tiny, monkeypatch):
    runs = [tiny.run(name, model="net") for name in ("on", "off")]
    train_run(tiny, runs[0])
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (0, 0))
    train_run(tiny, runs[1])
    assert sha256(runs[0].with_name("weights.safetensors")) == sha256(runs[1].with_name("weights.safetensors"))


def test_compiled_network_has_same_loss_on_gpu(tiny):
    losses = []
    for compile_network in (False, True):
        recipe = RECIPE | {"epochs": 1, "compile": compile_network}
        run = tiny.run(f"{compile_network}", model="net", train=recipe)
        train_run(tiny, run)
        (line,) = csv.DictReader(run.with_name("history.csv").open())
        losses.append(float(line["loss"]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
