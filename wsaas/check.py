"""``--check``: all that a start would find wrong with the settings, without serving anybody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from wsaas.assembly import api_trust
from wsaas.callbacks.journal import ThreadWriter
from wsaas.callbacks.journal_file import JournalFile
from wsaas.callbacks.state_dir import StateDir
from wsaas.errors import SettingsError
from wsaas.net.descriptions import read_place
from wsaas.net.listen import DefaultEndpoint, Endpoint, ListeningPort, listen_all
from wsaas.settings.read import Reading

_FORM = "systemd:domain=INET6:name=wsaas, with domain=INET or INET6, and name= or index="


def check(reading: Reading, reactor: Any, *, ports: bool) -> list[SettingsError]:
    """Read all that the settings name: certificates, files, folders, ports.

    :param reading: the settings
    :param reactor: opens the ports, and closes them again
    :param ports: whether to try the ports, and whether ``STATE_DIR`` is in use; not while the gateway itself has them
    :returns: all that is wrong
    """
    errors = list(reading.errors)
    places: list[Endpoint | DefaultEndpoint] = []
    for name, descriptions in reading.endpoints:
        for description in descriptions:
            try:
                if read_place(description).kind == "systemd":
                    _check_form(name, description)
                else:
                    places.append(Endpoint(reactor, name, description))
            except SettingsError as error:
                errors.append(error)
    if not reading.parsed["WS_LISTEN"]:
        places.append(DefaultEndpoint(reactor, local=reading.demo))
    errors += _found(reading, reactor, alone=ports)
    if ports:
        errors += _try_ports(places)
    return errors


def _check_form(setting: str, description: str) -> None:
    """Check a socket of systemd as far as can be told without it: a check before the start is not handed any."""
    options = read_place(description).options
    if options.get("domain") not in ("INET", "INET6"):
        raise SettingsError(setting, description, _FORM, "the domain is neither INET nor INET6")
    if ("name" in options) == ("index" in options):
        raise SettingsError(setting, description, _FORM, "there is not one of name= and index=")
    if not options.get("index", "0").isdigit():
        raise SettingsError(setting, description, _FORM, "the index is not a number")


def _found(reading: Reading, reactor: Any, *, alone: bool) -> Iterator[SettingsError]:
    """:returns: what is wrong with what a start needs besides its endpoints"""
    if reading.parsed["STATE_DIR"] is not None:
        folder = StateDir(reading.parsed["STATE_DIR"])
        try:
            folder.check(alone=alone)
            if alone and folder.journal.exists():
                ThreadWriter(folder, JournalFile(folder.journal), reactor).check()
        except SettingsError as error:
            yield error
    if not reading.errors:
        try:
            api_trust(reading.settings())
        except SettingsError as error:
            yield error


def _try_ports(places: Sequence[Endpoint | DefaultEndpoint]) -> list[SettingsError]:
    """Listen everywhere at once, as two settings may name one port, and stop."""
    listening: list[ListeningPort] = []
    failures: list[Failure] = []
    for place in places:
        # All of Twisted's server endpoints listen at once.
        opening = Deferred.fromCoroutine(listen_all([place], Factory.forProtocol(Protocol)))
        opening.addCallbacks(listening.extend, failures.append)
    for port in listening:
        port.stop()
    found: list[SettingsError] = []
    for failure in failures:
        if not isinstance(failure.value, SettingsError):
            failure.raiseException()
        found += failure.value.errors
    return found
