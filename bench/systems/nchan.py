"""nginx with Nchan, from Debian's ``libnginx-mod-nchan``: configured in ``peers/nchan.conf``."""

from __future__ import annotations

import getpass
import resource
import shutil
from pathlib import Path

from bench.machine import first_line
from bench.peers import installed_version, write_configuration
from bench.ports import free_port
from bench.programs import Program
from bench.systems import GROUP, SUBSCRIBE, Ability, Conditions, Instance

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")


def publish(body: bytes) -> bytes:
    """What publishes a message to all who subscribed."""
    head = (
        f"POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body


class Nchan:
    """One worker process; a channel for each client, or one for all who subscribe."""

    name = "nchan"
    abilities = frozenset({Ability.API, Ability.GROUPS})

    def _nginx(self) -> str | None:
        return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")

    def missing(self) -> str | None:
        """Whether nginx and the module are here."""
        nginx = self._nginx()
        if nginx is None or not MODULE.exists():
            return "nginx and libnginx-mod-nchan are not both installed"
        return None

    def version(self) -> str:
        """Of the module and of nginx."""
        nginx = first_line([self._nginx() or "nginx", "-v"]).removeprefix("nginx version: nginx/")
        return f"{installed_version('libnginx-mod-nchan')}, nginx {nginx}"

    def start(self, conditions: Conditions) -> Instance:
        """
        Start it.

        :raises BenchError: it does not listen in time.
        """
        path, directory, certificate = conditions.path, conditions.directory, conditions.certificate
        port = free_port()
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        log = directory / "nginx.log"
        configuration = write_configuration(
            directory,
            "nchan.conf",
            module=MODULE,
            files=files,
            # Those to the API and of Nchan itself count too; the limit of open files is what bounds them.
            connections=files * 2,
            user=getpass.getuser(),
            log=log,
            api_port=conditions.api_port,
            port=port,
            path=path,
            # With 204 nothing is published: the message was for the API alone.
            message_path=path if path == "/echo" else f"{path}/204",
            public=conditions.public(port),
            subscribe=SUBSCRIBE,
            group=GROUP,
            tls="ssl" if certificate else "",
            certificate=f"ssl_certificate {certificate[0]}; ssl_certificate_key {certificate[1]};"
            if certificate
            else "",
        )
        nginx = self._nginx() or "nginx"
        arguments: list[str | Path] = [nginx, "-p", directory, "-e", log, "-c", configuration]
        program = Program(arguments, conditions.core, log)
        program.wait_for_port_or_stop(port)
        return Instance([program], port, path, port, publish_request=publish)
