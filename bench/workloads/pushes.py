"""Pushes: each request becomes a message at a client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.load import NUMBER
from bench.rig import Measurement, Setting, set_up
from bench.systems import Ability, System

ADDRESS_LIMIT = 10.0  #: seconds for the API to know the address of every client


def with_key(request: bytes) -> bytes:
    """A request with an ``Idempotency-Key`` that the generator makes another one each time."""
    line, end, rest = request.partition(b"\r\n")
    return line + end + b"Idempotency-Key: " + NUMBER + end + rest


def with_chunks(request: bytes) -> bytes:
    """A request whose body, of known length so far, comes as one chunk: what a client sends that streams."""
    head, end, body = request.partition(b"\r\n\r\n")
    fields = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length:")]
    fields.append(b"Transfer-Encoding: chunked")
    return b"\r\n".join(fields) + end + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


@dataclass(frozen=True)
class Variant:
    """
    What is special about some pushes.

    :param name: at the end of the workload's name.
    :param token: without which nobody may push.
    :param vary: makes of a plain request one that is special; None: it stays as it is.
    """

    name: str
    token: str | None = None
    vary: Callable[[bytes], bytes] | None = None


PLAIN = Variant("")
VARIANTS = (
    Variant("token", token="w8Zr3mQnT5yKc0LdVx1J"),  # nosec B106  # lets nobody in anywhere else
    Variant("key", vary=with_key),
    Variant("chunked", vary=with_chunks),
)


class Pushes:
    """
    Pushes on some keep-alive connections to all clients in turn; counted where they arrive, at the clients.

    :param size: of a message, in bytes.
    :param tls: whether clients speak TLS, and pushers where the system lets them.
    :param variant: what is special about them.
    """

    metrics = {"pushes": "1/s", "accepted": "1/s"}
    saturates = True

    def __init__(self, size: int, tls: bool = False, variant: Variant = PLAIN) -> None:
        self.name = "-".join(filter(None, (f"pushes-{size}", variant.name, "tls" if tls else "")))
        self.tls = tls
        self.needs = frozenset({Ability.API, Ability.TOKENS} if variant.token else {Ability.API})
        self._size = size
        self._variant = variant

    def measure(self, system: System, setting: Setting) -> Measurement:
        """One run."""
        plan, variant = setting.plan, self._variant
        with set_up(system, setting, "pushes", tls=self.tls, token=variant.token, pushers=plan.pushers) as rig:
            rig.load.open(plan.clients)
            uris = rig.api.ws_uris(plan.clients, ADDRESS_LIMIT)
            requests = [rig.instance.push_request(uri, b"p" * self._size) for uri in uris]
            rig.load.prepare([variant.vary(request) for request in requests] if variant.vary else requests)
            window = rig.run(plan.warm, plan.seconds)
        work = window.work
        return window.measurement({"pushes": work.received / work.seconds, "accepted": work.answered / work.seconds})
