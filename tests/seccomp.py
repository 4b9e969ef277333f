"""The filters of system calls that systemd makes of a unit's options (systemd.exec(5)), made here with libseccomp.

A unit's list of calls is expanded by ``systemd-analyze syscall-filter``, so that groups mean what they mean to the
systemd of this machine.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import stat
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

# seccomp(2), and <seccomp.h>, where they are enumerations.
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_NO_NEW_PRIVILEGES = 3  # SCMP_FLTATR_CTL_NNP
_LESS, _EQUAL, _GREATER, _MASKED = 2, 4, 6, 7

_O_CREAT = 0o100
_O_TMPFILE = 0o20000000
_WRITE, _EXECUTE = 2, 4
_SHM_EXEC = 0o100000
#: The kinds of namespaces, as flags of clone(2): cgroup, IPC, network, mount, PID, user, UTS.
_NAMESPACES = (0x02000000, 0x08000000, 0x40000000, 0x00020000, 0x20000000, 0x10000000, 0x04000000)
#: Schedulers that are not of real time: SCHED_OTHER, SCHED_BATCH, SCHED_IDLE.
_SCHEDULERS = (0, 3, 5)


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def less(argument: int, value: int) -> _Comparison:
    """:returns: whether an argument is below a value"""
    return _Comparison(argument, _LESS, value, 0)


def equal(argument: int, value: int) -> _Comparison:
    """:returns: whether an argument has a value"""
    return _Comparison(argument, _EQUAL, value, 0)


def greater(argument: int, value: int) -> _Comparison:
    """:returns: whether an argument is above a value"""
    return _Comparison(argument, _GREATER, value, 0)


def has(argument: int, bits: int) -> _Comparison:
    """:returns: whether an argument has all of these bits"""
    return _Comparison(argument, _MASKED, bits, bits)


@dataclass(frozen=True)
class Rule:
    """What becomes of a system call.

    :param call: its name
    :param error: what it fails with; 0 lets it pass
    :param conditions: of its arguments, all of which must hold
    """

    call: str
    error: int
    conditions: Sequence[_Comparison] = ()


@dataclass(frozen=True)
class Filter:
    """The rules of one option.

    :param option: whose they are
    :param rules: of which none contradicts another
    :param otherwise: what any other call fails with; 0 lets it pass
    """

    option: str
    rules: Sequence[Rule] = field(repr=False)
    otherwise: int = 0

    def load(self) -> None:
        """Apply it to this thread and whatever it starts, for good.

        :raises OSError: if libseccomp or the kernel do not take it
        """
        library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
        library.seccomp_init.restype = ctypes.c_void_p
        context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_action(self.otherwise))))
        if not context:
            raise OSError(errno.ENOMEM, "seccomp_init")
        try:
            # NoNewPrivileges= says whether there are any.
            self._check(library.seccomp_attr_set(context, _NO_NEW_PRIVILEGES, 0), "seccomp_attr_set")
            for rule in self.rules:
                number = library.seccomp_syscall_resolve_name(rule.call.encode())
                # A call of other machines, or one that is newer than the library. What would be the default is no rule.
                if number < 0 or rule.error == self.otherwise:
                    continue
                conditions = (_Comparison * len(rule.conditions))(*rule.conditions)
                self._check(
                    library.seccomp_rule_add_array(
                        context, ctypes.c_uint32(_action(rule.error)), number, len(conditions), conditions
                    ),
                    rule.call,
                )
            self._check(library.seccomp_load(context), "seccomp_load")
        finally:
            library.seccomp_release(context)

    def _check(self, result: int, what: str) -> None:
        if result < 0:
            raise OSError(-result, f"{self.option}: {what}")


def _action(error: int) -> int:
    return _ERRNO | error if error else _ALLOW


def _denied(*calls: str, error: int = errno.EPERM) -> list[Rule]:
    return [Rule(call, error) for call in calls]


def groups() -> dict[str, set[str]]:
    """:returns: the groups of system calls that this machine's systemd knows, with the ``@``, as they are written"""
    listing = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True).stdout
    found: dict[str, set[str]] = {}
    members: set[str] = set()
    for line in listing.splitlines():
        name = line.strip()
        if line.startswith("@"):
            members = found[name] = set()
        elif name and not name.startswith("#"):
            members.add(name)
    return found


def _expand(names: Iterable[str], known: Mapping[str, set[str]]) -> set[str]:
    calls: set[str] = set()
    for name in names:
        calls |= _expand(known[name], known) if name.startswith("@") else {name}
    return calls


