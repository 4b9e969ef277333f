"""The page of metrics; and that its description, the dashboard and the alerts speak of the same metrics."""

from __future__ import annotations

import gc
import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.certificates import self_signed
from tests.gate import TEXT, Gate, close_frame, frame
from tests.processes import ROOT
from tests.system.test_docs import ParsedTestCase
from wsaas.connections.messages import Message, Publication
from wsaas.counts import Histogram
from wsaas.errors import OverloadedError
from wsaas.net.descriptors import Descriptors, Shares
from wsaas.net.listen import DefaultEndpoint, Endpoint
from wsaas.operations.admin import Readiness
from wsaas.operations.loop_lag import Lag
from wsaas.operations.metrics import Metric, Metrics, gateway_metrics
from wsaas.operations.process import Process
from wsaas.operations.service import Listener

PAGE = ROOT / "docs" / "metrics.rst"
DASHBOARD = ROOT / "docs" / "grafana-dashboard.json"
ALERTS = ROOT / "docs" / "alerts.rules.yml"
ALERT_TESTS = ROOT / "tests" / "alerts.yml"

#: What a page has beside names of metrics in its queries.
_METRIC_NAME = re.compile(r"\b(?:wsaas|process|python)_\w+")
#: What a histogram is on the page.
_OF_HISTOGRAMS = ("_bucket", "_sum", "_count")


def table(gate: Gate, readiness: Readiness | None = None, listeners: Sequence[Listener] = ()) -> list[Metric]:
    """:returns: every metric of a gateway in memory"""
    descriptors = Descriptors(gate.clock, Shares(1, 1, 1, 1))
    parts = (gate.registry, gate.totals, gate.upgrade, gate.pushes, gate.named, gate.api, gate.groups, descriptors)
    own = [gate.site], Lag(gate.clock), readiness or Readiness(), Process(gate.now)
    return gateway_metrics(*parts, *own, listeners)


def samples(page: bytes) -> dict[str, float]:
    """:returns: the values of a page in the text format, by name and labels as they stand there"""
    found = {}
    for line in page.decode().splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


