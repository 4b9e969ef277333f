"""No secret gets out: not into the log, an answer, an error at the start, the process list or ``STATE_DIR``.

Whole lives, with a secret wherever there may be one, and everything going wrong that can.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import PrivateCertificate
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from bench.ports import free_port
from tests.certificates import Authority
from tests.contract.case import ContractTestCase
from tests.contract.test_settings import Api, Client
from tests.gate import Gate
from tests.processes import start_gateway
from tests.recording_api import Answer, Call
from tests.wire import BINARY, TEXT, Reply, Wire, frame, handshake
from wsaas.connections.connection import Connection
from wsaas.connections.identity import new_identity
from wsaas.connections.outbox import Outbox
from wsaas.errors import SettingsError
from wsaas.logs import format_json, format_text
from wsaas.net.http1.messages import RequestFields, RequestHead
from wsaas.settings.advice import warnings
from wsaas.settings.read import read_settings
from wsaas.tap import Options
from wsaas.websocket.upgrade import UpgradeResource

#: What the operator keeps secret, each part of it.
OPERATORS = {
    "API_SECRET": ("s1gning-secret-new-0123", "s1gning-secret-old-4567"),
    "PUSH_TOKEN": ("pu5h-token-new-0123", "pu5h-token-old-4567"),
    "PUBLISH_TOKEN": ("publ1sh-token-new-0123", "publ1sh-token-old-4567"),
    "API_HEADERS": ("ap1-key-0123456789",),
    "API_URI": ("ap1-query-0123456789",),
}
#: What a client shows to the API, and nobody else.
CLIENTS = {
    "query": "cl1ent-query-0123",
    "Authorization": "cl1ent-bearer-0123",
    "Cookie": "cl1ent-cookie-0123",
    "subprotocol": "cl1ent-subprotocol-0123",
    "message": "cl1ent-message-0123",
}
#: What the API says to the gateway.
APIS = {"state": "ap1-state-0123", "body": "ap1-body-0123", "header": "ap1-header-0123"}
#: What somebody tried.
WRONG = "wr0ng-token-0123"
SECRETS = [*(one for several in OPERATORS.values() for one in several), *CLIENTS.values(), *APIS.values(), WRONG]


def settings_with_secrets() -> dict[str, str]:
    """:returns: settings that hold all that an operator keeps secret, but ``API_URI``"""
    return {
        "API_SECRET": " ".join(OPERATORS["API_SECRET"]),
        "PUSH_TOKEN": " ".join(OPERATORS["PUSH_TOKEN"]),
        "PUBLISH_TOKEN": " ".join(OPERATORS["PUBLISH_TOKEN"]),
        "API_HEADERS": f"X-Api-Key: {OPERATORS['API_HEADERS'][0]}",
        "FORWARD_HEADERS": "Authorization, Cookie, Sec-WebSocket-Protocol",
        "WS_ORIGINS": "same",
        "API_RETRY_FOR": "0",
        "API_DELETE_FOR": "0",
        "WS_MAX_MESSAGE": "1000",
    }


SHOWN_TO_THE_API = [("Authorization", f"Bearer {CLIENTS['Authorization']}"), ("Cookie", f"id={CLIENTS['Cookie']}")]
TOKEN = ("Authorization", f"Bearer {OPERATORS['PUSH_TOKEN'][0]}")
PUBLISH_TOKEN = ("Authorization", f"Bearer {OPERATORS['PUBLISH_TOKEN'][0]}")


class Planted:
    """In place of a part of the gateway: fails, with secrets in its variables and in its caller's."""

    def __call__(self, *secrets: object, **more: object) -> Any:
        """Fail."""
        several = OPERATORS
        raise RuntimeError(f"planted, with {len(secrets) + len(more) + len(several)} variables")


