"""WSAAS for a back end in Python 3.8 or later: check who calls, push, publish. Copy this file; it needs nothing else.

if not is_signed(secrets, request.method, request.headers.items(), request.get_data()): ...  # answer with 403

gateway = Gateway("http://localhost:8080", token)
gateway.push(ws_uri, "hello")                       # text, or bytes as binary
gateway.publish(group("room 7"), "hello", key="1")  # to a group, user("bob") or "all"
"""

import hmac
import json
import time
from hashlib import sha256
from http.client import HTTPConnection, HTTPSConnection
from urllib.parse import quote, urlencode, urlsplit


def is_signed(secrets, method, headers, body, tolerance=300.0):
    """Tell whether a callback comes from the gateway, as it was sent, and not long ago.

    :param secrets: those of ``API_SECRET``, one of which is enough; each is text
    :param headers: all of the request: pairs of name and value, or a mapping
    :param body: the bytes as they came
    :param tolerance: seconds between its time and this clock
    """
    pairs = headers.items() if hasattr(headers, "items") else headers
    fields = [(name.lower(), value) for name, value in pairs if name.lower().startswith("ws-")]
    values = dict(fields)
    given = values.get("ws-signature", "").encode("utf-8").split()
    lines = sorted(f"{name}:{value}" for name, value in fields if name != "ws-signature")
    try:
        text = "\n".join([method, *lines, sha256(body).hexdigest()]).encode("latin-1")
        age = abs(time.time() - int(values["ws-timestamp"]))
    except (KeyError, ValueError, OverflowError):
        return False
    known = False
    for secret in secrets:
        right = b"v1=" + hmac.new(secret.encode("ascii"), text, "sha256").hexdigest().encode("ascii")
        for each in given:
            known |= hmac.compare_digest(right, each)
    return known and age <= tolerance


def group(name):
    """:returns: the target of a group, whatever is in its name"""
    return f"groups/{quote(name, safe='')}"


def user(name):
    """:returns: the target of a user, whatever is in the name"""
    return f"users/{quote(name, safe='')}"


class Refused(Exception):
    """The gateway's answer is no success. ``code`` is ``NOT_FOUND`` when the client is gone."""

    def __init__(self, status, code, message):
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code = status, code


class Gateway:
    """Where messages are pushed and published. It follows no redirects, and a token goes nowhere but to ``base``.

    :param base: the gateway's ``WS_HOSTNAME``
    :param token: one of ``PUSH_TOKEN``; to publish, of ``PUBLISH_TOKEN``
    :param timeout: seconds that the gateway may be silent
    """

    def __init__(self, base="http://localhost:8080", token=None, timeout=10.0):
        self._base, self._timeout = _absolute(base).rstrip("/"), timeout
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def push(self, ws_uri, message, key=None, confirm=None):
        """Send one message to one client.

        :param message: text, or bytes
        :param key: an ``Idempotency-Key``: repeated with the same one, the message is sent once
        :param confirm: milliseconds to wait for the client's pong; without it ``code`` says ``UNCONFIRMED``
        """
        return self._ask("PUT", ws_uri, message, {"Idempotency-Key": key, "Ws-Confirm": confirm})

    def close(self, ws_uri, code=1000, reason=""):
        """Close one client's connection; or all of a target: ``close(user("bob"), 4001)``."""
        return self._ask("DELETE", f"{ws_uri}?{urlencode({'code': code, 'reason': reason}, quote_via=quote)}")

    def publish(self, target, message, key=None, leave_out=(), skip_slow=False):
        """Send one message to each member of a target.

        :param leave_out: values of ``Ws-Id`` of those who do not get it
        :param skip_slow: pass over members without room instead of closing them
        :returns: the answer, with the counts ``members``, ``sent`` and so on
        """
        headers = {"Idempotency-Key": key, "Ws-Except": ", ".join(leave_out), "Ws-Slow": "skip" if skip_slow else None}
        return self._ask("PUT", target, message, headers)

    def describe(self, ws_uri_or_target):
        """:returns: what is known of a connection; or how many ``members`` a target has"""
        return self._ask("GET", ws_uri_or_target)

    def _ask(self, method, place, message=None, headers=None):
        # Only of this gateway: who forges a callback must not have the token sent elsewhere.
        if place.startswith(("groups/", "users/")) or place.partition("?")[0] == "all":
            place = f"{self._base}/{place}"
        elif not _absolute(place).startswith(f"{self._base}/"):
            raise ValueError("this is no ws_uri of this gateway")
        kind = "application/octet-stream" if isinstance(message, bytes) else "text/plain; charset=utf-8"
        body = message.encode("utf-8") if isinstance(message, str) else message
        asked = {name: str(value) for name, value in (headers or {}).items() if value}
        parts = urlsplit(_absolute(place))
        connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = connect(parts.netloc, timeout=self._timeout)
        try:
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            connection.request(method, path, body, {"Content-Type": kind, **self._headers, **asked})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        try:
            said = json.loads(text)
        except ValueError:
            said = {}
        if answer.status >= 300 or "code" not in said:
            raise Refused(answer.status, said.get("code"), said.get("message", "this is no answer of WSAAS"))
        return said


def _absolute(uri):
    return uri if "://" in uri else f"http://{uri}"
