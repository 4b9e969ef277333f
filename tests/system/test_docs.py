"""The documentation: that its pages parse, that their links lead somewhere, that they say what the code does."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from email.parser import Parser
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from bench.ports import free_port
from tests.processes import PATIENCE, ROOT, Gateway, Program, environment, start, start_gateway
from tests.signatures import sign, signed_text
from wsaas import __version__
from wsaas.connections.identity import is_key, tag_of
from wsaas.connections.messages import ClosedBy, checked_close
from wsaas.settings.table import SETTINGS

try:
    from docutils import nodes
    from docutils.core import publish_doctree
except ImportError:
    HAVE_DOCUTILS = False
else:
    HAVE_DOCUTILS = True

try:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect
except ImportError:
    HAVE_WEBSOCKETS = False
else:
    HAVE_WEBSOCKETS = True

README = ROOT / "README.rst"
PROTOCOL = ROOT / "docs" / "protocol.rst"
SECRETS_PAGE = ROOT / "docs" / "secrets.rst"
SETTINGS_PAGE = ROOT / "docs" / "settings.rst"

FOLDERS = ("clients", "docs", "examples", "systemd", "bench", "tests", "wsaas")
#: What a page writes, without markup, where a setting has no default text.
NO_DEFAULT = (
    "none",
    "required",
    "localhost, and scheme and port of the first endpoint for pushes",
    "port 8080, IPv4 and IPv6",
    "open files less a reserve",
)
#: What names of settings begin with, so that a misspelt or invented one is noticed.
SETTING_NAME = re.compile(r"(?:ADMIN|API|DRAIN|FORWARD|LOG|PUBLISH|PUSH|STATE|TRUST|WS)_[A-Z_]*[A-Z]")


def pages() -> list[Path]:
    """:returns: every page of the repository, without those of packages that were installed below it"""
    found = list(ROOT.glob("*.rst"))
    for folder in FOLDERS:
        found += (page for page in (ROOT / folder).rglob("*.rst") if "node_modules" not in page.parts)
    return sorted(found)


class ParsedTestCase(SynchronousTestCase):
    """What the tests of parsed pages share."""

    if not HAVE_DOCUTILS:
        skip = "docutils is not installed"

    def parse(self, page: Path) -> nodes.document:
        """:returns: the page's tree; the test fails if docutils complains of anything"""
        complaints = io.StringIO()
        tree: nodes.document = publish_doctree(
            page.read_text(encoding="utf-8"),
            source_path=str(page.relative_to(ROOT)),
            settings_overrides={
                "warning_stream": complaints,
                "report_level": 2,
                # Code is not coloured: that would take one more package and check nothing.
                "syntax_highlight": "none",
                # A page with a single section keeps it.
                "doctitle_xform": False,
            },
        )
        self.assertEqual(complaints.getvalue(), "")
        return tree

    def section(self, page: Path, title: str) -> nodes.section:
        """:returns: the section of a page that has this title"""
        sections = self.parse(page).findall(nodes.section)
        found = [section for section in sections if section[0].astext() == title]
        self.assertEqual(len(found), 1, f"{page}: {title}")
        return found[0]

    def rows(self, part: nodes.Element) -> Iterator[list[nodes.entry]]:
        """:returns: the rows of every table of a part, heads left out"""
        for body in part.findall(nodes.tbody):
            for row in body.findall(nodes.row):
                yield list(row.findall(nodes.entry))

    def code(self, part: nodes.Element, language: str | None = None) -> list[str]:
        """:returns: the blocks of a part: of a language, or those without one"""
        return [
            block.astext()
            for block in part.findall(nodes.literal_block)
            if (block["classes"] == ["code", language] if language else "code" not in block["classes"])
        ]


