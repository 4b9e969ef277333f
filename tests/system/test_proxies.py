"""HAProxy and nginx in front of the gateway, each a real process, configured as ``docs/deploy.rst`` has it.

Clients connect from addresses of loopback other than the proxies'.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from textwrap import dedent
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from bench.ports import free_port
from tests.descriptions import escaped
from tests.processes import ROOT, Gateway, Program, environment, has_ipv6, start, twistd
from tests.tls_case import TlsTestCase
from tests.waiting import reactor, within
from tests.wire import BINARY, Fields, Frame, Reply, Wire, handshake

PAGE = (ROOT / "docs" / "deploy.rst").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:^\.\. code-block:: \w+|::)\n\n((?:    .*\n|\n)+)", re.MULTILINE)
MODULES = Path("/usr/lib/nginx/modules")

CLIENT, OTHER = "127.0.0.2", "127.0.0.3"
#: What a client would like the API to believe.
FORGED = [
    ("X-Forwarded-For", "203.0.113.9"),
    ("X-Forwarded-For", "203.0.113.10, 203.0.113.11"),
    ("X-Forwarded-Proto", "http"),
    ("X-Real-IP", "203.0.113.12"),
    ("Forwarded", "for=203.0.113.13;proto=http"),
]


def documented(mark: str) -> str:
    """:returns: the one block of the page that has this in it"""
    (block,) = [dedent(block) for block in BLOCK.findall(PAGE) if mark in block]
    return block


def replaced(text: str, *pairs: tuple[str, object]) -> str:
    """Put what is a test's own in place of what a page has.

    All in one go: what has been put in may well have in it what another pair replaces, if it is a path of the
    machine's.

    :returns: the text with that
    :raises KeyError: what is to be replaced is not there
    """
    news = {old: str(new) for old, new in pairs}
    for old in news:
        if old not in text:
            raise KeyError(old)
    return re.sub("|".join(re.escape(old) for old in news), lambda found: news[found[0]], text) if news else text


class ProxyTestCase(TlsTestCase):
    """With a gateway and proxies, which are processes, between an API and clients of the test's own."""

    #: Where proxies wait for clients.
    host = "127.0.0.1"

    def setUp(self) -> None:
        """Make a certificate for who ends TLS."""
        super().setUp()
        self.write("tls/localhost.pem", *self.authority.issue())
        self.front = free_port()
        self.push_tls = self.trusting()
        self.process: Gateway | None = None

    def logged(self) -> str:
        """:returns: what the gateway's process wrote, beside what is logged in this one"""
        return super().logged() + (self.process.output if self.process else "")

    # The gateway

    def gateway_behind(self, text: str, *pairs: tuple[str, object], **settings: str) -> Gateway:
        """Start the gateway.

        :param text: settings as on the page
        :param pairs: what of them is replaced, and by what
        :param settings: more of them, or others; an empty one is left out
        """
        lines = replaced(text, *pairs).splitlines()
        given = dict(line.split("=", 1) for line in lines if line)
        given |= {"API_URI": f"127.0.0.1:{self.api.port}/hook", "DRAIN_TIMEOUT": "100ms", "LOG_LEVEL": "DEBUG"}
        given |= settings
        given = {name: value for name, value in given.items() if value}
        self.process = gateway = Gateway(twistd(), environment(**given), 0)

        async def stop() -> None:
            self.api.release()
            await deferToThread(gateway.stop)

        self.addCleanup(stop)
        gateway.wait_for_line(r"listening: .*\(clients")
        return gateway

    def behind_http(self, *, back: int, proxies: int = 1, **settings: str) -> Gateway:
        """Start the gateway with the settings for a proxy that ends TLS.

        :param back: the port that the proxy knows
        """
        pushes = free_port()
        pairs = [("tcp:8080", f"tcp:{back}"), ("8081", pushes), ("TRUST_PROXY=1", f"TRUST_PROXY={proxies}")]
        return self.gateway_behind(documented("TRUST_PROXY=1"), *pairs, **settings)

    def behind_tcp(self, *, back: int, **settings: str) -> Gateway:
        """Start the gateway with the settings for a proxy that passes TLS on, and pushes coming in that way, too."""
        place = [
            ("/run/credentials/wsaas.service:443", f"{escaped(self.folder.absolute() / 'tls')}:{back}"),
            ("10.0.0.5", "127.0.0.1"),
        ]
        return self.gateway_behind(
            documented("WS_LISTEN=haproxy:"), *place, WS_HOSTNAME=f"https://localhost:{self.front}", **settings
        )

    # Proxies

    def at(self, port: int) -> str:
        """:returns: the place where a proxy waits for clients, as proxies have it"""
        return f"[{self.host}]:{port}" if ":" in self.host else f"{self.host}:{port}"

    def program(self, name: str, package: str) -> str:
        """:returns: where a program is; the test is skipped if it is nowhere"""
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
        if found is None:
            self.skipTest(f"{name} (Debian package {package}) is not installed")
        return found

    def haproxy(self, text: str, more: str = "", limits: str = "") -> Program:
        """Start HAProxy.

        :param text: as on the page, with a test's own addresses
        :param more: for its defaults
        :param limits: for all of it
        """
        program = self.program("haproxy", "haproxy")
        head = f"global\n    log stdout format raw local0 info\n    maxconn 100\n    {limits}\n"
        head += f"defaults\n    log global\n    {more}\n"
        return start(self, [program, "-db", "-f", self.write("haproxy.cfg", f"{head}{text}".encode())])

    def nginx(self, text: str, modules: str = "") -> Program:
        """Start nginx.

        :param text: a block, as on the page, with a test's own addresses
        :param modules: what it takes beside the program
        """
        program = self.program("nginx", "nginx")
        pid = f'pid "{self.folder.absolute()}/pid"'
        head = f"{modules}\ndaemon off;\nmaster_process off;\n{pid};\nerror_log stderr warn;\n"
        config = self.write("nginx.conf", f"{head}events {{}}\n{text}".encode())
        return start(self, [program, "-p", self.folder.absolute(), "-e", "stderr", "-c", config])

    def haproxy_http(self, back: int, *pairs: tuple[str, object], more: str = "", limits: str = "") -> Program:
        """Start HAProxy as it ends TLS."""
        mine = [("bind :443", f"bind {self.at(self.front)}"), ("/etc/haproxy/certs", f'"{self.folder.absolute()}/tls"')]
        text = replaced(documented("frontend clients"), *mine, ("127.0.0.1:8080", f"127.0.0.1:{back}"), *pairs)
        return self.haproxy(text, more, limits)

    def haproxy_tcp(self, back: int, *pairs: tuple[str, object], more: str = "") -> Program:
        """Start HAProxy as it passes TLS on."""
        mine = [("bind :443", f"bind {self.at(self.front)}"), ("10.0.0.5:443", f"127.0.0.1:{back}")]
        return self.haproxy(replaced(documented("listen clients"), *mine, *pairs), more)

    def nginx_http(self, front: int, back: int, *pairs: tuple[str, object]) -> Program:
        """Start nginx as it ends TLS."""
        here = self.folder.absolute()
        pem = f'"{here}/tls/localhost.pem"'
        text = replaced(
            documented("map $http_upgrade"),
            ("listen [::]:443 ssl;", ""),
            ("listen 443", f"listen {self.at(front)}"),
            ("/etc/letsencrypt/live/ws.example.com/fullchain.pem", pem),
            ("/etc/letsencrypt/live/ws.example.com/privkey.pem", pem),
            ("127.0.0.1:8080", f"127.0.0.1:{back}"),
            *pairs,
        )
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f'{kind}_temp_path "{here}/{kind}";\n' for kind in kinds)
        return self.nginx(f"http {{\naccess_log off;\n{temporary}{text}}}\n")

    # Clients

    async def come(
        self, address: str = CLIENT, headers: Fields = FORGED, path: str = "/chat?room=7"
    ) -> tuple[Wire, Reply]:
        """:returns: a client that connects through the proxy, and the answer to its handshake"""
        kind: Any = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        endpoint: Any = kind(reactor, self.host, self.front, bindAddress=(address, 0))
        endpoint = wrapClientTLS(self.trusting(), endpoint)
        wire: Wire = await within(connectProtocol(endpoint, Wire()), "a connection through the proxy")
        self.addCleanup(self._drop, wire)
        wire.send(handshake(path, headers, host="ws.example.com"))
        return wire, await wire.reply()

    async def enter(self, address: str = CLIENT) -> tuple[Wire, str]:
        """:returns: a client that is in, of which the API was told the truth, and its ``ws_uri``"""
        wire, reply = await self.come(address)
        self.assertEqual(reply.status, 101)
        post = await self.api.call("POST")
        told = [post.header(name) for name in ("Ws-Client", "X-Forwarded-For", "Ws-Scheme", "X-Forwarded-Proto")]
        self.assertEqual(told, [address, address, "wss", "https"])
        self.assertEqual((post.header("Ws-Host"), post.header("Ws-Path")), ("ws.example.com", "/chat?room=7"))
        return wire, post.ws_uri

    async def check_lives(self) -> None:
        """Messages of all sizes get through in both directions, and both kinds of close, with code and reason."""
        client, ws_uri = await self.enter()
        for payload in (b"hello", bytes(range(256)) * 512):
            client.send_binary(payload)
            self.assertEqual((await self.api.call("PUT", ws_uri)).body, payload)
            pushed = await self.push("PUT", ws_uri, payload, [("Content-Type", "application/octet-stream")])
            self.assertEqual(pushed.status, 200)
            self.assertEqual(await client.frame(), Frame(BINARY, payload))
        self.assertEqual((await self.push("GET", ws_uri)).json["client"], CLIENT)
        self.assertEqual((await self.push("DELETE", ws_uri, query="?code=4001&reason=that%20is%20all")).status, 200)
        closed = await client.closed()
        self.assertEqual((closed.code, closed.reason), (4001, "that is all"))
        delete = await self.api.call("DELETE", ws_uri)
        self.assertEqual((delete.header("Ws-Client"), delete.header("Ws-Closed-By")), (CLIENT, "api"))
        client, ws_uri = await self.enter()
        client.send_close(4002, "me first")
        delete = await self.api.call("DELETE", ws_uri)
        self.assertEqual((delete.header("Ws-Close-Code"), delete.header("Ws-Closed-By")), ("4002", "client"))
        self.assertEqual((await client.frame()).code, 4002)
        await client.end()

    async def check_long_heads(self) -> None:
        """A handshake with the longest target and forwarded headers that can be set gets through."""
        path, value = "/" + "x" * 16_383, "x" * (32_768 - len("Authorization"))
        _, reply = await self.come(headers=[("Authorization", value)], path=path)
        self.assertEqual(reply.status, 101)
        post = await self.api.call("POST")
        self.assertEqual((post.header("Ws-Path"), post.header("Authorization")), (path, value))

    async def check_per_address(self) -> None:
        """With one connection for each address: a client's own is counted."""
        first, _ = await self.enter()
        await self.enter(OTHER)
        self.assertEqual((await self.come())[1].status, 429)
        first.drop()
        await self.api.call("DELETE")
        await self.enter()


