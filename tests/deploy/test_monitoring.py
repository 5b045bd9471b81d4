"""Alerts and board ask for nothing that no service counts."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from gateway.api.metrics import IntakeFigures
from libs.messaging.requests import Requests
from libs.outbox.pipeline import Statements
from libs.service.metrics import Metrics
from order_saga.census import Census
from payment.card_desk import Meters

DEPLOY = Path(__file__).parents[2] / "deploy"
BOARD = DEPLOY / "grafana/dashboards/order-saga.json"
ALERTS = DEPLOY / "helm/order-saga/alerts.yml"
WORDS_OF_PROMQL = frozenset(
    ["sum", "max", "by", "rate", "deriv", "changes", "histogram_quantile", "and", "or", "unless", "le"]
)
GIVEN_BY_PROMETHEUS = frozenset({"up"})
LABELS = frozenset(
    ["service", "topic", "partition", "outcome", "status", "type", "answer", "ask", "verdict", "job"]
)


class Nobody:
    """An intake that nothing came in at, as far as its figures go."""

    answered: dict[str, int] = {"accepted": 0}  # noqa: RUF012 - read only
    committed = 0
    waiting = 0


def counted() -> set[str]:
    """The names of everything that any service shows."""
    metrics = Metrics("any", Statements(), Requests())
    metrics.lag.labels("a", 0).set(0)
    registry = CollectorRegistry()
    registry.register(IntakeFigures(Nobody()))  # type: ignore[arg-type]
    Meters(registry)
    census = Census(1)
    for each in (census._sagas, census._parked, census._ended, census._fired):
        registry.register(each)
    shown = generate_latest(metrics.registry) + generate_latest(registry)
    described = re.findall(r"^# TYPE (\w+) (\w+)$", shown.decode(), re.MULTILINE)
    histograms = {
        name + end for name, kind in described if kind == "histogram" for end in ("_bucket", "_sum", "_count")
    }
    return {name for name, _ in described} | histograms | GIVEN_BY_PROMETHEUS


def asked(expression: str) -> set[str]:
    """The metrics that an expression names."""
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", expression)
    return set(re.findall(r"\b[a-z_]{2,}\b", bare)) - WORDS_OF_PROMQL - LABELS


def alerts() -> Iterator[tuple[str, str]]:
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def panels() -> Iterator[tuple[str, str]]:
    for panel in json.loads(BOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


@pytest.mark.parametrize(("name", "expression"), [*alerts(), *panels()])
def test_only_what_is_counted_is_asked_for(name: str, expression: str) -> None:
    names = asked(expression)
    assert names, name
    assert names <= counted()


FIGURES_OF_A_DATABASE = (
    "dead_letters",
    "outbox_oldest_seconds",
    "outbox_rows",
    "parked_messages",
    "payment_attempts_parked",
    "saga_parked",
    "sagas",
)
"""Every process of a service shows these alike; with two of them a sum is twice the truth."""


@pytest.mark.parametrize(("name", "expression"), [*alerts(), *panels()])
def test_a_figure_that_every_process_shows_is_taken_once(name: str, expression: str) -> None:
    for figure in FIGURES_OF_A_DATABASE:
        shown = len(re.findall(rf"\b{figure}\b", expression))
        taken = len(re.findall(rf"\bmax(?: by \([a-z, ]+\) )?\((?:deriv\()?{figure}\b", expression))
        assert shown == taken, name


def test_an_alarm_says_what_is_wrong_and_what_to_do() -> None:
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"].keys() == {"summary", "description"}, rule["alert"]
            assert rule["labels"]["severity"] in {"warning", "critical"}