class PagesTests(ParsedTestCase):
    """Every page."""

    def test_docutils_has_nothing_to_complain_of(self) -> None:
        self.assertIn(README, pages())
        self.assertIn(PROTOCOL, pages())
        for page in pages():
            self.parse(page)

    def test_links_lead_to_files_and_sections_that_exist(self) -> None:
        for page in pages():
            for reference in self.parse(page).findall(nodes.reference):
                parts = urlsplit(reference.get("refuri", ""))
                if parts.scheme or not (parts.path or parts.fragment):
                    continue
                target = (page.parent / parts.path).resolve() if parts.path else page
                self.assertTrue(target.exists(), f"{page}: {parts.path}")
                self.assertTrue(target.is_relative_to(ROOT), f"{page}: {parts.path}")
                if parts.fragment:
                    self.assertIn(parts.fragment, self.parse(target).ids, f"{page}: {parts.path}")

    def test_links_of_the_security_policy(self) -> None:
        """It is Markdown, where hosts of repositories look for it."""
        policy = ROOT / "SECURITY.md"
        links = re.findall(r"\]\(([^)\s]+)\)", policy.read_text(encoding="utf-8"))
        inside = [urlsplit(link) for link in links if not urlsplit(link).scheme]
        self.assertTrue(inside)
        for parts in inside:
            target = ROOT / parts.path
            self.assertTrue(target.exists(), parts.path)
            if parts.fragment:
                self.assertIn(parts.fragment, self.parse(target).ids, parts.path)

    def test_the_index_names_every_page_beside_it(self) -> None:
        index = ROOT / "docs" / "index.rst"
        linked = {reference["refuri"] for reference in self.parse(index).findall(nodes.reference)}
        for page in index.parent.rglob("*.rst"):
            if page != index:
                self.assertIn(str(page.relative_to(index.parent)), linked)

    def test_settings_that_are_named_exist(self) -> None:
        known = {setting.name for setting in SETTINGS}
        known |= {f"{setting.name}_FILE" for setting in SETTINGS if setting.in_file}
        for page in pages():
            for literal in self.parse(page).findall(nodes.literal):
                if SETTING_NAME.fullmatch(literal.astext()):
                    self.assertIn(literal.astext(), known, page)

    def test_json_is_json(self) -> None:
        seen = 0
        for page in pages():
            for literal in self.parse(page).findall(nodes.literal):
                if literal.astext().startswith('{"'):
                    json.loads(literal.astext())
                    seen += 1
        self.assertGreater(seen, 3)

    def test_the_architecture_names_every_module(self) -> None:
        """In the table of its package, by its file's name."""
        top = ROOT / "wsaas"
        named: set[str] = set()
        for section in self.parse(ROOT / "docs" / "architecture.rst").findall(nodes.section):
            title = section[0].astext()
            if title.startswith("wsaas/"):
                folder = title.removeprefix("wsaas/")
                named |= {folder + row[0].astext() for row in self.rows(section)}
        modules = {module.relative_to(top).as_posix() for module in top.rglob("*.py") if module.name != "__init__.py"}
        self.assertEqual(modules - named, set())
        self.assertEqual(named - modules, set())

    def test_the_changelog_is_one_of_releases(self) -> None:
        """The newest is this version; each says when it came out, only the newest may be still to come."""
        page = self.parse(ROOT / "CHANGELOG.rst")
        (top,) = [section for section in page.findall(nodes.section) if section[0].astext() == "Changes"]
        releases = [part for part in top.children if isinstance(part, nodes.section)]
        titles = [release[0].astext() for release in releases]
        self.assertEqual(titles[0], __version__)
        self.assertEqual(titles, sorted(titles, key=lambda title: [int(n) for n in title.split(".")], reverse=True))
        for number, release in enumerate(releases):
            said = release[1].astext()
            if number or said != "Not released yet.":
                self.assertRegex(said, r"^Released on \d{4}-\d{2}-\d{2}\.$")


class SettingsPageTests(ParsedTestCase):
    """``docs/settings.rst`` and the short table of the README against the table in the code."""

    def assertDefault(self, cell: nodes.entry, default: str | None) -> None:
        """A default stands as a literal; that there is none is said in words."""
        literals = [literal.astext() for literal in cell.findall(nodes.literal)]
        if default:
            self.assertEqual(literals, [default])
            self.assertEqual(cell.astext(), default)
        else:
            self.assertEqual(literals, [])
            self.assertIn(cell.astext(), NO_DEFAULT)

    def test_every_setting_has_its_row_in_the_order_of_help(self) -> None:
        rows = list(self.rows(self.parse(SETTINGS_PAGE)))
        self.assertEqual([row[0].astext() for row in rows], [setting.name for setting in SETTINGS])
        for row, setting in zip(rows, SETTINGS, strict=True):
            self.assertEqual(row[1].astext(), "none" if setting.secret else f"--{setting.option}")
            self.assertDefault(row[2], setting.default)
            said = f"{setting.summary} {setting.allowed}"
            self.assertEqual(row[3].astext() == "ms", "millisecond" in said, setting.name)
            self.assertEqual(row[3].astext() == "bytes", "in bytes" in said, setting.name)

    def test_the_readme_repeats_some_of_them(self) -> None:
        defaults = {setting.name: setting.default for setting in SETTINGS}
        rows = list(self.rows(self.section(README, "Settings")))
        self.assertGreater(len(rows), 3)
        for row in rows:
            self.assertDefault(row[1], defaults[row[0].astext()])


