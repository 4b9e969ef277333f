"""The push side: who has no token, no key or no right to a path, a method, a size or a type."""

from __future__ import annotations

from urllib.parse import urlsplit

from bench.ports import free_port
from tests.attacks.attack import attack
from tests.attacks.pushes import PushAttackTestCase, request
from tests.wire import NOBODY, handshake
from wsaas.connections.identity import tag_of

TOKEN = "kX1-the-right-token"
BEARER = ("Authorization", f"Bearer {TOKEN}")
METHODS = ("PUT", "DELETE", "GET", "HEAD")


class PushTests(PushAttackTestCase):
    """Requests to a ``ws_uri``, or nearly one (protocol §3)."""

    title = "The push side: who may push, where and how"

    async def begin_with_token(self, **settings: str) -> None:
        """Start the gateway with a ``PUSH_TOKEN``, which the API knows."""
        self.push_fields = (BEARER,)
        await self.begin(PUSH_TOKEN=f"another-token {TOKEN}", **settings)

    @attack(
        "Guessing the token of ``PUSH_TOKEN``",
        sent="``PUT``, ``DELETE``, ``GET`` and ``HEAD`` on a ``ws_uri`` without a token; with an empty one, a wrong "
        "one, the beginning of the right one, more than it, in other case, twice; both tokens in one field",
        answer="401",
    )
    async def test_token(self) -> str:
        await self.begin_with_token()
        guesses = ["", "Bearer", "Bearer ", "Bearer wrong", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x"]
        guesses += [f"Bearer {TOKEN.upper()}", f"Bearer {TOKEN},{TOKEN}", f"Bearer {TOKEN} {TOKEN}"]
        guesses += [f"Bearer {TOKEN} another-token", f"Bearer \xa0{TOKEN}", "Bearer *"]
        requests = [self.put([("Authorization", guess)], method=method) for guess in guesses for method in METHODS]
        return await self.told_each(*requests, *(self.put(method=method) for method in METHODS))

    @attack(
        "The right token in the wrong place",
        sent="another scheme, none, a second ``Authorization`` before or behind it, ``Proxy-Authorization``, "
        "``X-Authorization``, the query, a cookie, user information in the target, the body",
        answer="401",
    )
    async def test_place_of_the_token(self) -> str:
        await self.begin_with_token()
        other = ("Authorization", "Bearer wrong")
        places: list[list[tuple[str, str]]] = [[("Authorization", f"{scheme}{TOKEN}")] for scheme in ("", "Basic ")]
        places += [[("Authorization", f"Bearer={TOKEN}")], [("Authorization", f"Bearer:{TOKEN}")]]
        places += [[BEARER, other], [other, BEARER], [BEARER, BEARER], [("Cookie", f"access_token={TOKEN}")]]
        places += [[(f"{name}Authorization", f"Bearer {TOKEN}")] for name in ("Proxy-", "X-", "Ws-")]
        targets = [f"/{self.key}?access_token={TOKEN}", f"http://:{TOKEN}@gateway.example/{self.key}"]
        return await self.told_each(
            *(self.put(place) for place in places),
            *(self.put(target=target) for target in targets),
            self.put([("Content-Type", "application/x-www-form-urlencoded")], f"access_token={TOKEN}".encode()),
        )

    @attack(
        "Finding out, without a token, which keys exist",
        sent="every method, lengths over the limit and bad types, on a key that exists and on one that does not: the "
        "answers are the same to the byte",
        answer="401 or 405",
    )
    async def test_which_keys_exist(self) -> str:
        await self.begin_with_token()
        requests = []
        for key in (self.key, NOBODY):
            target = f"/{key}"
            requests += [self.put(method=method, target=target) for method in (*METHODS, "POST", "OPTIONS", "TRACE")]
            requests.append(self.put([("Content-Type", "text/plain; charset=utf-16")], target=target))
            requests.append(self.put([("Ws-Confirm", "x")], target=target))
            requests.append(request(f"PUT {target} HTTP/1.1", [("Content-Length", "999999")]))
        got = await self.answers(*requests)
        self.assertEqual(got[: len(got) // 2], got[len(got) // 2 :])
        return self.statuses(*got)

    @attack(
        "Guessing a key",
        sent="each character of a right key changed, its beginning, more than it, with padding, in other "
        "case, backwards, the tag in its place, an unknown key, an empty one",
        answer="404",
    )
    async def test_key(self) -> str:
        await self.begin()
        key = self.key
        guesses = [f"{key[:i]}{'A' if key[i] != 'A' else 'B'}{key[i + 1 :]}" for i in range(len(key))]
        guesses += [key[:-1], key[1:], f"{key}A", f"{key}=", f"{key}==", key.swapcase(), key[::-1], tag_of(key), NOBODY]
        guesses += ["", "*", "_", "null", "undefined", key[: len(key) // 2] + "*"]
        # A key may happen to read the same.
        guesses = [guess for guess in guesses if guess != key]
        return await self.told_each(
            *(self.put(method=method, target=f"/{guess}") for guess in guesses for method in ("PUT", "DELETE"))
        )

    @attack(
        "Paths in which one program sees a key and another does not",
        sent="a key with ``/``, ``/..``, ``;x``, ``#x``, ``%00``, ``%2f``, ``%23`` or a backslash behind it, with a "
        "letter or all of it percent-encoded, in the query, in the fragment, in user information; ``*``; a host",
        answer="400 or 404",
    )
    async def test_path(self) -> str:
        await self.begin()
        key = self.key
        behind = ["/", "//", "/.", "/..", "/../x", ";x", ";x=/y", "#x", "%00", "%2f", "%23", "%3f", "%20", "\\"]
        encoded = "".join(f"%{ord(char):02x}" for char in key)
        targets = [f"/{key}{tail}" for tail in behind] + [f"/%{ord(key[0]):02x}{key[1:]}", f"/{encoded}"]
        before = ["/x?", "/?", "/x%2f", "/x\\", "/.%2f", "/\x80"]
        targets += [f"{head}{key}" for head in before] + [f"http://{key}@h/", f"http://{key}/", f"{key}@h:80"]
        targets += ["*", "gateway.example:80", f"/x;/{key};", f"/{key}\xff", f"/{key}.json"]
        return await self.told_each(
            *(self.put(method=method, target=target) for target in targets for method in ("PUT", "DELETE"))
        )

    @attack(
        "Other methods on a ``ws_uri``",
        sent="``POST`` with ``X-HTTP-Method-Override: DELETE`` and ``_method``, ``TRACE``, ``CONNECT``, ``PATCH``, "
        "``PROPFIND``, ``PURGE``, ``delete``, ``PUTT``, 1,000 letters; nothing of ``TRACE`` comes back",
        answer="405",
    )
    async def test_method(self) -> str:
        await self.begin()
        override = [("X-HTTP-Method-Override", "DELETE"), ("X-HTTP-Method", "DELETE"), ("X-Method-Override", "PUT")]
        methods = ["POST", "TRACE", "CONNECT", "PATCH", "PROPFIND", "PURGE", "delete", "Put", "PUTT", "P" * 1000]
        requests = [self.put([*override, ("X-Secret", "mirror")], method=method) for method in methods]
        requests.append(self.put(override, b"_method=DELETE", method="POST", target=f"/{self.key}?_method=DELETE"))
        got = await self.answers(*requests)
        for answer in got:
            self.assertNotIn(b"mirror", answer.body)
        return self.statuses(*got)

    @attack(
        "A page of another site pushes through its user's browser",
        sent="what a page may send without asking (``POST`` as text, as a form, as ``multipart``), and the preflight "
        "of ``PUT`` and ``DELETE`` (``OPTIONS``): no CORS field comes back",
        answer="405",
    )
    async def test_browser(self) -> str:
        await self.begin()
        origin = [("Origin", "https://evil.example"), ("Referer", "https://evil.example/"), ("Sec-Fetch-Mode", "cors")]
        types = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
        asked = [("Access-Control-Request-Method", "PUT"), ("Access-Control-Request-Private-Network", "true")]
        requests = [self.put([*origin, ("Content-Type", each)], method="POST") for each in types]
        requests += [
            self.put([*origin, *asked], b"", method="OPTIONS", target=path) for path in (f"/{self.key}", "/x/" + NOBODY)
        ]
        looked = self.put(origin, b"", method="GET")
        *got, readable = await self.answers(*requests, looked)
        for answer in (*got, readable):
            names = [name.lower() for name, _ in answer.headers.getAllRawHeaders()]
            self.assertEqual([name for name in names if name.startswith(b"access-control")], [])
        return self.statuses(*got)

    @attack(
        "Pushing through the clients' listener where ``PUSH_LISTEN`` is set",
        sent="``PUT``, ``DELETE``, ``GET`` and ``HEAD`` with the right key and token, on an unknown key, in absolute "
        "form",
        answer="405",
    )
    async def test_wrong_listener(self) -> str:
        pushes = free_port()
        await self.begin_with_token(
            PUSH_LISTEN=f"tcp:{pushes}:interface=127.0.0.1", WS_HOSTNAME=f"http://127.0.0.1:{pushes}"
        )
        self.assertEqual(urlsplit(self._bystanders_uri).port, pushes)
        targets = (f"/{self.key}", f"/{NOBODY}", f"http://127.0.0.1:{pushes}/{self.key}")
        tried = [self.put([BEARER], method=method, target=target) for method in METHODS for target in targets]
        self.pushes_at = self.port
        return await self.told_each(*tried)

    @attack(
        "Connecting as a client at the listener of pushes",
        sent="handshakes on ``/``, on ``/chat`` and on an unknown key, with ``PUSH_LISTEN`` set",
        answer="404",
    )
    async def test_client_among_pushers(self) -> str:
        pushes = free_port()
        await self.begin(PUSH_LISTEN=f"tcp:{pushes}:interface=127.0.0.1", WS_HOSTNAME=f"http://127.0.0.1:{pushes}")
        return await self.told_each(*(handshake(path) for path in ("/", "/chat", f"/{NOBODY}")))

    @attack(
        "Reflecting markup, control characters or secrets in the error page",
        sent="``<script>``, ``%0d%0a``, escape sequences and a token in the path, the query, the method, the type, the "
        "parameters of a close: the answers are plain text or JSON, with none of it",
        answer="400 or 404 or 415 or 426",
    )
    async def test_error_pages(self) -> str:
        await self.begin()
        markup = "<script>s3cret</script>"
        requests = [self.put(target=f"/{markup}"), self.put(target=f"/%0d%0aSet-Cookie:s3cret/{NOBODY}")]
        requests += [self.put(target="/\x1b[31ms3cret\x07"), self.put(method="s3cret<b>")]
        requests += [self.put(target=f"/{markup}", method="GET")]
        requests += [self.put([("Content-Type", f"text/{markup}; charset={markup}")])]
        requests += [self.put([("Content-Encoding", markup)]), self.put([("Idempotency-Key", f"{markup} {markup}")])]
        requests += [self.put([("Ws-Confirm", markup)]), self.put(method="DELETE", target=f"/{self.key}?{markup}=1")]
        requests += [request(f"PUT /{self.key} {markup}")]
        got = await self.answers(*requests)
        for answer in got:
            self.assertNotIn(b"s3cret", answer.body)
            self.assertIn(answer.header("Content-Type"), ("application/json", "text/plain; charset=utf-8"))
            self.assertIsNone(answer.header("Set-Cookie"))
        return self.statuses(*got)
