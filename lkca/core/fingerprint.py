"""Compute a digest of the code of each step of the workflow; it changes only if the step's results may change.

A step is a function of lkca. Its digest covers that function and every function, class and constant of lkca that it
uses, directly or through others; the names in the code show which. The digest identifies a definition by its content,
not by its name or place. The syntax tree is written in a normal form that is the same for every Python from 3.11 on.

The digest ignores comments, docstrings, annotations (except those of the fields of a class, which pydantic uses),
formatting, the order and the place of definitions, the names of local variables, functions, classes and constants, and
messages: texts that are printed, logged or passed to an exception. docs/howto/reruns.md lists what the digest misses.

This module needs the standard library only.
"""

import ast
import builtins
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from lkca.core.paths import CODE_CACHE

# Step of the workflow -> the function that runs it.
STEPS = {
    "fetch": "lkca.data.scenes:fetch_files",
    "scene": "lkca.data.scenes:cut_scene",
    "split": "lkca.data.splits:write_split",
    "settings": "lkca.config.run:write_run",
    "train": "lkca.training.train:train",
    "evaluate": "lkca.scoring.evaluate:evaluate",
    "spectrum": "lkca.scoring.singular_values:spectrum",
    "efficiency": "lkca.scoring.benchmark:efficiency",
    "table": "lkca.report.tables:write_table",
    "bicubic_rows": "lkca.paper.bicubic_check:bicubic_check",
    "figure": "lkca.report.figures:draw_figure",
    "claims": "lkca.paper.claims.check:check_claims",
    "report": "lkca.report.page:write_report",
}
# Code that digests do not cover, because it does not change results: either it only chooses settings, which are
# compared separately, or tests show that results do not depend on it (resuming, GPUs, the sandbox).
PLUMBING = {
    "lkca.errors",
    *(f"lkca.core.{name}" for name in ("fingerprint", "gpus", "locks", "paths", "stopwatch")),
    *(
        f"lkca.core.files:{name}"
        for name in ("atomic_write", "sha256", "json_digest", "open_file", "read_text", "read_json", "write_json")
    ),
    "lkca.core.printing",
    "lkca.data.sandbox",
    "lkca.models.registry",  # the class of the network is passed to `step_code` instead
    *(
        f"lkca.config.{name}"
        for name in (
            "figure_kinds",
            "job",
            "jobs",
            "load",
            "messages",
            "report_jobs",
            "run",
            "run_jobs",
            "schema",
            "settings",
            "validate",
            "yaml_files",
        )
    ),
    *(f"lkca.training.{name}" for name in ("checkpoint", "divergence", "progress", "resume")),
}
# Tables that digests do not cover: a step uses at most one entry, and its settings contain that entry.
REGISTRIES = {"lkca.data.catalog:CUBES"}

PACKAGE = Path(__file__).parents[1]
# Fields of syntax nodes that do not change what the code does.
SKIPPED = {"annotation", "returns", "type_comment", "type_params", "type_ignores", "ctx", "kind"}
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
LOGGERS = {"console", "log", "logger", "logging", "warnings"}  # names of objects that print or log messages
LOG_METHODS = {"print", "warn", "debug", "info", "warning", "error", "exception", "critical"}  # methods of LOGGERS
# Imported name -> (module, name in that module, or None for the module itself); several if branches import it.
Imports = dict[str, list[tuple[str, str | None]]]


class Code(NamedTuple):
    """Digests of the code of a step.

    Args:
        digest: Digest of all code that the step uses, 64 hexadecimal digits.
        modules: Module -> digest of the definitions in it that the step uses, 12 hexadecimal digits. It shows in which
            modules the code of two records differs.
    """

    digest: str
    modules: dict[str, str]


class Reference(NamedTuple):
    """A use of a definition of lkca: `module:name`, or `module` for a whole module."""

    key: str


Token = str | Reference


