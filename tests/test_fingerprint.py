"""The digest of code: which changes it covers, which it ignores, and that it covers all code that runs."""

import ast
import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import fake_results
import pytest

from lkca.core import fingerprint
from lkca.core.fingerprint import PLUMBING, REGISTRIES, STEPS, Package, step_code
from lkca.models.registry import MODELS, class_path
from tests.conftest import REPOSITORY
from tests.trees import dump

TREES = REPOSITORY / "tests/trees"


def digest(source: str = "", root: str = "p.a:f", **others: str) -> str:
    """Return the digest of a definition of a package that consists of p.a and other modules."""
    texts = {"p": "", "p.a": source} | {f"p.{name}": text for name, text in others.items()}
    trees = {name: ast.parse(dedent(text)) for name, text in texts.items()}
    return Package(Path("p"), trees, plumbing={"p.plumbing"}, registries={"p.a:TABLE"}).code(root).digest


BASE = """
    from p.b import scale
    import numpy as np

    LIMIT = 0.5
    TABLE = {"one": 1}

    class Wrong(ValueError):
        pass

    class Net:
        width: int = 4

        def forward(self, x):
            return np.dot(x, self.width)

        def size(self):
            return 2 * self.width

    def g(x):
        return x + 1

    def f(x: float, times: int = 2) -> float:
        if x > LIMIT:
            raise Wrong(f"{x} is too large: choose less")
        total = [scale(value) for value in range(times)]
        def inner(y):
            return g(y) + total[0]
        print("done")
        return inner(x) + Net().forward(total[1])
"""
OTHER = "def scale(x):\n    return 3 * x\n"

IGNORED_CHANGES = {
    "comment": ("LIMIT = 0.5", "LIMIT = 0.5  # of all"),
    "docstring": ("def g(x):\n", 'def g(x):\n        """Add one."""\n'),
    "annotations": ("def g(x):", "def g(x: int) -> int:"),
    "annotated variable": ("total = [", "total: list = ["),
    "message": ("is too large: choose less", "exceeds the limit"),
    "message with another value": ('Wrong(f"{x} is', 'Wrong(f"{x + 1} is'),
    "print": ('print("done")', 'print("ready", 1)'),
    "no print": ('        print("done")\n', ""),
    "text for a message": ("        print", '        hint = "more" + " words"\n        print'),
    "local variable": ("total", "whole"),
    "loop variable": ("scale(value) for value in", "scale(v) for v in"),
    "inner function": ("inner", "nested"),
    "function": ("g(", "plus_one("),
    "class": ("Net", "Network"),
    "constant": ("LIMIT", "MOST"),
    "alias of a module": ("np", "numpy_as_np"),
    "alias of a function": ("import scale", "import scale as triple", "scale(value)", "triple(value)"),
    "number": ("0.5", "5e-1"),
    "unused function": ("class Net", "def unused():\n        return 1\n\n    class Net"),
    "unused import": ("import numpy", "import math\n    import numpy"),
    "entry of a registry": ('{"one": 1}', '{"one": 1, "two": 2}'),
    "for type checkers": ("    LIMIT =", "    if TYPE_CHECKING:\n        import x\n    LIMIT ="),
    "pass": ("        print", "        pass\n        print"),
    "log": ("        print", '        logger.error("odd")\n        print'),
}  # fmt: skip

COVERED_CHANGES = {
    "constant": ("LIMIT = 0.5", "LIMIT = 0.6"),
    "kind of a number": ("3 * x", "3.0 * x"),
    "text": ("int = 2", 'int = "2"'),
    "default": ("times: int = 2", "times: int = 3"),
    "name of a parameter": ("times", "number"),
    "condition": ("x > LIMIT", "x >= LIMIT"),
    "no refusal": ('raise Wrong(f"{x} is too large: choose less")', "x = LIMIT"),
    "used function": ("return x + 1", "return x + 2"),
    "used function elsewhere": ("return 3 * x", "return 4 * x"),
    "method": ("np.dot", "np.inner"),
    "another method": ("2 * self.width", "3 * self.width"),
    "attribute": ("self.width", "self.depth"),
    "field": ("width: int = 4", "width: int = 5"),
    "type of a field": ("width: int = 4", "width: float = 4"),
    "base": ("class Net:", "class Net(dict):"),
    "order of operands": ("inner(x) + Net().forward(total[1])", "Net().forward(total[1]) + inner(x)"),
    "order of statements": ("LIMIT = 0.5", "LIMIT = 0.5\n    LIMIT = 0.25"),
    "statement at the top": ("LIMIT = 0.5", "LIMIT = 0.5\n    np.seterr()"),
    "decorator": ("    def g(x)", "    @np.vectorize\n    def g(x)"),
    "other import": ("import numpy as np", "import torch as np"),
    "other function of the same name": ("from p.b import scale", "from p.c import scale"),
    "printed into a file": ('print("done")', 'print("done", file=open(x))'),
    "method that is called like a logger's": ('print("done")', "total.info(x)"),
    "view that is changed in place": ("        print", "        edge = total[:1]\n        edge *= 0\n        print"),
    "loop at the top": ("LIMIT = 0.5", "LIMIT = 0.5\n    for i in (1, 2):\n        TABLE.update(i)"),
    "changed at the top": ("LIMIT = 0.5", "LIMIT = 0.5\n    if (more := TABLE):\n        more.clear()"),
    "printed assignment": ('print("done")', "print(x := 1)"),
}


