"""What the gateway counts of itself, for Prometheus; read when it is asked for."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.store.intake import Intake


class IntakeFigures(Collector):
    """How orders were answered, and how many shared a transaction."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def collect(self) -> Iterator[Metric]:
        """The figures now."""
        answered = CounterMetricFamily(
            "gateway_orders", "Orders by how they were answered", labels=["answer"]
        )
        for answer, count in sorted(self._intake.answered.items()):
            answered.add_metric([answer], count)
        yield answered
        yield CounterMetricFamily("gateway_groups", "Transactions that orders shared", self._intake.committed)
        yield GaugeMetricFamily("gateway_orders_waiting", "Orders not answered yet", self._intake.waiting)


def register(registry: CollectorRegistry, intake: Intake) -> None:
    """Show the intake's figures with those of the host."""
    registry.register(IntakeFigures(intake))
