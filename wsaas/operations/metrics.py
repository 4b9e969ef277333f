"""Metrics for Prometheus: every name, and where its value comes from.

The parts of the gateway count in plain integers where things happen (:mod:`wsaas.counts`); nothing here runs until the
metrics are scraped. To add a metric, add an integer in the part that knows it, and a :class:`Metric` in
:func:`gateway_metrics` that reads it. ``docs/metrics.rst`` describes each metric; a test compares it with this table.

Reading must be quick for any number of connections, as it blocks the reactor. No label value may come from outside
(keys, paths, addresses, names of groups and users): it could identify a client, and clients could create time series at
will.

This module needs prometheus_client, which is an optional dependency; no other module does.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.gc_collector import GCCollector
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString
from twisted.logger import Logger

from wsaas import __version__
from wsaas.counts import FAILURES, Attempts, Histogram

if TYPE_CHECKING:
    from wsaas.callbacks.calls import Api
    from wsaas.connections.registry import Registry
    from wsaas.connections.totals import Totals
    from wsaas.groups.home import Home
    from wsaas.net.descriptors import Descriptors
    from wsaas.net.http1.site import ClientSite
    from wsaas.operations.admin import Readiness
    from wsaas.operations.loop_lag import Lag
    from wsaas.operations.process import Process
    from wsaas.operations.service import Listener
    from wsaas.pushes.answering import AnsweringResource
    from wsaas.pushes.named import NamedResource
    from wsaas.pushes.resource import PushResource
    from wsaas.websocket.upgrade import UpgradeResource

Value = float | Histogram
#: The values of a metric: each with its label values, in the order of the labels.
Values = Iterable[tuple[Sequence[str], Value]]

#: What slots are held for; LATE: DELETEs whose first attempt failed.
_SHARES = ("POST", "PUT", "DELETE", "LATE")
#: Statuses with a label value of their own; others are reported by class, as an API may refuse with any 4xx.
_STATUSES = frozenset({101, 400, 401, 403, 404, 405, 408, 413, 414, 415, 426, 429, 431, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    :param name: with the unit, and ``_total`` if it only grows (Prometheus's conventions)
    :param help: one sentence that describes it
    :param read: reads its values, or the one that it has if it has no labels
    :param labels: the names of its labels
    """

    name: str
    help: str
    read: Callable[[], Value | Values]
    labels: Sequence[str] = ()

    def family(self) -> Family:
        """:returns: the metric in the form of prometheus_client"""
        read = self.read()
        values = list(read) if isinstance(read, Iterable) else [((), read)]
        if values and isinstance(values[0][1], Histogram):
            histograms = HistogramMetricFamily(self.name, self.help, labels=self.labels)
            for labels, value in values:
                assert isinstance(value, Histogram)  # noqa: S101 - for the type checker
                ends = [*map(floatToGoString, value.bounds), "+Inf"]
                histograms.add_metric(labels, list(zip(ends, accumulate(value.counts), strict=True)), value.total)
            return histograms
        kind = CounterMetricFamily if self.name.endswith("_total") else GaugeMetricFamily
        numbers = kind(self.name, self.help, labels=self.labels)
        for labels, value in values:
            assert not isinstance(value, Histogram)  # noqa: S101 - for the type checker
            numbers.add_metric(labels, value)
        return numbers


