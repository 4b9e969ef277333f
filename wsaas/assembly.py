"""The parts put together: every constructor is called here, and none has to know another's."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from random import SystemRandom
from time import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from wsaas.callbacks.access import ApiAccess
from wsaas.callbacks.breaker import Breaker
from wsaas.callbacks.calls import Api
from wsaas.callbacks.client import ApiClient
from wsaas.callbacks.disconnects import Disconnects
from wsaas.callbacks.journal import DiskJournal, ThreadWriter
from wsaas.callbacks.journal_file import JournalFile
from wsaas.callbacks.publishing import AnswerPublisher
from wsaas.callbacks.slots import Slots
from wsaas.callbacks.state_dir import StateDir
from wsaas.callbacks.tracing import Tracer
from wsaas.connections.addresses import Addresses
from wsaas.connections.admission import Admission
from wsaas.connections.identity import new_identity
from wsaas.connections.interfaces import NO_JOURNAL, Journal
from wsaas.connections.registry import Registry
from wsaas.connections.retry import Backoff, Retries
from wsaas.connections.timer_wheel import WIDTH
from wsaas.connections.totals import Shared, Totals
from wsaas.demo import Demo
from wsaas.errors import SettingsError
from wsaas.groups.home import Home
from wsaas.groups.membership import bound
from wsaas.limits import Budget, Budgets, total_for
from wsaas.net.client_tls import ApiTrust
from wsaas.net.descriptors import Descriptors, Shares, share_out
from wsaas.net.http1.agent import PersistentAgent
from wsaas.net.http1.site import ClientSite, SiteLimits
from wsaas.net.listen import DefaultEndpoint, Endpoint, endpoints
from wsaas.net.transport import Buffers
from wsaas.operations.admin import Health, Readiness, admin_site
from wsaas.operations.loop_lag import Lag
from wsaas.operations.process import Process
from wsaas.operations.refused_pushes import RefusedPushes
from wsaas.operations.service import Clients, Gateway, Hooks, Host, Listener, Step
from wsaas.operations.systemd import Notifier
from wsaas.pushes.named import NamedResource
from wsaas.pushes.resource import PushResource
from wsaas.pushes.settings import PushSettings
from wsaas.pushes.tokens import PushTokens
from wsaas.renewal import renew
from wsaas.routes import ClientRoutes, PushRoutes
from wsaas.settings.read import Reading, Settings
from wsaas.settings.values import parse_api_uri, without_secrets
from wsaas.websocket.takeover import ClientFactory
from wsaas.websocket.upgrade import UpgradeResource

_log = Logger()

#: Reads the settings again, with the files as they are now.
Reread = Callable[[], Reading]

#: Seconds for a request's head where ``WS_TIMEOUT`` sets no limit.
_HEAD_TIMEOUT = 30.0
#: One read of 64 KiB of frames with one byte each would keep everybody else waiting for 80 ms, one of 8 KiB for 8; and
#: the kernel would let 4 MB pile up for a client that does not read. What it does not take waits where it is counted.
_BUFFERS = Buffers(receive=8192, send=131072, full=0)


def api_trust(settings: Settings) -> ApiTrust:
    """:returns: whom the gateway trusts as API

    :raises SettingsError: if TLS is to be had with it, and cannot be
    """
    trust, api = ApiTrust(settings.api.ca, settings.api.certificate), settings.api_uri
    if api is not None and api.uri.startswith("https:"):
        try:
            trust.check()
        except MemoryError as error:
            allowed = f"http, as long as this process can do no TLS ({error})"
            raise SettingsError("API_URI", without_secrets(api.uri), allowed) from error
    return trust


@dataclass(frozen=True, slots=True)
class _Connections:
    """What ``connections/`` and ``groups/`` have for the others."""

    shared: Shared
    admission: Admission
    groups: Home


@dataclass(frozen=True, slots=True)
class _Callbacks:
    """What ``callbacks/`` has for the others."""

    trust: ApiTrust
    agent: PersistentAgent
    access: ApiAccess
    api: Api


@dataclass(frozen=True, slots=True)
class _Pushes:
    """What ``pushes/`` has for the others, and the demo, if that records them."""

    tokens: PushTokens
    resource: PushResource
    named: NamedResource
    demo: Demo | None = None
    #: What to call at the end.
    stop: tuple[Step, ...] = ()

    @property
    def both(self) -> tuple[PushResource, NamedResource]:
        """What answers requests to a ``ws_uri``, and those by name."""
        return self.resource, self.named


def make_journal(settings: Settings, reactor: Any, now: Callable[[], float]) -> Journal:
    """:returns: the journal in ``STATE_DIR``, or none"""
    if settings.state_dir is None:
        return NO_JOURNAL
    folder = StateDir(settings.state_dir)
    return DiskJournal(ThreadWriter(folder, JournalFile(folder.journal), reactor), reactor, now)


def _connections(settings: Settings, reactor: Any, now: Callable[[], float], shares: Shares) -> _Connections:
    limits = settings.connection
    # A check is late by twice the width at most: once for its bucket, and once for the next pass.
    width = max(0.005, min(WIDTH, limits.timeout / 20)) if limits.timeout else WIDTH
    totals = Totals(width, Budgets(total_for(limits.max_buffer)), Addresses(settings.max_per_address))
    registry = Registry()
    most = settings.max_connections or shares.connections
    admission = Admission(registry, totals, most, settings.api.max_requests)
    groups = Home(registry, totals, reactor, limits.max_groups, lambda: bound(admission.max_connections))
    journal = make_journal(settings, reactor, now)
    return _Connections(Shared(limits, registry, totals, reactor, now, groups, journal), admission, groups)


def _callbacks(settings: Settings, reactor: Any, shared: Shared, token_bytes: Callable[[int], bytes]) -> _Callbacks:
    api, uri = settings.api, "" if settings.api_uri is None else settings.api_uri.uri
    trust = api_trust(settings)
    agent = PersistentAgent(reactor, trust, api.max_requests, api.timeout, api.max_body)
    client = ApiClient(agent, reactor, api.timeout, api.max_body, uri, shows=settings.log.debugs)
    random = SystemRandom().random
    tracer = Tracer(token_bytes) if api.trace else None
    access = ApiAccess(client, Slots(api.max_requests), Breaker(reactor, random), reactor, shared.now, api, tracer)
    # Two of them, as each counts what it begins.
    retries, again = (Retries(reactor, shared.now, Backoff(random), api.retry_for) for _ in range(2))
    publisher = AnswerPublisher(shared.groups, again, shared.totals.budgets.incoming)
    disconnects = Disconnects(access, random, shared.totals.pending, publisher, shared.journal.settle)
    return _Callbacks(trust, agent, access, Api(access, retries, disconnects, publisher))


def _pushes(settings: Settings, reactor: Any, people: _Connections) -> _Pushes:
    shared = people.shared
    registry = shared.registry
    tokens = PushTokens(settings.push_tokens, settings.publish_tokens)
    seconds = reactor.seconds if settings.log.debugs else None
    most = settings.connection.max_message
    bounds = PushSettings(most, settings.max_batch, settings.log.debugs)
    demo = Demo(reactor, shared.now) if settings.api_uri is None else None
    make_named = NamedResource if demo is None else demo.named
    named = make_named(registry, people.groups, tokens, bounds, reactor, shared.totals.budgets.bodies)
    if demo is None:
        return _Pushes(tokens, PushResource(registry, most, tokens, seconds), named)
    return _Pushes(tokens, demo.pushes(registry, most, seconds), named, demo, (demo.stop,))


def _websocket(
    settings: Settings, reactor: Any, people: _Connections, api: Api, token_bytes: Callable[[int], bytes]
) -> UpgradeResource:
    most, compression = settings.connection.max_message, settings.handshake.compression
    factory = ClientFactory(reactor, most, compression, people.shared.totals.budgets)
    identify = partial(new_identity, settings.hostname, token_bytes)
    return UpgradeResource(api.calls, factory, identify, settings.handshake, people.shared, people.admission.check)


def _client_routes(settings: Settings, upgrade: UpgradeResource, pushes: _Pushes, readiness: Readiness) -> ClientRoutes:
    """:returns: what is found where clients connect"""
    path = settings.listen.health
    return ClientRoutes(
        upgrade,
        pushes.both,
        not settings.listen.pushes,
        None if pushes.demo is None else pushes.demo.pages,
        None if path is None else (path, Health(readiness)),
    )


def _listeners(
    settings: Settings, reactor: Any, shares: Shares, routes: ClientRoutes, pushes: _Pushes, bodies: Budget
) -> list[Listener]:
    """:returns: where clients and pushers connect

    :raises SettingsError: if an endpoint cannot be used
    """
    limits = SiteLimits(
        settings.connection.timeout or _HEAD_TIMEOUT,
        settings.connection.max_message,
        shares.awaited,
        settings.trust_proxy,
        settings.handshake.max_head,
    )
    site = partial(ClientSite, clock=reactor, limits=limits, bodies=bodies)
    clients: list[Endpoint | DefaultEndpoint] = list(endpoints(reactor, "WS_LISTEN", settings.listen.clients))
    if not clients:
        # The demo shows keys to every page, so it is for this machine only unless told otherwise.
        clients = [DefaultEndpoint(reactor, local=settings.api_uri is None)]
    shared = not settings.listen.pushes
    kind = "clients, pushes" if shared else "clients"
    listeners = [Listener(site(routes), clients, kind, _BUFFERS, pushes=shared, clients=True)]
    if not shared:
        places = endpoints(reactor, "PUSH_LISTEN", settings.listen.pushes)
        listeners.append(Listener(site(PushRoutes(pushes.both)), places, "pushes", _BUFFERS, pushes=True))
    return listeners


def _admin(
    settings: Settings,
    reactor: Any,
    readiness: Readiness,
    lag: Lag | None,
    process: Process,
    parts: tuple[Registry, Totals, UpgradeResource, PushResource, NamedResource, Api, Home, Descriptors],
    listeners: Sequence[Listener],
) -> Listener:
    """:returns: where ``/healthz``, ``/readyz`` and ``/metrics`` are

    :param lag: measures for the latter; :data:`None` if nothing writes them
    :param listeners: all of them, once this one has been added
    """
    places = endpoints(reactor, "ADMIN_LISTEN", settings.listen.admin)
    if lag is None:
        _log.info("ADMIN_LISTEN has no /metrics: prometheus_client is not installed")
        return Listener(admin_site(readiness, None, reactor), places, "admin")
    from wsaas.operations.metrics import Metrics, gateway_metrics  # noqa: PLC0415 - prometheus_client is an extra

    sites = [listener.site for listener in listeners if isinstance(listener.site, ClientSite)]
    metrics = Metrics(gateway_metrics(*parts, sites, lag, readiness, process, listeners))
    return Listener(admin_site(readiness, metrics, reactor), places, "admin")


def _hooks(
    settings: Settings,
    people: _Connections,
    calls: _Callbacks,
    pushes: _Pushes,
    parts: Sequence[Lag | RefusedPushes],
    reload: Callable[[], object] | None,
) -> Hooks:
    """:returns: what is done when the gateway starts and stops, in its order"""
    disconnects, journal, demo = calls.api.disconnects, people.shared.journal, pushes.demo

    def start_demo() -> Deferred[None]:
        def started(where: str) -> None:
            calls.access.client.uri = parse_api_uri(where).uri

        assert demo is not None  # noqa: S101 - for the type checker
        return demo.start().addCallback(started)

    def resume() -> None:
        disconnects.resume(journal.open())

    before: list[Step] = [resume]
    listening: list[Step] = [part.start for part in parts]
    if demo is not None:
        before.insert(0, start_demo)
        listening.append(partial(_log.info, "open {page}", page=f"{settings.hostname}/"))
    after = [people.groups.stop, disconnects.stop, calls.agent.close, *pushes.stop, *(part.stop for part in parts)]
    return Hooks(before, disconnects.hurry, after, journal.close, reload, listening)


def _reload(
    people: _Connections, calls: _Callbacks, pushes: _Pushes, upgrade: UpgradeResource, reread: Reread | None
) -> Callable[[], object] | None:
    """:returns: what SIGHUP does besides the listeners' certificates; :data:`None` if nothing comes from files"""
    trust, access = calls.trust, calls.access
    if not trust.has_files and reread is None:
        return None

    def reload() -> None:
        if trust.has_files and trust.reload():
            calls.agent.renew()
            access.breaker.renew()
        if reread is not None:
            renew(reread(), access, calls.api, pushes.tokens, upgrade, people.admission)

    return reload