def step_code(step: str, networks: Iterable[str] = ()) -> Code:
    """Return the digests of the code of a step.

    Args:
        step: A key of STEPS.
        networks: The classes of the networks that it uses, as `lkca.models.registry.class_path` returns them.

    Raises:
        KeyError: If there is no such step.
    """
    return _step_code(step, tuple(sorted({*networks})))


@cache
def _step_code(step: str, networks: tuple[str, ...]) -> Code:
    codes, key = _cached_codes(), " ".join([step, *networks])
    if key not in codes:
        codes[key] = current_package().code(STEPS[step], *networks)
        _write_cache(codes)
    return codes[key]


def hash_sources() -> str:
    """Return the SHA-256 of the names and bytes of all Python files of lkca, 64 hexadecimal digits."""
    hashed = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        content = path.read_bytes()
        hashed.update(f"{path.relative_to(PACKAGE)} {len(content)} ".encode() + content)
    return hashed.hexdigest()


@cache
def _cached_codes() -> dict[str, Code]:
    """Return the digests that another process has cached for the same source files: step and networks -> digests."""
    try:
        content = json.loads(CODE_CACHE.read_text(encoding="utf-8"))
        if content["sources"] == _initial_source_hash():
            return {key: Code(str(digest), dict(modules)) for key, (digest, modules) in content["codes"].items()}
    except (OSError, ValueError, TypeError, KeyError):  # the cache is missing or damaged: compute the digests again
        pass
    return {}


@cache
def _initial_source_hash() -> str:
    """Return the hash of the source files at the first call in this process."""
    return hash_sources()


def _write_cache(codes: dict[str, Code]) -> None:
    """Cache digests for other processes, unless a source file has changed meanwhile."""
    from lkca.core.files import write_json

    if CODE_CACHE.parent.is_dir() and hash_sources() == _initial_source_hash():
        with suppress(ValueError):  # the disk is full or read-only
            write_json(CODE_CACHE, {"sources": _initial_source_hash(), "codes": codes})


@cache
def current_package() -> "Package":
    """Return the definitions of lkca, read from its files."""
    return Package(PACKAGE)