class FormatTests(SynchronousTestCase):
    """How values are written."""

    def page(self, *metrics: Metric, accept: str = "") -> tuple[str, str]:
        """:returns: media type and page of some metrics, those of the collector left out"""
        registry = CollectorRegistry()
        self.patch(gc, "get_stats", list)
        media_type, page = Metrics(metrics, registry).page(accept)
        return media_type, "".join(line for line in page.decode().splitlines(True) if "python_gc" not in line)

    def test_kinds(self) -> None:
        """A counter by its name, a histogram by its values, any other a gauge."""
        histogram = Histogram([0.5, 1])
        for value in (0.1, 0.7, 3):
            histogram.add(value)
        _, page = self.page(
            Metric("a_total", "A.", lambda: [(("x",), 1), (("y\n",), 2)], ("l",)),
            Metric("b", "B.", lambda: 3),
            Metric("c_seconds", "C.", lambda: [((), histogram)]),
        )
        self.assertEqual(
            page,
            "# HELP a_total A.\n"
            "# TYPE a_total counter\n"
            'a_total{l="x"} 1.0\n'
            'a_total{l="y\\n"} 2.0\n'
            "# HELP b B.\n"
            "# TYPE b gauge\n"
            "b 3.0\n"
            "# HELP c_seconds C.\n"
            "# TYPE c_seconds histogram\n"
            'c_seconds_bucket{le="0.5"} 1.0\n'
            'c_seconds_bucket{le="1.0"} 2.0\n'
            'c_seconds_bucket{le="+Inf"} 3.0\n'
            "c_seconds_count 3.0\n"
            "c_seconds_sum 3.8\n",
        )

    def test_formats(self) -> None:
        """The text format unless OpenMetrics is asked for."""
        metric = Metric("a_total", "A.", lambda: 1)
        media_type, page = self.page(metric)
        self.assertTrue(media_type.startswith("text/plain; version="), media_type)
        self.assertEqual([family.name for family in read_text(page)], ["a"])
        media_type, page = self.page(metric, accept="application/openmetrics-text; version=1.0.0")
        self.assertTrue(media_type.startswith("application/openmetrics-text; version="), media_type)
        self.assertTrue(page.endswith("# EOF\n"), page)
        self.assertEqual([family.name for family in read_openmetrics(page)], ["a"])

    def test_nonsense_is_asked_for(self) -> None:
        """The text format will do."""
        odd = "application/openmetrics-text;version"
        for accept in ("*/*", ";", odd, f"{odd}=a", f"{odd}=1.0.0-a", "\xff", ",,,", "q=0"):
            media_type, _ = self.page(Metric("a", "A.", lambda: 1), accept=accept)
            self.assertIn("version=", media_type)

    def test_one_that_cannot_be_read(self) -> None:
        """The others can; the log says which and why."""

        def broken() -> float:
            raise ValueError("broken")

        _, page = self.page(Metric("a", "A.", broken), Metric("b", "B.", lambda: 1))
        self.assertEqual(page, "# HELP b B.\n# TYPE b gauge\nb 1.0\n")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class GatewayMetricsTests(SynchronousTestCase):
    """What the gateway tells."""

    def setUp(self) -> None:
        """Put it together."""
        self.gate = Gate()
        self.readiness = Readiness()
        self.metrics = Metrics(table(self.gate, self.readiness))

    def values(self) -> dict[str, float]:
        """:returns: all values as they are now"""
        return samples(self.metrics.page("")[1])

    def assertValues(self, **expected: float) -> None:
        """Values, by name and labels; nothing about others."""
        values = self.values()
        for name, value in expected.items():
            self.assertEqual(values.get(name), value, name)

    def test_a_day(self) -> None:
        """Some clients, messages, pushes and failures."""
        wire = self.gate.open("/secret-path?token=secret-token", ("Authorization", "secret-authorization"))
        key = self.gate.key
        wire.deliver(frame(TEXT, b"secret-message"))
        self.gate.agent.last.answer(200, b"hi", ("Ws-Reply", "text"), ("Ws-State", "secret-state"))
        self.gate.ask("PUT", f"/{key}", b"secret-push")
        self.gate.ask("PUT", f"/x{key[1:]}", b"")
        self.gate.begin()
        self.gate.agent.last.answer(418)
        self.gate.begin()
        self.gate.agent.last.answer(403)
        self.gate.begin().end()
        self.gate.agent.last.answer(403)
        self.gate.begin()
        wire.deliver(close_frame(4001, "secret-reason"))
        self.gate.turn()
        self.gate.disconnects.lost += 1
        self.assertValues(
            **{
                'wsaas_connections{state="authorising"}': 1,
                'wsaas_connections{state="open"}': 0,
                'wsaas_connections{state="closing"}': 1,
                "wsaas_connections_paused": 0,
                'wsaas_handshakes_total{status="101"}': 1,
                'wsaas_handshakes_total{status="4xx"}': 1,
                'wsaas_handshakes_total{status="403"}': 1,
                'wsaas_handshakes_total{status="none"}': 1,
                'wsaas_refusals_total{reason="denied"}': 2,
                'wsaas_refusals_total{reason="left"}': 1,
                'wsaas_messages_total{direction="in"}': 1,
                'wsaas_messages_total{direction="out"}': 2,
                'wsaas_message_bytes_total{direction="in"}': 14,
                'wsaas_message_bytes_total{direction="out"}': 13,
                'wsaas_pushes_total{method="PUT",status="200"}': 1,
                'wsaas_pushes_total{method="PUT",status="404"}': 1,
                'wsaas_requests_refused_total{status="404"}': 1,
                'wsaas_callbacks_total{method="POST",result="2xx"}': 1,
                'wsaas_callbacks_total{method="POST",result="4xx"}': 3,
                'wsaas_callbacks_total{method="PUT",result="2xx"}': 1,
                'wsaas_callbacks_total{method="PUT",result="fault"}': 0,
                'wsaas_callback_duration_seconds_count{method="POST"}': 4,
                'wsaas_callbacks_in_flight{method="POST"}': 1,
                'wsaas_callbacks_in_flight{method="DELETE"}': 1,
                'wsaas_callbacks_waiting{method="DELETE"}': 0,
                "wsaas_goodbyes_lost_total": 1,
            }
        )
        page = self.metrics.page("")[1]
        for secret in ("secret", key, self.gate.last_identity.tag, "192.0.2", "gateway.test", "api.test"):
            self.assertNotIn(secret.encode(), page)

    def test_groups(self) -> None:
        """How many there are, and what became of what was published; no name of any."""
        wires = []
        for group in ("secret-a", "secret-b"):
            wires.append(self.gate.open())
            connection = self.gate.registry.get(self.gate.key)
            assert connection is not None
            self.gate.groups.join(connection, (group, "secret-all"))
            self.gate.groups.set_user(connection, "secret-user")
        hello, last = Message(b"secret-hello", binary=False), frozenset({self.gate.last_identity.tag})
        self.gate.groups.publish(Publication(("groups/secret-all",), hello, last))
        self.gate.groups.publish(Publication(("groups/nobody",), hello))
        self.gate.begin()
        self.gate.groups.publish(Publication(("all",), hello))
        self.assertValues(
            **{
                "wsaas_groups": 3,
                "wsaas_users": 1,
                "wsaas_group_memberships": 4,
                'wsaas_publishes_total{outcome="done"}': 3,
                'wsaas_publishes_total{outcome="refused"}': 0,
                'wsaas_publish_members_total{outcome="sent"}': 3,
                'wsaas_publish_members_total{outcome="held"}': 0,
                'wsaas_publish_members_total{outcome="skipped"}': 0,
                'wsaas_publish_members_total{outcome="closed"}': 0,
                'wsaas_publish_members_total{outcome="except"}': 1,
                "wsaas_publishes_lost_total": 0,
                "wsaas_group_tasks_waiting": 0,
                "wsaas_group_tasks_waiting_bytes": 0,
                "wsaas_group_slice_duration_seconds_count": 3,
            }
        )
        self.assertNotIn(b"secret", self.metrics.page("")[1])
        for wire in wires:
            wire.end()
        self.assertValues(wsaas_groups=0, wsaas_users=0, wsaas_group_memberships=0)

    def test_publishes_without_room(self) -> None:
        """They are counted, and those that wait are."""
        budget = self.gate.totals.budgets.outgoing
        hello = Publication(("groups/a",), Message(b"hello", binary=False))
        budget.used += budget.limit
        with self.assertRaises(OverloadedError):
            self.gate.groups.publish(hello)
        self.assertValues(**{'wsaas_publishes_total{outcome="refused"}': 1, 'wsaas_publishes_total{outcome="done"}': 0})

    def test_trying_again(self) -> None:
        """A message and a DELETE that the API does not take at first; others that it never takes."""
        wire = self.gate.open()
        wire.deliver(frame(TEXT, b"x"))
        self.gate.agent.last.answer(503)
        self.assertValues(**{"wsaas_connections_paused": 1, 'wsaas_callback_retries_total{method="PUT"}': 0})
        self.gate.clock.advance(10)
        self.gate.agent.last.answer(200)
        self.assertValues(**{"wsaas_connections_paused": 0, 'wsaas_callback_retries_total{method="PUT"}': 1})
        wire.end()
        self.gate.agent.last.answer(500)
        self.assertValues(**{'wsaas_connections{state="closing"}': 0, "wsaas_goodbyes_owed": 1})
        self.assertGreater(self.values()["wsaas_goodbyes_owed_bytes"], 100)
        self.assertValues(wsaas_oldest_pending_delete_seconds=0)
        self.gate.clock.advance(10)
        self.assertValues(
            **{
                "wsaas_oldest_pending_delete_seconds": 10,
                'wsaas_callback_retries_total{method="DELETE"}': 1,
                'wsaas_callbacks_in_flight{method="LATE"}': 1,
                'wsaas_callbacks_total{method="DELETE",result="5xx"}': 1,
            }
        )
        self.gate.agent.last.answer(200)
        self.assertValues(wsaas_goodbyes_owed=0, wsaas_goodbyes_owed_bytes=0, wsaas_api_down=0)
        self.assertValues(wsaas_oldest_pending_delete_seconds=0)

    def test_how_long_connections_were_open(self) -> None:
        """Those that are over; one that was let in, not one that was refused."""
        wire = self.gate.open()
        self.gate.open()
        self.gate.begin()
        self.gate.agent.last.answer(403)
        self.gate.clock.advance(20)
        wire.end()
        self.assertValues(
            **{
                'wsaas_connection_duration_seconds_bucket{le="15.0"}': 0,
                'wsaas_connection_duration_seconds_bucket{le="30.0"}': 1,
                "wsaas_connection_duration_seconds_count": 1,
                "wsaas_connection_duration_seconds_sum": 20,
            }
        )

    def test_certificates(self) -> None:
        """When they expire, by where they are shown: nothing of their files or names."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "secret.pem").write_bytes(b"".join(self_signed("secret.example")))
        reactor = self.gate.clock
        secure = Endpoint(reactor, "WS_LISTEN", f"tls:{folder}:8443:interface=127.0.0.1")
        plain = Endpoint(reactor, "WS_LISTEN", "tcp:8080")
        listener = Listener(self.gate.site, [secure, plain, DefaultEndpoint(reactor)], "clients")
        metrics = Metrics(table(self.gate, None, [listener]))
        self.assertNotIn("expiry_timestamp_seconds{", metrics.page("")[1].decode())
        self.successResultOf(Deferred.fromCoroutine(secure.listen(self.gate.site)))
        self.successResultOf(Deferred.fromCoroutine(plain.listen(self.gate.site)))
        lines = [line for line in metrics.page("")[1].decode().splitlines() if "expiry_timestamp_seconds{" in line]
        (expiry,) = lines
        name, _, value = expiry.rpartition(" ")
        self.assertEqual(name, f'wsaas_certificate_expiry_timestamp_seconds{{listener="{secure.where}"}}')
        self.assertEqual(float(value), secure.expires)
        self.assertNotIn("secret", expiry)

    def test_the_api_is_down(self) -> None:
        """As it is known to be after some failures."""
        for _ in range(8):
            self.gate.begin()
            if self.gate.agent.methods[-1] == "POST" and not self.gate.agent.last.result.called:
                self.gate.agent.last.fail(ConnectionRefusedError())
            self.gate.clock.advance(0.5)
        self.assertValues(wsaas_api_down=1)
        self.assertGreater(self.values()['wsaas_refusals_total{reason="not_tried"}'], 0)

    def test_readiness(self) -> None:
        """As /readyz has it."""
        self.assertValues(wsaas_ready=1)
        self.readiness.add("journal", lambda: "the disk is full")
        self.assertValues(wsaas_ready=0)

    def test_clients_and_the_api_cannot_make_up_labels(self) -> None:
        """The page stays short whatever they send."""
        for code in range(400, 500):
            self.gate.begin(f"/{code}")
            self.gate.agent.last.answer(code)
        for code in range(3000, 3100):
            wire = self.gate.open()
            wire.deliver(close_frame(code))
            self.gate.turn()
            self.gate.agent.last.answer(200 + code % 3000)
            self.gate.ask(f"M{code}", f"/{code}", b"")
        self.assertLess(len(self.values()), 250)

    def test_names(self) -> None:
        """Prometheus's conventions: a prefix, base units, ``_total`` for what only grows; a sentence for each."""
        for metric in table(self.gate):
            self.assertTrue(re.fullmatch(r"(wsaas|process)_[a-z_]+", metric.name), metric.name)
            self.assertTrue(metric.help.endswith("."), metric.name)
            self.assertFalse(re.search(r"_(ms|milliseconds|kb|count)\b", metric.name), metric.name)


