"""``docs/openapi.yaml`` against a running gateway: what it calls, and what it answers, is what is written there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SkipTest

from bench.ports import free_port
from tests import tools
from tests.contract.case import ContractTestCase
from tests.processes import ROOT
from tests.recording_api import Answer, Call
from tests.unit.callbacks.test_webhook_signature import SECRETS
from tests.wire import BINARY, TEXT, frame

try:
    import yaml
except ImportError:
    HAVE_YAML = False
else:
    HAVE_YAML = True

WEBHOOKS = {"POST": "connect", "PUT": "message", "DELETE": "disconnect"}

#: With the extra "docs": it reads pairs of a value and a schema, whose references lead into the description, and prints
#: for each what is wrong.
_VALIDATE = """
import json, sys
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012
described, pairs = json.load(sys.stdin)
registry = Registry().with_resource("urn:it", DRAFT202012.create_resource(described))
def wrong(value, schema):
    validator = Draft202012Validator(schema, registry=registry, format_checker=Draft202012Validator.FORMAT_CHECKER)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]
print(json.dumps([wrong(value, schema) for value, schema in pairs]))
"""


class OpenApiTests(ContractTestCase):
    """A gateway, and the description of it."""

    #: Programs of their own start, on a machine that may be busy.
    timeout = 300

    def setUp(self) -> None:
        """Read the description."""
        if not HAVE_YAML:
            raise SkipTest("PyYAML is not installed")
        super().setUp()
        text = (ROOT / "docs" / "openapi.yaml").read_text(encoding="utf-8")
        self.described: dict[str, Any] = yaml.safe_load(text)

    def get(self, part: Any) -> Any:
        """:returns: what a part of the description is, or refers to"""
        if "$ref" not in part:
            return part
        found: Any = self.described
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return self.get(found)

    async def wrong(self, pairs: list[tuple[object, object]]) -> list[list[str]]:
        """:returns: what jsonschema finds wrong with each value, by its schema"""
        text = json.dumps(pairs).replace('"#/', '"urn:it#/')
        found: list[list[str]] = await deferToThread(tools.ask_python, _VALIDATE, [self.described, json.loads(text)])
        return found

    # Callbacks

    def described_as(self, call: Call) -> list[tuple[object, object]]:
        """:returns: a call's headers and its body, each with its schema"""
        operation = self.described["webhooks"][WEBHOOKS[call.method]][call.method.lower()]
        fields = [self.get(parameter) for parameter in operation["parameters"]]
        known = {field["name"].lower(): field["schema"] for field in fields}
        headers = {name.decode().lower(): values[0].decode() for name, values in call.headers.getAllRawHeaders()}
        ours = {name: value for name, value in headers.items() if name.startswith(("ws-", "webhook-", "x-forwarded-"))}
        self.assertLessEqual(set(ours), set(known))
        schema = {
            "type": "object",
            "properties": known,
            "required": [field["name"].lower() for field in fields if field["required"]],
        }
        if call.method == "DELETE":
            self.assertNotIn("requestBody", operation)
            return [(headers, schema)]
        bodies = operation["requestBody"]["content"]
        kind = headers["content-type"]
        self.assertIn(kind, bodies)
        body: object = call.body.decode("utf-8", "replace")
        return [
            (headers, schema),
            (json.loads(str(body)) if kind == "application/json" else body, bodies[kind]["schema"]),
        ]

    async def test_callbacks(self) -> None:
        """Those of two connections, with everything that there may be, and with nothing."""
        tools.tool("python")
        self.api.script["POST"] = Answer(headers=[("Ws-State", "a"), ("Ws-User", "%C3%BCnal"), ("Ws-Join", "b, c%20d")])
        await self.serve(API_SECRET=SECRETS, API_WEBHOOK_SIGNATURE="on")
        headers = [("Origin", "https://page.test"), ("User-Agent", "Browser/1.0"), ("Sec-WebSocket-Protocol", "chat")]
        client = await self.connect("/chat?room=7", headers)
        client.send(frame(TEXT, b"hello") + frame(BINARY, b"\xff\0") + frame(TEXT, b""))
        client.send_close(4001, "see you ☝")
        first = await self.api.call("DELETE")
        await self.stop_gateway()
        self.api.script["POST"] = Answer()
        await self.serve()
        client = await self.connect()
        client.drop()
        await self.api.call("DELETE")
        self.assertEqual(first.header("Ws-Groups"), "b, c%20d")
        self.assertEqual(
            [call.method for call in self.api.calls], ["POST", "PUT", "PUT", "PUT", "DELETE", "POST", "DELETE"]
        )
        pairs = [pair for call in self.api.calls for pair in self.described_as(call)]
        self.assertEqual([found for found in await self.wrong(pairs) if found], [])

    async def test_callbacks_that_are_wrong(self) -> None:
        """That the schemas notice something."""
        tools.tool("python")
        await self.serve()
        life = await self.life()
        for name in ("Ws-Id", "Ws-Timestamp", "Ws-Closed-By", "Ws-Scheme"):
            life.delete.headers.setRawHeaders(name, ["wrong"])
        ((headers, schema),) = self.described_as(life.delete)
        assert isinstance(headers, dict)
        del headers["ws-uri"]
        (found,) = await self.wrong([(headers, schema)])
        self.assertEqual(len(found), 5, found)

    # Requests

    async def serve_both(self, **settings: str) -> tuple[str, str]:
        """Start a gateway whose pushes have a listener of their own, with one client in a group.

        :returns: where it is, and the client's key
        """
        port = free_port()
        listens = {"PUSH_LISTEN": f"tcp:{port}:interface=127.0.0.1", "WS_HOSTNAME": f"http://127.0.0.1:{port}"}
        self.api.script["POST"] = Answer(headers=[("Ws-Join", "room-7"), ("Ws-User", "bob")])
        await self.serve(PUBLISH_TOKEN="for-all", **listens, **settings)
        await self.autobahn()
        ws_uri = (await self.api.call("POST")).ws_uri
        return ws_uri.rpartition("/")[0], ws_uri.rpartition("/")[2]

    async def test_answers(self) -> None:
        """Each has what is written, and nothing else."""
        tools.tool("python")
        base, key = await self.serve_both()
        token = [("Authorization", "Bearer for-all")]
        lines = b'{"to": "groups/room-7", "text": "a"}\n{"to": "' + b"x" * 24 + b'", "text": "a"}\n{}\n'
        asked: list[tuple[str, str, str, bytes | None]] = [
            ("get", "/{key}", "", None),
            ("put", "/groups/{group}", "", b"hello"),
            ("get", "/users/{user}", "", None),
            ("get", "/all/members", "?limit=1&ws_uri=1", None),
            ("put", "/{key}/groups/{group}", "", None),
            ("put", "/users/{user}/groups/{group}", "", None),
            ("post", "/batch", "", lines),
            ("delete", "/groups/{group}/members", "", None),
            ("delete", "/{key}/groups", "", None),
            ("delete", "/users/{user}", "?code=4001", None),
        ]
        pairs: list[tuple[object, object]] = []
        for method, path, query, body in asked:
            place = path.format(key=key, group="room-7", user="bob")
            reply = await self.push(method.upper(), base + place, body, token, query)
            answer = self.get(self.described["paths"][path][method]["responses"][str(reply.status)])
            schema = self.get(answer["content"]["application/json"]["schema"])
            pairs.append((reply.json, schema))
            self.assertEqual(reply.status, 200, path)
            self.assertEqual(set(reply.json), set(schema["properties"]), path)
        self.assertEqual([found for found in await self.wrong(pairs) if found], [])

    async def drive(self, *chosen: str) -> dict[tuple[str, str], set[int]]:
        """Have schemathesis call a gateway, within bounds.

        :param chosen: options that choose the operations
        :returns: what was answered, by method and path
        """
        program = tools.tool("schemathesis")
        base, key = await self.serve_both(PUSH_TOKEN="for-pushes")
        for path in self.described["paths"].values():
            for operation in (part for name, part in path.items() if name != "parameters"):
                # Each status has to be written down.
                operation["responses"].pop("4XX", None)
                operation.get("requestBody", {}).get("content", {}).pop("application/x-ndjson", None)
        folder = self.scratch().absolute()
        (folder / "openapi.json").write_text(json.dumps(self.described), encoding="utf-8")
        (folder / "schemathesis.toml").write_text(f'[parameters]\n"path.key" = "{key}"\n', encoding="utf-8")
        report = folder / "report.har"
        checks = "not_a_server_error status_code_conformance content_type_conformance response_headers_conformance "
        checks += "response_schema_conformance allow_header_conformance unsupported_method"
        options = f"--url {base} --phases coverage,fuzzing --max-examples 2 --no-shrink --seed 1 --report har".split()
        options += ["--report-har-path", str(report), "--generation-database", "none", "--continue-on-failure"]
        options += ["-H", "Authorization: Bearer for-all", "--checks", checks.replace(" ", ","), *chosen]
        config = ["--config-file", str(folder / "schemathesis.toml"), "run", str(folder / "openapi.json")]
        ran = await deferToThread(tools.run, [program, *config, *options], None, self.timeout, folder)
        self.assertEqual(ran.returncode, 0, ran.stdout + ran.stderr)
        return self.answers_in(report, key)

    def answers_in(self, report: Path, key: str) -> dict[tuple[str, str], set[int]]:
        """:returns: statuses in a report, by method and last words of the path"""
        found: dict[tuple[str, str], set[int]] = {}
        for entry in json.loads(report.read_text(encoding="utf-8"))["log"]["entries"]:
            path = urlsplit(entry["request"]["url"]).path.replace(key, "<key>")
            found.setdefault((entry["request"]["method"], path), set()).add(entry["response"]["status"])
        return found

    async def test_requests(self) -> None:
        """Those that close nobody: what is described is accepted, all else refused as described."""
        found = await self.drive("--exclude-method", "DELETE")
        self.assertGreaterEqual(found["PUT", "/<key>"], {200, 400})
        self.assertGreaterEqual(found["GET", "/<key>"], {200})
        self.assertGreaterEqual(found["PUT", "/all"], {200, 400})
        self.assertGreaterEqual(found["GET", "/all/members"], {200, 400})
        self.assertGreaterEqual(found["POST", "/batch"], {200})
        statuses = {status for path, each in found.items() if path[1].startswith("/groups/") for status in each}
        self.assertGreaterEqual(statuses, {200, 400})

    async def test_requests_that_close(self) -> None:
        """The DELETEs."""
        found = await self.drive("--include-method", "DELETE")
        self.assertGreaterEqual(
            {status for path, each in found.items() if "<key>" in path[1] for status in each}, {200}
        )
        self.assertGreaterEqual({status for each in found.values() for status in each}, {200, 400, 404, 405})
