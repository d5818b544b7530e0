"""A small language for claims: Python's expressions, read with ast and interpreted here, never evaluated by Python.

Numbers may be uncertain (`lkca.paper.statistics.Quantity`), so that a comparison is neither true nor false but has two
p-values: one against its being false, one against its being true. They combine as tests do: all statements of a
conjunction are established when the weakest one is (intersection-union, no correction); one of them is refuted when the
strongest evidence against any survives Bonferroni's correction for their number. Plain numbers have p-values 0 and 1.
"""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from lkca.errors import LkcaError
from lkca.paper.statistics import CONFIDENCE_LEVEL, Uncertain, value_of

Value = Any  # a number, a Quantity, text, a Truth, or a list of such


class Missing(LookupError):
    """A number that the claim needs does not exist.

    Args:
        what: Which; the results say so.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)


class Truth(NamedTuple):
    """What is known of a statement.

    Attributes:
        holds: Whether it is true of the numbers as they stand.
        p_false: p-value of the hypothesis that it is false: small where it is established.
        p_true: p-value of the hypothesis that it is true: small where it is refuted.
        many_false: How many p-values `p_false` is the smallest of, so that it has to be multiplied.
        many_true: The same of `p_true`.
        unknown: Why some of its comparisons cannot be settled at all.
        fails: For which loop variables it does not hold as the numbers stand.
    """

    holds: bool
    p_false: float
    p_true: float
    many_false: int = 0
    many_true: int = 0
    unknown: frozenset[str] = frozenset()
    fails: tuple[str, ...] = ()

    def outcome(self) -> bool | None:
        """True, False, or None where the data do not tell."""
        alpha = (1 - CONFIDENCE_LEVEL) / 2
        if corrected(self.p_false, self.many_false) <= alpha:
            return True
        return False if corrected(self.p_true, self.many_true) <= alpha else None


def corrected(p: float, many: int) -> float:
    """The smallest of many p-values, by Bonferroni."""
    return min(1.0, p * max(many, 1))


def certain(holds: bool, where: str = "") -> Truth:
    """A statement about plain numbers."""
    return Truth(holds, float(not holds), float(holds), fails=() if holds or not where else (where,))


def all_of(truths: list[Truth]) -> Truth:
    """The conjunction; of nothing it is true."""
    return Truth(
        all(t.holds for t in truths),
        max((corrected(t.p_false, t.many_false) for t in truths), default=0.0),
        min((t.p_true for t in truths), default=1.0),
        min(1, sum(t.many_false for t in truths)),
        sum(t.many_true for t in truths),
        frozenset().union(*(t.unknown for t in truths)),
        tuple(dict.fromkeys(each for t in truths for each in t.fails)),
    )


def negated(truth: Truth) -> Truth:
    """The contrary."""
    holds, p_false, p_true, many_false, many_true, unknown, _ = truth
    return Truth(not holds, p_true, p_false, many_true, many_false, unknown)


def any_of(truths: list[Truth]) -> Truth:
    """The disjunction; of nothing it is false."""
    return negated(all_of([negated(t) for t in truths]))


OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: lambda a, b: a**b if isinstance(a, Uncertain) else float(a) ** b,  # floats overflow, whole numbers grow
}
COMPARISONS = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
LARGEST_POWER, MOST_STEPS = 64, 100_000  # no claim needs more; a text that wants them is no claim


def compare(sign: type[ast.cmpop], left: Value, right: Value, where: str = "") -> Truth:
    """One comparison of two numbers or two texts."""
    if isinstance(left, Uncertain) or isinstance(right, Uncertain):
        difference = left - right
        holds = COMPARISONS[sign](value_of(left), value_of(right))
        if difference.missing_reasons or difference.standard_error_and_df()[0]:
            above, below = difference.p_value_greater(), (-difference).p_value_greater()
            fails = () if holds or not where else (where,)
            if sign in (ast.Eq, ast.NotEq):  # equality of what chance moves can be refuted, never established
                p = min(above, below)
                p_false, p_true = (1.0, p) if sign is ast.Eq else (p, 1.0)
            else:
                p_false, p_true = (above, below) if sign in (ast.Gt, ast.GtE) else (below, above)
            return Truth(holds, p_false, p_true, 1, 1, difference.missing_reasons, fails)
        return certain(holds, where)
    return certain(bool(COMPARISONS[sign](left, right)), where)


def greater(left: Value, right: Value) -> Truth:
    """Whether one number is larger than another."""
    return compare(ast.Gt, left, right)


class Expression:
    """A claim's text, checked and ready to be evaluated.

    Args:
        text: In the language that the module describes.
        where: What an error says before the sentence.

    Raises:
        LkcaError: If it is no expression of the language; names and functions are checked when it is evaluated.
    """

    def __init__(self, text: str, where: str) -> None:
        self.text, self.where = text, where
        try:
            self.tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise self._error(f"{text!r} is no expression ({error})") from None

    def _error(self, told: str) -> LkcaError:
        return LkcaError(f"{self.where}: {told}: correct it.")

    def evaluate(self, names: Mapping[str, Value], functions: Mapping[str, Callable[..., Value]]) -> Value:
        """What it says of these names and functions.

        Raises:
            Missing: If a number that it needs does not exist.
            LkcaError: If it uses what the language has not.
        """
        self.steps = 0
        try:
            return self._value(self.tree, dict(names), functions, "")
        except (ArithmeticError, TypeError, ValueError, RecursionError) as error:
            if isinstance(error, LkcaError):
                raise
            raise self._error(f"{self.text!r} cannot be computed ({error})") from None

    def _value(self, node: ast.expr, names: dict[str, Value], functions: Mapping[str, Callable], where: str) -> Value:
        def value(part: ast.expr) -> Value:
            return self._value(part, names, functions, where)

        self.steps += 1
        if self.steps > MOST_STEPS:
            raise self._error(f"it takes more than {MOST_STEPS} steps")
        match node:
            case ast.Constant(value=int() | float() | str() as constant) if not isinstance(constant, bool):
                return constant
            case ast.Name(id=name):
                if name not in names:
                    raise self._error(f"{name!r} is no name: there are {', '.join(sorted(names))}")
                return names[name]
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                return [value(part) for part in parts]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -value(operand)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return negated(self._truth(value(operand)))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                a, b = value(left), value(right)
                if not (isinstance(a, int | float | Uncertain) and isinstance(b, int | float | Uncertain)):
                    raise self._error(f"{ast.unparse(node)!r} computes with what is no number")
                if isinstance(op, ast.Pow) and (isinstance(b, Uncertain) or abs(b) > LARGEST_POWER):
                    raise self._error(f"powers are plain numbers of at most {LARGEST_POWER}")
                return OPERATORS[type(op)](a, b)
            case ast.BoolOp(op=op, values=parts):
                truths = [self._truth(value(part)) for part in parts]
                return all_of(truths) if isinstance(op, ast.And) else any_of(truths)
            case ast.Compare(left=left, ops=ops, comparators=rest) if all(type(op) in COMPARISONS for op in ops):
                values = [value(part) for part in (left, *rest)]
                pairs = zip(ops, values, values[1:], strict=False)
                return all_of([compare(type(op), a, b, where) for op, a, b in pairs])
            case ast.ListComp(elt=item, generators=loops) | ast.GeneratorExp(elt=item, generators=loops):
                return self._items(item, loops, names, functions, where)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                found = self._call(name, [value(argument) for argument in arguments], functions)
                if isinstance(found, Truth) and not (found.holds or found.fails) and where:
                    return found._replace(fails=(where,))
                return found
        raise self._error(f"{ast.unparse(node)!r} is not in the language of claims")

    def _items(
        self, item: ast.expr, loops: list[ast.comprehension], names: dict, functions: Mapping, where: str
    ) -> list[Value]:
        if not loops:
            return [self._value(item, names, functions, where)]
        loop, found = loops[0], []
        over = self._value(loop.iter, names, functions, where)
        if not isinstance(over, list):
            raise self._error(f"{ast.unparse(loop.iter)!r} is no list")
        for each in over:
            targets = loop.target.elts if isinstance(loop.target, ast.Tuple) else [loop.target]
            values = each if isinstance(loop.target, ast.Tuple) else [each]
            if not all(isinstance(target, ast.Name) for target in targets) or len(targets) != len(values):
                raise self._error(f"{ast.unparse(loop.target)!r} does not name the items of {ast.unparse(loop.iter)!r}")
            here = {target.id: value for target, value in zip(targets, values, strict=True)}
            inner = names | here
            if all(self._truth(self._value(test, inner, functions, where)).holds for test in loop.ifs):
                shown = [f"×{v}" if k == "r" else str(v) for k, v in here.items() if isinstance(v, str | int | float)]
                label = ", ".join(filter(None, [where, *shown])).replace(", ×", " ×")  # r is the scale
                found += self._items(item, loops[1:], inner, functions, label)
        return found

    def _call(self, name: str, arguments: list[Value], functions: Mapping[str, Callable]) -> Value:
        everything = {**BUILT_IN, **functions}
        if name not in everything:
            raise self._error(f"{name!r} is no function: there are {', '.join(sorted(everything))}")
        if name in ("all", "any", "len") and (len(arguments) != 1 or not isinstance(arguments[0], list)):
            raise self._error(f"{name} wants one list")
        if name in ("all", "any"):
            arguments = [[self._truth(each) for each in arguments[0]]]
        return everything[name](*arguments)

    def _truth(self, value: Value) -> Truth:
        if not isinstance(value, Truth):
            raise self._error(f"{self.text!r} joins what is no comparison")
        return value


def _extreme(choose: Callable) -> Callable[..., Value]:
    return lambda *values: choose(values[0] if len(values) == 1 else values, key=value_of)


BUILT_IN: dict[str, Callable[..., Value]] = {
    "all": all_of,
    "any": any_of,
    "min": _extreme(min),
    "max": _extreme(max),
    "abs": abs,
    "len": len,
    "cos": lambda x: math.cos(value_of(x)),
    "log10": lambda x: x.log10() if isinstance(x, Uncertain) else math.log10(x),
    "on_these_images": lambda x: x.on_these_images() if isinstance(x, Uncertain) else x,
}