def edited(*pairs: str) -> tuple[str, dict[str, str]]:
    source, other = BASE, OTHER
    for old, new in zip(pairs[::2], pairs[1::2], strict=True):
        assert old in source + other
        source, other = source.replace(old, new), other.replace(old, new)
    return source, {"b": other, "c": "def scale(x):\n    return x\n"}


@pytest.mark.parametrize("name", IGNORED_CHANGES)
def test_digest_ignores(name):
    source, others = edited(*IGNORED_CHANGES[name])
    assert digest(source, **others) == digest(BASE, b=OTHER)


@pytest.mark.parametrize("name", COVERED_CHANGES)
def test_digest_covers(name):
    source, others = edited(*COVERED_CHANGES[name])
    assert digest(source, **others) != digest(BASE, b=OTHER)


def test_moved_definitions_have_the_same_digest():
    """Into other modules, in another order, by whatever import."""
    start = "def g(x):\n    return x + 1\n\n\ndef f(x):\n    return g(x)\n"
    ways = [
        ("def f(x):\n    return g(x)\n\n\ndef g(x):\n    return x + 1\n", ""),
        ("from p.b import g\n\n\ndef f(x):\n    return g(x)\n", "def g(x):\n    return x + 1\n"),
        ("from p import b\n\n\ndef f(x):\n    return b.g(x)\n", "def g(x):\n    return x + 1\n"),
        ("import p.b\n\n\ndef f(x):\n    return p.b.g(x)\n", "def g(x):\n    return x + 1\n"),
        ("def f(x):\n    from p.b import g as h\n    return h(x)\n", "def g(x):\n    return x + 1\n"),
        ("from p.b import g\n\n\ndef f(x):\n    return g(x)\n", "from p.c import g\n"),
    ]
    others = {"c": "def g(x):\n    return x + 1\n"}
    assert len({digest(start)} | {digest(a, b=b, **others) for a, b in ways}) == 1


def test_methods_of_settings_count():
    """A step gets its settings as an object, whose methods it calls: the annotation tells of which class."""
    step = "from p.b import S\ndef f(settings: S | None):\n    return settings.size()\n"
    method = "class S:\n    n: int\n    def size(self):\n        return {} * self.n\n"
    assert digest(step, b=method.format(2)) != digest(step, b=method.format(3))
    renamed = digest(step.replace("S", "T"), b=method.format(2).replace("S", "T"))
    assert renamed == digest(step, b=method.format(2))


