"""Alerts and the dashboard: they ask for what is measured, fire when they should, and say where to
read on."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy import DEPLOY, ROOT, alerts, mentioned, passes
from workflows.lifecycle.state import Stage

RULES = DEPLOY / "prometheus"
DASHBOARD = json.loads((DEPLOY / "grafana/recourse.json").read_text(encoding="utf-8"))

OURS = {
    "recourse_attention_open",
    "recourse_audit_age_seconds",
    "recourse_audit_differences",
    "recourse_deadlines_missed",
    "recourse_ledger_rejections",
    "recourse_messages_rejected",
    "recourse_money_minor_units",
    "recourse_notices_given_up",
    "recourse_notices_undelivered",
    "recourse_purchases",
    "recourse_refund_in_transit_age_seconds",
    "recourse_refund_in_transit_oldest_seconds",
    "recourse_refunds_in_transit",
    "recourse_up",
    "recourse_workflow_tasks_failing",
}
OF_THE_SDK = {
    "temporal_activity_execution_failed",
    "temporal_activity_execution_latency",
    "temporal_activity_schedule_to_start_latency",
    "temporal_activity_succeed_endtoend_latency",
    "temporal_num_pollers",
    "temporal_sticky_cache_size",
    "temporal_worker_task_slots_available",
    "temporal_worker_task_slots_used",
    "temporal_workflow_task_execution_failed",
    "temporal_workflow_task_execution_latency",
    "temporal_workflow_task_schedule_to_start_latency",
}
"""As a worker's endpoint names them: seconds, and no `_total` behind a counter."""

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool, of Debian's prometheus, is not installed"
)


def panels() -> list[dict[str, Any]]:
    """What the dashboard shows, without the headings of its rows."""
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> Iterator[str]:
    """Every question that the dashboard asks."""
    yield from (target["expr"] for panel in panels() for target in panel["targets"])
    yield from (each["expr"] for each in DASHBOARD["annotations"]["list"])


def asked(expression: str) -> set[str]:
    """The metrics in an expression; a histogram by the name that it is declared under."""
    names = re.findall(r"\b(?:recourse|temporal)_[a-z_]+\b", expression)
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in names}


def test_everything_that_is_asked_for_is_measured() -> None:
    """By alerts and by the dashboard; and what is measured of the business is shown."""
    watched = {name for rule in alerts().values() for name in asked(rule["expr"])}
    shown = {name for expression in expressions() for name in asked(expression)}
    assert (watched | shown) - OURS - OF_THE_SDK == set()
    assert OURS - shown == set()


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_metric_is_one_of_the_code(name: str) -> None:
    """Under its whole name where it is counted, under what follows ours where it is computed."""
    code = [
        ROOT / folder for folder in ("activities", "starter", "temporal", "workflows", "workroom")
    ]
    assert mentioned(rf'"(?:recourse_)?{name.removeprefix("recourse_")}"', *code)


# --- alerts


@pytest.mark.parametrize("name", alerts())
def test_an_alert_says_how_urgent_it_is_and_where_to_read_on(name: str) -> None:
    """Its page has a heading of its name."""
    rule = alerts()[name]
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{name.lower()}"
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    assert re.search(rf"^###? {name}$", page, re.M), f"docs/operations.md: no heading {name}"


@pytest.mark.parametrize("name", alerts())
def test_an_alert_is_seen_to_fire_and_to_be_silent(name: str) -> None:
    """In the unit tests of the rules, which `promtool` runs."""
    tests = yaml.safe_load((RULES / "alerts_test.yaml").read_text(encoding="utf-8"))["tests"]
    seen = [
        bool(case["exp_alerts"])
        for test in tests
        for case in test["alert_rule_test"]
        if case["alertname"] == name
    ]
    assert set(seen) == {True, False}


@needs_promtool
def test_the_configuration_of_prometheus_is_one() -> None:
    """With the rules that it names."""
    passes("promtool", "check", "config", "prometheus.yaml", cwd=RULES)


@needs_promtool
def test_alerts_fire_when_they_should() -> None:
    """And not a moment before."""
    passes("promtool", "test", "rules", "alerts_test.yaml", cwd=RULES)


# --- the dashboard


@needs_promtool
def test_every_question_of_the_dashboard_can_be_read(tmp_path: Path) -> None:
    """Each as the expression of a rule of its own."""
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(expressions())
    ]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    passes("promtool", "check", "rules", path)


def test_the_dashboard_can_be_laid_out() -> None:
    """Each panel has a number and a place of its own, and a source that Grafana fills in."""
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in DASHBOARD["panels"]):
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken
        taken |= cells
    for panel in panels():
        assert panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert all(source["uid"] == "${datasource}" for source in sources)


def test_whose_turn_it_is_counts_every_open_stage_once() -> None:
    """The bars add up to the open purchases."""
    turns = next(panel for panel in panels() if "whose turn" in panel["title"])
    found = [re.search(r'stage=~"([^"]+)"', target["expr"]) for target in turns["targets"]]
    stages = [stage for match in found if match for stage in match.group(1).split("|")]
    assert sorted(stages) == sorted(stage for stage in Stage if stage is not Stage.CLOSED)
