"""The examples for operators: their metrics and labels are those that a running server has."""

import http.client
import json
import re
import socket
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import connect

from tests.support.ports import free_port
from tests.support.servers import ROOT, HealthTestCase
from tests.support.waiting import until

FOLDER = ROOT / "docs" / "operation"
NAME = re.compile(r"\b(?:evcharge|process|python)_[a-z_]+\b")
SELECTOR = re.compile(r"\b((?:evcharge|process|python)_[a-z_]+)\{([^}]*)\}")
GROUPING = re.compile(r"by \(([^)]*)\)")

ADDED = {"instance", "job", "le", "worker"}
"""Labels that Prometheus adds, that histograms have, and that workers have."""

CLOSED = {"dimension", "end_reason", "kind", "outcome", "reason", "state"}
"""Labels of which all values are there from the start."""

ASIDE = {
    "evcharge_operator_requests_total",
    "evcharge_payments_total",
    "evcharge_plan_stations",
    "evcharge_plan_stops",
    "evcharge_receipts_brl_total",
}
"""Metrics for who looks closer: neither drawn nor alarming."""


def expressions() -> list[str]:
    """All expressions of the alerts and of the dashboard."""
    alerts = yaml.safe_load((FOLDER / "alerts.yml").read_text())
    found = [rule["expr"] for group in alerts["groups"] for rule in group["rules"]]
    dashboard = json.loads((FOLDER / "grafana-dashboard.json").read_text())
    for panel in dashboard["panels"]:
        found.extend(target["expr"] for target in panel["targets"])
    found.extend(
        variable["query"]
        for variable in dashboard["templating"]["list"]
        if variable["type"] == "query"
    )
    return found


class ExampleTests(HealthTestCase):
    """Held against a real server, and one with workers."""

    def exposed(self) -> dict[str, set[str]]:
        """The labels of each sample that is exposed, by its name."""
        found: dict[str, set[str]] = {}
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            found.setdefault(family.name, set())
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
        return found

    def run_server(self) -> dict[str, set[str]]:
        token = ("--operator-token-file", self.mktemp())
        web = free_port()
        server = self.serve(
            *("--sweep-interval", "0.05", "--max-connections-per-address", "1"),
            *("--web-port", str(web), *token),
        )
        # By other addresses, of which there may be another connection.
        page = http.client.HTTPConnection("127.0.0.1", web, source_address=("127.0.0.2", 0))
        self.addCleanup(page.close)
        page.request("GET", "/")
        self.assertEqual(page.getresponse().status, 200)
        plain = socket.create_connection(("127.0.0.1", web), source_address=("127.0.0.3", 0))
        connect(f"ws://127.0.0.1:{web}/api/v1/socket", sock=plain).close()
        until(
            lambda: self.exposed().get("evcharge_websocket_closed_total"),
            "a WebSocket's end is counted",
        )
        client = self.client(server)
        self.journey(client)
        self.client(server).replies.readline()
        return self.exposed()

    def test_expressions(self) -> None:
        """Every metric that an expression names is there, with the labels that it asks for."""
        exposed = self.run_server()
        exposed["evcharge_worker_up"] = {"worker"}
        found = expressions()
        self.assertGreater(len(found), 25)
        for expression in found:
            names = NAME.findall(expression)
            self.assertTrue(names or "up{" in expression, expression)
            labels = set(ADDED)
            for name in names:
                self.assertIn(name, exposed, expression)
                labels |= exposed[name]
            for name, selector in SELECTOR.findall(expression):
                used = set(re.findall(r"(\w+)(?:=|!=|=~|!~)\"", selector))
                self.assertLessEqual(used, exposed[name] | ADDED, expression)
            for grouping in GROUPING.findall(expression):
                self.assertLessEqual(set(grouping.replace(" ", "").split(",")), labels)

    def test_values(self) -> None:
        """Each value that an expression looks for may come, and the page lists all that do."""
        self.serve()
        values: dict[str, dict[str, set[str]]] = {}
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for sample in family.samples:
                for label in CLOSED & set(sample.labels):
                    by_label = values.setdefault(sample.name, {})
                    by_label.setdefault(label, set()).add(sample.labels[label])
        looked_for = [
            (name, label, value)
            for expression in expressions()
            for name, selector in SELECTOR.findall(expression)
            for label, value in re.findall(r'(\w+)!?="(\w+)"', selector)
            if label in CLOSED
        ]
        self.assertGreater(len(looked_for), 5)
        for name, label, value in looked_for:
            self.assertIn(value, values[name][label], name)
        page = (FOLDER / "watching.md").read_text()
        for by_label in values.values():
            for value in set().union(*by_label.values()):
                self.assertIn(f"`{value}`", page)

    def test_used(self) -> None:
        """Every metric of the page is drawn or gives alarm, but for those that are named here."""
        page = (FOLDER / "watching.md").read_text()
        rows = [line for line in page.splitlines() if line.startswith("| `evcharge_")]
        listed = set(re.findall(r"`(evcharge_[a-z_]+)`", "\n".join(rows)))
        used = set(NAME.findall("\n".join(expressions())))
        used |= {re.sub(r"_(bucket|count|sum)$", "", name) for name in used}
        self.assertEqual(listed - used, ASIDE)

    def test_flood_is_no_outage(self) -> None:
        """Refused connections are told 503, and do not look as if the storage were away."""
        server = self.serve("--max-connections", "1")
        self.client(server).request("START")
        self.client(server).replies.readline()
        refused = {
            key[2] for key in self.samples() if key[:2] == ("evcharge_requests_total", "503")
        }
        self.assertEqual(refused, {"error"})
        rules = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"][0]["rules"]
        (rule,) = [rule for rule in rules if rule["alert"] == "EvchargeUnavailable"]
        selectors = SELECTOR.findall(rule["expr"])
        self.assertEqual(len(selectors), 2)
        for _, selector in selectors:
            self.assertIn('type!="error"', selector)
            # Nor do trips for which no planner is free: there is an alert for those.
            self.assertIn('type!="PLAN"', selector)

    def test_page(self) -> None:
        """Every metric that is exposed is on the page, and the other way round."""
        page = (FOLDER / "watching.md").read_text()
        rows = [line for line in page.splitlines() if line.startswith("| `evcharge_")]
        listed = set(re.findall(r"`(evcharge_[a-z_]+)`", "\n".join(rows)))
        exposed = {
            re.sub(r"_(bucket|count|sum|created)$", "", name)
            for name, _ in self.run_server().items()
            if name.startswith("evcharge_")
        }
        # A counter's family is named without its ending.
        exposed = {name for name in exposed if f"{name}_total" not in exposed}
        self.assertEqual(listed, exposed | {"evcharge_worker_up"})

    def test_workers(self) -> None:
        """With workers there are the same metrics, each with the worker's number."""
        data = Path(self.mktemp()).absolute()
        server = self.serve(
            "--workers", "2", "--storage", f"sqlite:///{data}.db", "--sweep-interval", "0.05"
        )
        self.wait_for_workers(server)
        self.journey(self.client(server))
        exposed = self.exposed()
        for name, labels in exposed.items():
            if name.startswith(("evcharge_", "process_")) and labels:
                self.assertIn("worker", labels, name)
        for name in ("evcharge_requests_total", "evcharge_slots", "process_open_fds"):
            self.assertIn(name, exposed)

    def test_scrape(self) -> None:
        """The configuration names the alerts beside it, and the job that they go by."""
        scrape = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
        for name in scrape["rule_files"]:
            self.assertTrue((FOLDER / name).exists())
        self.assertEqual([job["job_name"] for job in scrape["scrape_configs"]], ["evcharge"])
