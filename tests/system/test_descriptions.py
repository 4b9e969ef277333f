"""``docs/openapi.yaml`` and ``docs/asyncapi.yaml``: they say what ``docs/protocol.rst`` says, and are well-formed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from tests import tools
from tests.processes import ROOT
from tests.system.test_docs import HAVE_DOCUTILS, PROTOCOL, ParsedTestCase
from wsaas import __version__

if HAVE_DOCUTILS:
    from docutils import nodes

try:
    import yaml
except ImportError:
    HAVE_YAML = False
else:
    HAVE_YAML = True

OPENAPI, ASYNCAPI = ROOT / "docs" / "openapi.yaml", ROOT / "docs" / "asyncapi.yaml"
METHODS = ("get", "head", "put", "delete", "post")
#: Which callback is which method.
CALLBACKS = {"POST": "connect", "PUT": "message", "DELETE": "disconnect"}


class DescriptionTestCase(ParsedTestCase):
    """The tables of the page, and the description that is held to them."""

    if not (HAVE_DOCUTILS and HAVE_YAML):
        skip = "docutils or PyYAML is not installed"

    page: ClassVar[nodes.document | None] = None

    def setUp(self) -> None:
        """Read the description."""
        self.described: dict[str, Any] = yaml.safe_load(OPENAPI.read_text(encoding="utf-8"))

    def get(self, part: Any) -> Any:
        """:returns: what a part of the description is, or refers to"""
        while "$ref" in part:
            found: Any = self.described
            for step in part["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            part = found
        return part

    def part(self, section: str) -> nodes.section:
        """:returns: the section of the page whose title begins like this"""
        if DescriptionTestCase.page is None:
            # For all tests: it takes a second.
            DescriptionTestCase.page = self.parse(PROTOCOL)
        sections = DescriptionTestCase.page.findall(nodes.section)
        return next(found for found in sections if found[0].astext().startswith(section))

    def table(self, section: str, *heads: str) -> Iterator[list[nodes.entry]]:
        """:returns: the rows of each table of a section, or of its parts, that has these heads"""
        for table in self.part(section).findall(nodes.table):
            (head,) = table.findall(nodes.thead)
            if [entry.astext() for entry in head.findall(nodes.entry)] == list(heads):
                for row in next(iter(table.findall(nodes.tbody))).findall(nodes.row):
                    yield list(row.findall(nodes.entry))

    def literals(self, part: nodes.Element) -> list[str]:
        """:returns: what stands in a part as code"""
        return [literal.astext() for literal in part.findall(nodes.literal)]

    def terms(self, section: str) -> set[str]:
        """:returns: the headers that a section explains, one after another"""
        return {self.literals(term)[0].partition(":")[0] for term in self.part(section).findall(nodes.term)}


class CallbackTests(DescriptionTestCase):
    """The ``webhooks``."""

    def headers_of(self, method: str) -> list[str]:
        """:returns: the headers of a callback"""
        operation = self.described["webhooks"][CALLBACKS[method]][method.lower()]
        return [self.get(parameter)["name"] for parameter in operation["parameters"]]

    def test_headers(self) -> None:
        """Those of all callbacks, and those of the DELETE."""
        rows = list(self.table("2. Callbacks", "header", "value"))
        named = [self.literals(row[0]) for row in rows]
        at = named.index(["Ws-Close-Code"])
        # OpenAPI has no place for Authorization but the security of an operation, and API_HEADERS may be any.
        common = {name for names in named[:at] for name in names} - {"Authorization", "API_HEADERS"}
        added = {name for names in named[at:] for name in names}
        self.assertEqual(set(self.headers_of("POST")), common)
        self.assertEqual(set(self.headers_of("PUT")), common)
        self.assertEqual(set(self.headers_of("DELETE")), common | added)
        self.assertGreater(len(added), 5)

    def test_closed_by(self) -> None:
        """Every cause of an end."""
        causes = {
            self.literals(row[2])[0] for row in self.table("2. Callbacks", "end", "Ws-Close-Code", "Ws-Closed-By")
        }
        self.assertEqual(set(self.described["components"]["parameters"]["wsClosedBy"]["schema"]["enum"]), causes)

    def test_answers(self) -> None:
        """What an answer may ask for, in the order in which it is carried out."""
        expected: dict[str, list[str]] = {method: [] for method in CALLBACKS}
        for row in self.table("2.4", "header", "answer to", "effect"):
            name = self.literals(row[0])[0].partition(":")[0]
            for method in row[1].astext().split(", "):
                # These two say how it is published.
                expected[method] += [name, "Ws-Except", "Ws-Slow"] if name == "Ws-Publish" else [name]
        for method, name in CALLBACKS.items():
            answers = self.described["webhooks"][name][method.lower()]["responses"]
            self.assertEqual(list(answers["2XX"]["headers"]), expected[method], method)


class PathTests(DescriptionTestCase):
    """The ``paths``."""

    def operations(self, *paths: str) -> Iterator[tuple[str, str, Any]]:
        """:returns: path, method and what there is, of these paths"""
        for path in paths:
            for method in METHODS:
                if method in self.described["paths"][path]:
                    yield path, method, self.described["paths"][path][method]

    def refusals(self, *paths: str) -> set[tuple[str, str]]:
        """:returns: statuses and codes of refusals"""
        found = set()
        for _, _, operation in self.operations(*paths):
            for status, answer in operation["responses"].items():
                schema = self.get(answer).get("content", {}).get("application/json", {}).get("schema", {})
                for part in schema.get("allOf", [])[1:]:
                    code = part["properties"]["code"]
                    found |= {(status, word) for word in code.get("enum", [code.get("const")])}
        return found

    def codes(self, section: str) -> set[tuple[str, str]]:
        """:returns: statuses and codes of a section's table"""
        return {(row[0].astext(), row[1].astext()) for row in self.table(section, "status", "code", "when")}

    def test_version(self) -> None:
        """It is the gateway's."""
        self.assertEqual(self.described["info"]["version"], __version__)

    def test_paths(self) -> None:
        """Every form of a path, and no other."""
        (paragraph,) = (
            it for it in self.part("6.2").findall(nodes.paragraph) if it.astext().startswith("A path is read from")
        )
        segment = r"(<[a-z]+>|groups|users|all|members|batch)"
        forms = {text for text in self.literals(paragraph) if re.fullmatch(f"{segment}(/{segment})*", text)}
        forms = {text.replace("<g>", "{group}").replace("<u>", "{user}").replace("<key>", "{key}") for text in forms}
        # Words of the text.
        forms -= {"groups", "users", "members"}
        self.assertEqual(set(self.described["paths"]), {f"/{form}" for form in forms})

    def test_codes(self) -> None:
        """Statuses and their words: of pushes, and of what is by name."""
        self.assertEqual(self.refusals("/{key}"), self.codes("3. Pushes"))
        others = [path for path in self.described["paths"] if path != "/{key}"]
        self.assertEqual(self.refusals(*others), self.codes("6.7") | {("500", "FAULT")})

    def test_headers(self) -> None:
        """Those of a push, and of a publish."""
        for section, paths in (("3.1", ["/{key}"]), ("6.4", ["/groups/{group}", "/users/{user}", "/all"])):
            for path in paths:
                operation = self.described["paths"][path]["put"]
                named = {self.get(parameter)["name"] for parameter in operation["parameters"]}
                self.assertEqual(named, self.terms(section), path)

    def test_a_connection(self) -> None:
        """Each member of what ``GET ws_uri`` tells is explained."""
        (row,) = (
            row for row in self.table("3. Pushes", "request", "effect", "answer") if row[0].astext() == "GET ws_uri"
        )
        members = set(self.described["components"]["schemas"]["Connection"]["properties"]) - {"code"}
        self.assertEqual(members - set(self.literals(row[1])), set())

    def test_every_operation(self) -> None:
        """It has a name of its own, and whatever is by name wants the token for that."""
        found = list(self.operations(*self.described["paths"]))
        names = [operation["operationId"] for _, _, operation in found]
        self.assertEqual(len(set(names)), len(names))
        for path, method, operation in found:
            joins = path == "/{key}/groups/{group}" and method == "put"
            self.assertEqual("security" not in operation, "{key}" not in path or joins, f"{method} {path}")

    def test_it_is_valid(self) -> None:
        """The validator has nothing to say, of ``webhooks`` either."""
        found = tools.run([tools.tool("python"), "-m", "openapi_spec_validator", str(OPENAPI)])
        self.assertEqual(found.returncode, 0, found.stdout + found.stderr)