class Metrics(Collector):
    """Collects all metrics and writes the metrics page.

    :param metrics: the gateway's own
    :param registry: of prometheus_client, for them and those of Python's garbage collector
    """

    _log = Logger()

    def __init__(self, metrics: Iterable[Metric], registry: CollectorRegistry | None = None) -> None:
        self._metrics = list(metrics)
        self._registry = CollectorRegistry(auto_describe=False) if registry is None else registry
        self._registry.register(self)
        GCCollector(self._registry)

    def describe(self) -> list[Family]:
        """:returns: nothing, so that registering does not read the metrics"""
        return []

    def collect(self) -> Iterator[Family]:
        """Read all metrics; if one cannot be read, the others still are."""
        for metric in self._metrics:
            try:
                family = metric.family()
            except Exception:  # noqa: BLE001 - whatever it is, it concerns one metric only
                self._log.failure("a fault of the gateway: {name} cannot be read", name=metric.name)
            else:
                yield family

    def page(self, accept: str) -> tuple[str, bytes]:
        """Write the page.

        :param accept: the header ``Accept`` of the request
        :returns: the media type, and the page
        """
        try:
            encode, media_type = choose_encoder(accept)
        except Exception:  # noqa: BLE001 - it fails on malformed versions in the header, in unspecified ways
            encode, media_type = choose_encoder("")
        return media_type, encode(self._registry)


def gateway_metrics(
    registry: Registry,
    totals: Totals,
    upgrade: UpgradeResource,
    pushes: PushResource,
    named: NamedResource,
    api: Api,
    groups: Home,
    descriptors: Descriptors,
    sites: Sequence[ClientSite],
    lag: Lag,
    readiness: Readiness,
    process: Process,
    listeners: Sequence[Listener],
) -> list[Metric]:
    """:returns: every metric of the gateway's own, read from these parts of it"""
    return [
        Metric("wsaas_build_info", "What runs, as labels; always 1.", _build, ("version", "python", "twisted")),
        *_process_metrics(process),
        Metric("wsaas_event_loop_lag_seconds", "How late the event loop is.", lambda: lag.seconds),
        Metric("wsaas_ready", "1 if /readyz says so, else 0.", lambda: not readiness.failing()),
        Metric(
            "wsaas_certificate_expiry_timestamp_seconds",
            "When the first of a listener's certificates expires, in seconds since 1970.",
            lambda: _expiries(listeners),
            ("listener",),
        ),
        *_connection_metrics(registry, totals),
        *_request_metrics(upgrade, (pushes, named), sites, descriptors),
        *_message_metrics(totals),
        *_group_metrics(groups, api),
        *_callback_metrics(api),
    ]


def _connection_metrics(registry: Registry, totals: Totals) -> list[Metric]:
    counts = totals.counts
    return [
        Metric(
            "wsaas_connections",
            "Connections, by state; closing lasts until the DELETE is done, or pending as a record.",
            lambda: [
                (("authorising",), totals.asking),
                (("open",), counts.open),
                (("closing",), len(registry) - totals.asking - counts.open),
            ],
            ("state",),
        ),
        Metric(
            "wsaas_connections_paused",
            "Clients that are not read, because what they sent waits for the API.",
            lambda: counts.paused,
        ),
        Metric(
            "wsaas_closes_total",
            "Connections that ended, by close code and Ws-Closed-By.",
            lambda: list(counts.ends.items()),
            ("code", "closed_by"),
        ),
        Metric(
            "wsaas_connection_duration_seconds",
            "How long connections were open that ended.",
            lambda: counts.seconds,
        ),
    ]


def _expiries(listeners: Sequence[Listener]) -> Values:
    """:returns: when the certificates of each place expire, by where it listens"""
    for place in (place for listener in listeners for place in listener.places):
        if place.where and place.expires is not None:
            yield (place.where,), place.expires


def _request_metrics(
    upgrade: UpgradeResource,
    answering: Sequence[AnsweringResource],
    sites: Sequence[ClientSite],
    descriptors: Descriptors,
) -> list[Metric]:
    pushes, named = answering
    return [
        Metric(
            "wsaas_handshakes_total",
            "Handshakes, by the status of the answer; none: the client left before it.",
            lambda: _statuses(upgrade.answers),
            ("status",),
        ),
        Metric(
            "wsaas_refusals_total",
            "Handshakes that brought no WebSocket, by what was wrong.",
            lambda: [((reason,), count) for reason, count in upgrade.refusals.items()],
            ("reason",),
        ),
        Metric(
            "wsaas_requests_refused_total",
            "Requests that were answered by their head, or before they were complete, by status.",
            lambda: _statuses(sum((Counter(site.refused) for site in sites), Counter())),
            ("status",),
        ),
        Metric(
            "wsaas_requests_awaited",
            "Connections that have not sent a whole request yet.",
            lambda: sum(site.awaited for site in sites),
        ),
        Metric(
            "wsaas_descriptor_shortages_total",
            "How often a listener paused because no file descriptor was left.",
            lambda: descriptors.shortages,
        ),
        Metric(
            "wsaas_pushes_total",
            "Requests to a ws_uri, by method and status of the answer.",
            lambda: _by_method(pushes),
            ("method", "status"),
        ),
        Metric(
            "wsaas_requests_by_name_total",
            "Requests by name (groups, users, all, batches), by method and status of the answer.",
            lambda: _by_method(named),
            ("method", "status"),
        ),
    ]


