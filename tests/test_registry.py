"""The entries of MODELS agree with the classes; wrong entries, arguments and sizes are refused."""

import subprocess
import sys
from dataclasses import replace

import pytest
from torch import nn

from lkca.errors import ConfigError
from lkca.models import registry
from lkca.models.cost import count_macs, count_parameters
from lkca.models.registry import MODELS, Integer, Rate, build, estimate_cost, load_class
from lkca.models.vdsr import VDSR
from tests.networks import TRAINABLE, build_small, small_arguments

VDSR_SPEC = MODELS["vdsr"]


@pytest.mark.parametrize("arch", MODELS)
def test_spec_matches_class(arch):
    """The entry has the names and types of the class's arguments, and says whether the network has parameters."""
    assert issubclass(load_class(arch), nn.Module)
    assert (count_parameters(build_small(arch)) > 0) == MODELS[arch].trainable


@pytest.mark.parametrize("arch", MODELS)
@pytest.mark.parametrize("scale", [2, 4, 8])
def test_estimate_is_close_to_counts(arch, scale):
    """For small networks; tests/test_plan.py compares the networks of config.yaml."""
    args, upsampler = small_arguments(arch)
    network, estimate = build(arch, 48, scale, args, upsampler), estimate_cost(arch, 48, scale, args, upsampler)
    assert estimate.macs * 256 == pytest.approx(count_macs(network, 48), rel=0.3)
    assert estimate.parameters == pytest.approx(count_parameters(network), rel=0.3)
    assert estimate.activations > 0


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (replace(VDSR_SPEC, estimate=None), "vdsr in MODELS .*registry.py.* has no estimate"),
        (replace(VDSR_SPEC, class_name="VDSL"), "lkca/models/vdsr.py has no class VDSL"),
        (replace(VDSR_SPEC, class_name="VDS"), "lkca/models/vdsr.py has no class VDS:"),
        (replace(VDSR_SPEC, arguments={"layers": Integer()}), "has an upsampler and no argument `width`"),
        (replace(VDSR_SPEC, arguments={"width": int}), r"width is int at vdsr in MODELS .*: write Integer\(\) or Rate"),
    ],
)
def test_incomplete_entry_is_refused_without_torch(monkeypatch, paper, spec, message):
    monkeypatch.setitem(registry.MODELS, "vdsr", spec)
    with pytest.raises(ConfigError, match=message):
        registry.check_entry("vdsr")
    with pytest.raises(ConfigError, match=message):
        build("vdsr", 8, 2, {"width": 16, "layers": 2}, {"groups": 1})


@pytest.mark.parametrize(
    ("estimate", "message"),
    [
        (lambda *_: (1, 2, 3), r"estimate of vdsr in MODELS .* must return a CostEstimate, not \(1, 2, 3\)"),
        (lambda *_: {}["depth"], "estimate of vdsr in MODELS .* fails with KeyError: 'depth'"),
        ({"macs": 1}, "estimate of vdsr in MODELS .* fails with TypeError: 'dict' object is not callable"),
    ],
)
def test_wrong_estimate_is_refused(monkeypatch, estimate, message):
    monkeypatch.setitem(registry.MODELS, "vdsr", replace(VDSR_SPEC, estimate=estimate))
    with pytest.raises(ConfigError, match=message):
        estimate_cost("vdsr", 8, 2, {"width": 16, "layers": 2}, {"groups": 1})


def test_missing_file_is_refused(monkeypatch):
    monkeypatch.setitem(registry.MODELS, "swin", VDSR_SPEC)
    with pytest.raises(ConfigError, match="lkca/models/swin.py is missing"):
        load_class("swin")


@pytest.mark.parametrize(
    "spec",
    [
        replace(VDSR_SPEC, arguments={"width": Integer()}),
        replace(VDSR_SPEC, arguments={"width": Integer(), "depth": Integer()}),
        replace(VDSR_SPEC, arguments={"width": Integer(), "layers": Rate()}),
        replace(VDSR_SPEC, has_upsampler=False),
    ],
    ids=["missing", "renamed", "other type", "no groups"],
)
def test_arguments_that_differ_from_class_are_refused(monkeypatch, spec):
    monkeypatch.setitem(registry.MODELS, "vdsr", spec)
    with pytest.raises(ConfigError, match=r"VDSR in lkca/models/vdsr.py takes \(bands: int, .*correct one"):
        load_class("vdsr")


def test_class_without_annotation_is_refused(monkeypatch):
    monkeypatch.delitem(VDSR.__init__.__annotations__, "layers")
    with pytest.raises(ConfigError, match=r"takes \(.*width: int, layers, groups: int\)"):
        load_class("vdsr")


@pytest.mark.parametrize(
    ("args", "upsampler", "message"),
    [
        ({"layers": 3}, {"groups": 1}, "args.width is missing"),
        ({"width": 8, "layers": 3, "depth": 1}, {"groups": 1}, "args.depth is no argument of vdsr"),
        ({"width": 8.0, "layers": 3}, {"groups": 1}, "args.width: 8.0 is out of range"),
        ({"width": 8, "layers": 1}, {"groups": 1}, "args.layers: 1 is out of range: choose a whole number from 2"),
        ({"width": 8, "layers": 3}, None, "upsampler: vdsr needs it"),
        ({"width": 8, "layers": 3}, {"groups": 3}, "upsampler.groups: 3 must divide"),
    ],
)
def test_build_refuses_wrong_arguments(args, upsampler, message):
    with pytest.raises(ConfigError, match=message):
        build("vdsr", 8, 2, args, upsampler)


@pytest.mark.parametrize("arch", [arch for arch in TRAINABLE if MODELS[arch].min_bands > 1])
def test_too_few_bands_are_refused(arch):
    needed = MODELS[arch].min_bands
    with pytest.raises(ConfigError, match=f"bands: {arch} needs at least {needed} and there are {needed - 1}"):
        build_small(arch, bands=needed - 1)


def test_groups_that_do_not_divide_are_refused():
    with pytest.raises(ConfigError, match="groups: 7 must divide the 16 input and the 96 output .*: choose 8"):
        build("lkca", 6, 4, {"width": 16, "blocks": 1, "drop_path": 0.0}, {"groups": 7})


def test_registry_does_not_import_torch():
    code = "import sys, lkca.config.validate, lkca.pipeline.plan; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
