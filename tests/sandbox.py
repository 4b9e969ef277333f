"""Runs a program within the sandbox that ``wsaas.service`` describes, without systemd.

What a unit forbids is read from the unit (:mod:`tests.service_unit`) and done by the same means of the kernel as
systemd uses: a mount namespace, an account, capabilities, filters of system calls (:mod:`tests.seccomp`). An option
that is neither applied nor excused by name is an error, so a new line of the unit does not go untested.

As root, everything is applied; else, within a user namespace, all but the change of the account and the view of
``/proc``, and there is no right to ports below 1024.

Everything is done in a process of its own (``python -m tests.sandbox``), in a namespace whose mounts nobody else sees.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.service_unit import Service

REFUSED = "this machine allows no sandbox"  #: What is said where that is so.

_LAST_CAPABILITY = 63  # more than there are: those that the kernel does not have are not there to be dropped

# <sys/mount.h>, <sched.h>, <sys/prctl.h>, <linux/capability.h>
_NOSUID, _NODEV, _NOEXEC, _BIND, _MOVE, _REC, _PRIVATE = 2, 4, 8, 0x1000, 0x2000, 0x4000, 1 << 18
_NEW_MOUNTS, _NEW_UTS, _NEW_USERS, _NEW_IPC = 0x20000, 0x4000000, 0x10000000, 0x8000000
_DUMPABLE, _KEEP_CAPABILITIES, _DROP_BOUND, _NO_NEW_PRIVILEGES, _AMBIENT, _RAISE = 4, 8, 24, 38, 47, 2
_CAPSET = {"x86_64": 126, "aarch64": 91}
_MOUNT_SETATTR, _READ_ONLY, _RECURSIVE, _HERE = 442, 1, 0x8000, -100

_RUN = Path("/run")
_STATE = Path("/var/lib")
_CREDENTIALS = _RUN / "credentials/wsaas.service"


@dataclass(frozen=True)
class Plan:
    """A program, and what it is to find in its sandbox.

    :param texts: the unit and its drop-ins
    :param argv: the program; none for that of ``ExecStart=``, with the Python that runs the tests
    :param environment: what the manager would read from ``EnvironmentFile=``, and what only tests need; ``LISTENER`` is
        the number of a socket to hand over
    :param user: the number of the account; as another user than root, its own
    :param state: the folder that is to be ``StateDirectory=``
    :param credentials: the folder that is to be ``$CREDENTIALS_DIRECTORY``
    :param manager: the folder with the manager's socket, ``notify``
    :param folders: more of them, by the path at which they appear
    """

    texts: Sequence[str]
    argv: Sequence[str]
    environment: Mapping[str, str]
    user: int
    state: str
    credentials: str
    manager: str
    folders: Mapping[str, str]

    def command(self, path: Path) -> list[str]:
        """:returns: what runs it, from a file to which it is written"""
        path.write_text(json.dumps(asdict(self)))
        return [sys.executable, "-m", "tests.sandbox", str(path)]


class Sandbox:
    """This process, on its way into it.

    :param plan: what is to come of it
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._service = Service(*plan.texts)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._is_root = os.geteuid() == 0
        # Before the Python of the tests is out of sight.
        self._filters = self._service.filters()

    def _call(self, name: str, *arguments: object) -> int:
        result: int = getattr(self._libc, name)(*arguments)
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{name}{arguments}: {os.strerror(number)}")
        return result

    def _mount(self, source: str, target: Path, kind: str = "", flags: int = 0, options: str = "") -> None:
        encoded = [value.encode() or None for value in (source, str(target), kind)]
        self._call("mount", *encoded, ctypes.c_ulong(flags), options.encode() or None)

    def _bind(self, source: Path | str, target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        self._mount(str(source), target, flags=_BIND | _REC)

    def _empty(self, target: Path, mode: str = "755") -> None:
        self._mount("tmpfs", target, "tmpfs", _NOSUID | _NODEV, f"mode={mode}")

    def _writable(self, target: Path, *, yes: bool, below: bool = False) -> None:
        change = (ctypes.c_uint64 * 4)(0 if yes else _READ_ONLY, _READ_ONLY if yes else 0, 0, 0)
        self._call(
            "syscall",
            ctypes.c_long(_MOUNT_SETATTR),
            _HERE,
            str(target).encode(),
            _RECURSIVE if below else 0,
            change,
            ctypes.c_size_t(ctypes.sizeof(change)),
        )

    def isolate(self) -> None:
        """Leave the namespaces of everyone else.

        :raises OSError: if the machine does not allow it
        """
        if not self._is_root:
            self._own_users()
        before = Path("/proc/self/ns/mnt").readlink()
        own = {"PrivateIPC": _NEW_IPC, "ProtectHostname": _NEW_UTS}
        # Other options need one of mounts as well: it is not PrivateMounts= alone that makes it.
        self._call("unshare", _NEW_MOUNTS | sum(kind for name, kind in own.items() if self._service.is_on(name)))
        self._mount("", Path("/"), flags=_REC | _PRIVATE)
        mounts = Path("/proc/self/mountinfo").read_text()
        # What is mounted from here on must be seen by nobody else, or the machine under the tests would lose its files.
        if Path("/proc/self/ns/mnt").readlink() == before or " shared:" in mounts or " master:" in mounts:
            raise RuntimeError("the namespace is not a private one")

    def _own_users(self) -> None:
        user, group = os.geteuid(), os.getegid()
        self._call("unshare", _NEW_USERS)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")

    def arrange(self) -> None:
        """Make the file system what the service is to see of it."""
        # systemd's own: whoever runs the tests may have another one, and the service could not enter what is made here.
        os.umask(0o022)
        service, plan = self._service, self._plan
        # A machine on which the gateway is installed: folders of ours, where the unit expects them.
        roots = {Path("/opt"), _RUN, _STATE}
        kept = {Path(sys.base_prefix): os.open(sys.base_prefix, os.O_PATH)}
        folders = {Path(path): os.open(source, os.O_PATH) for path, source in plan.folders.items()}
        folders[_RUN / "systemd"] = os.open(plan.manager, os.O_PATH)
        folders[_CREDENTIALS] = os.open(plan.credentials, os.O_PATH)
        state = os.open(plan.state, os.O_PATH)
        for root in sorted(roots):
            self._empty(root)
        for target, source in folders.items():
            self._bind(f"/proc/self/fd/{source}", target)
        name = service.text("StateDirectory")
        private = _STATE / "private" / name if service.is_on("DynamicUser") else _STATE / name
        self._bind(f"/proc/self/fd/{state}", private)
        if not (_STATE / name).exists():
            (_STATE / name).symlink_to(Path("private", name))
        private.chmod(int(service.text("StateDirectoryMode"), 8))
        writable = [private]

        if service.is_on("PrivateTmp"):
            for folder in map(Path, ("/tmp", "/var/tmp")):
                self._empty(folder, "1777")
                writable.append(folder)
        self._hide(kept)
        if service.is_on("PrivateDevices"):
            self._devices()
        writable += [folder for folder in map(Path, ("/dev/shm", "/dev/mqueue")) if folder.is_mount()]
        if self._is_root and (service.has("ProtectProc") or service.has("ProcSubset")):
            # Another user may have no view of its own without being the first process in it.
            options = f"hidepid={service.text('ProtectProc', 'invisible')},subset={service.text('ProcSubset', 'pid')}"
            self._mount("proc", Path("/proc"), "proc", _NOSUID | _NODEV | _NOEXEC, options)
        if service.text("ProtectSystem", "strict"):
            self._writable(Path("/"), yes=False, below=True)
            writable.append(Path("/proc"))
        for switch, path in (("ProtectKernelTunables", "/sys"), ("ProtectControlGroups", "/sys/fs/cgroup")):
            if service.is_on(switch) and Path(path).is_mount():
                self._writable(Path(path), yes=False, below=True)
        for folder in writable:
            self._writable(folder, yes=True)

    def _hide(self, kept: Mapping[Path, int]) -> None:
        hidden = ["/home", "/root", "/run/user"] if self._service.is_on("ProtectHome") else []
        hidden += ["/usr/lib/modules", "/lib/modules"] if self._service.is_on("ProtectKernelModules") else []
        for folder in map(Path, hidden):
            if folder.is_dir():
                self._empty(folder, "000")
        # The Python of the tests may be somebody's own: the way to it can be gone, but not looked around from.
        for path, source in kept.items():
            if not path.exists():
                for parent in reversed(path.parents):
                    parent.mkdir(mode=0o711, exist_ok=True)
                    if str(parent) in hidden:
                        parent.chmod(0o711)
                self._bind(f"/proc/self/fd/{source}", path)

    def _devices(self) -> None:
        new = _RUN / ".devices"
        new.mkdir()
        self._empty(new)
        for name in ("null", "zero", "full", "random", "urandom", "tty"):
            (new / name).touch()
            self._mount(f"/dev/{name}", new / name, flags=_BIND)
        for name in ("pts", "shm", "mqueue"):
            if Path("/dev", name).is_mount():
                self._bind(f"/dev/{name}", new / name)
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            (new / name).symlink_to(f"/proc/self/fd/{number}")
        (new / "fd").symlink_to("/proc/self/fd")
        self._mount(str(new), Path("/dev"), flags=_MOVE)

    def become(self) -> None:
        """Give up every privilege but those that the unit leaves."""
        service, user = self._service, self._plan.user
        limit = int(service.text("LimitNOFILE"))
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        except ValueError:  # more than whoever runs the tests may have, who may be root in a container
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        os.umask(int(service.text("UMask"), 8))
        os.chdir(service.text("WorkingDirectory"))
        if self._is_root and service.is_on("DynamicUser"):
            self._call("prctl", _KEEP_CAPABILITIES, 1, 0, 0, 0)
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        if self._is_root and service.is_on("PrivateUsers"):
            # What it may write below /proc/self belongs to root since it changed its user, until this.
            self._call("prctl", _DUMPABLE, 1, 0, 0, 0)
            self._own_users()
        status = Path("/proc/self/status").read_text()
        self._capabilities(int(status.partition("CapPrm:")[2].split()[0], 16))
        self._bound()
        ambient = service.capabilities("AmbientCapabilities")
        self._capabilities(sum(1 << capability for capability in ambient))
        for capability in ambient:
            self._call("prctl", _AMBIENT, _RAISE, capability, 0, 0)
        if service.is_on("NoNewPrivileges"):
            self._call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)

    def _bound(self) -> None:
        kept = self._service.capabilities("CapabilityBoundingSet")
        dropped = range(_LAST_CAPABILITY) if self._service.has("CapabilityBoundingSet") else ()
        for capability in set(dropped) - kept:
            try:
                self._call("prctl", _DROP_BOUND, capability, 0, 0, 0)
            except OSError as error:
                if error.errno != errno.EINVAL:  # there is no such capability
                    raise

    def _capabilities(self, bits: int) -> None:
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        # Effective, permitted, inheritable; the low half of each, then the high one.
        low, high = bits & 0xFFFFFFFF, bits >> 32
        sets = (ctypes.c_uint32 * 6)(low, low, low, high, high, high)
        self._call("syscall", ctypes.c_long(_CAPSET[os.uname().machine]), header, sets)

    def execute(self) -> None:
        """Run the program in place of this one."""
        service, plan = self._service, self._plan
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
            "LANG": "C.UTF-8",
            "HOME": "/",
            "USER": "wsaas",
            "STATE_DIRECTORY": str(_STATE / service.text("StateDirectory")),
            "CREDENTIALS_DIRECTORY": str(_CREDENTIALS),
            "NOTIFY_SOCKET": str(_RUN / "systemd/notify"),
            "WATCHDOG_USEC": str(int(service.text("WatchdogSec")) * 1_000_000),
            "WATCHDOG_PID": str(os.getpid()),
        }
        for line in service.lines("Environment"):
            name, _, value = line.partition("=")
            environment[name] = value.replace("%S", str(_STATE)).replace("%d", str(_CREDENTIALS))
        environment |= plan.environment
        if listener := environment.pop("LISTENER", None):
            # The first descriptor after the usual three, where nothing else is (sd_listen_fds(3)).
            os.dup2(int(listener), 3)
            environment["LISTEN_PID"] = str(os.getpid())
        # The first line of an installed script names the Python of the tests, which is elsewhere here.
        argv = list(plan.argv) or ["/opt/wsaas/bin/python", *service.text("ExecStart").split()]
        for one in self._filters:
            one.load()
        os.execve(argv[0], argv, environment)


def main() -> None:
    """Enter the sandbox and run the program."""
    sandbox = Sandbox(Plan(**json.loads(Path(sys.argv[1]).read_text())))
    try:
        sandbox.isolate()
    except OSError as error:
        print(f"{REFUSED}: {error}", flush=True)  # noqa: T201  # for the test that skips
        sys.exit(1)
    sandbox.arrange()
    sandbox.become()
    sandbox.execute()


if __name__ == "__main__":
    main()