class Package:
    """The definitions of a package. Methods identify a definition by its key `module:name`, and a module by its name.

    Args:
        folder: The folder of the package; its name is the package's name.
        trees: Name of a module -> its syntax tree, instead of the files in the folder.
        plumbing, registries: Modules, or definitions as `module:name`, that digests do not cover.
    """

    def __init__(
        self,
        folder: Path,
        trees: Mapping[str, ast.Module] | None = None,
        plumbing: Iterable[str] = PLUMBING,
        registries: Iterable[str] = REGISTRIES,
    ) -> None:
        self.folder, self.name = folder, folder.name
        self.trees = trees
        self.ignored = {*plumbing, *registries}
        self.modules: dict[str, Module | None] = {}
        self.tokens: dict[str, list[Token]] = {}
        self.digests: dict[str, str] = {}

    def code(self, *roots: str) -> Code:
        """Return the digests of these definitions and of all that they use.

        Definitions are numbered in the order in which `reachable` lists them, and refer to each other by number.
        """
        numbers = {key: i for i, key in enumerate(self.reachable(*roots))}
        lines = [[self._definition_digest(key), *(numbers[ref] for ref in self.references(key))] for key in numbers]
        modules: dict[str, list[str]] = {}
        for key in numbers:
            modules.setdefault(key.partition(":")[0], []).append(self._definition_digest(key))
        parts = {name: _hash(sorted(digests))[:12] for name, digests in sorted(modules.items())}
        return Code(_hash(lines), parts)

    def reachable(self, *roots: str) -> list[str]:
        """Return all definitions that these use, directly or through others, in the order of a breadth-first search.

        The search starts from the roots and from the classes that annotate their parameters.
        """
        reached = dict.fromkeys((*roots, *(key for root in roots for key in self._parameter_classes(root))))
        queue = [*reached]
        for key in queue:  # the list grows in the loop
            new = [ref for ref in dict.fromkeys(self.references(key)) if ref not in reached]
            reached |= dict.fromkeys(new)
            queue += new
        return [*reached]

    def references(self, key: str) -> list[str]:
        """Return the definitions that a definition uses directly, in the order of its code, with repetitions."""
        return [token.key for token in self._normal_form(key) if isinstance(token, Reference)]

    def _parameter_classes(self, key: str) -> list[str]:
        """Return the classes of the package that annotate a function's parameters, because it may call their methods.

        Return an empty list if the definition is not a function.
        """
        name, _, definition = key.partition(":")
        module = self.module(name)
        statement = module.bindings.get(definition, [None])[0] if module else None
        if module is None or not isinstance(statement, FUNCTIONS):
            return []
        arguments = (*statement.args.posonlyargs, *statement.args.args, *statement.args.kwonlyargs)
        annotations = [node for arg in arguments if arg.annotation for node in ast.walk(arg.annotation)]
        names = [node.id for node in annotations if isinstance(node, ast.Name)]
        defined = [name for name in names if name in module.imports or name in module.bindings]
        tokens = [token for name in defined for token in self.reference_tokens(module.name, name)]
        return [token.key for token in tokens if isinstance(token, Reference)]

    def _definition_digest(self, key: str) -> str:
        """Return the digest of a definition's own code, without the definitions that it uses."""
        if key not in self.digests:
            self.digests[key] = _hash([token if isinstance(token, str) else None for token in self._normal_form(key)])
        return self.digests[key]

    def module(self, name: str) -> "Module | None":
        """Return a module of this package; None if there is no module of that name."""
        if name not in self.modules:
            tree = self.trees.get(name) if self.trees is not None else self._parse(name)
            self.modules[name] = Module(name, tree) if tree else None
        return self.modules[name]

    def _parse(self, name: str) -> ast.Module | None:
        """Return the syntax tree of a module of this package; None if there is no such module."""
        if name.partition(".")[0] != self.name:
            return None
        path = self.folder.joinpath(*name.split(".")[1:])
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        return ast.parse(file.read_bytes(), filename=str(file)) if file.is_file() else None

    def _normal_form(self, key: str) -> list[Token]:
        """Return the tokens of a definition in normal form, with references to the definitions that it uses.

        Raises:
            KeyError: If there is no such definition.
        """
        if key in self.tokens:
            return self.tokens[key]
        name, _, definition = key.partition(":")
        module = self.module(name)
        if module is None or (definition and definition not in module.bindings):
            raise KeyError(f"{self.name} does not define {key}: correct the name in lkca/core/fingerprint.py.")
        tokens: list[Token] = []
        if definition:
            parents = [self.module(".".join(name.split(".")[:i])) for i in range(name.count(".") + 1)]
            for owner in (module, *filter(None, parents)):  # importing the module runs the code of its parents first
                for statement in (*(module.bindings[definition] if owner is module else ()), *owner.effects):
                    tokens += Writer(self, owner).write(statement)
        else:
            tokens += (Reference(f"{name}:{bound}") for bound in sorted(module.bindings))
        self.tokens[key] = tokens
        return tokens

    def reference_tokens(self, module: str, attribute: str | None) -> list[Token]:
        """Return the tokens for a name in a module of this package, or for the module itself if the name is None."""
        key = f"{module}:{attribute}" if attribute else module
        if {module, key} & self.ignored:
            return ["plumbing"]
        if attribute:
            if self.module(f"{module}.{attribute}"):
                return self.reference_tokens(f"{module}.{attribute}", None)
            owner = self.module(module)
            imports = owner.imports.get(attribute, []) if owner else []
            tokens = [token for target in imports for token in self.import_tokens(*target)]
            if owner and attribute in owner.bindings:
                tokens.append(Reference(key))
            return tokens or [key]  # no statement binds names such as __file__
        return [Reference(key)]

    def import_tokens(self, module: str, name: str | None) -> list[Token]:
        """Return the tokens for a name that is imported from any module, or for the module if the name is None."""
        if self.module(module):
            return self.reference_tokens(module, name)
        return [f"{module}.{name}" if name else module]

    def is_message_class(self, key: str) -> bool:
        """Return whether a definition is an exception class without an __init__, which holds only a message."""
        module, statement = self.module(key.partition(":")[0]), self._class(key)
        if module is None or statement is None or self.defines_init(key):
            return False
        bases = statement.bases
        return any(_is_builtin_exception(base) or self.names_message_class(module, base, key) for base in bases)

    def defines_init(self, key: str) -> bool:
        """Return whether a definition is a class with an __init__ of its own."""
        statement = self._class(key)
        body = statement.body if statement else []
        return any(isinstance(member, FUNCTIONS) and member.name == "__init__" for member in body)

    def _class(self, key: str) -> ast.ClassDef | None:
        """Return the statement that defines a class; None if the definition is not a class."""
        name, _, definition = key.partition(":")
        module = self.module(name)
        statement = module.bindings.get(definition, [None])[0] if module else None
        return statement if isinstance(statement, ast.ClassDef) else None

    def names_message_class(self, module: "Module", node: ast.expr, excluded: str = "") -> bool:
        """Return whether an expression in a module names a class for which `is_message_class` holds.

        Args:
            module: The module that contains the expression.
            node: The expression.
            excluded: A class that is being checked already, so that a class with its own name as base ends.
        """
        if not isinstance(node, ast.Name):
            return False
        ((owner, name), *_) = module.imports.get(node.id, [(module.name, node.id)])
        return bool(name) and f"{owner}:{name}" != excluded and self.is_message_class(f"{owner}:{name}")