class PagesTests(ParsedTestCase):
    """What is written about metrics, against what there is."""

    def setUp(self) -> None:
        """Read all families, and the labels of ours."""
        gate = Gate()
        listed = table(gate)
        page = Metrics(listed).page("")[1].decode()
        self.labels = {metric.name: tuple(metric.labels) for metric in listed}
        self.types: dict[str, str] = {}
        for family in read_text(page):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            self.types[name] = family.type
            for sample in family.samples:
                self.labels.setdefault(name, tuple(sample.labels))

    def assertExist(self, queries: Iterable[str], where: Path) -> None:
        """Every metric and every label of some queries exists."""
        for query in queries:
            names = _METRIC_NAME.findall(re.sub(r'"[^"]*"', "", query))
            self.assertTrue(names or query.startswith("up{"), f"{where}: {query}")
            for name in names:
                base = next((name.removesuffix(end) for end in _OF_HISTOGRAMS if name.endswith(end)), name)
                known = name in self.types and self.types[name] != "histogram"
                self.assertTrue(known or self.types.get(base) == "histogram", f"{where}: {name}")
                for given in re.findall(re.escape(name) + r"\{([^}]*)\}", query):
                    labels = set(re.findall(r"(\w+)[=!]~?\"", given)) - {"job", "instance", "le"}
                    self.assertLessEqual(labels, set(self.labels[base]), f"{where}: {query}")

    def test_every_metric_is_described(self) -> None:
        """By name, type and labels."""
        rows = list(self.rows(self.section(PAGE, "Every metric")))
        described = {
            row[0].astext(): (row[1].astext(), tuple(filter(None, row[2].astext().split(", ")))) for row in rows
        }
        self.assertEqual(len(described), len(rows))
        self.assertEqual(described, {name: (kind, self.labels[name]) for name, kind in self.types.items()})
        self.assertEqual([row[3].astext() for row in rows if not row[3].astext()], [])

    def queries(self, dashboard: Any) -> Iterator[str]:
        """:returns: what a dashboard asks for"""
        for panel in dashboard["panels"]:
            for target in panel.get("targets", ()):
                yield target["expr"]

    def test_dashboard(self) -> None:
        """It asks for what there is, and every panel fits in beside the others."""
        dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
        self.assertExist(self.queries(dashboard), DASHBOARD)
        taken: set[tuple[int, int]] = set()
        numbers = [panel["id"] for panel in dashboard["panels"]]
        self.assertEqual(len(set(numbers)), len(numbers))
        for panel in dashboard["panels"]:
            place = panel["gridPos"]
            cells = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            self.assertTrue(panel["title"])
            self.assertLessEqual(place["x"] + place["w"], 24)
            self.assertFalse(cells & taken, panel["title"])
            taken |= cells
            for target in panel.get("targets", ()):
                self.assertEqual(target["datasource"]["uid"], "${datasource}")

    def test_every_metric_of_ours_is_on_the_dashboard(self) -> None:
        """No metric is missing there."""
        asked = " ".join(self.queries(json.loads(DASHBOARD.read_text(encoding="utf-8"))))
        for name in self.labels:
            if name.startswith("wsaas_"):
                self.assertIn(name, asked)

    def test_alerts(self) -> None:
        """They name metrics that exist."""
        text = ALERTS.read_text(encoding="utf-8")
        queries = re.findall(r"^ +expr: (?:\|\n)?((?:.+\n)+?) +(?:for|labels):", text, re.MULTILINE)
        self.assertEqual(len(queries), text.count("- alert:"))
        self.assertExist(queries, ALERTS)

    def test_alerts_are_tested(self) -> None:
        """Each by a case in which it does not go off; most by one in which it does."""
        alerts = set(re.findall(r"- alert: (\w+)", ALERTS.read_text(encoding="utf-8")))
        self.assertEqual(set(re.findall(r"alertname: (\w+)", ALERT_TESTS.read_text(encoding="utf-8"))), alerts)


