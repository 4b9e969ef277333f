"""
Centrifugo, one program: ``peers/centrifugo.json``. It is for publishing alone.

A client says that it connects, and waits for the API's yes (a connect proxy), which names what it subscribes to. It has
no pings: their pongs would be messages.
"""

from __future__ import annotations

import json
import shutil

from bench.machine import first_line
from bench.peers import write_configuration
from bench.ports import free_port
from bench.programs import Program
from bench.systems import GROUP, SUBSCRIBE, Ability, Conditions, Instance

KEY = "b1Xw7GqTz4Kc9VnE"
CONNECT = json.dumps({"id": 1, "connect": {}})


def publish(body: bytes) -> bytes:
    """What publishes a message by the HTTP API."""
    content = json.dumps({"channel": GROUP, "data": body.decode("utf-8")}).encode("utf-8")
    head = (
        f"POST /api/publish HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode("ascii") + content


class Centrifugo:
    """Its threads share the one core."""

    name = "centrifugo"
    abilities = frozenset({Ability.GROUPS})

    def missing(self) -> str | None:
        """Whether it is here."""
        return None if shutil.which("centrifugo") else "centrifugo is not installed"

    def version(self) -> str:
        """What it says of itself."""
        return first_line(["centrifugo", "version"]).removeprefix("Centrifugo ")

    def start(self, conditions: Conditions) -> Instance:
        """
        Start it.

        :raises BenchError: it does not listen in time.
        """
        port, directory = free_port(), conditions.directory
        endpoint = f"http://127.0.0.1:{conditions.api_port}/centrifugo"
        file = write_configuration(
            directory, "centrifugo.json", port=port, endpoint=endpoint, subscribe=SUBSCRIBE, key=KEY
        )
        log = directory / "centrifugo.log"
        program = Program(["centrifugo", "--config", file], conditions.core, log, {"GOMAXPROCS": "1"})
        program.wait_for_port_or_stop(port)
        return Instance([program], port, SUBSCRIBE, port, publish_request=publish, greeting=CONNECT)
