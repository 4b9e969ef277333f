"""``docs/containers.rst``: its files parse and fit together, and their commands run as in a container.

There is no container engine here. The commands run as an account without rights, on a root file system that cannot be
written, as PID 1: with ``unshare``, ``mount`` and ``setpriv``. That takes root.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import skipIf, skipUnless

from bench.ports import free_port
from tests.gate import http_request
from tests.ledger_api import LedgerApi
from tests.processes import PATIENCE, ROOT, Program, environment, start
from tests.sandbox_case import Client
from tests.system.test_docs import ParsedTestCase
from wsaas.settings.read import read_settings
from wsaas.settings.table import SETTINGS
from wsaas.settings.values import file_text

try:
    import yaml
except ImportError:
    HAVE_YAML = False
else:
    HAVE_YAML = True

PAGE = ROOT / "docs" / "containers.rst"
#: Of the Dockerfile reference: those that the page may use.
INSTRUCTIONS = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT"}
TOOLS = ("unshare", "mount", "setpriv")
USER = "65532"
#: Seconds between DRAIN_TIMEOUT and the end of the process, for what is left to write.
WRITES = 1
#: Makes the file system of a container. $1: Python's own folder; $2: a folder above it that others may not enter; $3:
#: the environment with the gateway; $4: its code; $5 and $6: a volume, and where it is mounted; $7: secrets; then what
#: is run.
CONTAINER = """
set -e
umask 022
mount -t tmpfs -o mode=755 tmpfs /opt
mkdir -p /opt/python /opt/wsaas /opt/code
mount --bind "$1" /opt/python
mount --bind "$3" /opt/wsaas
mount --bind "$4" /opt/code
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/lib
mkdir -p "$6" /run/secrets
mount --bind "$5" "$6"
mount --bind "$7" /run/secrets
if [ -n "$2" ]; then
    mount -t tmpfs -o mode=755 tmpfs "$2"
    mkdir -p "$1"
    mount --bind /opt/python "$1"