def _is_builtin_exception(node: ast.expr) -> bool:
    """Return whether an expression is the name of an exception class of Python."""
    kind = getattr(builtins, node.id, None) if isinstance(node, ast.Name) else None
    return isinstance(kind, type) and issubclass(kind, BaseException)


def _hash(value: list[Any]) -> str:
    """Return the SHA-256 of a list as JSON, 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


class Module:
    """The top-level statements of a module, sorted by what they do.

    Attributes:
        bindings: Name -> the top-level statements that bind it, in the order of the file.
        imports: The names that the module imports anywhere outside of functions and classes.
        effects: Top-level statements that do more than import, define or bind a constant, such as loops. They may
            change anything in the module, so the digest of every definition covers them.
    """

    def __init__(self, name: str, tree: ast.Module) -> None:
        self.name = name
        self.bindings: dict[str, list[ast.stmt]] = {}
        self.imports: Imports = {}
        self.effects: list[ast.stmt] = []
        for statement in _runtime_statements(tree.body):
            for bound, targets in _imports_in(_own_nodes([statement])).items():
                self.imports.setdefault(bound, []).extend(targets)
            if (
                isinstance(statement, ast.Import | ast.ImportFrom)
                or _is_constant_expression(statement)
                or _is_message(statement)
            ):
                continue
            for bound in _bound_names([statement]):
                self.bindings.setdefault(bound, []).append(statement)
            if not (isinstance(statement, DEFINITIONS) or _assigned_value(statement)):
                self.effects.append(statement)


def _runtime_statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run on import, without those that run only for type checkers or only in scripts."""
    for statement in body:
        if isinstance(statement, ast.If) and _is_false_on_import(statement.test):
            yield from statement.orelse
        else:
            yield statement


def _is_false_on_import(test: ast.expr) -> bool:
    """Return whether a condition is true only for type checkers (TYPE_CHECKING) or only in scripts (__name__)."""
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or ast.unparse(test).startswith("__name__ ==")