class ReplacedTests(SynchronousTestCase):
    """What the pages have, with what tests have instead."""

    def test_at_once(self) -> None:
        """What was put in is left as it is, and all that the page has is replaced."""
        path = "/check/8080/tls"
        text = replaced("crt DIR check; server 8080 check", ("DIR", path), ("8080", 18080), ("check", "ssl"))
        self.assertEqual(text, f"crt {path} ssl; server 18080 ssl")
        self.assertEqual(replaced("as it is"), "as it is")

    def test_not_there(self) -> None:
        """What a page no longer has cannot be replaced."""
        with self.assertRaises(KeyError):
            replaced("crt DIR", ("DIR", "/tls"), ("8080", 18080))


class HaproxyTests(ProxyTestCase):
    """HAProxy that ends TLS, and that passes it on; with checks of health: a connection each, and nobody on it."""

    checks = "default-server inter 5ms fall 1 rise 20"

    def check_quiet(self, haproxy: Program, gateway: Gateway) -> None:
        """Twenty checks that went well are no clients, no calls and no lines in the log.

        :param haproxy: takes the gateway for dead until it has checked so often
        """
        haproxy.wait_for_line("gateway is UP")
        self.assertEqual(self.api.calls, [])
        self.assertEqual(re.findall(r"refused|clos\w+|WARN .*|ERROR .*|127\.0\.0\.1: .*", gateway.output), [])
        self.assertLess(gateway.output.count("\n"), 20)

    async def test_http(self) -> None:
        """It ends TLS, tells of the client in headers, and asks at WS_HEALTH_PATH; pushes have a port of their own."""
        back = free_port()
        haproxy = self.haproxy_http(back, more=self.checks)
        haproxy.wait_for_line("gateway is DOWN")
        gateway = self.behind_http(back=back, WS_MAX_PER_ADDRESS="1")
        self.check_quiet(haproxy, gateway)
        await self.check_lives()
        await self.check_per_address()

    async def test_long_heads(self) -> None:
        """With what the page says to set."""
        (limit,) = re.findall(r"``(tune\.bufsize \d+)``", PAGE)
        back = free_port()
        self.behind_http(back=back, WS_MAX_TARGET="16384", WS_MAX_HEADERS="32768")
        self.haproxy_http(back, limits=limit).wait_for_port(self.front)
        await self.check_long_heads()

    async def check_proxy_protocol(self, version: str) -> None:
        """It passes TLS on, with a header in front; pushes come the same way."""
        back = free_port()
        haproxy = self.haproxy_tcp(back, ("send-proxy-v2", version), more=self.checks)
        haproxy.wait_for_line("gateway is DOWN")
        gateway = self.behind_tcp(back=back, WS_MAX_PER_ADDRESS="1")
        self.check_quiet(haproxy, gateway)
        await self.check_lives()
        await self.check_per_address()

    async def test_version_2(self) -> None:
        """Headers of version 2; those of the checks are LOCAL."""
        await self.check_proxy_protocol("send-proxy-v2")

    async def test_version_1(self) -> None:
        """Headers of version 1; those of the checks are UNKNOWN."""
        await self.check_proxy_protocol("send-proxy")