def _by_method(resource: AnsweringResource) -> Values:
    """:returns: the number of answers by method and status"""
    for method, answers in resource.answers.items():
        for status, count in answers.items():
            yield (method.decode("ascii"), str(status)), count


def _message_metrics(totals: Totals) -> list[Metric]:
    counts, budgets = totals.counts, totals.budgets
    kinds = {"outgoing": budgets.outgoing, "incoming": budgets.incoming, "bodies": budgets.bodies}
    return [
        Metric(
            "wsaas_buffered_bytes",
            "Bytes that wait: for clients (outgoing), from clients (incoming), of pushes being received (bodies).",
            lambda: [((kind,), budget.used) for kind, budget in kinds.items()],
            ("kind",),
        ),
        Metric(
            "wsaas_buffered_limit_bytes",
            "How many bytes of each kind may wait before new clients are refused.",
            lambda: [((kind,), budget.limit) for kind, budget in kinds.items()],
            ("kind",),
        ),
        Metric(
            "wsaas_messages_total",
            "Messages, from clients (in) and to clients (out).",
            lambda: [(("in",), counts.messages_in), (("out",), counts.messages_out)],
            ("direction",),
        ),
        Metric(
            "wsaas_message_bytes_total",
            "Bytes of messages, without what frames add to them.",
            lambda: [(("in",), counts.bytes_in), (("out",), counts.bytes_out)],
            ("direction",),
        ),
        Metric(
            "wsaas_messages_undelivered_total",
            "Messages from clients of connections that are over, which the API may not have got (Ws-Undelivered).",
            lambda: counts.undelivered,
        ),
        Metric(
            "wsaas_messages_rejected_total",
            "Messages from clients that the API refused for good.",
            lambda: counts.rejected,
        ),
    ]


def _group_metrics(groups: Home, api: Api) -> list[Metric]:
    membership, publishing, turns, reached = (
        groups.membership,
        groups.publishing,
        groups.turns,
        groups.publishing.reached,
    )
    return [
        Metric("wsaas_groups", "Groups that have a member.", lambda: membership.groups),
        Metric("wsaas_users", "Users that have a connection.", lambda: membership.users),
        Metric(
            "wsaas_group_memberships",
            "Memberships in groups: a connection in three groups has three.",
            lambda: membership.memberships,
        ),
        Metric(
            "wsaas_publishes_total",
            "Publishes, by what became of them; refused: there was no room, and nothing was sent.",
            lambda: [(("done",), publishing.done), (("refused",), publishing.refused)],
            ("outcome",),
        ),
        Metric(
            "wsaas_publish_members_total",
            "Members of what was published to, by what became of the message for each.",
            lambda: [
                (("sent",), reached.sent),
                (("held",), reached.held),
                (("skipped",), reached.skipped),
                (("closed",), reached.closed),
                (("except",), reached.left_out),
            ],
            ("outcome",),
        ),
        Metric(
            "wsaas_group_tasks_waiting",
            "Publishes, and closing, joining or leaving by name, that are being worked off.",
            lambda: len(turns),
        ),
        Metric(
            "wsaas_publishes_lost_total",
            "Publishes of answers (Ws-Publish) that were dropped, as there was no room in all the time.",
            lambda: api.publisher.dropped,
        ),
        Metric("wsaas_group_tasks_waiting_bytes", "Bytes of these publishes.", lambda: turns.bytes),
        Metric(
            "wsaas_group_slice_duration_seconds",
            "How long the slices took in which these are worked off, and others wait.",
            lambda: turns.seconds,
        ),
    ]


