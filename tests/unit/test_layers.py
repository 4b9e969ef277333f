"""Who imports whom: the walls of ``wsaas/`` (``docs/architecture.rst``)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import wsaas

TOP = Path(wsaas.__file__).parent

_GROUND = {"errors", "limits", "counts", "logs"}
_NET = {"net", *_GROUND}
_MIDDLE = {"connections", "net.http1", *_NET}
#: What each package, or module at the top, may import besides itself.
MAY = {
    **dict.fromkeys(_GROUND, _GROUND),
    "net": _NET,
    "net.http1": {"net.http1", *_NET},
    "connections": {"connections", *_GROUND},
    "groups": {"groups", "connections", *_GROUND},
    "websocket": _MIDDLE,
    "callbacks": {"groups", *_MIDDLE},
    "pushes": {"groups", *_MIDDLE},
}
_SIDES = {"websocket", "callbacks", "pushes", "groups", *_MIDDLE}
MAY |= dict.fromkeys(("demo", "routes", "settings", "operations"), _SIDES)
MAY["assembly"] = {"demo", "routes", "settings", "operations", *_SIDES}
MAY["renewal"] = {"settings", *_SIDES}
MAY["assembly"] |= {"renewal"}
MAY["check"] = {"assembly", *MAY["assembly"]}
MAY["tap"] = {"assembly", "check", *MAY["assembly"]}
# It starts twistd, which finds the plugin by itself.
MAY["command"] = {"settings", *_MIDDLE}
MAY["__main__"] = {"command"}


def room(module: str) -> str:
    """:returns: the package of a module, or its own name at the top"""
    parts = module.split(".")[1:]
    if parts[:2] == ["net", "http1"]:
        return "net.http1"
    return parts[0] if parts else ""


def imports() -> Iterator[tuple[str, str]]:
    """:returns: each module, and each module of ours that it imports, for the type checker or not"""
    for path in sorted(TOP.rglob("*.py")):
        parts = ("wsaas", *path.relative_to(TOP).with_suffix("").parts)
        module = ".".join(parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((module, name.name) for name in node.names if name.name.split(".")[0] == "wsaas")
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{module}: a relative import"
                origin = node.module or ""
                if origin.split(".")[0] == "wsaas":
                    for name in node.names:
                        file = TOP.parent.joinpath(*origin.split("."), name.name)
                        is_module = file.with_suffix(".py").exists() or file.is_dir()
                        yield module, f"{origin}.{name.name}" if is_module else origin


class LayersTests(SynchronousTestCase):
    """``tap > assembly > {demo, routes, settings, operations} > {pushes | websocket | callbacks} > ...``"""

    def test_no_import_goes_up(self) -> None:
        pairs = list(imports())
        self.assertGreater(len(pairs), 200)
        upwards = {
            (module, imported)
            for module, imported in pairs
            if room(module) and room(imported) and room(imported) not in {room(module), *MAY[room(module)]}
        }
        self.assertEqual(upwards, set())

    def test_only_tap_imports_the_global_reactor(self) -> None:
        importers = [
            path.relative_to(TOP).as_posix()
            for path in sorted(TOP.rglob("*.py"))
            if "from twisted.internet import reactor" in path.read_text(encoding="utf-8")
        ]
        self.assertEqual(importers, ["tap.py"])


class TimesTests(SynchronousTestCase):
    """Durations are measured by a clock that is handed in, and so is what tells the time of day."""

    def test_the_time_of_day(self) -> None:
        """It is asked for where the parts are put together, and by lines of log."""
        asking = set()
        for path in sorted(TOP.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.ImportFrom(module="time", names=names) if {"time", "time_ns"} & {
                        each.name for each in names
                    }:
                        asking.add(path.relative_to(TOP).as_posix())
                    case ast.Attribute(value=ast.Name(id="time"), attr="time" | "time_ns"):
                        asking.add(path.relative_to(TOP).as_posix())
                    case ast.Attribute(value=ast.Name(id="datetime" | "date"), attr="now" | "utcnow" | "today"):
                        asking.add(path.relative_to(TOP).as_posix())
        self.assertEqual(asking, {"assembly.py", "logs.py", "operations/log_stream.py"})


class SizesTests(SynchronousTestCase):
    """A module, a function and a constructor that one can read in one go."""

    def test_sizes(self) -> None:
        """520 lines, 60 lines (40 where the parts are put together), six arguments."""
        too_long = []
        for path in sorted(TOP.rglob("*.py")):
            source = path.read_text(encoding="utf-8")
            if len(source.splitlines()) > 520:
                too_long.append(path.name)
            most = 40 if path.name == "assembly.py" else 60
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    taken = len(node.args.args) + len(node.args.kwonlyargs) - 1
                    if (node.end_lineno or 0) - node.lineno >= most or (node.name == "__init__" and taken > 6):
                        too_long.append(f"{path.name}: {node.name}")
        self.assertEqual(too_long, [])


class DocstringTests(SynchronousTestCase):
    """A package says in its docstring what each of its modules is for, so that a change finds its place."""

    def test_every_module_is_named(self) -> None:
        """By its own name; ``settings`` is the same in all of them."""
        for package in sorted(TOP.rglob("__init__.py")):
            folder = package.parent
            if folder in (TOP, TOP / "demo"):
                continue
            docstring = ast.get_docstring(ast.parse(package.read_text(encoding="utf-8"))) or ""
            for module in sorted(folder.glob("*.py")):
                if module.stem not in ("__init__", "settings"):
                    self.assertIn(
                        f"``{module.stem}``", docstring.replace(":mod:`.interfaces`", "``interfaces``"), folder
                    )