CARRIER = "class E(Exception):\n    def __init__(self, x):\n        self.x = x\ndef f():\n    raise E({})\n"
VIEW = "def f(x):\n    edge = x[:{}]\n    edge *= 0\n    return x\n"
BRANCHES = "try:\n    from {} import g\nexcept ImportError:\n    from {} import g\ndef f():\n    return g()\n"
LOCAL_BRANCHES = (
    "def f(a):\n    if a:\n        from m import {} as g\n    else:\n        from m import sum as g\n    return g(a)\n"
)
WRAPPED = "from m import g, half, whole\ng = {}(g)\ndef f():\n    return g()\n"
TYPING = "if TYPE_CHECKING:\n    pass\nelse:\n    X = {}\ndef f():\n    return X\n"
METHOD = "class f:\n    a = 1\n    def m(self):\n        return a\n"  # where a is the module's


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("def f(a, b):\n    x, y = a, b\n    return x - y\n", "def f(a, b):\n    x, y = a, b\n    return y - x\n"),
        ("g = 1\ndef f():\n    return [h for h in [2]], g\n", "g = 1\ndef f():\n    return [g for g in [2]], g, g\n"),
        ("g = 1\nh = 2\ndef f():\n    return g, h\n", "g = 1\nh = 2\ndef f():\n    return h, g\n"),
        ("g = 1\ndef f():\n    return g\n", "g = 1\ndef f(g=1):\n    return g\n"),
        ("def f():\n    x = 1\n    return lambda: x\n", "x = 1\ndef f():\n    return lambda: x\n"),
        ("def f(n):\n    return f(n - 1)\n", "def f(n):\n    return g(n - 1)\ndef g(n):\n    return n\n"),
        (
            "def f(n):\n    return g(n)\ndef g(n):\n    return f(n) + 1\n",
            "def f(n):\n    return g(n)\ndef g(n):\n    return f(n) + 2\n",
        ),
        ("def f():\n    global x\n    x = 1\n", "def f():\n    x = 1\n"),
        (METHOD + "a = 2\n", METHOD + "a = 3\n"),
        (CARRIER.format(1), CARRIER.format(2)),
        (VIEW.format(1), VIEW.format(4)),
        (BRANCHES.format("m", "n"), BRANCHES.format("n", "m")),
        (LOCAL_BRANCHES.format("mean"), LOCAL_BRANCHES.format("median")),
        (WRAPPED.format("half"), WRAPPED.format("whole")),
        (TYPING.format(1), TYPING.format(2)),
    ],
)  # fmt: skip
def test_scopes_differ(one, other):
    assert digest(one) != digest(other)


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_digest_is_the_same_under_other_pythons(version):
    """Their trees are others: f-strings are divided otherwise, functions and classes have more fields."""
    here, stored = ast.parse(dump.SAMPLE.read_text()), json.loads((TREES / f"{version}.json").read_text())
    names = ("format_all", "classify", "gather", "read", "Point", "decorate", "LIMITS", "FIRST", "REST")
    for name in names:
        one, other = (Package(Path("p"), {"p.a": tree}).code(f"p.a:{name}") for tree in (here, dump.decode(stored)))
        assert one == other
    if sys.version_info < (3, 12):
        assert dump.encode(here) != stored


def test_listed_names_exist():
    """A name that is listed but does not exist would have no effect."""
    package = fingerprint.current_package()
    for key in (*PLUMBING, *REGISTRIES, *STEPS.values()):
        name, _, definition = key.partition(":")
        module = package.module(name)
        assert module is not None and (not definition or definition in module.bindings), key
    assert len({step_code("train", [class_path(arch)]).digest for arch in MODELS}) == len(MODELS)


@pytest.fixture
def executed():
    """The (module, name) of all definitions of lkca that the test calls; code that runs on import does not count."""
    called = set()
    folder = str(fingerprint.PACKAGE)

    def record_call(frame, event, _):
        code = frame.f_code
        runs = code.co_flags & inspect.CO_OPTIMIZED  # of a function, not the body of a module or a class
        if (
            event == "call"
            and runs
            and code.co_filename.startswith(folder)
            and code.co_filename.endswith(".py")
            and not code.co_qualname.startswith("<")
        ):
            called.add((frame.f_globals["__name__"], code.co_qualname.split(".")[0]))

    sys.setprofile(record_call)
    yield called
    sys.setprofile(None)


def uncovered(called: set, *roots: str) -> set[str]:
    """Return the definitions that have run but are neither reachable from the roots nor in PLUMBING."""
    reached = fingerprint.current_package().reachable(*roots)
    keys = {f"{module}:{name}" for module, name in called}
    return {key for key in keys if not {key, key.partition(":")[0]} & {*reached, *PLUMBING}}


def network(arch: str) -> str:
    return f"lkca.models.{arch}:{MODELS[arch].class_name}"