def _say_ready(readiness: Readiness, gateway: Gateway, journal: Journal, descriptors: Descriptors) -> None:
    readiness.add("starting", lambda: None if gateway.ready or gateway.stopping else "the gateway is starting")
    readiness.add("journal", lambda: None if journal.healthy else "the journal cannot be written (STATE_DIR)")
    readiness.add("draining", lambda: "the gateway is shutting down" if gateway.stopping else None)
    readiness.add("descriptors", lambda: "no file descriptor is left" if descriptors.is_holding else None)


def build(
    settings: Settings,
    reactor: Any,
    token_bytes: Callable[[int], bytes] = secrets.token_bytes,
    open_files: int = 1024,
    environ: Mapping[str, str] | None = None,
    reread: Reread | None = None,
    now: Callable[[], float] = time,
) -> Gateway:
    """Put the parts together.

    :param reactor: for everything
    :param token_bytes: the source of keys
    :param open_files: how many descriptors the process may have
    :param environ: what systemd left there
    :param reread: reads the settings again, on SIGHUP; :data:`None` if none of them comes from a file
    :param now: tells the time of day; everything that lasts is measured by the reactor's clock
    :raises SettingsError: if an endpoint cannot be used, or TLS to the API
    """
    shares = share_out(open_files, settings.api.max_requests)
    people = _connections(settings, reactor, now, shares)
    registry, totals = people.shared.registry, people.shared.totals
    calls = _callbacks(settings, reactor, people.shared, token_bytes)
    pushes = _pushes(settings, reactor, people)
    upgrade = _websocket(settings, reactor, people, calls.api, token_bytes)
    descriptors, readiness = Descriptors(reactor, shares), Readiness()
    routes = _client_routes(settings, upgrade, pushes, readiness)
    listeners = _listeners(settings, reactor, shares, routes, pushes, totals.budgets.bodies)
    lag = Lag(reactor) if settings.listen.admin and find_spec("prometheus_client") is not None else None
    if settings.listen.admin:
        measured = (registry, totals, upgrade, *pushes.both, calls.api, people.groups, descriptors)
        listeners.append(_admin(settings, reactor, readiness, lag, Process(now), measured, listeners))
    parts: list[Lag | RefusedPushes] = [RefusedPushes(reactor, pushes.both), *([] if lag is None else [lag])]
    hooks = _hooks(settings, people, calls, pushes, parts, _reload(people, calls, pushes, upgrade, reread))
    host = Host(Notifier(reactor, environ or {}, lambda: f"{registry.addressed} clients"), descriptors)
    gateway = Gateway(reactor, listeners, Clients(registry, totals, upgrade), settings.drain_timeout, hooks, host)
    _say_ready(readiness, gateway, people.shared.journal, descriptors)
    return gateway