class PromtoolTests(SynchronousTestCase):
    """What Prometheus itself says of what is meant for it."""

    def promtool(self, *arguments: object, data: bytes = b"") -> None:
        """Run it; the test fails if it finds anything."""
        promtool = shutil.which("promtool")
        if promtool is None:
            raise SkipTest("promtool (Debian package prometheus) is not installed")
        command = [promtool, *map(str, arguments)]
        done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=60)
        self.assertEqual((done.returncode, done.stderr.decode()), (0, ""), done.stdout.decode())

    def test_alerts(self) -> None:
        """The rules parse."""
        self.promtool("check", "rules", ALERTS)

    def test_alerts_go_off(self) -> None:
        """When they should, and not when they should not."""
        self.promtool("test", "rules", ALERT_TESTS)

    def test_dashboard(self) -> None:
        """Its queries parse, with what Grafana puts into them."""
        rules = ["groups:", "  - name: dashboard", "    rules:"]
        number = 0
        for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
            for target in panel.get("targets", ()):
                number += 1
                query = target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")
                rules += [f"      - record: panel:{number}", f"        expr: {json.dumps(query)}"]
        file = Path(self.mktemp())
        file.write_text("\n".join(rules) + "\n", encoding="utf-8")
        self.promtool("check", "rules", file)

    def test_the_page(self) -> None:
        """It parses, and names follow the conventions."""
        self.promtool("check", "metrics", data=Metrics(table(Gate())).page("")[1])
