"""Write the syntax tree of sample.txt as JSON, as this Python makes it, with the standard library alone.

    python3.13 tests/trees/dump.py > tests/trees/3.13.json

3.12.json and 3.13.json are from CPython 3.12.7 and 3.13.2.
"""

import ast
import json
from pathlib import Path

SAMPLE = Path(__file__).with_name("sample.txt")


def encode(node: object) -> list:
    """A node as its type and its fields; a constant as its type and its repr, as JSON has fewer types."""
    if isinstance(node, ast.AST):
        return [type(node).__name__, {name: encode(getattr(node, name, None)) for name in node._fields}]
    if isinstance(node, list):
        return ["list", [encode(each) for each in node]]
    return [type(node).__name__, repr(node)]


def decode(code: list) -> object:
    """The node that `encode` has read, made of this Python's classes; fields that those do not know are kept."""
    kind, value = code
    if isinstance(value, dict):
        node = getattr(ast, kind)()
        for name, each in value.items():
            setattr(node, name, decode(each))
        return node
    if kind == "list":
        return [decode(each) for each in value]
    return ... if kind == "ellipsis" else ast.literal_eval(value)


if __name__ == "__main__":
    print(json.dumps(encode(ast.parse(SAMPLE.read_text(encoding="utf-8"))), separators=(",", ":")))