class LeakTests(ContractTestCase):
    """On real sockets."""

    def setUp(self) -> None:
        """Keep all that clients and pushers are sent."""
        super().setUp()
        self.seen: list[bytes] = []
        #: Answers to GET of a ``ws_uri``, which repeat it, and the path of the handshake.
        self.descriptions: list[bytes] = []
        certificate, key = Authority().issue()
        path = self.scratch() / "client.pem"
        path.write_bytes(certificate + key)
        self.certificate = str(path.absolute())
        self.key_lines = [line for line in key.decode().splitlines() if line and not line.startswith("-")]

    async def serve_secrets(self, api: str | None = None, **settings: str) -> None:
        """Start the gateway."""
        self.admin_port = free_port()
        await self.serve(
            **{
                **settings_with_secrets(),
                "API_URI": f"{api or f'127.0.0.1:{self.api.port}'}/hook?key={OPERATORS['API_URI'][0]}",
                "API_CERT": self.certificate,
                "ADMIN_LISTEN": f"tcp:{self.admin_port}:interface=127.0.0.1",
                "LOG_LEVEL": "DEBUG",
                **settings,
            }
        )

    async def dial(
        self, port: int | None = None, *, host: str = "127.0.0.1", tls: IOpenSSLClientConnectionCreator | None = None
    ) -> Wire:
        """:returns: a connection whose bytes are kept"""
        wire = await super().dial(port, host=host, tls=tls)
        take = wire.dataReceived

        def keep(data: bytes) -> None:
            self.seen.append(data)
            take(data)

        wire.dataReceived = keep  # type: ignore[method-assign]  # this one's alone
        return wire

    def shaken(self, path: str = "/chat", *protocols: str) -> bytes:
        """:returns: a handshake with all of a client's secrets"""
        offers = [("Sec-WebSocket-Protocol", ", ".join(protocols))] if protocols else []
        return handshake(f"{path}?token={CLIENTS['query']}", [*SHOWN_TO_THE_API, *offers])

    async def begin(self, status: int, path: str = "/chat", *protocols: str) -> Wire:
        """:returns: a client that got a certain answer to its handshake"""
        wire = await self.dial()
        wire.send(self.shaken(path, *protocols))
        self.assertEqual((await wire.reply()).status, status)
        return wire

    async def page(self, path: str) -> Reply:
        """:returns: a page of ``ADMIN_LISTEN``"""
        wire = await self.dial(self.admin_port)
        wire.send(self.request("GET", f"http://x{path}"))
        reply = await wire.reply()
        wire.drop()
        return reply

    def check(self) -> None:
        """Nothing of it got out."""
        keys = {call.ws_uri.rpartition("/")[2] for call in self.api.calls}
        self.assertTrue(keys)
        log = self.logged() + "".join(format_json(event) for event in self._log.events if "log_time" in event)
        self.assertIn("opened: ", log)
        for secret in [*SECRETS, *self.key_lines, *keys]:
            found = log.find(secret)
            self.assertEqual(found, -1, log[max(found - 300, 0) : found + 300])
        # What the API wrote to a client on purpose is not there either, as no test has it say a secret so.
        seen = b"".join(self.seen)
        for description in self.descriptions:
            seen = seen.replace(description, b"")
            for secret in [*SECRETS, *self.key_lines]:
                if secret not in (CLIENTS["query"], APIS["state"]):
                    self.assertNotIn(secret.encode(), description)
        self.assertTrue(seen)
        for secret in [*SECRETS, *self.key_lines, *keys]:
            if secret != CLIENTS["subprotocol"]:
                self.assertNotIn(secret.encode(), seen)

    # Lives

    async def test_lives(self) -> None:
        """Handshakes that are granted, refused, and answered with rubbish; messages; ends of all kinds."""
        await self.serve_secrets()
        token = CLIENTS["subprotocol"]
        said = (("Ws-State", APIS["state"]), ("X-Secret", APIS["header"]))
        # A warning, as several are offered and none is chosen; one alone is; another one cannot be used.
        self.api.script["POST"] = Answer(headers=said)
        await self.begin(101, "/chat", token, "chat.v1")
        await self.begin(101, "/chat", token)
        self.api.script["POST"] = Answer(headers=[("Sec-WebSocket-Protocol", token)])
        await self.begin(502, "/chat", "chat.v1")
        body = APIS["body"].encode()
        for answer, status in (
            (Answer(200, body, said), 403),
            (Answer(401, body, said), 401),
            (
                Answer(302, body, [("Location", f"http://{APIS['header']}@x.test/?{APIS['header']}#{APIS['header']}")]),
                502,
            ),
            (Answer(500, body, said), 502),
            (Answer(200, body * 100, said), 502),
            (Answer(200, headers=[("Ws-State", APIS["header"] + "é")]), 502),
            (Answer(200, headers=[("Content-Encoding", APIS["header"])]), 502),
        ):
            self.api.script["POST"] = answer
            await self.begin(status)
        for script, status in (
            (lambda call: (call.write(body + b"\r\n\r\n"), call.hang_up()), 502),
            (
                lambda call: (call.write(b"HTTP/1.1 200 " + body + b"\r\nContent-Length: x\r\n\r\n"), call.hang_up()),
                502,
            ),
            (Call.hang_up, 502),
        ):
            self.api.script["POST"] = script
            await self.begin(status)
        self.api.script["POST"] = Answer(headers=said)
        for put in (
            Answer(500, body, said),
            Answer(418, body, said),
            Answer(401, body, said),
            Answer(200, body, [("Ws-Close", f"99 {APIS['header']}")]),
            Answer(200, b"\xff" + body, [("Ws-Reply", "text")]),
            Call.hang_up,
        ):
            self.api.script["PUT"] = put
            client = await self.begin(101)
            client.send_text(CLIENTS["message"])
            await self.api.call("PUT")
            client.drop()
        self.api.script["PUT"] = Answer()
        message = CLIENTS["message"].encode()
        for bytes_ in (
            frame(TEXT, message + b"\xff"),
            frame(BINARY, message * 100),
            b"\xc2" + frame(BINARY, message)[1:],
            frame(3, message),
            message * 10,
        ):
            client = await self.begin(101)
            client.send(bytes_)
            await client.frame()
            client.drop()
        await self.until_logged("closed: 1002 by protocol(.|\n)*closed: 1002 by protocol")
        self.check()

    async def test_pushes(self) -> None:
        """With right and wrong tokens, to one connection and to none; who takes a key for a path; every page."""
        await self.serve_secrets()
        self.api.script["POST"] = Answer(headers=[("Ws-State", APIS["state"])])
        client = await self.begin(101)
        ws_uri = (await self.api.call("POST")).ws_uri
        key = ws_uri.rpartition("/")[2]
        wrong = ("Authorization", f"Bearer {WRONG}")
        for uri in (ws_uri, ws_uri[:-1] + "-", f"{ws_uri}/", f"{ws_uri}/x"):
            for headers in ([TOKEN], [wrong], [TOKEN, wrong], [("Authorization", WRONG)], []):
                for method, body in (("PUT", b"x"), ("POST", b"x"), ("OPTIONS", None), ("HEAD", None)):
                    await self.push(method, uri, body, headers)
                await self.push("PUT", uri, b"\xff", [*headers, ("Content-Type", WRONG)], f"?token={WRONG}")
                await self.push("PUT", uri, b"x" * 2000, headers)
                await self.push("DELETE", uri, headers=headers, query="?code=1")
        description = await self.push("GET", ws_uri, headers=[TOKEN])
        self.assertEqual(description.json["state"], APIS["state"])
        self.descriptions.append(description.body)
        base = ws_uri.rpartition("/")[0]
        for target in (
            "groups/a",
            f"groups/{key}",
            f"{key}/groups/a",
            f"{key}/groups",
            "all",
            "batch",
            f"x/{key}/batch",
        ):
            for headers in ([PUBLISH_TOKEN], [TOKEN], [wrong], []):
                for method in ("PUT", "POST", "OPTIONS", "HEAD"):
                    body = b"{" + WRONG.encode() if method == "POST" else b"\xff"
                    await self.push(method, f"{base}/{target}", body, headers, f"?token={WRONG}")
        listing = await self.push("GET", f"{base}/all/members", headers=[PUBLISH_TOKEN], query="?ws_uri=1")
        self.assertEqual([each["ws_uri"] for each in listing.json["members"]], [ws_uri])
        self.descriptions.append(listing.body)
        # Somebody connects where he should push, and is let in.
        for path in (f"/{key}", f"/{key}/", f"/a/{key}/b"):
            await self.begin(101, path)
        for path in ("/healthz", "/readyz", "/metrics", f"/{key}"):
            await self.page(path)
        self.assertIn(b"wsaas_pushes_total", (await self.page("/metrics")).body)
        self.assertEqual((await self.push("DELETE", ws_uri, headers=[TOKEN])).status, 200)
        await client.frame()
        self.check()

    async def test_faults_of_the_gateway(self) -> None:
        """Tracebacks stand in the log, without variables."""
        await self.serve_secrets()
        client = await self.begin(101)
        ws_uri = (await self.api.call("POST")).ws_uri
        self.patch(Outbox, "push", Planted())
        self.assertEqual((await self.push("PUT", ws_uri, b"x", [TOKEN])).status, 500)
        self.patch(Connection, "received", Planted())
        client.send_text(CLIENTS["message"])
        await client.frame()
        client.drop()
        self.patch(UpgradeResource, "attempt", Planted())
        await self.begin(500)
        self.patch(UpgradeResource, "check", Planted())
        await self.begin(500)
        self.assertGreaterEqual(len(self.flushLoggedErrors(RuntimeError)), 4)
        self.assertIn("Traceback", self.logged())
        self.assertIn("planted, with", self.logged())
        self.check()

    async def test_an_api_that_is_not_there(self) -> None:
        """Neither its URI nor what it would have been told."""
        await self.serve_secrets()
        client = await self.begin(101)
        await self.api.stop_listening()
        await self.begin(503)
        client.send_text(CLIENTS["message"])
        await client.frame()
        client.drop()
        await self.until_logged("no connection to the API")
        await self.until_logged("was not told that the connection is over")
        self.check()

    async def test_an_api_that_is_not_trusted(self) -> None:
        """The error names its certificate, not its URI, and nothing of ours."""
        await self.serve_secrets()
        await self.begin(101)
        await self.stop_gateway()
        certificate, key = Authority().issue()
        await self.api.stop_listening()
        self.api.listen(PrivateCertificate.loadPEM(certificate + key).options())
        await self.serve_secrets(f"https://localhost:{self.api.port}")
        await self.begin(503)
        await self.until_logged("certificate was not accepted")
        self.check()


