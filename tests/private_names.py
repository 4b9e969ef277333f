"""Private names of libraries that the gateway uses: found in its code, for the table in ``docs/dependencies.rst``."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import wsaas

TOP = Path(wsaas.__file__).parent
_PRIVATE = re.compile(r"_(?!_)\w+|_[A-Z]\w*__\w+")


def _is_private(name: str) -> bool:
    return _PRIVATE.fullmatch(name) is not None


def _trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(TOP.rglob("*.py")):
        module = ".".join(("wsaas", *path.relative_to(TOP).with_suffix("").parts)).removesuffix(".__init__")
        yield module, ast.parse(path.read_text(encoding="utf-8"))


def _own_names() -> set[str]:
    """:returns: private names that the gateway's own code defines"""
    own: set[str] = set()
    for _, tree in _trees():
        for node in ast.walk(tree):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    own.add(name)
                case ast.Name(id=name, ctx=ast.Store()):
                    own.add(name)
                case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                    own.add(name)
                case ast.Constant(value=str(name)):
                    own.add(name)  # __slots__
    return own


def _library_names(kind: type) -> set[str]:
    """:returns: private names of the library classes that a class of ours comes from, methods and attributes"""
    return {name for base in kind.__mro__[1:] for name in _names_of(base) if _is_private(name)}


@cache
def _names_of(base: type) -> frozenset[str]:
    """:returns: the methods and attributes of one class, if it is a library's"""
    if base.__module__.partition(".")[0] in ("wsaas", "builtins", "typing", "abc", "enum"):
        return frozenset()
    try:
        source = inspect.getsource(base)
    except (OSError, TypeError):
        source = ""
    return frozenset({*vars(base), *re.findall(r"\bself\.(_\w+)", source)})


def _inherited(module: ModuleType, tree: ast.Module) -> Iterator[str]:
    """:returns: private names of base classes that the classes of a module define, read or set"""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        kind = getattr(module, node.name, None)
        theirs = _library_names(kind) if isinstance(kind, type) else set()
        for inner in ast.walk(node):
            match inner:
                case ast.FunctionDef(name=name) | ast.Attribute(attr=name) | ast.Name(id=name, ctx=ast.Store()):
                    if name in theirs:
                        yield name


def _is_foreign(node: ast.Attribute, classes: set[str]) -> bool:
    """:returns: whether it is an attribute of something else than the object or a class of this module"""
    return not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls", *classes})


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("wsaas"):
            for name in node.names:
                if _is_private(name.name):
                    yield name.name
                elif any(_is_private(part) for part in node.module.split(".")):
                    yield f"{node.module.rpartition('.')[2]}.{name.name}"


def _looked_up(tree: ast.Module) -> Iterator[str]:
    """:returns: names in ``vars(...)["_name"]``"""
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=ast.Call(func=ast.Name(id="vars")), slice=ast.Constant(value=str(name))):
                if _is_private(name):
                    yield name


def private_names() -> set[tuple[str, str]]:
    """:returns: module and name: of libraries, private there, and used here all the same"""
    own = _own_names()
    found: set[tuple[str, str]] = set()
    for name, tree in _trees():
        classes = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
        used = set(_imported(tree)) | set(_inherited(importlib.import_module(name), tree)) | set(_looked_up(tree))
        # Nothing here has an attribute of that name; or it is another object's (lint lets none of ours through).
        used |= {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and _is_private(node.attr)
            and (node.attr not in own or _is_foreign(node, classes))
        }
        found |= {(name, each) for each in used}
    return found
