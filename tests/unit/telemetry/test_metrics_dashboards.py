# SPDX-License-Identifier: Apache-2.0
"""Dashboards and alerts ask only for what the exposition has, labels included."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.unit.telemetry.test_metrics import samples

ROOT = Path(__file__).parents[3]
DASHBOARD = ROOT / "examples/grafana/hproxy.json"
ALERTS = ROOT / "examples/prometheus/alerts.yml"
NAME = re.compile(r"\b((?:hproxy|proxysql|proxy|process)_\w+)(?:\{([^}]*)\})?")
FROM_PROMETHEUS = {"instance", "job", "le"}

# What the dashboard that comes with haentgl reads.
HAENTGL = """
proxy_process_cpu_core_num proxy_process_cpu_seconds_total proxy_process_mem_rss_bytes
proxy_process_mem_virtual_bytes proxy_max_connections proxy_curr_connections
proxy_com_latency_bucket
"""


def expressions() -> list[str]:
    dashboard = json.loads(DASHBOARD.read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    return [*found, ALERTS.read_text()]


def known() -> dict[str, set[str]]:
    return {
        name: {label for labels in rows for label, _ in labels} for name, rows in samples().items()
    }


@pytest.mark.parametrize("expression", expressions())
def test_what_is_asked_for_is_there(expression: str) -> None:
    metrics = known()
    asked = [found for found in NAME.findall(expression) if found[0] != "proxy_com"]
    assert asked
    for name, matchers in asked:
        assert name in metrics, f"nobody makes {name}"
        labels = set(re.findall(r"(\w+)\s*(?:=~|!=|=)", matchers)) - FROM_PROMETHEUS
        assert labels <= metrics[name], f"{name} has no {labels - metrics[name]}"


def test_panels_are_named_and_lie_side_by_side() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels if panel["type"] != "row"}) > 12
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)


def test_haentgls_dashboard_finds_its_names() -> None:
    assert set(HAENTGL.split()) <= set(known())


def test_the_manual_names_every_metric_of_ours() -> None:
    manual = (ROOT / "docs/operations/metrics.md").read_text()
    for name in known():
        family = re.sub(r"_(bucket|count|sum)$", "", name)
        if not name.startswith("proxysql_"):
            assert family in manual, f"metrics.md does not mention {family}"
