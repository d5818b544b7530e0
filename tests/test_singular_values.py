"""Singular values of upsampling layers."""

import json

import numpy as np
import pytest
import torch

from lkca.config.run import read_run
from lkca.core.files import sha256
from lkca.errors import ConfigError
from lkca.scoring.singular_values import effective_rank, singular_values, spectrum
from lkca.training.checkpoint import save_weights
from lkca.training.networks import build_network


def run_spectrum(run):
    """Return the layers of the spectrum of a network with random weights."""
    weights, out = run.with_name("weights.safetensors"), run.with_name("spectrum.json")
    network = build_network(read_run(run))
    random = {name: torch.rand_like(weight.float()).to(weight.dtype) for name, weight in network.state_dict().items()}
    save_weights(weights, random, sha256(run), 1)
    spectrum(run, weights, out)
    return json.loads(out.read_text())["layers"]


def test_singular_values_of_a_product(rng):
    left, right = (np.linalg.qr(rng.normal(size=(n, 4)))[0] for n in (9, 6))
    matrix = torch.from_numpy(left @ np.diag([8.0, 4, 2, 1]) @ right.T)
    assert singular_values(matrix)[:4] == pytest.approx([8, 4, 2, 1])


def test_effective_rank():
    assert effective_rank(np.ones(10), 0.9) == 9
    assert effective_rank(np.ones(10), 0.91) == 10
    assert effective_rank(np.array([1.0, 0.0, 0.0]), 0.9) == 1


def test_spectrum_of_trained_and_untrained_layer(tiny):
    (layer,) = run_spectrum(tiny.run("net", upsampler={"groups": 1}))
    assert layer["shape"] == [8 * 16, 16 * 9]
    for values in (layer["trained"], layer["start"]):
        assert len(values) == 128 and values == sorted(values, reverse=True) and values[-1] >= 0
    assert layer["trained"] != layer["start"]
    # A uniform matrix on +-1/sqrt(fan) has the variance 1/(3 fan): the squares of the singular values sum to its size.
    assert sum(v * v for v in layer["start"]) == pytest.approx(128 * 144 / (3 * 144), rel=0.05)


def test_untrained_layer_depends_only_on_the_seed_of_the_run(tiny):
    runs = [tiny.run(f"net{i}", upsampler={"groups": 1}, seed=seed) for i, seed in enumerate((0, 0, 1))]
    first, again, other = (run_spectrum(run)[0]["start"] for run in runs)
    assert first == again != other


@pytest.mark.parametrize(
    ("arch", "args", "shapes", "used"),
    [
        ("sspsr", {"width": 16, "blocks": 1}, [[64, 16 * 9]] * 2, 1),  # x4: doubles in its branch and in its trunk
        ("fcnn3d", {"width": 9}, [[8 * 16, 9 * 25]], 1 / 3),  # only a third of its kernel is used
    ],
)
def test_spectrum_has_every_upsampling_layer(tiny, arch, args, shapes, used):
    layers = run_spectrum(tiny.run(arch, arch=arch, args=args, upsampler={"groups": 1}))
    assert [layer["shape"] for layer in layers] == shapes
    for layer in layers:
        assert sum(v * v for v in layer["start"]) == pytest.approx(layer["shape"][0] / 3 * used, rel=0.08)


def test_network_without_upsampling_layer_is_refused(tiny):
    with pytest.raises(ConfigError, match="bicubic has no learnable upsampling layer"):
        run_spectrum(tiny.run("bicubic", arch="bicubic", args={}, upsampler=None, train=None))