def _is_constant_expression(statement: ast.stmt) -> bool:
    """Return whether a statement is a docstring, an ellipsis or another constant."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _assigned_value(statement: ast.stmt) -> ast.expr | None:
    """Return the value of an assignment to plain names; None for any other statement."""
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return None
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    return statement.value if all(isinstance(target, ast.Name) for target in targets) else None


def _is_message(statement: ast.stmt) -> bool:
    """Return whether a statement only prints to the terminal or logs."""
    if not (isinstance(statement, ast.Expr) and isinstance(call := statement.value, ast.Call)):
        return False
    if any(isinstance(node, ast.NamedExpr | ast.Await) for node in ast.walk(call)):
        return False
    if isinstance(call.func, ast.Attribute):
        owner = ast.unparse(call.func.value).rpartition(".")[2]
        return owner in LOGGERS and call.func.attr in LOG_METHODS
    files = [ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg == "file"]
    return ast.unparse(call.func) == "print" and {*files} <= {"sys.stderr", "sys.stdout"}


def _imports(statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, tuple[str, str | None]]]:
    """Yield the names that an import binds, each with its module and its name in that module.

    Raises:
        ValueError: If the import is relative or imports `*`.
    """
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            top = alias.name.partition(".")[0]
            yield (alias.asname, (alias.name, None)) if alias.asname else (top, (top, None))
        return
    if statement.level or any(alias.name == "*" for alias in statement.names):
        raise ValueError(f"line {statement.lineno}: replace the relative or * import by an absolute import of names.")
    for alias in statement.names:
        yield alias.asname or alias.name, (statement.module or "", alias.name)


def _bound_names(nodes: Iterable[ast.AST]) -> dict[str, None]:
    """Return the names that nodes bind in their own scope, except by imports, as the keys of a dict in code order."""
    names: dict[str, None] = {}
    for node in nodes:
        if isinstance(node, DEFINITIONS):
            names[node.name] = None
            inner: list[ast.AST] = [*node.decorator_list]
        elif isinstance(node, ast.Lambda):
            inner = []
        elif isinstance(node, COMPREHENSIONS):  # := in a comprehension binds a name of the surrounding scope
            assignments = [child for child in ast.walk(node) if isinstance(child, ast.NamedExpr)]
            names |= dict.fromkeys(assignment.target.id for assignment in assignments)
            inner = []
        else:
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
                names[node.id] = None
            if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
                names[node.name] = None
            if isinstance(node, ast.MatchMapping) and node.rest:
                names[node.rest] = None
            inner = [*ast.iter_child_nodes(node)]
        names |= _bound_names(inner)
    return names


class Scope:
    """The names of a function, a comprehension or a class body."""

    def __init__(
        self,
        local: Iterable[str] = (),
        parameters: Iterable[str] = (),
        imports: Imports | None = None,
        declared_global: Iterable[str] = (),
        is_class: bool = False,
    ) -> None:
        self.local, self.parameters = {*local}, {*parameters}
        self.imports, self.declared_global = dict(imports or {}), {*declared_global}
        self.is_class = is_class


class Writer:
    """Writes definitions in normal form, as a list of tokens.

    Args:
        package: The package that contains the module.
        module: The module of the definition.
    """

    def __init__(self, package: Package, module: Module) -> None:
        self.package, self.module = package, module
        self.scopes: list[Scope] = []
        self.out: list[Token] = []
        self.numbers: dict[tuple[Scope, str], int] = {}  # scope and name of a local variable -> its number

    def write(self, statement: ast.stmt) -> list[Token]:
        """Write a top-level statement, without the name that it defines; return all tokens so far."""
        if isinstance(statement, DEFINITIONS):
            self._definition(statement)
        elif value := _assigned_value(statement):
            self.out.append("constant")
            self._node(value)
        else:
            self._node(statement)
        return self.out

    # Nodes ----------------------------------------------------------------------------------------------------------

    def _node(self, node: object) -> None:  # noqa: C901 (a case for each kind of node)
        match node:
            case ast.Name():
                self._name(node)
            case ast.Attribute():
                self._attribute(node)
            case ast.Constant():
                self._constant(node.value)
            case ast.JoinedStr():
                self._format_string(node)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                self._write_binding(node.name)
                self._definition(node)
            case ast.Lambda():
                self.out.append("Lambda")
                self._function(node, [ast.Return(node.body)])
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                self._comprehension(node)
            case ast.Import() | ast.ImportFrom():
                if not self.scopes:  # in a branch at top level
                    for _, target in _imports(node):
                        self.out += self.package.import_tokens(*target)
            case ast.Pass() | ast.Global() | ast.Nonlocal():
                pass
            case ast.Delete(targets=[ast.Tuple(elts=targets)]):  # `del (a, b)` is `del a, b`
                self._fields(ast.Delete(targets=targets))
            case ast.Raise():
                self.out.append("Raise")
                if isinstance(node.exc, ast.Call) and self._creates_exception_with_values(node.exc):
                    self._node(node.exc)
            case ast.Assert():
                self.out.append("Assert")
                self._node(node.test)
            case ast.Call() if self._creates_plain_exception(node):
                self.out.append("exception")
            case ast.ExceptHandler() | ast.MatchAs() | ast.MatchStar() if node.name:
                self._write_binding(node.name)
                self._fields(node, {"name"})
            case ast.MatchMapping() if node.rest:
                self._write_binding(node.rest)
                self._fields(node, {"rest"})
            case ast.AnnAssign():
                self._annotated_assignment(node)
            case ast.AST():
                self._fields(node)
            case list():
                self.out.append("[")
                for item in self._without_messages(node):
                    self._node(item)
                self.out.append("]")
            case _:
                self.out.append(json.dumps(node))

    def _fields(self, node: ast.AST, without: Iterable[str] = ()) -> None:
        """Write the fields of a node; omit empty fields, because newer versions of Python have more of them."""
        self.out.append(f"({type(node).__name__}")
        for name in sorted(node._fields):
            value = getattr(node, name, None)
            if name not in SKIPPED and name not in without and value is not None and value != []:
                self.out.append(f"{name}=")
                self._node(value)
        self.out.append(")")

    def _without_messages(self, nodes: list[Any]) -> list[Any]:
        """Return a list of nodes without the statements that are docstrings or messages."""
        return [
            node
            for node in nodes
            if not (isinstance(node, ast.stmt) and (_is_constant_expression(node) or _is_message(node)))
        ]

    def _constant(self, value: object) -> None:
        if isinstance(value, str):
            self.out.append("str " + json.dumps(value))
        elif isinstance(value, bytes):
            self.out.append("bytes " + value.hex())
        elif isinstance(value, float):
            self.out.append("float " + value.hex())
        elif isinstance(value, complex):
            self.out.append(f"complex {value.real.hex()} {value.imag.hex()}")
        else:  # None, a bool, an int, an ellipsis
            self.out.append(f"{type(value).__name__} {value!r}")

    def _format_string(self, node: ast.JoinedStr) -> None:
        """Write an f-string; join adjacent constant parts, because versions of Python divide them differently."""
        self.out.append("(f")
        text = ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                text += str(part.value)
                continue
            if text:
                self._constant(text)
            text = ""
            self._fields(part)
        if text:
            self._constant(text)
        self.out.append(")")

    def _annotated_assignment(self, node: ast.AnnAssign) -> None:
        """Write an annotated assignment; write its annotation only in a class body, where it declares a field."""
        if self.scopes and self.scopes[-1].is_class:
            self.out.append("field")
            self._node(node.target)
            self._node(node.annotation)
            if node.value:
                self._node(node.value)
        elif node.value:
            assignment = ast.Assign([node.target], node.value)
            self._fields(assignment)

    def _creates_plain_exception(self, node: ast.Call) -> bool:
        """Return whether a call creates an exception that holds only a message."""
        if not isinstance(node.func, ast.Name) or self._scope_of(node.func.id) is not None:
            return False
        return _is_builtin_exception(node.func) or self.package.names_message_class(self.module, node.func)

    def _creates_exception_with_values(self, node: ast.Call) -> bool:
        """Return whether a call creates an exception of lkca that holds more than a message."""
        tokens = (
            [*self.package.import_tokens(self.module.name, node.func.id)] if isinstance(node.func, ast.Name) else []
        )
        classes = [token.key for token in tokens if isinstance(token, Reference)]
        return any(map(self.package.defines_init, classes))

    # Names ----------------------------------------------------------------------------------------------------------

    def _scope_of(self, name: str) -> int | None:
        """Return the index of the open scope that binds a name; None if the module or Python itself binds it."""
        for i in reversed(range(len(self.scopes))):
            scope = self.scopes[i]
            if scope.is_class and i < len(self.scopes) - 1:
                continue  # methods do not see the names of the class body
            if name in scope.declared_global:
                return None
            if name in scope.local or name in scope.parameters or name in scope.imports:
                return i
        return None

    def _name(self, node: ast.Name) -> None:
        i = self._scope_of(node.id)
        if i is None:
            self._global_name(node.id)
        elif node.id in self.scopes[i].imports:
            for target in self.scopes[i].imports[node.id]:
                self.out += self.package.import_tokens(*target)
        else:
            self._write_binding(node.id)

    def _write_binding(self, name: str) -> None:
        """Write a name that an open scope binds: class attributes and parameters by name, local variables by number."""
        i = self._scope_of(name)
        if i is None or self.scopes[i].is_class or name in self.scopes[i].parameters:
            self.out.append(f"name {name}")
        else:
            self.out.append(f"variable {self.numbers.setdefault((self.scopes[i], name), len(self.numbers))}")

    def _global_name(self, name: str) -> None:
        if name in self.module.imports or name in self.module.bindings:
            self.out += self.package.reference_tokens(self.module.name, name)
        else:
            self.out.append(f"builtin {name}")

    def _attribute(self, node: ast.Attribute) -> None:
        """Write a chain of attributes such as a.b.c: if `a` is an imported module, write what the chain refers to."""
        parts, value = [node.attr], node.value
        while isinstance(value, ast.Attribute):
            parts.append(value.attr)
            value = value.value
        parts.reverse()
        target = self._import_of(value.id) if isinstance(value, ast.Name) else None
        if target is None:
            self.out.append("(attribute")
            self._node(node.value)
            self.out.append(f".{node.attr})")
            return
        module, name = target
        if name and self.package.module(f"{module}.{name}"):
            module, name = f"{module}.{name}", None
        while self.package.module(module) and not name and parts:
            name = parts.pop(0)
            if self.package.module(f"{module}.{name}"):
                module, name = f"{module}.{name}", None
        tokens = self.package.import_tokens(module, name)
        if len(tokens) == 1 and isinstance(tokens[0], str) and not self.package.module(module):
            self.out.append(".".join([tokens[0], *parts]))  # a name of another package; its alias does not matter
        else:
            self.out += tokens
            self.out += (f".{part}" for part in parts)

    def _import_of(self, name: str) -> tuple[str, str | None] | None:
        """Return module and name of an imported name; None if no import or more than one binds it."""
        i = self._scope_of(name)
        targets = (self.module.imports if i is None else self.scopes[i].imports).get(name, [])
        bound = i is None and name in self.module.bindings
        return targets[0] if len(targets) == 1 and not bound else None

    # Scopes ---------------------------------------------------------------------------------------------------------

    def _definition(self, node: FunctionNode | ast.ClassDef) -> None:
        for decorator in node.decorator_list:
            self.out.append("@")
            self._node(decorator)
        if isinstance(node, ast.ClassDef):
            self._class(node)
        else:
            self.out.append("async def" if isinstance(node, ast.AsyncFunctionDef) else "def")
            self._function(node, node.body)

    def _class(self, node: ast.ClassDef) -> None:
        self.out.append("class")
        for part in (*node.bases, *node.keywords):
            self._node(part)
        methods = sorted((item for item in node.body if isinstance(item, FUNCTIONS)), key=lambda method: method.name)
        others = [item for item in node.body if not isinstance(item, FUNCTIONS)]
        self.scopes.append(
            Scope(local=_bound_names(node.body), imports=_imports_in(_own_nodes(node.body)), is_class=True)
        )
        self._node(others)
        self._node(methods)
        self.scopes.pop()

    def _function(self, node: FunctionNode | ast.Lambda, body: Sequence[ast.AST]) -> None:
        arguments = node.args
        all_arguments = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        all_arguments += [arg for arg in (arguments.vararg, arguments.kwarg) if arg]
        self._node(arguments)  # defaults belong to the surrounding scope
        own = [*_own_nodes(body)]
        declared_global = [name for child in own if isinstance(child, ast.Global) for name in child.names]
        declared_nonlocal = [name for child in own if isinstance(child, ast.Nonlocal) for name in child.names]
        parameters = [arg.arg for arg in all_arguments]
        local = {*_bound_names(body)} - {*parameters, *declared_global, *declared_nonlocal}
        self.scopes.append(Scope(local, parameters, _imports_in(own), declared_global))
        self._node(_without_unused_texts(body, local))
        self.scopes.pop()

    def _comprehension(self, node: Comprehension) -> None:
        first = node.generators[0]
        targets = [generator.target for generator in node.generators]
        self.out.append(f"({type(node).__name__}")
        self._node(first.iter)  # belongs to the surrounding scope
        self.scopes.append(Scope(local=_bound_names(targets)))
        for i, generator in enumerate(node.generators):
            self.out.append("for")
            self._node(generator.target)
            if i:
                self._node(generator.iter)
            self._node(generator.ifs)
            self.out.append("async" if generator.is_async else "sync")
        for name in ("elt", "key", "value"):
            if getattr(node, name, None) is not None:
                self._node(getattr(node, name))
        self.out.append(")")
        self.scopes.pop()


def _own_nodes(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield the nodes of a function's body, but not the nodes inside nested functions and classes."""
    for node in body:
        yield node
        if not isinstance(node, (*FUNCTIONS, ast.ClassDef, ast.Lambda)):
            yield from _own_nodes(ast.iter_child_nodes(node))


