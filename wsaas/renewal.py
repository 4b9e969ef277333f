"""SIGHUP: the settings that come from files are read again, and take effect while the gateway runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from twisted.logger import Logger

from wsaas.callbacks.access import ApiAccess
from wsaas.callbacks.calls import Api
from wsaas.callbacks.disconnects import Disconnects
from wsaas.connections.admission import Admission
from wsaas.pushes.tokens import PushTokens
from wsaas.settings.read import Reading
from wsaas.websocket.upgrade import UpgradeResource

#: Settings that name certificates, which are reloaded, and complained of, by themselves.
_BY_THEMSELVES = ("API_CA", "API_CERT")


@dataclass(frozen=True, slots=True)
class Users:
    """The parts that use settings which may come from files.

    :param access: how the API is called
    :param api: ``API_SECRET``, ``API_HEADERS``
    :param disconnects: the same, for the DELETEs
    :param tokens: ``PUSH_TOKEN``, ``PUBLISH_TOKEN``
    :param upgrade: ``WS_ORIGINS``
    :param admission: ``WS_MAX_CONNECTIONS``
    """

    access: ApiAccess
    api: Api
    disconnects: Disconnects
    tokens: PushTokens
    upgrade: UpgradeResource
    admission: Admission


class Renewal:
    """Reads the files of settings again.

    :param read: reads all settings, with the files as they are now
    :param users: the parts that use them
    """

    _log = Logger()

    def __init__(self, read: Callable[[], Reading], users: Users) -> None:
        self._read = read
        self._users = users

    def __call__(self) -> bool:
        """Read the files, and use what is in them. If one cannot be used, what was read before stays.

        :returns: whether they could be used
        """
        reading = self._read()
        for error in reading.errors:
            if error.name not in _BY_THEMSELVES:
                self._log.error("not reloaded, and what was read before stays: {why}", why=str(error))
        if reading.errors:
            return False
        settings, users = reading.settings(), self._users
        access = replace(users.access, settings=settings.api)
        users.api.renew(access)
        users.disconnects.renew(access)
        users.tokens.renew(settings.push_tokens, settings.publish_tokens)
        users.upgrade.renew(settings.handshake)
        if settings.max_connections is not None:
            users.admission.max_connections = settings.max_connections
        self._log.info("reloaded: {names}", names=" and ".join(reading.files))
        return True