def _callback_metrics(api: Api) -> list[Metric]:
    attempts = api.client.attempts
    return [
        Metric(
            "wsaas_callbacks_total",
            "Attempts at calling the API, by method and result: the class of the status, or what went wrong.",
            lambda: [
                ((method, result), count) for method, made in attempts.items() for result, count in _results(made)
            ],
            ("method", "result"),
        ),
        Metric(
            "wsaas_callback_duration_seconds",
            "How long attempts took, from the slot to the whole answer or the failure.",
            lambda: [((method,), made.seconds) for method, made in attempts.items()],
            ("method",),
        ),
        Metric(
            "wsaas_callback_retries_total",
            "Attempts that were not the first of their call.",
            lambda: [(("PUT",), api.retries.begun), (("DELETE",), api.disconnects.begun)],
            ("method",),
        ),
        Metric(
            "wsaas_callbacks_in_flight",
            "Attempts that hold a slot of API_MAX_REQUESTS.",
            lambda: [((method,), api.slots.held_by(method)) for method in _SHARES],
            ("method",),
        ),
        Metric(
            "wsaas_callbacks_waiting",
            "Attempts that wait for a slot.",
            lambda: [((method,), api.slots.waiting_by(method)) for method in _SHARES],
            ("method",),
        ),
        Metric(
            "wsaas_goodbyes_owed",
            "DELETEs that the API did not take at first, and that are tried again.",
            lambda: api.disconnects.waiting,
        ),
        Metric(
            "wsaas_oldest_pending_delete_seconds",
            "For how long the oldest of these has been pending; 0 if there is none.",
            lambda: api.disconnects.oldest,
        ),
        Metric("wsaas_goodbyes_owed_bytes", "Memory that these take.", lambda: api.disconnects.bytes),
        Metric(
            "wsaas_goodbyes_lost_total",
            "DELETEs that were given up: the API was not told that these connections are over.",
            lambda: api.disconnects.lost,
        ),
        Metric(
            "wsaas_api_down",
            "1 while the API is known to be down and new clients are refused, else 0.",
            lambda: api.breaker.is_open,
        ),
    ]


def _process_metrics(process: Process) -> list[Metric]:
    """:returns: metrics with the names of prometheus_client's own collector, which lists descriptors at each scrape"""
    return [
        Metric(
            "process_start_time_seconds",
            "When the process started, in seconds since 1970.",
            lambda: process.started_at,
        ),
        Metric("process_cpu_seconds_total", "Time on a processor.", process.cpu_seconds),
        Metric("process_resident_memory_bytes", "Memory of the process.", process.memory),
        Metric("process_open_fds", "Open file descriptors.", process.descriptors),
        Metric("process_max_fds", "The limit of open file descriptors.", process.max_descriptors),
    ]


def _build() -> Values:
    yield (__version__, platform.python_version(), version("twisted")), 1


def _statuses(answers: dict[int, int]) -> Values:
    """:returns: the number of answers by status; status 0 means no answer"""
    counts: Counter[str] = Counter()
    for status, count in answers.items():
        counts[str(status) if status in _STATUSES else f"{status // 100}xx" if status else "none"] += count
    return [((status,), count) for status, count in counts.items()]


def _results(attempts: Attempts) -> Iterator[tuple[str, int]]:
    for digit, count in enumerate(attempts.answers):
        # Each class has its series from the start, so that its first increase is seen.
        if 2 <= digit <= 5:
            yield f"{digit}xx", count
    yield "other", sum(attempts.answers[:2]) + sum(attempts.answers[6:])
    for kind in FAILURES:
        yield kind, attempts.failures[kind]