def test_code_that_a_run_executes_is_covered(tiny, executed):
    """A training with a teacher, its scores, its singular values: every function that was called is in the digest."""
    from lkca.scoring.evaluate import evaluate
    from lkca.scoring.singular_values import spectrum
    from lkca.training.train import train

    folder = tiny.folder
    teacher = {"teacher": "t", "features": "upsampler", "alpha": 0.1, "decay": 0.5, "every": 1}
    losses = {"cos": 0.5, "sam": 0.5, "grad": 0.1}
    runs = [tiny.run("t")]
    train(runs[0], tiny.scene, tiny.split, None, folder / "t/weights.safetensors", folder / "t/history.csv")
    runs.append(tiny.run("s", teacher=runs[0], distill=teacher | losses))
    train(runs[1], tiny.scene, tiny.split, folder / "t/weights.safetensors", *files(folder / "s"))
    assert uncovered(executed, STEPS["train"], network("lkca"), STEPS["split"], STEPS["settings"]) == set()
    executed.clear()
    scores = folder / "s/scores.json", folder / "s/image.npz"
    evaluate(runs[1], tiny.scene, tiny.split, tiny.manifest, *files(folder / "s"), 0, [1, 2, 3], *scores)
    assert uncovered(executed, STEPS["evaluate"], network("lkca")) == set()
    executed.clear()
    spectrum(runs[1], folder / "s/weights.safetensors", folder / "s/spectrum.json")
    assert uncovered(executed, STEPS["spectrum"], network("lkca")) == set()


def files(folder: Path) -> tuple[Path, Path]:
    return folder / "weights.safetensors", folder / "history.csv"


@pytest.mark.slow
def test_code_that_a_report_executes_is_covered(tmp_path, executed):
    fake_results.write_report(tmp_path)
    assert {"lkca.report.tables:write_table", "lkca.report.figures:draw_figure", "lkca.report.page:write_report"} <= {
        ":".join(key) for key in executed
    }
    assert uncovered(executed, *(STEPS[step] for step in ("table", "figure", "claims", "report"))) == set()


def test_code_that_a_scene_executes_is_covered(tmp_path, monkeypatch, executed):
    from lkca.data import scenes
    from lkca.data.catalog import CUBES
    from lkca.data.settings import SceneSettings

    monkeypatch.setattr(
        scenes, "run_sandboxed", lambda function, *args: function(*args)
    )  # else it runs in another process
    cube = CUBES["indian_pines"]
    settings = SceneSettings(name="x", cube_name="indian_pines", cube=cube, bands=12, mirror=[], composite=None)
    scenes.cut_scene(settings, tmp_path / "x.npy", tmp_path / "x.json")
    assert uncovered(executed, STEPS["scene"]) == set()


def test_code_at_import_counts():
    """Of the package and of its parts, and of what a branch at the top imports."""
    source = "def f():\n    return 1\n"
    assert digest(source, root="p.q.a:f", q="", **{"q.a": source}) != digest(
        source, root="p.q.a:f", q="import torch\ntorch.set_default_dtype(torch.float64)\n", **{"q.a": source}
    )
    branch = "try:\n    from p.b import g\nexcept ImportError:\n    g = None\ndef f():\n    return g()\n"
    assert digest(branch, b="def g():\n    return 1\n") != digest(branch, b="def g():\n    return 2\n")


def test_cache_is_for_the_same_files_only(tmp_path):
    """Another process reads the cache; it reads the code again after an edit, or if the cache is damaged."""
    shutil.copytree(REPOSITORY / "lkca", tmp_path / "lkca", ignore=shutil.ignore_patterns("__pycache__"))
    cached = tmp_path / ".snakemake/lkca/code.json"
    cached.parent.mkdir(parents=True)
    program = "from lkca.core.fingerprint import step_code, current_package; "
    program += "print(step_code('split').digest, current_package.cache_info().misses)"

    def compute() -> list[str]:
        """Return the digest that a new process computes, and how many times it reads the code."""
        done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.split()

    first = compute()[0]
    assert first == step_code("split").digest and compute() == [first, "0"]
    for text in ("", "{", "[]", '{"sources": 1}', cached.read_text().replace('"split"', '"splits"')):
        cached.write_text(text)
        assert compute() == [first, "1"]
    patches = tmp_path / "lkca/data/windows.py"
    patches.write_text(patches.read_text().replace("columns.stop - size + 1", "columns.stop - size"))
    other = compute()
    assert other[0] != first and other[1] == "1" and compute() == [other[0], "0"]


def test_syntax_error_names_the_file(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "p/a.py").write_text("def f(:\n")
    with pytest.raises(SyntaxError) as caught:
        Package(tmp_path / "p").code("p.a:f")
    assert caught.value.filename == str(tmp_path / "p/a.py")


def test_parentheses_of_del_do_not_count():
    """A formatter adds them to a statement that it breaks into lines; the order of the names counts."""
    source = "def f(a):\n    x = a\n    y = x\n    del x, y\n    return a\n"
    assert digest(source) == digest(source.replace("del x, y", "del (x, y)"))
    assert digest(source) != digest(source.replace("del x, y", "del y, x"))
