"""Pages of other sites that connect with a user's cookies: ``WS_ORIGINS``."""

from __future__ import annotations

from tests.attacks.attack import AttackTestCase, attack
from tests.wire import handshake

APP = "https://app.example"


def from_origins(*origins: str) -> list[bytes]:
    """:returns: a handshake from each"""
    return [handshake(headers=[("Origin", origin), ("Cookie", "session=1")]) for origin in origins]


class HijackingTests(AttackTestCase):
    """Cross-site WebSocket hijacking (RFC 6455 §10.2)."""

    title = "Cross-site hijacking"

    @attack(
        "A page of another site connects as its visitor",
        sent="handshakes with a cookie and ``Origin: https://evil.example``; the same over ``http``",
        answer="403",
    )
    async def test_another_site(self) -> str:
        await self.begin(WS_ORIGINS=APP, FORWARD_HEADERS="Cookie")
        return await self.shaken(*from_origins("https://evil.example", "http://app.example"))

    @attack(
        "Look-alikes of an allowed origin",
        sent="``app.example`` with something before or behind it, another port, user information, a path, a trailing "
        "dot, a Cyrillic letter and its punycode, blanks, a list of two",
        answer="400 or 403",
    )
    async def test_look_alikes(self) -> str:
        await self.begin(WS_ORIGINS=APP)
        return await self.shaken(
            *from_origins(
                "https://app.example.evil.example",
                "https://evil-app.example",
                "https://evil.example/https://app.example",
                "https://evil.example?https://app.example",
                "https://evil.example#https://app.example",
                "https://app.example:444",
                "https://app.example@evil.example",
                "https://user:password@app.example",
                "https://app.example/",
                "https://app.example.",
                "https://\xd0\xb0pp.example",
                "https://xn--pp-6kc.example",
                "https://app.example https://evil.example",
                "https://app.example, https://evil.example",
                "app.example",
                "*",
            )
        )

    @attack(
        "Opaque origins: sandboxed frames, files",
        sent="``Origin: null``, ``file://``, ``data:``, ``about:blank``, an extension's, an empty one",
        answer="400 or 403",
    )
    async def test_opaque_origins(self) -> str:
        await self.begin(WS_ORIGINS=APP)
        return await self.shaken(
            *from_origins("null", "file://", "file:///", "data:", "about:blank", "chrome-extension://abc", "")
        )

    @attack(
        "More labels than a ``*`` stands for",
        sent="with ``https://*.app.example`` allowed: two labels, none, a dot alone, a port",
        answer="403",
    )
    async def test_labels(self) -> str:
        await self.begin(WS_ORIGINS="https://*.app.example")
        return await self.shaken(
            *from_origins(
                "https://a.b.app.example",
                "https://app.example",
                "https://.app.example",
                "https://a.app.example:8443",
                "https://evil.example#.app.example",
                "https://evil.example/.app.example",
            )
        )

    @attack(
        "A second ``Origin`` beside the allowed one",
        sent="two ``Origin`` fields, in either order",
        answer="400",
    )
    async def test_two_origins(self) -> str:
        await self.begin(WS_ORIGINS=APP)
        evil = "https://evil.example"
        return await self.shaken(
            handshake(headers=[("Origin", APP), ("Origin", evil)]),
            handshake(headers=[("Origin", evil), ("origin", APP)]),
        )
