"""The service within the sandbox of its unit: that it works there, and what it cannot do."""

from __future__ import annotations

import os
import signal
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from tests.certificates import Authority
from tests.deploy import drop_ins
from tests.sandbox_case import UNIT, Client, SandboxCase, ServiceCase, low_port
from tests.service_unit import Service

# Tries what an intruder would, and writes how each attempt ended: the name of an error, or "done". What could harm the
# machine, should nothing stop it, is called with arguments that are good for nothing.
PROBE = """
import ctypes, errno, json, os, resource, socket, stat
libc = ctypes.CDLL(None, use_errno=True)
number = ctypes.CDLL("libseccomp.so.2").seccomp_syscall_resolve_name

def call(name, *arguments):
    which = name if isinstance(name, int) else number(name.encode())
    assert which >= 0, name
    if libc.syscall(ctypes.c_long(which), *map(ctypes.c_void_p, arguments)) < 0:
        raise OSError(ctypes.get_errno(), name)

def write(path):
    with open(path, "w") as file:
        file.write("x")

def own(path):
    write(path)
    return path

attempts = {
    "write /etc": lambda: write("/etc/x"),
    "write /usr": lambda: write("/usr/x"),
    "write /opt/wsaas": lambda: write("/opt/wsaas/x"),
    "write /var/lib": lambda: write("/var/lib/x"),
    "write /run": lambda: write("/run/x"),
    "write /sys": lambda: write("/sys/x"),
    "write /dev": lambda: write("/dev/x"),
    "write credentials": lambda: write("/run/credentials/wsaas.service/x"),
    "write /root": lambda: write("/root/x"),
    "list /root": lambda: os.listdir("/root"),
    "list /home": lambda: os.listdir("/home"),
    "read /proc/version": lambda: open("/proc/version"),
    "write state": lambda: write(os.environ["STATE_DIR"] + "/x"),
    "write /tmp": lambda: write("/tmp/x"),
    "read /etc": lambda: open("/etc/passwd").read(),
    "join namespace": lambda: call("setns", 0, 0),
    "mount": lambda: call("mount", 0, 0, 0, 0, 0),
    "trace": lambda: call("ptrace", 0, 0, 0, 0),
    "module": lambda: call("init_module", 0, 0, 0),
    "reboot": lambda: call("reboot", 0, 0, 0, 0),
    "swap": lambda: call("swapoff", 0),
    "clock": lambda: call("clock_settime", 99, 0),
    "kernel log": lambda: call("syslog", 10, 0, 0),
    "host name": lambda: call("sethostname", 0, -1),
    "personality": lambda: call("personality", 0x40000),
    "scheduler": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "set uid": lambda: os.setuid(os.getuid()),
    "set-uid file": lambda: os.chmod(own("/tmp/s"), 0o4755),
    "set-gid folder": lambda: os.mkdir("/tmp/d", 0o2755),
    "change owner": lambda: os.chown(own("/tmp/o"), os.getuid(), -1),
    "priority": lambda: os.nice(1),
    "device": lambda: os.mknod("/tmp/k", stat.S_IFCHR, os.makedev(1, 3)),
    "bpf": lambda: call("bpf", 0, 0, 0),
    "AF_NETLINK": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "AF_PACKET": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "AF_VSOCK": lambda: socket.socket(socket.AF_VSOCK),
    "AF_ALG": lambda: socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET),
    "raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1),
    "IPv4": lambda: socket.socket(socket.AF_INET),
    "IPv6": lambda: socket.socket(socket.AF_INET6),
    "UNIX": lambda: socket.socket(socket.AF_UNIX),
    "unknown call": lambda: call(4000),
    "user namespace": lambda: call("unshare", 0x10000000),
}
ended = {}
for name, attempt in attempts.items():
    try:
        attempt()
        ended[name] = "done"
    except OSError as error:
        ended[name] = errno.errorcode[error.errno]
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines() if ":" in line)
seen = [entry for entry in os.listdir("/proc") if entry.isdigit() and int(entry) != os.getpid()]
status = {name: value.strip() for name, value in status.items()}
own = {kind: os.readlink("/proc/self/ns/" + kind) for kind in ("ipc", "mnt", "uts")}
print(json.dumps([ended, status, seen, own, os.listdir("/dev"), resource.getrlimit(resource.RLIMIT_NOFILE)[0]]))
"""

# What the drop-ins of docs/deploy.rst forbid besides.
TIGHTER_PROBE = """
import errno, json, mmap, socket

def executable():
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)

def later():
    import ctypes
    memory = mmap.mmap(-1, 4096)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    if ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(address), 4096, 5):
        raise OSError(ctypes.get_errno(), "mprotect")

def low_port():
    socket.socket().bind(("127.0.0.1", 1))

ended = []
for attempt in (executable, later, low_port):
    try:
        attempt()
        ended.append("done")
    except OSError as error:
        ended.append(errno.errorcode[error.errno])
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines() if ":" in line)
print(json.dumps([ended, status, open("/proc/self/uid_map").read().split()]))
"""