class StartTests(SynchronousTestCase):
    """Errors and warnings at the start, and what objects say of themselves."""

    SECRET = "s3cret-0123456789"

    def check(self, secret: str, given: Mapping[str, str], *, demo: bool = False) -> str:
        """:returns: an error, which does not show a secret, and is the end of the process"""
        error = self.assertRaises(SettingsError, read_settings, given, demo=demo)
        for text in (str(error), repr(error), error.given):
            self.assertNotIn(secret, text)
        # Nor would it, were it ever logged.
        self.assertNotIn(secret, Failure(error).getTraceback())
        return str(error)

    def test_bad_values(self) -> None:
        """Whatever is wrong with them, what may be secret in them is not shown."""
        secret = self.SECRET
        path = Path(self.mktemp()).absolute()
        path.write_text(f"{secret} é")
        begin = "-----BEGIN PRIVATE KEY-----"
        for settings in (
            {"API_SECRET": secret[:15]},
            {"API_SECRET": f"{secret} é{secret}"},
            {"API_SECRET_FILE": str(path)},
            {"PUSH_TOKEN": f"é{secret}"},
            {"PUBLISH_TOKEN": f"é{secret}"},
            {"PUBLISH_TOKEN_FILE": secret},
            {"PUSH_TOKEN_FILE": str(path)},
            {"PUSH_TOKEN_FILE": secret},
            {"PUSH_TOKEN_FILE": secret, "PUSH_TOKEN": secret},
            {"API_HEADERS": f"X-Key {secret}"},
            {"API_HEADERS": f"X-Key: {secret}é"},
            {"API_HEADERS": f"Host: {secret}"},
            {"API_HEADERS_FILE": str(path)},
            {"API_HEADERS_FILE": f"X-Key: {secret}"},
            {"API_CERT": f"{begin}\n{secret}\n"},
            {"API_CERT": f"{begin} {secret}"},
            {"API_CA": f"{begin}\n{secret}\n"},
            {"API_URI": f"https://user:{secret}@api.example/hook"},
            {"API_URI": f"user:{secret}@api.example/hook"},
            {"API_URI": f"https://{secret}@api.example/hook?a=b@c"},
            {"API_URI": f"https://user:{secret}/?#@api.example/hook"},
            {"API_URI": f"ftp://user:{secret}@api.example/hook"},
            {"API_URI": f"https://api.example:x/hook?key={secret}"},
            {"API_URI": f"https://api.example/hook?a#{secret}"},
            {"WS_HOSTNAME": f"ftp://user:{secret}@push.example"},
            {"WS_HOSTNAME": f"https://push.example/?{secret}"},
        ):
            said = self.check(secret[:15], {"API_URI": "api.example/", **settings})
            self.assertTrue(said.startswith(tuple(settings)), said)
        self.check(secret, {"API_URI": f"https://api.example/?{secret}"}, demo=True)
        self.check(secret, {"PUSH_TOKEN": secret}, demo=True)

    def test_what_is_shown(self) -> None:
        """All the rest, or nobody would find the mistake."""
        for settings, shown in (
            ({"API_URI": "https://a:b@api.example:x/hook?key=1"}, "'https://…@api.example:x/hook?…'"),
            ({"API_URI": "api.example:x/hook"}, "'api.example:x/hook'"),
            ({"WS_HOSTNAME": "ftp://push.example"}, "'ftp://push.example'"),
            ({"API_HEADERS": "X-Key: a\nHost: b"}, "X-Key: …\\nHost: …"),
            ({"PUSH_TOKEN_FILE": "/nowhere/token"}, "'/nowhere/token'"),
            ({"API_CERT": "nowhere/cert.pem"}, "'nowhere/cert.pem'"),
        ):
            self.assertIn(shown, self.check("key=1", {"API_URI": "api.example/", **settings}))

    def test_arguments(self) -> None:
        """A secret where options are expected is in the list of processes already; the log need not have it too."""
        for given in ([f"API_SECRET={self.SECRET}"], [f"--push-token={self.SECRET}"], ["--api-secret", self.SECRET]):
            error = self.assertRaises(SystemExit, Options().parseOptions, given)
            self.assertNotIn(self.SECRET, str(error.code))

    def test_warnings(self) -> None:
        """They name hosts."""
        settings = read_settings(
            {
                "API_URI": f"https://api.example/?key={self.SECRET}",
                "WS_HOSTNAME": f"http://user:{self.SECRET}@localhost:8080",
                "WS_MAX_CONNECTIONS": "100000",
            }
        )
        found = warnings(settings, open_files=1000)
        self.assertEqual(len(found), 4)
        self.assertNotIn(self.SECRET, "".join(found))
        self.assertIn("http://…@localhost:8080", "".join(found))

    def test_objects(self) -> None:
        """Exceptions of libraries, and Twisted's log, may quote them."""
        secret = self.SECRET
        settings = read_settings(
            {
                "API_URI": f"https://api.example/?key={secret}",
                "API_SECRET": secret,
                "PUSH_TOKEN": secret,
                "PUBLISH_TOKEN": secret,
                "API_HEADERS": f"X-Key: {secret}",
            }
        )
        identity = new_identity("http://push.example", lambda count: b"s3cret-0123456789x"[:count])
        gate = Gate()
        gate.begin(f"/?token={secret}", ("Authorization", f"Bearer {secret}"), ("Sec-WebSocket-Protocol", secret))
        (connection,) = gate.registry
        handshake_ = connection.handshake
        self.assertIn(secret.encode(), handshake_.target)
        head = RequestHead(b"PUT", f"/{secret}".encode(), b"HTTP/1.1", RequestFields.of(gate.agent.last.headers))
        for it in (settings, identity, handshake_, head, connection):
            self.assertNotIn(secret, repr(it))
            self.assertNotIn(identity.key, repr(it))

    def test_a_traceback(self) -> None:
        """It has no variables, even where Twisted was told to keep them."""
        secret = self.SECRET
        try:
            Planted()(secret)
        except RuntimeError:
            failure = Failure(captureVars=True)
        event = {"log_time": 0.0, "log_format": "{why}", "why": "broken", "log_failure": failure}
        for form in (format_text, format_json):
            self.assertIn("planted, with", form(event))
            self.assertNotIn(secret, form(event))
            self.assertNotIn(OPERATORS["API_SECRET"][0], form(event))


