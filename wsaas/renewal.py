"""SIGHUP: the settings that come from files are read again, and take effect while the gateway runs."""

from __future__ import annotations

from dataclasses import replace

from twisted.logger import Logger

from wsaas.callbacks.access import ApiAccess
from wsaas.callbacks.calls import Api
from wsaas.connections.admission import Admission
from wsaas.pushes.tokens import PushTokens
from wsaas.settings.read import Reading
from wsaas.websocket.upgrade import UpgradeResource

_log = Logger()

#: Settings that name certificates, which are reloaded, and complained of, by themselves.
_BY_THEMSELVES = ("API_CA", "API_CERT")


def renew(
    reading: Reading,
    access: ApiAccess,
    api: Api,
    tokens: PushTokens,
    upgrade: UpgradeResource,
    admission: Admission,
) -> None:
    """Use what is in the files now. If one cannot be used, what was read before stays.

    :param reading: all settings, read again
    :param access: how the API was called so far
    :param api: uses ``API_SECRET`` and ``API_HEADERS``, and so do its DELETEs
    :param tokens: use ``PUSH_TOKEN`` and ``PUBLISH_TOKEN``
    :param upgrade: uses ``WS_ORIGINS``
    :param admission: uses ``WS_MAX_CONNECTIONS``
    """
    for error in reading.errors:
        if error.name not in _BY_THEMSELVES:
            _log.error("not reloaded, and what was read before stays: {why}", why=str(error))
    if reading.errors:
        return
    settings = reading.settings()
    access = replace(access, settings=settings.api)
    api.renew(access)
    api.disconnects.renew(access)
    tokens.renew(settings.push_tokens, settings.publish_tokens)
    upgrade.renew(settings.handshake)
    if settings.max_connections is not None:
        admission.max_connections = settings.max_connections
    _log.info("reloaded: {names}", names=" and ".join(reading.files))
