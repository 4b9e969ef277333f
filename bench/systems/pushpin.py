"""Pushpin with Condure and Zurl, from Debian's ``pushpin`` and ``zurl``: configured in ``peers/pushpin.conf``."""

from __future__ import annotations

import json
import resource
import shutil
from functools import partial

from bench.peers import installed_version, write_configuration
from bench.ports import free_port
from bench.programs import Program
from bench.systems import GROUP, Ability, Conditions, Instance

AT_ONCE = 8  #: with thousands of clients, more handshakes at a time end with 502 for some of them


def publish(channel: str, body: bytes) -> bytes:
    """What publishes a message by the HTTP control port."""
    item = {"channel": channel, "formats": {"ws-message": {"content": body.decode("utf-8")}}}
    content = json.dumps({"items": [item]}).encode("utf-8")
    head = "POST /publish/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode("ascii") + content


class Pushpin:
    """Its processes share the one core; a channel for each client."""

    name = "pushpin"
    abilities = frozenset({Ability.API, Ability.GROUPS})

    def missing(self) -> str | None:
        """Whether its programs are here."""
        absent = [name for name in ("pushpin", "condure", "zurl") if shutil.which(name) is None]
        return f"{' and '.join(absent)} not installed" if absent else None

    def version(self) -> str:
        """Of its parts."""
        return ", ".join(f"{name} {installed_version(name)}" for name in ("pushpin", "condure", "zurl"))

    def start(self, conditions: Conditions) -> Instance:
        """
        Start it.

        :raises BenchError: it does not listen in time.
        """
        core, directory, certificate = conditions.core, conditions.directory, conditions.certificate
        path = conditions.path
        port, push_port, *spare = (free_port() for _ in range(5))
        for folder in ("run", "log", "runner/certs"):
            (directory / folder).mkdir(parents=True)
        (directory / "routes").write_text(f"* 127.0.0.1:{conditions.api_port},over_http\n", "utf-8")
        if certificate:
            for file, suffix in zip(certificate, ("crt", "key"), strict=True):
                (directory / "runner/certs" / f"default_{port}.{suffix}").write_bytes(file.read_bytes())
        write_configuration(directory, "zurl.conf")
        configuration = write_configuration(
            directory,
            "pushpin.conf",
            listen=f"{'https_ports' if certificate else 'http_port'}=127.0.0.1:{port}",
            connections=resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200,
            push_port=push_port,
            spare_1=spare[0],
            spare_2=spare[1],
            spare_3=spare[2],
        )
        zurl = Program(["zurl", "--loglevel=1", f"--config={directory / 'zurl.conf'}"], core, directory / "zurl.log")
        try:
            log = directory / "pushpin.log"
            program = Program(["pushpin", f"--config={configuration}", "--merge-output"], core, log)
            program.wait_for_port_or_stop(port)
            program.wait_for_port_or_stop(push_port)
        except BaseException:  # SIGTERM's SystemExit too: nothing stays behind
            zurl.stop()
            raise
        return Instance(
            [zurl, program],
            port,
            path,
            push_port,
            push_tls=False,
            push_request=publish,
            publish_request=partial(publish, GROUP),
            at_once=AT_ONCE,
        )