class NginxTests(ProxyTestCase):
    """nginx that ends TLS, and that passes it on; pushes come the same way."""

    async def test_http(self) -> None:
        """It ends TLS, and tells of the client in headers."""
        back = free_port()
        self.nginx_http(self.front, back).wait_for_port(self.front)
        self.behind_http(
            back=back, PUSH_LISTEN="", WS_HOSTNAME=f"https://localhost:{self.front}", WS_MAX_PER_ADDRESS="1"
        )
        await self.check_lives()
        await self.check_per_address()

    async def test_long_heads(self) -> None:
        """With what the page says to set."""
        (limit,) = re.findall(r"``(large_client_header_buffers [^`]*;)``", PAGE)
        back = free_port()
        place = "server_name ws.example.com;"
        self.nginx_http(self.front, back, (place, f"{place} {limit}")).wait_for_port(self.front)
        self.behind_http(back=back, WS_MAX_TARGET="16384", WS_MAX_HEADERS="32768")
        await self.check_long_heads()

    async def test_proxy_protocol(self) -> None:
        """It passes TLS on, with a header of version 1."""
        module = MODULES / "ngx_stream_module.so"
        if not module.exists():
            self.skipTest("nginx's stream module (Debian package libnginx-mod-stream) is not installed")
        back = free_port()
        mine = [("listen 443", f"listen 127.0.0.1:{self.front}"), ("10.0.0.5:443", f"127.0.0.1:{back}")]
        text = replaced(documented("proxy_protocol on"), *mine)
        self.nginx(text, f"load_module {module};").wait_for_port(self.front)
        self.behind_tcp(back=back, WS_MAX_PER_ADDRESS="1")
        await self.check_lives()
        await self.check_per_address()


