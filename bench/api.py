"""The API that the system under test calls: an nginx that says yes to everything and counts."""

from __future__ import annotations

import shutil
from pathlib import Path

from bench.programs import BenchError, Program, free_port, wait_until

_CONFIGURATION = """\
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    log_format uri '$http_ws_uri';
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    client_max_body_size 0;
    tcp_nodelay on;
    default_type application/json;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            if ($request_method = POST) {{ return 200 '{{"code": "OK"}}'; }}
            return 200 '';
        }}
        location = /logged {{
            access_log {directory}/uris uri;
            if ($request_method = POST) {{ return 200 '{{"code": "OK"}}'; }}
            return 200 '';
        }}
        location = /status {{ stub_status; }}
    }}
}}
"""


def find_nginx() -> str | None:
    """Where nginx is; distributions keep it where not everybody's PATH leads."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


class Api(Program):
    """
    A running nginx, ready when the constructor returns.

    Every call to any path gets 200, a POST with ``{"code": "OK"}``.

    :param directory: an empty folder for its files.
    :param core: where it runs.
    :raises BenchError: nginx is missing or does not start.
    """

    def __init__(self, directory: Path, core: int) -> None:
        nginx = find_nginx()
        if nginx is None:
            raise BenchError("nginx is not installed")
        self.port = free_port()
        self._uris = directory / "uris"
        configuration = directory / "nginx.conf"
        configuration.write_text(_CONFIGURATION.format(directory=directory, port=self.port), "utf-8")
        log = directory / "nginx.log"
        super().__init__([nginx, "-p", directory, "-e", log, "-c", configuration], core, log)
        try:
            self.wait_for_port(self.port)
        except BaseException:  # SIGTERM's SystemExit too: nothing stays behind
            self.stop()
            raise

    def uri(self, path: str = "/") -> str:
        """An address for callbacks; with the path ``/logged`` the ``Ws-Uri`` of each is kept for :meth:`ws_uris`."""
        return f"http://127.0.0.1:{self.port}{path}"

    def ws_uris(self, expected: int, timeout: float) -> list[str]:
        """
        The different ``Ws-Uri`` headers that came so far.

        :param expected: how many to wait for.
        :param timeout: seconds to wait for them.
        :raises BenchError: fewer came.
        """
        found: set[str] = set()

        def complete() -> bool:
            found.update(self._uris.read_text("utf-8").splitlines()[len(found) :])
            return len(found) >= expected

        if not wait_until(complete, timeout):
            raise self.error(f"was told {len(found)} of {expected} addresses to push to")
        return sorted(found - {"-"})
