"""Any configuration ends in a plan or in one sentence: valid ones are changed at random places."""

import copy
import inspect
import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from unittest.mock import patch

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from lkca.config.load import dump_snapshot, read_config, read_snapshot
from lkca.config.schema import Experiment
from lkca.errors import LkcaError
from lkca.pipeline.estimates import Estimates
from lkca.pipeline.plan import plan
from lkca.pipeline.results import Results
from tests.conftest import paper_settings

EXAMPLES = 2000 if "LKCA_LONG_TESTS" in os.environ else 45
MAX_SECONDS = 20  # of the processor; usually below 0.2
DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
NASTY_TEXTS = [
    "", " ", "\n", "a\nb", "\t", "x" * 61, "x" * 300, "x" * 3000, "Ł中文👩‍🚀", "\u202e", "\0", "\x1b[31m", "\ufeff",
    "null",
    "all", "1e3", "-1", "{id}", "<b>", "%s", "$(x)", "`x`", "=1+1", "..", ".", "/", "-x", "a/b", "../a", "a:b", "os:x",
    "/dev/zero", "~", "~/x", "~nobody_here/x", "C:\\x", "a.zip/b", "a.zip/../../b", "a/" * 2500, "1-99999", "1-2, 5-9",
    "9" * 30, "660 nm", "1e9 um", "0 nm", "rows columns bands", "columns*rows bands", "not possible: ", "2-1", "con",
    "lkca", "LKCA", "bicubic", "x4", "x8", "x3", "x16", "x99", "chikusei", "mine", "spectrum", "http://user:pass@host/x",
]  # fmt: skip
NASTY_NUMBERS = [
    *(0, 1, -1, 2, 3, 7, 8, 16, 64, 100, 1000, 4096, 4097, 10**5, 10**6, 10**9, 10**30, 10**99, -(10**30)),
    *(2**31, 2**32 - 1, 2**32, 2**63, 2**64, 0.0, -0.0, 0.5, 1.0, 1.5, 1e-300, 5e-324, 1e300, 1.7e308),
    *(math.inf, -math.inf, math.nan, True),
]
SCALARS = (
    st.none() | st.booleans() | st.sampled_from(NASTY_NUMBERS) | st.sampled_from(NASTY_TEXTS) | st.text(max_size=20)
)
KEYS = st.sampled_from([*NASTY_TEXTS, 1, 1.5, None, True, *Experiment.model_fields, "base", "args", "train", "cube"])
VALUES = st.recursive(
    SCALARS | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
LONG = st.builds(lambda value, number: [value] * number, SCALARS, st.sampled_from([2, 100, 1001, 20_000]))


def small_settings() -> dict[str, Any]:
    """Return a configuration with few entries of every kind, so that a plan takes a moment."""
    paper = paper_settings()
    models = ("bicubic", "vdsr", "sspsr", "lkca", "lkca_lr", "lkca_64", "lkca_kd")
    file = {"path": "data/a.npy", "axes": "rows columns bands", "gain": [1.0] * 12, "invalid": -9999}
    file |= {
        "mask": "mask.h5/m",
        "sources": ["https://example.org/a.npy", "http://x:y@example.org/a?b=c"],
        "bytes": 1000,
        "sha256": "0" * 64,
    }
    cube = {"files": [file], "bands": "1-12", "crop": [0, 200, 0, 160], "divide_by": 1000, "shape": [200, 160, 12]}
    cube |= {"nanometres": [400, 900], "fwhm": [5.0] * 12, "gsd_m": 1, "not_this": [[[1, 2, 3], "x"]], "confirm": True}
    cube |= dict.fromkeys(("sensor", "source", "citation", "terms"), "x")
    test = {"rows": 64, "columns": 64, "tile": 32, "row": 8, "column": 8, "invalid": "drop"}
    colours = {"image": 1, "bands": [3, "660 nm", 1], "zoom": [0, 0, 16]}
    mine = {"title": "Mine", "cube": cube, "bands": 12, "mirror": ["rows"], "test": test, "composite": colours}
    rows = {"Bicubic": "bicubic", "VDSR": "vdsr", "KD": "lkca_kd", "none": None, "no": "not possible: x"}
    trained = {"VDSR": "vdsr", "LKCA-Net": "lkca"}
    figure = {"title": "x", "scenes": ["mine"], "scale": 4}
    return {
        **paper,
        "seeds": [0, 1],
        "report": {"tables": ["T"], "figures": ["F", "G"]},
        "scenes": {"mine": mine, "chikusei": paper["scenes"]["chikusei"]},
        "patches": {"x4": {"size": 32, "stride": 16}, "x8": {"size": 32, "stride": 16}},
        "overrides": [{"scene": "mine", "scale": 4, "models": ["lkca"], "train": {"epochs": 2}}],
        "models": {name: paper["models"][name] for name in models},
        "tables": {"T": {"title": "x", "header": "x", "scene": "mine", "scales": [4, 8], "rows": rows}},
        "figures": {
            "F": {"kind": "curves", "rows": trained, **figure},
            "G": {"kind": "composite", "rows": rows, **figure},
            "H": {"kind": "differences", "rows": rows, **figure, "scenes": ["mine", "chikusei"]},
        },
    }


SMALL = small_settings()


def paths_in(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """Yield the keys that lead to each value inside a value."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from paths_in(inner, (*path, key))


def find(value: Any, path: tuple) -> Any:
    for key in path:
        value = value[key]
    return value


def fields_in(kind: Any, value: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any, tuple]]:
    """Yield the path, the type and the constraints of each setting of a schema, for the maps and lists of a value."""
    kinds = [kind]
    while kinds:
        kind = kinds.pop()
        arguments = get_args(kind)
        if inspect.isclass(kind) and issubclass(kind, BaseModel) and isinstance(value, dict):
            for name, field in kind.model_fields.items():
                yield (*path, name), field.annotation, tuple(field.metadata)
                if name in value:
                    yield from fields_in(field.annotation, value[name], (*path, name))
        elif get_origin(kind) is dict and isinstance(value, dict):
            for name, inner in value.items():
                yield (*path, name), arguments[1], ()
                yield from fields_in(arguments[1], inner, (*path, name))
        elif get_origin(kind) in (list, tuple) and isinstance(value, list):
            for i, inner in enumerate(value):
                yield from fields_in(arguments[min(i, len(arguments) - 1)], inner, (*path, i))
        elif arguments and get_origin(kind) is not Literal:
            kinds += arguments[:1] if get_origin(kind) is Annotated else arguments


def values_of(kind: Any, constraints: tuple = ()) -> st.SearchStrategy:
    """Return values of a type of the schema, most of them valid, many at a limit."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return values_of(arguments[0], (*arguments[1:], *constraints))
    limits = {name: getattr(part, name) for part in flatten(constraints) for name in LIMITS if hasattr(part, name)}
    limits = {name: limit for name, limit in limits.items() if limit is not None}
    low, high = limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt"))
    if kind in (int, float):
        near = [limit + step for limit in (low, high) if limit is not None for step in (-1, 0, 1)]
        numbers = st.sampled_from([*near, *NASTY_NUMBERS])
        return numbers | (st.integers(low, high) if kind is int else st.floats(low, high))
    if kind is str:
        return st.sampled_from([*NASTY_TEXTS, *SMALL["models"], *SMALL["scenes"], "x" * limits.get("max_length", 9)])
    if kind in (bool, type(None)):
        return st.sampled_from([True, False] if kind is bool else [None])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is dict:
        return st.dictionaries(values_of(arguments[0]), values_of(arguments[1]), max_size=3)
    if origin is tuple and ... not in arguments:
        return st.tuples(*map(values_of, arguments)).map(list)
    if origin in (list, tuple):
        return st.lists(values_of(arguments[0]), min_size=limits.get("min_length", 0), max_size=4)
    if inspect.isclass(kind) and issubclass(kind, BaseModel):
        fields = kind.model_fields.items()
        parts = {name: values_of(field.annotation, tuple(field.metadata)) for name, field in fields}
        required = {name: parts[name] for name, field in fields if field.is_required()}
        optional = {name: part for name, part in parts.items() if name not in required}
        return st.fixed_dictionaries(required, optional=optional)
    return st.one_of(*map(values_of, arguments)) if arguments else VALUES


LIMITS = ("ge", "gt", "le", "lt", "min_length", "max_length")


def flatten(constraints: tuple) -> Iterator[Any]:
    """Yield constraints, and those inside the fields among them."""
    for part in constraints:
        yield part
        yield from flatten(tuple(getattr(part, "metadata", ())))


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """Return SMALL with a few changes: values and keys replaced, deleted, added, copied to other places."""
    value = copy.deepcopy(SMALL)
    for _ in range(draw(st.integers(1, 4))):
        path = draw(st.sampled_from(list(paths_in(value))))
        place = find(value, path[:-1])
        change = draw(
            st.sampled_from(["replace", "replace", "delete", "add", "rename", "copy", "wrap", "long", "repeat"])
        )
        if change == "delete":
            del place[path[-1]]
            if not list(paths_in(value)):
                break
        elif change == "wrap":
            place[path[-1]] = [place[path[-1]]]
        elif change == "rename" and isinstance(place, dict):
            place[draw(KEYS)] = place.pop(path[-1])
        elif change == "copy":
            place[path[-1]] = copy.deepcopy(find(value, draw(st.sampled_from(list(paths_in(value))))))
        elif change == "repeat":
            copies = [copy.deepcopy(place[path[-1]]) for _ in range(draw(st.sampled_from([1, 2, 30])))]
            if isinstance(place, list):
                place.extend(copies)
            else:
                place |= {f"{path[-1]}_{i}": each for i, each in enumerate(copies)}
        elif change == "add" and isinstance(place, dict):
            place[draw(KEYS)] = draw(VALUES)
        else:
            place[path[-1]] = draw(LONG if change == "long" else VALUES)
    return value


@st.composite
def near_valid(draw: st.DrawFn) -> Any:
    """Return SMALL with a few settings replaced by values of their types, so that the checks of the schema pass."""
    value = copy.deepcopy(SMALL)
    for _ in range(draw(st.integers(1, 3))):
        path, kind, constraints = draw(st.sampled_from(list(fields_in(Experiment, value))))
        place, key = find(value, path[:-1]), path[-1]
        old, values = place.get(key), values_of(kind, constraints)
        if type(old) in (int, float):
            values |= st.sampled_from([old - 1, old + 1, old * 2, old // 2, old * 10, old / 10])
        place[key] = draw(values)
    return value


def plan_or_refuse(value: Any) -> str:
    """Plan a configuration in the current folder; return the sentence that refuses it, or nothing."""
    start = time.process_time()
    try:
        text = yaml.dump(value, Dumper=DUMPER, allow_unicode=True, sort_keys=False)
        Path("fuzz.yaml").write_text(text, encoding="utf-8")
    except (yaml.YAMLError, UnicodeError):  # what cannot be written as YAML, such as half a surrogate pair
        Path("fuzz.yaml").write_text(json.dumps(value))
    try:
        experiment = read_config([Path("fuzz.yaml")])
        secrets: dict[str, str] = {}
        Path("snapshot.json").write_text(dump_snapshot(experiment, secrets), encoding="utf-8")
        with patch.dict(os.environ, secrets):
            assert read_snapshot(Path("snapshot.json")) == experiment
        results = Results(experiment)
        for job in results.jobs.all:
            json.dumps(job.canonical_settings(), allow_nan=False)
            assert all(len(os.fsencode(name)) < 200 for path in job.outputs.values() for name in path.split("/"))
        results.jobs.targets()
        results.jobs.bicubic_targets()
        estimates = Estimates(experiment, gpu=True)
        for run in experiment.runs():
            needs = [estimates.evaluation(run.group)]
            needs += [estimates.training(run.group)] if experiment.is_trained(run.model) else []
            assert all(min(need.mem_mb, need.minutes) > 0 for need in needs)
        with redirect_stdout(StringIO()):
            plan([Path("fuzz.yaml")])
        message = ""
    except LkcaError as error:
        message = str(error)
        assert message.endswith((".", "?")) and "\n" not in message and len(message) < 2000, message
        assert "Traceback" not in message
    assert time.process_time() - start < MAX_SECONDS
    return message


OPTIONS = {"deadline": None, "derandomize": True, "database": None, "suppress_health_check": list(HealthCheck)}


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """Work in an empty folder."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(tmp_path_factory.mktemp("fuzz"))
        yield


def test_start_of_the_changes_has_a_plan():
    assert plan_or_refuse(SMALL) == ""


@settings(max_examples=EXAMPLES, **OPTIONS)
@given(mutated())
def test_changed_configuration_has_a_plan_or_is_refused(value):
    plan_or_refuse(value)


@settings(max_examples=EXAMPLES, **OPTIONS)
@given(near_valid())
def test_nearly_valid_configuration_has_a_plan_or_is_refused(value):
    plan_or_refuse(value)