class Ipv6Tests(ProxyTestCase):
    """Clients that come to the proxies by IPv6; the gateway is where it is otherwise."""

    host = "::1"

    def setUp(self) -> None:
        """See whether the machine has it."""
        super().setUp()
        if not has_ipv6():
            self.skipTest("no IPv6 here")

    async def check_known(self) -> None:
        """The API is told of them by their own address, and it is counted."""
        client, ws_uri = await self.enter(self.host)
        client.send_text("hello")
        self.assertEqual((await self.api.call("PUT", ws_uri)).header("Ws-Client"), self.host)
        self.assertEqual((await self.come(self.host))[1].status, 429)
        client.send_close(1000)
        self.assertEqual((await self.api.call("DELETE", ws_uri)).header("Ws-Client"), self.host)

    async def test_haproxy_http(self) -> None:
        """By headers."""
        back = free_port()
        self.behind_http(back=back, WS_MAX_PER_ADDRESS="1")
        self.haproxy_http(back).wait_for_port(self.front, self.host)
        await self.check_known()

    async def check_proxy_protocol(self, version: str) -> None:
        """By the header in front of TLS."""
        back = free_port()
        self.behind_tcp(back=back, WS_MAX_PER_ADDRESS="1")
        self.haproxy_tcp(back, ("send-proxy-v2", version)).wait_for_port(self.front, self.host)
        await self.check_known()

    async def test_version_1(self) -> None:
        """TCP6 in words."""
        await self.check_proxy_protocol("send-proxy")

    async def test_version_2(self) -> None:
        """Sixteen bytes."""
        await self.check_proxy_protocol("send-proxy-v2")

    async def test_nginx_http(self) -> None:
        """By headers."""
        back = free_port()
        self.nginx_http(self.front, back).wait_for_port(self.front, self.host)
        self.behind_http(
            back=back, PUSH_LISTEN="", WS_HOSTNAME=f"https://localhost:{self.front}", WS_MAX_PER_ADDRESS="1"
        )
        await self.check_known()


class ChainTests(ProxyTestCase):
    """HAProxy, where clients come in, then nginx, then the gateway."""

    async def test_both_trusted(self) -> None:
        """The client is who came to the first of them, whatever it says itself."""
        middle, back = free_port(), free_port()
        added = ("X-Forwarded-For $remote_addr", "X-Forwarded-For $proxy_add_x_forwarded_for")
        self.nginx_http(middle, back, added).wait_for_port(middle)
        self.behind_http(back=back, proxies=2, WS_MAX_PER_ADDRESS="1")
        self.haproxy_http(middle, ("check", "ssl verify none")).wait_for_port(self.front)
        await self.check_lives()
        await self.check_per_address()
