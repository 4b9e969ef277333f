"""The parts put together: every constructor is called here, and none has to know another's."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from random import SystemRandom
from typing import Any

from twisted.internet.defer import Deferred, succeed

from wsaas.callbacks.access import ApiAccess
from wsaas.callbacks.breaker import Breaker
from wsaas.callbacks.calls import Api
from wsaas.callbacks.client import ApiClient
from wsaas.callbacks.disconnects import Disconnects
from wsaas.callbacks.journal import DiskJournal, ThreadWriter
from wsaas.callbacks.journal_file import JournalFile
from wsaas.callbacks.slots import Slots
from wsaas.callbacks.state_dir import StateDir
from wsaas.connections.addresses import Addresses
from wsaas.connections.admission import Admission
from wsaas.connections.identity import new_identity
from wsaas.connections.interfaces import NO_JOURNAL, Journal
from wsaas.connections.registry import Registry
from wsaas.connections.retry import Backoff, Retries
from wsaas.connections.timer_wheel import WIDTH
from wsaas.connections.totals import Shared, Totals
from wsaas.demo import MAX_ANSWER, Demo
from wsaas.errors import SettingsError
from wsaas.limits import Budgets, total_for
from wsaas.net.client_tls import ApiTrust
from wsaas.net.descriptors import Descriptors, share_out
from wsaas.net.http1.agent import PersistentAgent
from wsaas.net.http1.site import ClientSite, SiteLimits
from wsaas.net.listen import DefaultEndpoint, Endpoint, endpoints
from wsaas.net.transport import Buffers
from wsaas.operations.admin import Readiness, admin_site
from wsaas.operations.loop_lag import Lag
from wsaas.operations.process import Process
from wsaas.operations.service import Clients, Gateway, Hooks, Host, Listener, Timing
from wsaas.operations.systemd import Notifier
from wsaas.pushes.resource import PushResource
from wsaas.pushes.tokens import PushTokens
from wsaas.renewal import Renewal, Users
from wsaas.routes import ClientRoutes, PushRoutes
from wsaas.settings.read import Reading, Settings
from wsaas.settings.values import parse_api_uri, without_secrets
from wsaas.websocket.takeover import ClientFactory
from wsaas.websocket.upgrade import UpgradeResource

#: Seconds for a request's head where ``WS_TIMEOUT`` sets no limit.
_HEAD_TIMEOUT = 30.0
#: One read of 64 KiB of frames with one byte each would keep everybody else waiting for 80 ms, one of 8 KiB for 8; and
#: the kernel would let 4 MB pile up for a client that does not read. What it does not take waits where it is counted.
_BUFFERS = Buffers(receive=8192, send=131072, full=0)


def api_trust(settings: Settings, uri: str) -> ApiTrust:
    """:returns: whom the gateway trusts as API

    :raises SettingsError: if TLS is to be had with it, and cannot be
    """
    trust = ApiTrust(settings.api.ca, settings.api.certificate)
    if uri.startswith("https:"):
        try:
            trust.check()
        except MemoryError as error:
            allowed = f"http, as long as this process can do no TLS ({error})"
            raise SettingsError("API_URI", without_secrets(uri), allowed) from error
    return trust


def api_client(settings: Settings, trust: ApiTrust, uri: str, reactor: Any) -> tuple[ApiClient, PersistentAgent]:
    """:returns: what calls the API, and what has its connections"""
    api = settings.api
    agent = PersistentAgent(reactor, trust, api.max_requests, api.timeout, api.max_body)
    return ApiClient(agent, reactor, api.timeout, api.max_body, uri), agent


def make_journal(settings: Settings, reactor: Any) -> Journal:
    """:returns: the journal in ``STATE_DIR``, or none"""
    if settings.state_dir is None:
        return NO_JOURNAL
    folder = StateDir(settings.state_dir)
    return DiskJournal(ThreadWriter(folder, JournalFile(folder.journal), reactor), reactor)


def metrics_error(places: Sequence[str]) -> SettingsError | None:
    """:returns: that what writes metrics is not installed, if it is not

    :param places: the endpoints of ``ADMIN_LISTEN``
    """
    if find_spec("prometheus_client") is not None:
        return None
    allowed = "endpoints, if prometheus_client is installed: pip install prometheus_client"
    return SettingsError("ADMIN_LISTEN", " ".join(places), allowed, "prometheus_client is not installed")


def _admin(
    settings: Settings,
    reactor: Any,
    readiness: Readiness,
    lag: Lag,
    parts: tuple[Registry, Totals, UpgradeResource, PushResource, Api, Descriptors],
    sites: Sequence[ClientSite],
) -> Listener:
    """:returns: where ``/healthz``, ``/readyz`` and ``/metrics`` are

    :raises SettingsError: if what writes metrics is not installed
    """
    places = settings.listen.admin
    missing = metrics_error(places)
    if missing is not None:
        raise missing
    from wsaas.operations.metrics import (  # noqa: PLC0415 - prometheus_client is an extra
        Measured,
        Metrics,
        gateway_metrics,
    )

    metrics = Metrics(gateway_metrics(Measured(*parts, sites, lag, readiness, Process())))
    return Listener(admin_site(readiness, metrics, reactor), endpoints(reactor, "ADMIN_LISTEN", places), "admin")


def build(
    settings: Settings,
    reactor: Any,
    token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    open_files: int = 1024,
    environ: Mapping[str, str] | None = None,
    reread: Callable[[], Reading] | None = None,
) -> Gateway:
    """Put the parts together.

    :param reactor: for everything
    :param token_bytes: the source of keys
    :param open_files: how many descriptors the process may have
    :param environ: what systemd left there
    :param reread: reads the settings again, on SIGHUP; :data:`None` if none of them comes from a file
    :raises SettingsError: if an endpoint cannot be used, or TLS to the API
    """
    limits, timeout = settings.connection, settings.connection.timeout
    uri = "" if settings.api_uri is None else settings.api_uri.uri
    trust = api_trust(settings, uri)
    client, agent = api_client(settings, trust, uri, reactor)
    # A check is late by twice that at most: once for its bucket, and once for the next pass.
    check_every = max(0.005, min(WIDTH, timeout / 20)) if timeout else WIDTH
    shares = share_out(open_files, settings.api.max_requests)
    max_connections = settings.max_connections or shares.connections
    budgets = Budgets(total_for(limits.max_buffer))
    registry = Registry()
    totals = Totals(check_every, budgets, Addresses(settings.max_per_address))
    slots, random = Slots(settings.api.max_requests), SystemRandom().random
    breaker = Breaker(reactor, random)
    retries = Retries(reactor, Backoff(random), settings.api.retry_for)
    journal = make_journal(settings, reactor)
    access = ApiAccess(client, slots, breaker, reactor, settings.api)
    disconnects = Disconnects(access, random, totals.pending, journal.settle)
    api = Api(access, retries, disconnects)

    def stop_disconnects() -> Deferred[None]:
        disconnects.stop()
        return succeed(None)

    def reload() -> None:
        if trust.has_files and trust.reload():
            agent.renew()
            breaker.renew()
        if reread is not None:
            Renewal(reread, Users(access, api, disconnects, tokens, upgrade, admission))()

    before: list[Callable[[], Deferred[None]]] = []
    after: list[Callable[[], Deferred[None]]] = [stop_disconnects, agent.close]
    tokens = PushTokens(settings.push_tokens)
    pushes = PushResource(registry, limits.max_message, tokens)
    pages = None
    clients: list[Endpoint | DefaultEndpoint] = list(endpoints(reactor, "WS_LISTEN", settings.listen.clients))
    if not clients:
        # The demo shows keys to every page, so it is for this machine only unless told otherwise.
        clients = [DefaultEndpoint(reactor, local=settings.api_uri is None)]
    if settings.api_uri is None:
        demo_agent = PersistentAgent(reactor, trust, settings.api.max_requests, settings.api.timeout, MAX_ANSWER)
        demo = Demo(reactor, demo_agent)
        pages = demo.pages
        pushes = demo.pushes(registry, limits.max_message)

        def start_demo() -> Deferred[None]:
            def started(where: str) -> None:
                client.uri = parse_api_uri(where).uri

            return demo.start().addCallback(started)

        before.append(start_demo)
        after += [demo.stop, demo_agent.close]

    admission = Admission(registry, totals, max_connections, settings.api.max_requests)
    upgrade = UpgradeResource(
        api.calls,
        ClientFactory(reactor, limits.max_message, settings.handshake.compression, budgets),
        partial(new_identity, settings.hostname, token_bytes),
        settings.handshake,
        Shared(limits, registry, totals, reactor, journal),
        admission.check,
    )

    def resume() -> Deferred[None]:
        disconnects.resume(journal.open())
        return succeed(None)

    before.append(resume)
    shared = not settings.listen.pushes
    site_limits = SiteLimits(timeout or _HEAD_TIMEOUT, limits.max_message, shares.awaited, settings.trust_proxy)
    site = partial(ClientSite, clock=reactor, limits=site_limits, bodies=budgets.bodies)
    routes = ClientRoutes(upgrade, pushes if shared else None, pages)
    kind = "clients, pushes" if shared else "clients"
    listeners = [Listener(site(routes), clients, kind, _BUFFERS, pushes=shared, clients=True)]
    if not shared:
        places = endpoints(reactor, "PUSH_LISTEN", settings.listen.pushes)
        listeners.append(Listener(site(PushRoutes(pushes)), places, "pushes", _BUFFERS, pushes=True))
    descriptors = Descriptors(reactor, shares)
    readiness = Readiness()
    if settings.listen.admin:
        lag = Lag(reactor)
        sites = [listener.site for listener in listeners if isinstance(listener.site, ClientSite)]
        parts = (registry, totals, upgrade, pushes, api, descriptors)
        listeners.append(_admin(settings, reactor, readiness, lag, parts, sites))
        before.append(lag.start)
        after.append(lag.stop)
    gateway = Gateway(
        reactor,
        listeners,
        Clients(registry, totals, upgrade),
        Timing(check_every, settings.drain_timeout),
        Hooks(
            before, disconnects.hurry, after, journal.close, reload if trust.has_files or reread is not None else None
        ),
        Host(Notifier(reactor, environ or {}, lambda: f"{registry.addressed} clients"), descriptors),
    )
    readiness.add("starting", lambda: None if gateway.ready or gateway.stopping else "the gateway is starting")
    readiness.add("journal", lambda: None if journal.healthy else "the journal cannot be written (STATE_DIR)")
    readiness.add("draining", lambda: "the gateway is shutting down" if gateway.stopping else None)
    readiness.add("descriptors", lambda: "no file descriptor is left" if descriptors.is_holding else None)
    return gateway
