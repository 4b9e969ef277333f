"""Settings: from the environment, from options, from files; and what is built of those that are taken."""

from __future__ import annotations

import os
from collections.abc import Hashable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.internet.testing import MemoryReactorClock

from fuzz.inputs import ODD, Draw
from fuzz.watch import watch
from wsaas.assembly import build
from wsaas.errors import SettingsError
from wsaas.net.client_tls import ApiTrust
from wsaas.net.http1.agent import PersistentAgent
from wsaas.settings import advice
from wsaas.settings.read import read_settings
from wsaas.settings.table import SETTINGS
from wsaas.tap import Options

#: What stands between the settings of an input.
_BETWEEN = b"\x1e"
#: The file of which each setting that may come from one is read, in a folder of this process's.
_SCRATCH = TemporaryDirectory(prefix="fuzz-")
_FOLDER = Path(_SCRATCH.name)
_FILE = _FOLDER / "value"
_SECRET = "s3cr3t-s3cr3t-s3cr3t"

_VALUES: dict[str, tuple[str, ...]] = {
    "API_URI": (
        "localhost:80/websocket",
        "https://api.test/a?b=c",
        "http://[::1]:9/x",
        "http://[::1",
        "http://[::1%25eth0]/",
        "user@host/",
        "host:99999",
        "host:0",
        "host:",
        "HTTP://HOST/",
        "ftp://host/",
        "http://a b/",
        "http://ü.test/",
        "http://xn--/",
        "http://a..b/",
        "http://-a.test/",
        "http://a%2fb/",
        "http://a\\b/",
        "http:///path",
        "//host",
        "http://host/%zz",
        "http://1.2.3/",
        "http://host;x/",
        "http://[v1.a]/",
        "https://" + "a" * 64 + ".test/",
        "https://" + "a." * 130 + "test/",
    ),
    "WS_HOSTNAME": ("http://gateway.test", "gateway.test/a/", "https://g/?a", "ws://g", "http://[::1", "//", 'g"', "/"),
    "WS_LISTEN": (
        "tcp:8080",
        "tcp:8080:interface=127.0.0.1",
        "tcp:x",
        "tcp:-1",
        "tcp:99999",
        "tcp:",
        "tcp6:1",
        "unix:/tmp/x",
        "unix:/tmp/x:mode=9",
        "systemd:domain=INET:index=0",
        "systemd:domain=INET6:name=a",
        "systemd:domain=UNIX:index=0",
        "tls:/nowhere:443",
        "ssl:443:privateKey=/nowhere",
        "ssl:",
        "haproxy:tcp:1",
        "haproxy:haproxy:tcp:1",
        "tcp:1:backlog=x",
        "tcp:1:a=b",
        "tcp:1\\",
        "stdio:",
        "tcp:1:interface=\\:\\:1",
        "tcp:1:interface=::1",
        'tcp:1:interface=a"b',
        "tls:a:1:b:c:d:e:f",
    ),
    "PUSH_LISTEN": ("tcp:8081", "tcp:8081 unix:/a"),
    "ADMIN_LISTEN": ("tcp:8082", "tcp:x"),
    "API_RETRY_STATUS": ("502 503", "401", "399", "5\uff100", ""),
    "API_SECRET": (_SECRET, f"{_SECRET} {_SECRET}x", "short", f"{_SECRET}\xfc"),
    "API_HEADERS": ("A: b", "A: b\nC:d", "Host: x", "A", "A: \x00", "A: b\r\nC: d", "Ws_Uri: x", f"X-Key: {_SECRET}"),
    "API_CA": ("/nowhere", "/", "\x00"),
    "API_CERT": ("/nowhere", str(_FILE)),
    "API_TEXT_TYPE": ("application/json", "text/plain; charset=utf-8", "text", "a/b;\n", "ü/b", "a/b, c/d"),
    "FORWARD_HEADERS": ("Authorization", "Cookie", "A,a", "A b", "X_Forwarded_For", "X-Forwarded-User", "*", "", ",,"),
    "PUSH_TOKEN": (_SECRET, "a b", "\xfc"),
    "PUBLISH_TOKEN": (_SECRET, "a b", "\xfc"),
    "WS_ORIGINS": ("*", "https://a.test", "https://*.a.test same null", "* a", "https://a*.test", "https://a.test:99999"),
    "STATE_DIR": ("/nowhere/at/all", "relative", "/a\x00b", "~"),
    "LOG_LEVEL": ("debug", "INFO", "loud"),
    "LOG_FORMAT": ("text", "json", "xml"),
    "WS_COMPRESSION": ("on", "off", "yes"),
    "WS_HEALTH_PATH": ("/up", "off", "up", "/a?b", "/AAAAAAAAAAAAAAAAAAAAAAAA", "/\xfc"),
}  # fmt: skip
_NUMBERS = (
    "0",
    "1",
    "1000",
    "30000",
    "-1",
    "1e3",
    "0x10",
    " 5 ",
    "1_000",
    "٣",
    "99999999999999999999",
    "",
    "1.5",
    "30s",
    "5m",
    "9d",
    "1 s",
)
#: What systemd leaves in the environment.
_SYSTEMD = (
    ("NOTIFY_SOCKET", ("@a", "/run/x", "vsock:1", "", "/" + "a" * 300)),
    ("WATCHDOG_USEC", ("1000000", "0", "x", "-1", "1" * 5000)),
    ("WATCHDOG_PID", ("1", "x")),
    ("LISTEN_FDS", ("1", "x")),
)
_OTHER = (
    "API_SECRET_FILE",
    "PUSH_TOKEN_FILE",
    "PUBLISH_TOKEN_FILE",
    "API_HEADERS_FILE",
    "WS_ORIGINS_FILE",
    "API_URL",
    "FILE",
    "--unknown",
    "PATH",
)