class ProtocolPageTests(ParsedTestCase):
    """What the contract lists, against what the code has."""

    def test_close_codes_that_may_be_asked_for(self) -> None:
        match = re.search(r"Default 1000; allowed ([0-9, -]+);", self.section(PROTOCOL, "3. Pushes").astext())
        assert match is not None
        allowed: set[int] = set()
        for part in match[1].split(", "):
            low, _, high = part.partition("-")
            allowed.update(range(int(low), int(high or low) + 1))
        self.assertEqual({code for code in range(10_000) if self.is_allowed(code)}, allowed)

    def is_allowed(self, code: int) -> bool:
        """:returns: whether the code takes a close code"""
        try:
            checked_close(str(code), "")
        except ValueError:
            return False
        return True

    def test_who_may_close(self) -> None:
        rows = self.rows(self.section(PROTOCOL, "2. Callbacks"))
        causes = {row[2].astext() for row in rows if len(row) == 3 and re.search(r"[0-9]{4}|code", row[1].astext())}
        self.assertEqual(causes, {by.value for by in ClosedBy})

    def test_codes_of_pushes(self) -> None:
        tables = list(self.section(PROTOCOL, "3. Pushes").findall(nodes.table))
        listed = {(int(row[0].astext()), row[1].astext()) for row in self.rows(tables[1])}
        # The channel answers what is not to be read; a fault is answered wherever it shows.
        modules = (
            "pushes/resource.py",
            "pushes/answering.py",
            "net/http1/server.py",
            "net/http1/site.py",
            "net/http1/messages.py",
            "routes.py",
        )
        source = "".join((ROOT / "wsaas" / name).read_text(encoding="utf-8") for name in modules)
        for _, code in listed:
            self.assertIn(f'"{code}"', source)

    def test_codes_of_requests_by_name(self) -> None:
        tables = list(self.section(PROTOCOL, "6. Groups, users, everyone").findall(nodes.table))
        listed = {(row[0].astext(), row[1].astext()) for row in self.rows(tables[-1])}
        self.assertGreater(len(listed), 7)
        source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "wsaas" / "pushes").glob("*.py"))
        for status, code in listed:
            self.assertRegex(source, rf'{status},\s+"{code}"')

    def test_the_example_of_a_signature(self) -> None:
        text, signed = self.code(self.section(PROTOCOL, "2.5 Signatures"))
        method, *lines, _ = text.splitlines()
        pairs = [(name.encode(), value.encode()) for name, _, value in (line.partition(":") for line in lines)]
        (secret,) = re.findall(r"With API_SECRET=(\S+),", self.section(PROTOCOL, "2.5 Signatures").astext())
        self.assertEqual(signed_text(method, pairs, b"hello").decode(), text)
        self.assertEqual(f"Ws-Signature: {sign(secret.encode(), method, pairs, b'hello')}", signed)


class SecretsPageTests(ParsedTestCase):
    """``docs/secrets.rst``."""

    def test_its_code_is_that_of_the_examples(self) -> None:
        page = self.parse(SECRETS_PAGE)
        for language, source in (
            ("python", "flask/app.py"),
            ("javascript", "express/server.js"),
            ("php", "php/index.php"),
        ):
            (block,) = self.code(page, language)
            self.assertIn(block, (ROOT / "examples" / source).read_text(encoding="utf-8"))

    def test_its_credentials_are_those_of_the_environment_file(self) -> None:
        (unit,) = self.code(self.parse(SECRETS_PAGE), "ini")
        environment_file = (ROOT / "systemd" / "wsaas.env").read_text(encoding="utf-8")
        handed_over = re.findall(r"^LoadCredential=([a-z-]+):/etc/wsaas/\1$", unit, re.MULTILINE)
        named = re.findall(r"^Environment=([A-Z_]+_FILE)=%d/([a-z-]+)$", unit, re.MULTILINE)
        self.assertEqual([name for _, name in named], handed_over)
        for setting, name in named:
            self.assertIn(f"#{setting}=/run/credentials/wsaas.service/{name}\n", environment_file)