#: How each attempt ends.
ENDINGS = {
    "EROFS": "write /etc, write /usr, write /opt/wsaas, write /var/lib, write /run, write /sys, write /dev, "
    "write credentials",
    "EACCES": "list /root, list /home",
    "ENOENT": "read /proc/version",
    "EPERM": "user namespace, join namespace, mount, trace, module, reboot, swap, clock, kernel log, host name, "
    "personality, scheduler, set uid, set-uid file, set-gid folder, change owner, priority, device, bpf, raw socket",
    "EAFNOSUPPORT": "AF_NETLINK, AF_PACKET, AF_VSOCK, AF_ALG",
    "ENOSYS": "unknown call",
    "done": "write state, write /tmp, read /etc, IPv4, IPv6, UNIX",
}


#: What may be in /dev: no disk, no terminal but one's own.
DEVICES = frozenset(
    ["null", "zero", "full", "random", "urandom", "tty", "pts", "shm", "mqueue", "fd", "stdin", "stdout", "stderr"]
)


@dataclass(frozen=True)
class Seen:
    """What a program found in the sandbox.

    :param ended: how each attempt ended
    :param status: what the kernel says of the process
    :param others: processes in sight
    :param namespaces: the process's own
    :param devices: what is in ``/dev``
    :param files: how many it may open
    """

    ended: dict[str, str]
    status: dict[str, str]
    others: list[str]
    namespaces: dict[str, str]
    devices: list[str]
    files: int


class ForbiddenTests(SandboxCase):
    """What an intruder could do."""

    def attempt(self, *texts: str) -> Seen:
        """:returns: what came of the attempts"""
        before = Path("/proc/self/mountinfo").read_text()
        seen = Seen(*self.probe(PROBE, *texts))
        # What is mounted in there is seen in there alone.
        self.assertEqual(Path("/proc/self/mountinfo").read_text(), before)
        return seen

    def test_ours(self) -> None:
        """Nothing but what the gateway does itself."""
        seen = self.attempt()
        # It depends on whether this Python lives there.
        self.assertIn(seen.ended.pop("write /root"), ("EROFS", "EACCES"))
        expected = {name: how for how, names in ENDINGS.items() for name in names.split(", ")}
        if os.geteuid():  # whose sandbox has the machine's own /proc
            del expected["read /proc/version"], seen.ended["read /proc/version"]
        different = {name: (how, expected.get(name)) for name, how in seen.ended.items() if how != expected.get(name)}
        self.assertEqual((different, seen.ended.keys()), ({}, expected.keys()))
        user = f"{self.user}\t" * 4
        self.assertEqual(seen.status["Uid"], user.strip())
        self.assertNotEqual(self.user, 0)
        kept = {name: seen.status[name] for name in ("Umask", "NoNewPrivs", "Seccomp")}
        self.assertEqual(kept, {"Umask": "0077", "NoNewPrivs": "1", "Seccomp": "2"})
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertEqual(int(seen.status[kind], 16), 1 << 10, kind)  # CAP_NET_BIND_SERVICE
        if os.geteuid() == 0:
            self.assertEqual((seen.status["Groups"], seen.others), ("", []))
        for kind, namespace in seen.namespaces.items():
            self.assertNotEqual(namespace, str(Path("/proc/self/ns", kind).readlink()))
        self.assertEqual(set(seen.devices) - DEVICES, set())
        self.assertLessEqual(seen.files, 262144)

    def test_none(self) -> None:
        """Without the unit's options, the same attempts end otherwise: it is they that forbid."""
        needed = (
            "[Service]",
            "ProtectHome",
            "PrivateTmp",
            "StateDirectory",
            "UMask",
            "WorkingDirectory",
            "LimitNOFILE",
            "DynamicUser",
            "CapabilityBoundingSet",
            "WatchdogSec",
            "Environment=",
        )
        seen = self.attempt("\n".join(line for line in UNIT.splitlines() if line.startswith(needed)))
        done = {name for name, how in seen.ended.items() if how == "done"}
        allowed = (
            "read /proc/version, trace, personality, set uid, set-uid file, set-gid folder, change owner, priority, "
            "AF_NETLINK"
        )
        self.assertEqual(set(allowed.split(", ")) - done, set())
        self.assertNotIn("EROFS", seen.ended.values())
        self.assertEqual(seen.status["Seccomp"], "0")
        self.assertNotEqual(seen.others, [])
        self.assertNotEqual(set(seen.devices) - DEVICES, set())
        for kind in ("ipc", "uts"):
            self.assertEqual(seen.namespaces[kind], str(Path("/proc/self/ns", kind).readlink()))