def _given(data: bytes) -> tuple[dict[str, str], bytes]:
    """:returns: settings by name, as an environment has them, and what is in the file"""
    given = {}
    content = b""
    for part in data.split(_BETWEEN):
        name, equals, value = part.partition(b"=")
        if name == b"FILE":
            content = value
        elif equals:
            given[name.decode("latin-1")] = value.decode("utf-8", "surrogateescape")
    return given, content


def run(data: bytes) -> Hashable:
    """Try an input: a byte of a variant, then ``NAME=value`` with a separator between each; ``FILE`` is the file's."""
    variant, rest = (data[0] if data else 0), data[1:]
    given, content = _given(rest)
    if content:
        _FILE.write_bytes(content)
    watch.begin()
    if variant & 1 and not any("\0" in value for value in given.values()):
        given = _through_options(given)
    try:
        settings = read_settings(given, demo=bool(variant & 2))
        for line in advice.warnings(settings, 1024):
            line.encode("utf-8", "surrogateescape")
        assert _SECRET not in repr(settings), "a secret in the repr"
        if settings.api_uri is not None:
            PersistentAgent(MemoryReactorClock(), ApiTrust(None, None), 1, 1, 1).target(
                settings.api_uri.uri.encode("ascii")
            )
        build(settings, MemoryReactorClock(), os.urandom, environ=given, now=float)
    except SettingsError as together:
        for error in together.errors:
            said = str(error)
            assert error.name in NAMES, f"what is {error.name}?"
            assert error.allowed, "what is allowed?"
            assert said.isprintable(), f"not for a terminal: {said!r}"
            assert _SECRET not in said, f"a secret is shown: {said}"
        outcome: Hashable = together.name
    else:
        outcome = "taken"
    watch.check(0)
    return outcome


#: Names that an error may give.
NAMES = {setting.name for setting in SETTINGS} | {f"{setting.name}_FILE" for setting in SETTINGS}


def _through_options(given: dict[str, str]) -> dict[str, str]:
    """:returns: the same by way of the command line"""
    options = Options()
    names = {setting.name: setting.option for setting in SETTINGS if not setting.secret}
    arguments = [f"--{names[name]}={value}" for name, value in given.items() if name in names]
    with redirect_stderr(StringIO()):
        options.parseOptions(arguments)
    return options.given({name: value for name, value in given.items() if name not in names})


def make(draw: Draw) -> bytes:
    """:returns: an input"""
    names = [setting.name for setting in SETTINGS]
    chosen = {"API_URI": draw.one(_VALUES["API_URI"][:3]).encode()} if draw.chance(0.9) else {}
    for _ in range(1 + draw.number(3)):
        kind = draw.random.random()
        if kind < 0.85:
            name = draw.one(names)
            values = _VALUES.get(name, _NUMBERS)
        elif kind < 0.93:
            name, values = draw.one(_SYSTEMD)
        else:
            name, values = draw.one(_OTHER), (str(_FILE), "/nowhere", "", "/")
        value = draw.one(values).encode("utf-8", "surrogateescape")
        chosen[name] = draw.damaged(value, ODD) if draw.chance(0.35) else value
    content = draw.one(
        (_SECRET.encode(), b"", b"\xff", b"A: b\n", b"a" * 70_000, b"-----BEGIN CERTIFICATE-----\nAAAA\n")
    )
    parts = [name.encode() + b"=" + value for name, value in chosen.items()]
    if draw.chance(0.1):
        parts.append(b"FILE=" + content)
    return bytes((int(draw.random.random() * 256) & (3 if draw.chance(0.1) else 1),)) + _BETWEEN.join(parts)