class ClientTests(DescriptionTestCase):
    """``docs/asyncapi.yaml``."""

    def setUp(self) -> None:
        """Read the description."""
        self.described = yaml.safe_load(ASYNCAPI.read_text(encoding="utf-8"))

    def numbers(self, rows: Sequence[str], pattern: str) -> set[str]:
        """:returns: what matches in some cells"""
        return {number for cell in rows for number in re.findall(pattern, cell)}

    def test_version(self) -> None:
        """It is the gateway's."""
        self.assertEqual(self.described["info"]["version"], __version__)

    def test_refusals(self) -> None:
        """Every status in place of 101."""
        cells = [row[1].astext() for row in self.table("4. Clients", "case", "answer")]
        cells += [row[1].astext() for row in self.table("2.2", "answer", "the client gets", "the API gets")]
        statuses = self.numbers(cells, r"^[45][0-9]{2}\b") | {"401"}
        self.assertEqual(set(self.described["channels"]["connection"]["x-refusals"]), statuses)

    def test_close_codes(self) -> None:
        """Every one that a client can get."""
        cells = [row[1].astext() for row in self.table("4. Clients", "case", "answer")]
        codes = self.numbers(cells, r"\bclose ([0-9]{4})")
        ends = self.table("2. Callbacks", "end", "Ws-Close-Code", "Ws-Closed-By")
        codes |= self.numbers([row[1].astext() for row in ends], r"\b[0-9]{4}\b")
        allowed = [row[1].astext() for row in self.table("3. Pushes", "request", "effect", "answer")]
        for low, high in re.findall(r"\b(1[0-9]{3})(?:-(1[0-9]{3}))?\b", "".join(allowed)):
            codes |= {str(code) for code in range(int(low), int(high or low) + 1)}
        # These two are never in a Close frame (RFC 6455 §7.4.1).
        self.assertEqual(set(self.described["channels"]["connection"]["x-close-codes"]), codes - {"1005", "1006"})

    def test_it_is_valid(self) -> None:
        """AsyncAPI's own parser has nothing to say, but that there is a later version."""
        program = """
const { Parser } = require('@asyncapi/parser');
new Parser().parse(JSON.parse(require('fs').readFileSync(0))).then(({ document, diagnostics }) => {
  console.log(JSON.stringify([Boolean(document), diagnostics.map((each) => [each.severity, each.code, each.message])]));
});
"""
        read, complaints = tools.ask_node(program, "@asyncapi/parser", ASYNCAPI.read_text(encoding="utf-8"))
        self.assertTrue(read)
        self.assertEqual([each for each in complaints if each[1] != "asyncapi-latest-version"], [])