class ReadmeTests(ParsedTestCase):
    """What the README shows."""

    def command(self, title: str) -> str:
        """:returns: the one command in a section"""
        blocks = self.code(self.section(README, title))
        self.assertEqual(len(blocks), 1)
        self.assertNotIn("\n", blocks[0])
        return blocks[0]

    def test_its_test_command_is_the_one_that_ci_runs(self) -> None:
        script = ROOT / ".ci" / "run"
        if not script.parent.is_dir():
            raise SkipTest("a source distribution has no .ci")
        self.assertIn(self.command("Test"), script.read_text(encoding="utf-8"))

    def test_its_run_command_has_options_that_exist(self) -> None:
        from wsaas.tap import Options

        words = shlex.split(self.command("Run"))
        options = Options()
        options.parseOptions(words[words.index("wsaas") + 1 :])
        self.assertTrue(options["demo"])

    def test_http(self) -> None:
        blocks = self.code(self.section(README, "The contract on one page"), "http")
        methods = []
        for block in blocks:
            head, _, body = block.partition("\n\n")
            request, _, fields = head.partition("\n")
            method, _, protocol = request.split(" ")
            headers = Parser().parsestr(fields, headersonly=True)
            key = headers["Ws-Uri"].rpartition("/")[2]
            self.assertEqual(protocol, "HTTP/1.1")
            self.assertTrue(is_key(key))
            self.assertEqual(headers["Ws-Id"].rpartition("-")[0], tag_of(key))
            if method == "POST":
                self.assertEqual(json.loads(body), {"ws_uri": headers["Ws-Uri"]})
            methods.append((method, headers["Ws-Id"].rpartition("-")[2]))
        self.assertEqual(methods, [("POST", "0"), ("PUT", "1"), ("DELETE", "end")])

    def test_the_api_to_try(self) -> None:
        api, port = self.start_api()
        ws_uri = "http://localhost:8080/abc"
        granted, _ = self.call(port, "POST", ws_uri, json.dumps({"ws_uri": ws_uri}))
        self.assertEqual(json.loads(granted), {"code": "OK"})
        answer, reply = self.call(port, "PUT", ws_uri, "hello")
        self.assertEqual((answer, reply), (b"HELLO", "text"))
        self.call(port, "DELETE", ws_uri, None)
        api.wait_for_line(f"DELETE {ws_uri}")

    def test_the_curl_lines(self) -> None:
        if not (HAVE_WEBSOCKETS and shutil.which("curl")):
            raise SkipTest("curl or websockets is not installed")
        block, _ = [text for text in self.code(self.section(README, "The contract on one page")) if "curl" in text]
        assignment, *lines = block.splitlines()
        name, _, example = assignment.partition("=")
        self.assertTrue(is_key(example.rpartition("/")[2]))
        text, binary, about, alive, close = lines

        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        Path(folder.name, "README.rst").write_bytes(b"\x89PNG")

        api, port = self.start_api()
        gateway = start_gateway(self, API_URI=f"http://127.0.0.1:{port}/")

        def run(line: str) -> str:
            env = environment(**{name: ws_uri})
            return subprocess.run(
                ["sh", "-c", line],
                cwd=folder.name,
                env=env,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=True,
            ).stdout

        with connect(f"{gateway.websocket_url}/chat?room=7") as client:
            ws_uri = api.wait_for_line(r"POST (http://\S+)")[1]
            client.send("hello")
            self.assertEqual(client.recv(PATIENCE), "HELLO")
            self.assertEqual(json.loads(run(text)), {"code": "OK"})
            self.assertEqual(client.recv(PATIENCE), "hello")
            self.assertEqual(json.loads(run(binary)), {"code": "OK"})
            self.assertEqual(client.recv(PATIENCE), b"\x89PNG")
            said = json.loads(run(about))
            self.assertEqual(said["path"], "/chat?room=7")
            self.assertEqual(set(said) - {"code"}, self.described())
            self.assertIn(" 200 ", run(alive).splitlines()[0])
            self.assertEqual(json.loads(run(close)), {"code": "OK"})
            with self.assertRaises(ConnectionClosed):
                client.recv(PATIENCE)
            self.assertEqual((client.close_code, client.close_reason), (4001, "bye"))
        api.wait_for_line(f"DELETE {re.escape(ws_uri)}")

    def test_the_curl_lines_to_many(self) -> None:
        if not (HAVE_WEBSOCKETS and shutil.which("curl")):
            raise SkipTest("curl or websockets is not installed")
        _, block = [text for text in self.code(self.section(README, "The contract on one page")) if "curl" in text]
        gateway = self.start_room(PUBLISH_TOKEN="a-token-of-the-readme")
        assignment, *lines = block.splitlines()
        group, user, everyone, count, close = (
            line.replace("http://localhost:8080", gateway.http_url).partition("  #")[0] for line in lines
        )
        self.assertIn("room-7", group)

        def run(line: str) -> dict[str, object]:
            env = environment(PUBLISH_TOKEN="a-token-of-the-readme")
            command = ["sh", "-c", f"{assignment}\n{line.replace('curl', 'curl -sS', 1)}"]
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE, check=True)
            answer: dict[str, object] = json.loads(done.stdout)
            return answer

        with (
            connect(f"{gateway.websocket_url}/?room=room-7") as first,
            connect(f"{gateway.websocket_url}/?room=room-7") as second,
        ):
            self.assertEqual(run(count)["members"], 2)
            for line in (group, everyone):
                self.assertEqual(run(line)["sent"], 2)
                self.assertEqual([client.recv(PATIENCE) for client in (first, second)], ["hello"] * 2)
            self.assertEqual(run(user)["members"], 0)
            self.assertEqual(run(close)["closed"], 0)

    def test_the_chat_room(self) -> None:
        """Ten lines, and nothing else: two clients of a room, and one elsewhere."""
        if not HAVE_WEBSOCKETS:
            raise SkipTest("websockets is not installed")
        gateway = self.start_room()
        with (
            connect(f"{gateway.websocket_url}/?room=7") as first,
            connect(f"{gateway.websocket_url}/?room=7") as second,
            connect(f"{gateway.websocket_url}/?room=7,hall") as elsewhere,
            connect(gateway.websocket_url) as hall,
        ):
            first.send("hello ☝")
            second.send("hello to you")
            for client in (first, second):
                self.assertEqual({client.recv(PATIENCE) for _ in range(2)}, {"hello ☝", "hello to you"})
            for client in (elsewhere, hall):
                client.send("alone")
                self.assertEqual(client.recv(PATIENCE), "alone")
            second.close()
            first.send("alone now")
            self.assertEqual(first.recv(PATIENCE), "alone now")

    def start_room(self, **settings: str) -> Gateway:
        """:returns: a gateway in front of the README's chat room"""
        php = shutil.which("php")
        if php is None:
            raise SkipTest("PHP is not installed")
        section = self.section(README, "A chat room")
        [source] = self.code(section, "php")
        self.assertEqual(len(source.splitlines()), 10)
        [commands] = self.code(section)
        serve, run = (line.removeprefix(".venv/bin/") for line in commands.splitlines())
        self.assertEqual(serve, "php -S localhost:8000 room.php")
        self.assertEqual(run, "twistd -n wsaas --api-uri localhost:8000")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        Path(folder.name, "room.php").write_text(source, encoding="utf-8")
        port = free_port()
        command = [php, "-d", "display_errors=1", "-S", f"127.0.0.1:{port}", "room.php"]
        start(self, command, environment(), folder.name).wait_for_port(port)
        return start_gateway(self, API_URI=f"127.0.0.1:{port}", **settings)

    def described(self) -> set[str]:
        """:returns: what the contract says that a GET tells"""
        [row] = [row for row in self.rows(self.section(PROTOCOL, "3. Pushes")) if row[0].astext().startswith("GET")]
        return {literal.astext() for literal in row[1].findall(nodes.literal)}

    def start_api(self) -> tuple[Program, int]:
        """:returns: the README's API, as a reader would have it in ``api.py``, but on a port that is free"""
        [source] = self.code(self.section(README, "An API to try"), "python")
        port = free_port()
        self.assertEqual(source.count("9000"), 1)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        file = Path(folder.name, "api.py")
        file.write_text(source.replace("9000", str(port)), encoding="utf-8")
        api = start(self, [sys.executable, file], environment())
        api.wait_for_port(port)
        return api, port

    def call(self, port: int, method: str, ws_uri: str, body: str | None) -> tuple[bytes, str | None]:
        """:returns: body and ``Ws-Reply`` of the API's answer"""
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        self.addCleanup(connection.close)
        connection.request(method, "/", body, {"Ws-Uri": ws_uri})
        answer = connection.getresponse()
        self.assertEqual(answer.status, 200)
        return answer.read(), answer.headers["Ws-Reply"]