fi
state="$6"
cut -d' ' -f5 /proc/self/mountinfo | while read -r place; do
    case "$place" in
        "$state" | /proc | /proc/* | /sys | /sys/* | /dev | /dev/*) ;;
        *) mount -o remount,bind,ro "$place" ;;
    esac
done
shift 7
cd /
exec setpriv --reuid=65532 --regid=65532 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all -- "$@"
"""


class ContainersCase(ParsedTestCase):
    """The three files of the page."""

    if not HAVE_YAML:
        skip = "PyYAML is not installed"

    def setUp(self) -> None:
        """Take them out of the page."""
        tree = self.parse(PAGE)
        (self.dockerfile,) = self.code(tree, "docker")
        compose, manifest = self.code(tree, "yaml")
        self.compose: dict[str, Any] = yaml.safe_load(compose)
        self.service: dict[str, Any] = self.compose["services"]["wsaas"]
        self.manifest: list[dict[str, Any]] = list(yaml.safe_load_all(manifest))
        self.pod: dict[str, Any] = self.manifest[-1]["spec"]["template"]["spec"]
        (self.container,) = self.pod["containers"]

    def instructions(self) -> list[tuple[str, str]]:
        """:returns: name and text of each instruction of the Dockerfile, without comments"""
        lines = [line for line in self.dockerfile.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
        return [(line.split()[0], line.partition(" ")[2].strip()) for line in joined.splitlines()]

    def last(self, name: str) -> str:
        """:returns: the text of the last instruction of a name"""
        return [text for found, text in self.instructions() if found == name][-1]

    def image_environment(self) -> dict[str, str]:
        """:returns: what ``ENV`` sets"""
        return dict(word.split("=", 1) for word in shlex.split(self.last("ENV")))

    def pod_environment(self) -> dict[str, str]:
        """:returns: what a container of the first pod finds, that of the image included, as Kubernetes expands it"""
        found = {"POD_NAME": "wsaas-0", "NAMESPACE": "default"}
        for entry in self.container["env"]:
            if "value" in entry:
                found[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda name: found[name[1]], entry["value"])
        return self.image_environment() | found


class FilesTests(ContainersCase):
    """That they parse, and fit together."""

    def settings_of(self, given: Mapping[str, str]) -> None:
        """Every setting exists and can be used; its files apart, which are not here."""
        known = {setting.name for setting in SETTINGS} | {f"{setting.name}_FILE" for setting in SETTINGS}
        ours = {
            name: text for name, text in given.items() if re.match("API_|WS_|PUSH_|ADMIN_|STATE_|TRUST_|LOG_", name)
        }
        self.assertEqual(set(ours) - known, set())
        self.assertRaises(ValueError, file_text, ours["PUSH_TOKEN_FILE"])
        read_settings({name: text for name, text in ours.items() if not name.endswith("_FILE")})

    def test_the_image(self) -> None:
        """Known instructions, versions that are named, no root, and programs without a shell, to which signals go."""
        found = self.instructions()
        self.assertEqual({name for name, _ in found} - INSTRUCTIONS, set())
        stages = [text.partition(" AS ")[2] for name, text in found if name == "FROM"]
        for name, text in found:
            if name == "FROM":
                self.assertRegex(text, r"^python:3\.\d+-slim( AS \w+)?$")
            if name == "COPY" and text.startswith("--from="):
                self.assertIn(text.removeprefix("--from=").split()[0], stages)
        self.assertEqual(self.last("USER"), f"{USER}:{USER}")
        for text in (self.last("ENTRYPOINT"), self.last("HEALTHCHECK").partition(" CMD ")[2]):
            command = json.loads(text)
            self.assertTrue(command[0].startswith("/opt/wsaas/bin/"))
        self.assertIn(
            f"install -d -m 700 -o {USER} -g {USER} {self.image_environment()['STATE_DIR']}", self.last("RUN")
        )

    def test_compose(self) -> None:
        """Read-only, no rights, time to end, and a volume where STATE_DIR is; pushes lead to this service."""
        service = self.service
        self.assertEqual((service["read_only"], service["cap_drop"]), (True, ["ALL"]))
        self.assertEqual(service["security_opt"], ["no-new-privileges:true"])
        given = self.image_environment() | service["environment"]
        self.settings_of(given)
        drain = read_settings({"API_URI": "x/"}).drain_timeout
        self.assertGreater(int(service["stop_grace_period"].removesuffix("s")), drain + WRITES)
        volume, _, place = service["volumes"][0].partition(":")
        self.assertEqual((place, volume in self.compose["volumes"]), (given["STATE_DIR"], True))
        port = given["PUSH_LISTEN"].removeprefix("tcp:")
        self.assertEqual(given["WS_HOSTNAME"], f"http://wsaas:{port}")
        self.assertNotIn(port, str(service["ports"]))
        for name in service["secrets"]:
            self.assertIn(name, self.compose["secrets"])
            self.assertIn(f"/run/secrets/{name}", given.values())

    def test_kubernetes(self) -> None:
        """The same; and the services, probes and mounts name what there is."""
        clients, pods, stateful = self.manifest
        self.assertEqual([one["kind"] for one in self.manifest], ["Service", "Service", "StatefulSet"])
        labels = stateful["spec"]["template"]["metadata"]["labels"]
        selectors = [clients["spec"]["selector"], pods["spec"]["selector"], stateful["spec"]["selector"]["matchLabels"]]
        self.assertEqual(selectors, [labels] * 3)
        self.assertEqual(
            (stateful["spec"]["serviceName"], pods["spec"]["clusterIP"]), (pods["metadata"]["name"], "None")
        )
        ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        probes = [self.container[name]["httpGet"] for name in ("livenessProbe", "readinessProbe")]
        targets = [port["targetPort"] for service in (clients, pods) for port in service["spec"]["ports"]]
        self.assertEqual({*targets, *(probe["port"] for probe in probes)}, set(ports))
        given = self.pod_environment()
        self.settings_of(given)
        host = f"wsaas-0.{pods['metadata']['name']}.default.svc"
        self.assertEqual(given["WS_HOSTNAME"], f"http://{host}:{ports['pushes']}")
        self.assertEqual((given["PUSH_LISTEN"], given["ADMIN_LISTEN"]), ("tcp:8081", f"tcp:{ports['admin']}"))
        program, pause = self.container["lifecycle"]["preStop"]["exec"]["command"]
        drain = read_settings({"API_URI": "x/"}).drain_timeout
        self.assertEqual(program, "sleep")
        self.assertGreater(self.pod["terminationGracePeriodSeconds"], int(pause) + drain + WRITES)
        self.assertEqual(
            (self.pod["securityContext"]["runAsUser"], self.pod["securityContext"]["fsGroup"]), (65532,) * 2
        )
        self.assertTrue(self.container["securityContext"]["readOnlyRootFilesystem"])
        mounts = {mount["name"]: mount["mountPath"] for mount in self.container["volumeMounts"]}
        volumes = [*self.pod["volumes"], *(one["metadata"] for one in stateful["spec"]["volumeClaimTemplates"])]
        self.assertEqual(set(mounts), {volume["name"] for volume in volumes})
        # The root of the volume belongs to root.
        self.assertEqual(str(Path(given["STATE_DIR"]).parent), mounts["state"])
        self.assertEqual(self.pod["volumes"][0]["secret"]["defaultMode"], 0o440)


def _has_all() -> bool:
    return (
        os.getuid() == 0
        and all(map(shutil.which, TOOLS))
        and subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "tmpfs", "/opt"], check=False
        ).returncode
        == 0
    )


def _closed(path: Path) -> str:
    """:returns: the first folder on the way that others may not enter; empty if they may"""
    return next((str(one) for one in reversed([path, *path.parents]) if not one.stat().st_mode & 0o001), "")


@skipUnless(_has_all(), "needs root, namespaces and setpriv")
@skipIf(_closed(Path(sys.prefix)), "this environment is in a folder that other accounts may not enter")
class RunTests(ContainersCase):
    """What is run in the containers."""

    def setUp(self) -> None:
        """Start the API; make a volume and secrets."""
        super().setUp()
        self.api = LedgerApi(self)
        self.api.echoes = True
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.volume, self.secrets, self.code_folder = (Path(folder.name, name) for name in ("state", "secrets", "code"))
        for made in (self.volume, self.secrets, self.code_folder):
            made.mkdir()
            made.chmod(0o755)
        for name in ("api_secret", "push_token"):
            (self.secrets / name).write_text(f"{name}-of-the-tests\n")
            os.chown(self.secrets / name, int(USER), int(USER))
            (self.secrets / name).chmod(0o400)
        for name in ("wsaas", "twisted"):
            shutil.copytree(ROOT / name, self.code_folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        #: Ports that are free here, for those on the page.
        self.ports = {port: str(free_port()) for port in ("8080", "8081", "9100")}

    def ported(self, text: str) -> str:
        """:returns: a text of the page with ports that are free"""
        return re.sub("8080|8081|9100", lambda port: self.ports[port[0]], text)

    def contained(self, command: Sequence[str], at: str) -> list[str]:
        """:returns: what runs a command in a container

        :param at: where the volume is mounted
        """
        base = Path(sys.base_prefix)
        places = [base, _closed(base), sys.prefix, self.code_folder, self.volume, at, self.secrets]
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        return [*unshare, "sh", "-c", CONTAINER, "sh", *map(str, places), *map(self.ported, command)]

    def variables(self, given: Mapping[str, str]) -> dict[str, str]:
        """:returns: the environment of a container, with an API that is here"""
        ours = {name: self.ported(text) for name, text in given.items()}
        ours |= {
            "API_URI": f"127.0.0.1:{self.api.port}/hook",
            "WS_LISTEN": f"tcp:{self.ports['8080']}",
            "PYTHONPATH": "/opt/code",
            "DRAIN_TIMEOUT": "1000",
        }
        for name in ("API_SECRET_FILE", "PUSH_TOKEN_FILE"):
            ours[name] = f"/run/secrets/{Path(ours[name]).name}"
        return environment(**ours)

    def begin(self, given: Mapping[str, str], at: str) -> Program:
        """Start the container of the gateway, and wait until it listens."""
        command = json.loads(self.last("ENTRYPOINT"))
        program = start(self, self.contained(command, at), self.variables(given))
        program.wait_for_line(r"listening.*pushes")
        program.wait_for_port(int(self.ports["8080"]))
        return program

    def run_inside(self, command: Sequence[str], at: str) -> subprocess.CompletedProcess[str]:
        """:returns: what came of another command in such a container"""
        argv = self.contained(command, at)
        return subprocess.run(argv, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False)

    def first_process(self, program: Program) -> int:
        """:returns: the number that PID 1 of a container has out here"""
        (child,) = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
        return int(child)

    def connected(self) -> Client:
        """:returns: a client that has sent a message and got it back"""
        connection = socket.create_connection(("127.0.0.1", int(self.ports["8080"])), PATIENCE)
        self.addCleanup(connection.close)
        client = Client(connection)
        client.echo()
        return client

    def push(self, token: str) -> bytes:
        """:returns: the head of the answer to a push"""
        path = "/" + self.api.of("POST")[-1].headers["ws-uri"].rpartition("/")[2]
        with socket.create_connection(("127.0.0.1", int(self.ports["8081"])), PATIENCE) as connection:
            connection.sendall(http_request("PUT", path, b"pushed", ("Authorization", f"Bearer {token}")))
            return connection.recv(4096)

    def get(self, port: str, path: str) -> int:
        """:returns: the status of a page, as a probe asks for it"""
        with socket.create_connection(("127.0.0.1", int(self.ports[port])), PATIENCE) as connection:
            connection.sendall(http_request("GET", path, b""))
            return int(connection.recv(4096).split()[1])

    def gone(self, closed_by: list[str]) -> None:
        """Wait for DELETEs."""
        self.api.wait_until(lambda: len(self.api.of("DELETE")) >= len(closed_by), "DELETEs")
        self.assertEqual([call.headers["ws-closed-by"] for call in self.api.of("DELETE")], closed_by)

    def test_compose(self) -> None:
        """It serves, is healthy, is killed and takes up what is left, and ends in order; nothing else is written."""
        given = self.image_environment() | self.service["environment"]
        at = given["STATE_DIR"]
        # As Docker makes a new volume of a folder in the image.
        self.volume.chmod(0o700)
        os.chown(self.volume, int(USER), int(USER))
        healthy = json.loads(self.last("HEALTHCHECK").partition(" CMD ")[2])
        self.assertNotEqual(self.run_inside(healthy, at).returncode, 0)
        gateway = self.begin(given, at)
        self.assertEqual(self.run_inside(healthy, at).returncode, 0)
        status = Path(f"/proc/{self.first_process(gateway)}/status").read_text()
        self.assertIn(f"Uid:\t{USER}\t{USER}\t{USER}\t{USER}\n", status)
        self.assertRegex(status, r"NSpid:\t\d+\t1\n")
        self.assertRegex(status, r"CapBnd:\t0+\n")
        client = self.connected()
        self.assertIn(b" 200 ", self.push("push_token-of-the-tests"))
        client.expect(b"\x81\x06pushed")
        self.assertIn(b" 401 ", self.push("another"))
        os.kill(self.first_process(gateway), signal.SIGKILL)
        gateway.wait()
        gateway = self.begin(given, at)
        self.gone(["crash"])
        client = self.connected()
        os.kill(self.first_process(gateway), signal.SIGTERM)
        client.expect(b"\x88\x02\x03\xe9")
        gateway.wait()
        self.gone(["crash", "shutdown"])
        self.assertNotIn("Traceback", gateway.output)
        writes = "import os\nfor folder in ('/', '/tmp', '/opt/wsaas', '/run', '/var/lib'):\n"
        writes += "  try: open(folder + '/x', 'w')\n  except OSError as error: print(error.errno)"
        tried = self.run_inside(["/opt/wsaas/bin/python", "-c", writes], at)
        self.assertEqual(set(tried.stdout.split()) - {"30", "13"}, set(), tried.stderr)
        self.assertEqual(len(tried.stdout.split()), 5)

    def test_kubernetes(self) -> None:
        """The volume's root belongs to root and to the group; probes get what they ask for; the pause is one."""
        given = self.pod_environment()
        at = str(Path(given["STATE_DIR"]).parent)
        os.chown(self.volume, 0, int(USER))
        self.volume.chmod(0o2775)
        gateway = self.begin(given, at)
        gateway.wait_for_port(int(self.ports["9100"]))
        for probe in (self.container["livenessProbe"], self.container["readinessProbe"]):
            self.assertEqual(self.get("9100", probe["httpGet"]["path"]), 200)
        self.connected()
        ws_uri = self.api.of("POST")[-1].headers["ws-uri"]
        self.assertTrue(ws_uri.startswith(self.ported("http://wsaas-0.wsaas-pods.default.svc:8081/")), ws_uri)
        self.assertEqual(Path(self.volume, "journal").stat().st_mode & 0o777, 0o700)
        program, _ = self.container["lifecycle"]["preStop"]["exec"]["command"]
        self.assertEqual(self.run_inside([program, "0"], at).returncode, 0)
        os.kill(self.first_process(gateway), signal.SIGTERM)
        gateway.wait()
        self.gone(["shutdown"])