class ProcessTests(SynchronousTestCase):
    """A process of its own: what others on the machine see of it."""

    def everything_in(self, folder: Path) -> Iterable[tuple[Path, bytes]]:
        """:returns: the files of a folder, with what is in them"""
        return [(path, path.read_bytes()) for path in folder.iterdir()]

    def test_command_line_and_files(self) -> None:
        """Settings come from files and the environment; ``STATE_DIR`` holds keys, and lets nobody else in."""
        api = Api()
        self.addCleanup(api.close)
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        files = {}
        for name in ("API_SECRET", "PUSH_TOKEN", "PUBLISH_TOKEN", "API_HEADERS"):
            path = folder / name
            path.write_text(settings_with_secrets()[name] + "\n")
            files[f"{name}_FILE"] = str(path)
        state = folder / "state"
        gateway = start_gateway(
            self,
            **files,
            API_URI=f"{api.uri}?key={OPERATORS['API_URI'][0]}",
            FORWARD_HEADERS="Authorization, Cookie",
            WS_ORIGINS="same",
            LOG_LEVEL="DEBUG",
            STATE_DIR=str(state),
        )
        client = Client(gateway.port, handshake(f"/chat?token={CLIENTS['query']}", SHOWN_TO_THE_API))
        self.addCleanup(client.close)
        self.assertEqual(client.status, 101)
        headers = api.wait_for("POST")[0]
        self.assertEqual(len(headers["Ws-Signature"].split()), 2)
        key = headers["Ws-Uri"].rpartition("/")[2]
        shown = Path(f"/proc/{gateway.pid}/cmdline").read_bytes()
        self.assertIn(b"wsaas", shown)
        kept = self.everything_in(state)
        self.assertEqual(stat.S_IMODE(state.stat().st_mode), 0o700)
        for path, _ in kept:
            self.assertEqual(stat.S_IMODE(path.stat().st_mode) & 0o077, 0, path)
        content = b"".join(data for _, data in kept)
        # By design: who is owed a DELETE, and on which path.
        self.assertIn(key.encode(), content)
        client.close()
        api.wait_for("DELETE")
        gateway.stop()
        secrets = [
            *(one for several in OPERATORS.values() for one in several),
            CLIENTS["Authorization"],
            CLIENTS["Cookie"],
        ]
        for secret in secrets:
            for where in (shown, content, gateway.output.encode()):
                self.assertNotIn(secret.encode(), where)
        for secret in (key, CLIENTS["query"]):
            self.assertNotIn(secret, gateway.output)
            self.assertNotIn(secret.encode(), shown)
