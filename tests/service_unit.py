"""The options of ``wsaas.service``, drop-ins included, as far as :mod:`tests.sandbox` applies them."""

from __future__ import annotations

from tests import seccomp

ELSEWHERE = {
    "Type": "the manager's: the tests read what is said to NOTIFY_SOCKET",
    "NotifyAccess": "the manager's: the tests look at who says it",
    "EnvironmentFile": "the manager reads it: the tests give what it would find",
    "ExecReload": "the tests run it",
    "ExecStartPre": "the tests run it",
    "Restart": "the manager's",
    "RestartSec": "the manager's",
    "KillSignal": "the manager's: the tests send it",
    "TimeoutStopSec": "the manager's: the tests wait no longer",
    "RemoveIPC": "the manager does it once the service has ended",
    "IPAddressAllow": "a program of the manager's at the control group of the service",
    "IPAddressDeny": "as IPAddressAllow",
}
"""Options that are not applied, each with the reason."""

_LISTS = frozenset(
    [
        "ExecReload",
        "AmbientCapabilities",
        "CapabilityBoundingSet",
        "Environment",
        "EnvironmentFile",
        "IPAddressAllow",
        "IPAddressDeny",
        "LoadCredential",
        "RestrictAddressFamilies",
        "SystemCallFilter",
    ]
)
_CAPABILITIES = {"CAP_NET_BIND_SERVICE": 10}


class Service:
    """The options of a unit's section ``[Service]``, drop-ins included.

    :param texts: the unit, then its drop-ins
    :raises ValueError: if an option is neither applied here nor in :data:`ELSEWHERE`
    """

    def __init__(self, *texts: str) -> None:
        self._values: dict[str, list[str]] = {}
        for text in texts:
            section = ""
            for line in map(str.strip, text.splitlines()):
                if line.startswith("["):
                    section = line
                elif line and line[0] not in "#;" and section == "[Service]":
                    name, _, value = line.partition("=")
                    self._add(name.strip(), value.strip())

    def _add(self, name: str, value: str) -> None:
        if name not in APPLIED | ELSEWHERE.keys():
            raise ValueError(f"{name}= is neither applied nor excused")
        before = self._values.get(name, []) if value and name in _LISTS else []
        self._values[name] = [*before, value] if value else []

    def has(self, name: str) -> bool:
        """:returns: whether an option is there, be its value empty"""
        return name in self._values

    def lines(self, name: str) -> list[str]:
        """:returns: the values of an option, in their order"""
        return self._values.get(name, [])

    def words(self, name: str) -> list[str]:
        """:returns: what an option lists"""
        return " ".join(self.lines(name)).split()

    def text(self, name: str, *understood: str) -> str:
        """:returns: an option's value, one of ``understood`` if any are given; empty if it is not there"""
        value = self.lines(name)[-1] if self.lines(name) else ""
        if value and understood and value not in understood:
            raise ValueError(f"{name}={value} is not understood")
        return value

    def is_on(self, name: str) -> bool:
        """:returns: whether a switch is on"""
        return self.text(name, "yes", "no") == "yes"

    def capabilities(self, name: str) -> set[int]:
        """:returns: the numbers of those that an option lists"""
        return {_CAPABILITIES[word] for word in self.words(name)}

    def filters(self) -> list[seccomp.Filter]:
        """:returns: those of system calls, in the order in which they are to be loaded"""
        known = seccomp.groups()
        found = [seccomp.Filter(name, rules()) for name, rules in seccomp.switches(known).items() if self.is_on(name)]
        if self.has("RestrictAddressFamilies"):
            found.append(seccomp.family_filter(self.words("RestrictAddressFamilies")))
        # libseccomp lets no other kind of machine's calls pass any filter.
        self.text("SystemCallArchitectures", "native")
        if lines := self.lines("SystemCallFilter"):
            found.append(seccomp.call_filter(lines, self.text("SystemCallErrorNumber"), known))
        return found


APPLIED = frozenset(
    [
        *seccomp.switches({}),
        "AmbientCapabilities",
        "CapabilityBoundingSet",
        "DynamicUser",
        "Environment",
        "ExecStart",
        "LimitNOFILE",
        "LoadCredential",
        "NoNewPrivileges",
        "PrivateIPC",
        "PrivateMounts",
        "PrivateTmp",
        "PrivateUsers",
        "ProcSubset",
        "ProtectControlGroups",
        "ProtectHome",
        "ProtectProc",
        "ProtectSystem",
        "RestrictAddressFamilies",
        "StateDirectory",
        "StateDirectoryMode",
        "SystemCallArchitectures",
        "SystemCallErrorNumber",
        "SystemCallFilter",
        "UMask",
        "WatchdogSec",
        "WorkingDirectory",
    ]
)
"""Options that are."""