class WorkingTests(ServiceCase):
    """The gateway."""

    def test_a_life(self) -> None:
        """It says that it serves and lives; clients echo, are pushed to, and get their DELETE when it ends."""
        token = self.credential("push-token", "a-token-of-the-tests")
        secret = self.credential("api-secret", "a-secret-of-the-tests")
        gateway = self.start_gateway(
            **self.settings(PUSH_TOKEN_FILE=token, API_SECRET_FILE=secret, WATCHDOG_USEC="400000")
        )
        self.assertEqual(self.systemd.wait_for("WATCHDOG=1"), gateway.pid)
        client = Client(self.connect())
        client.echo()
        self.assertIn(b" 401 ", self.push(b"pushed"))
        self.assertIn(b" 200 ", self.push(b"pushed", ("Authorization", "Bearer a-token-of-the-tests")))
        client.expect(b"\x81\x06pushed")
        self.assertIn("v1=", self.api.of("PUT")[0].headers["ws-signature"])
        # What others can see of the process (ps), and what they could if they were allowed to.
        for name in ("cmdline", "environ"):
            path = Path("/proc", str(gateway.pid), name)
            self.assertNotIn(b"-of-the-tests", path.read_bytes())
        self.assertEqual(path.stat().st_mode & 0o077, 0)
        gateway.terminate()
        self.assertEqual(self.systemd.wait_for("STOPPING=1"), gateway.pid)
        client.expect(b"\x88\x02\x03\xe9")
        self.gone(1)
        self.assertEqual(self.api.of("DELETE")[0].headers["ws-closed-by"], "shutdown")
        self.assertEqual(gateway.wait(), -signal.SIGTERM)
        self.assertNotIn("Traceback", gateway.output)

    def test_tls(self) -> None:
        """TLS, on a port for which others need to be root; a certificate anew upon ``systemctl reload``."""
        authority = Authority()
        port = low_port()
        self.certify(authority, "one.example")
        settings = self.settings(
            WS_LISTEN=f"tls:/run/credentials/wsaas.service:{port}:interface=127.0.0.1",
            WS_HOSTNAME=f"https://localhost:{port}",
        )
        self.check(Service(UNIT).text("ExecStartPre"), settings)
        gateway = self.start_gateway(**settings)
        context = ssl.create_default_context(cadata=authority.certificate.decode())
        first = Client(context.wrap_socket(self.connect(port), server_hostname="one.example"))
        first.echo()
        self.certify(authority, "other.example")
        self.reload(gateway, settings)
        gateway.wait_for_line("certificates reloaded: 1")
        Client(context.wrap_socket(self.connect(port), server_hostname="other.example")).echo()
        first.echo()
        self.assertEqual(gateway.stop(), -signal.SIGTERM)
        self.gone(2)

    def certify(self, authority: Authority, name: str) -> None:
        """Give the service a certificate in place of the one that it had."""
        self.credential("tls_default.pem", b"".join(authority.issue([name])))

    def test_state(self) -> None:
        """What it owes is there for the next process after it was killed."""
        gateway = self.start_gateway(**self.settings())
        Client(self.connect()).echo()
        os.kill(gateway.pid, signal.SIGKILL)
        self.assertEqual(gateway.wait(), -signal.SIGKILL)
        self.assertEqual(self.api.of("DELETE"), [])
        gateway = self.start_gateway(**self.settings())
        self.gone(1)
        self.assertEqual(self.api.of("DELETE")[0].headers["ws-closed-by"], "crash")
        self.assertEqual(gateway.stop(), -signal.SIGTERM)


class TighterTests(ServiceCase):
    """The drop-ins of docs/deploy.rst."""

    def test_all(self) -> None:
        """With all of them, clients are served at a port from 1024 on, and nothing is left that root may do."""
        tighter = drop_ins()
        self.assertEqual(len(tighter), 3)
        gateway = self.start_gateway(*tighter, **self.settings())
        Client(self.connect()).echo()
        self.assertEqual(gateway.stop(), -signal.SIGTERM)
        self.gone(1)
        ended, status, user = self.probe(TIGHTER_PROBE, UNIT, *tighter)
        self.assertEqual(ended, ["EPERM", "EPERM", "EACCES"])
        self.assertEqual({int(status[kind], 16) for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb")}, {0})
        self.assertEqual(user, [str(self.user), str(self.user), "1"])

    def test_socket_activation(self) -> None:
        """With all of them, a port for which others need to be root is served, since systemd opened it."""
        port = low_port()
        listener = socket.create_server(("127.0.0.1", port))
        self.addCleanup(listener.close)
        self.activate(listener, *drop_ins(), **self.settings(WS_LISTEN="systemd:domain=INET:name=wsaas"))
        Client(self.connect(port)).echo()

    def test_no_memory_for_tls(self) -> None:
        """TLS takes memory that is written and executed: without, it is refused at the start, on either side.

        The day on which this fails, the unit can have ``MemoryDenyWriteExecute=``.
        """
        denied = "[Service]\nMemoryDenyWriteExecute=yes"
        self.credential("tls_default.pem", b"".join(Authority().issue(["one.example"])))
        for name, value in (
            ("WS_LISTEN", f"tls:/run/credentials/wsaas.service:{self.port}:interface=127.0.0.1"),
            ("API_URI", f"https://127.0.0.1:{self.api.port}/hook"),
        ):
            gateway = self.start_gateway(denied, line=f"{name}: .* write.execute", **self.settings(**{name: value}))
            self.assertEqual(gateway.wait(), 1)
            self.assertNotIn("Traceback", gateway.output)