def call_filter(lines: Sequence[str], error: str, known: Mapping[str, set[str]]) -> Filter:
    """Make the list of system calls that may be made.

    :param lines: of ``SystemCallFilter=``; the first is of what may, later ones may take away again (``~``)
    :param error: ``SystemCallErrorNumber=``
    :param known: the groups
    """
    if lines[0].startswith("~"):
        raise ValueError("SystemCallFilter=: the first list must be of calls that are allowed")
    allowed = _expand(["@default"], known)
    for line in lines:
        calls = _expand(line.removeprefix("~").split(), known)
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    refused: int = getattr(errno, error)
    rules = [Rule(call, 0) for call in sorted(allowed)]
    rules += [Rule(call, refused) for call in sorted(_expand(["@known"], known) - allowed)]
    # A call that systemd has not heard of does not exist.
    return Filter("SystemCallFilter", rules, otherwise=errno.ENOSYS)


def family_filter(names: Sequence[str]) -> Filter:
    """:returns: sockets of no other family can be made"""
    if any(name.startswith("~") or name == "none" for name in names):
        raise ValueError("RestrictAddressFamilies=: only lists of what is allowed are understood")
    allowed = sorted(int(getattr(socket, name)) for name in names)
    between = [number for number in range(allowed[0], allowed[-1]) if number not in allowed]
    conditions = [less(0, allowed[0]), greater(0, allowed[-1]), *(equal(0, number) for number in between)]
    return Filter(
        "RestrictAddressFamilies", [Rule("socket", errno.EAFNOSUPPORT, [condition]) for condition in conditions]
    )


def _namespaces() -> list[Rule]:
    # Flags of clone3(2) cannot be seen, but whoever is told that there is none takes clone(2).
    rules = [*_denied("clone3", error=errno.ENOSYS), Rule("setns", errno.EPERM, [equal(1, 0)])]
    for kind in _NAMESPACES:
        for call, argument in (("clone", 0), ("unshare", 0), ("setns", 1)):
            rules.append(Rule(call, errno.EPERM, [has(argument, kind)]))
    return rules


def _realtime() -> list[Rule]:
    conditions = [equal(1, policy) for policy in range(max(_SCHEDULERS)) if policy not in _SCHEDULERS]
    conditions.append(greater(1, max(_SCHEDULERS)))
    return [Rule("sched_setscheduler", errno.EPERM, [condition]) for condition in conditions]


def _set_id() -> list[Rule]:
    modes = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2, "mkdir": 1, "mkdirat": 2, "mknod": 1, "mknodat": 2}
    rules = _denied("openat2", error=errno.ENOSYS)
    for bit in (stat.S_ISUID, stat.S_ISGID):
        rules += [Rule(call, errno.EPERM, [has(mode, bit)]) for call, mode in {**modes, "creat": 1}.items()]
        for call, flags in (("open", 1), ("openat", 2)):
            for making in (_O_CREAT, _O_TMPFILE):
                rules.append(Rule(call, errno.EPERM, [has(flags, making), has(flags + 1, bit)]))
    return rules


def _write_execute() -> list[Rule]:
    return [
        Rule("mmap", errno.EPERM, [has(2, _WRITE | _EXECUTE)]),
        Rule("mprotect", errno.EPERM, [has(2, _EXECUTE)]),
        Rule("pkey_mprotect", errno.EPERM, [has(2, _EXECUTE)]),
        Rule("shmat", errno.EPERM, [has(2, _SHM_EXEC)]),
    ]


def _personality() -> list[Rule]:
    now = ctypes.CDLL(None).personality(0xFFFFFFFF)
    return [Rule("personality", errno.EPERM, [less(0, now)]), Rule("personality", errno.EPERM, [greater(0, now)])]


def switches(known: Mapping[str, set[str]]) -> dict[str, Callable[[], list[Rule]]]:
    """Tell what options that are on or off forbid.

    :param known: the groups
    :returns: the rules of each
    """
    return {
        "LockPersonality": _personality,
        "MemoryDenyWriteExecute": _write_execute,
        "PrivateDevices": lambda: _denied(*_expand(["@raw-io"], known)),
        "ProtectClock": lambda: _denied(*_expand(["@clock"], known)),
        "ProtectHostname": lambda: _denied("sethostname", "setdomainname"),
        "ProtectKernelLogs": lambda: _denied("syslog"),
        "ProtectKernelModules": lambda: _denied(*_expand(["@module"], known)),
        "ProtectKernelTunables": lambda: _denied("_sysctl"),
        "RestrictNamespaces": _namespaces,
        "RestrictRealtime": _realtime,
        "RestrictSUIDSGID": _set_id,
    }