def _imports_in(nodes: Iterable[ast.AST]) -> Imports:
    """Return the names that the import statements among these nodes bind."""
    imports: Imports = {}
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for name, target in _imports(node):
                imports.setdefault(name, []).append(target)
    return imports


def _without_unused_texts(body: Sequence[ast.AST], local: Iterable[str]) -> list[ast.AST]:
    """Return the body of a function without assignments of strings to variables that only messages use."""
    unused = {*local} - {node.id for node in _reads(body)}

    def is_unused_text(statement: object) -> bool:
        return (
            isinstance(statement, ast.Assign)
            and len(statement.targets) == 1
            and isinstance(statement.targets[0], ast.Name)
            and statement.targets[0].id in unused
            and _is_string(statement.value)
        )

    return [statement for statement in body if not is_unused_text(statement)]


def _is_string(node: ast.expr) -> bool:
    """Return whether an expression consists of strings and f-strings, and calls nothing."""
    if isinstance(node, ast.BinOp):
        return _is_string(node.left) and _is_string(node.right)
    if isinstance(node, ast.IfExp):
        return _is_string(node.body) and _is_string(node.orelse)
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    calls = (ast.Call, ast.NamedExpr, ast.Await)
    return isinstance(node, ast.JoinedStr) and not any(isinstance(child, calls) for child in ast.walk(node))


def _reads(nodes: Iterable[ast.AST]) -> Iterator[ast.Name]:
    """Yield the names that are read, except in messages."""
    for node in nodes:
        if isinstance(node, ast.Raise) or (isinstance(node, ast.stmt) and _is_message(node)):
            continue
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            yield node.target
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load | ast.Del):
            yield node
        yield from _reads(ast.iter_child_nodes(node))
