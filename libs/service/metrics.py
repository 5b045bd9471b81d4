"""What a service counts of itself, for Prometheus; updated once for each batch."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from libs.messaging.requests import Requests
from libs.outbox.pipeline import Statements
from libs.service.batch import Outcome

BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500)
OUTCOMES = ("decided", "duplicates", "skipped", "parked", "dead", "sent")
SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)


class Traffic(Collector):
    """What is counted where it is sent, and read only when somebody asks."""

    def __init__(self, statements: Statements, requests: Requests) -> None:
        self._statements = statements
        self._requests = requests

    def collect(self) -> Iterable[Metric]:
        """Both counts as they stand."""
        yield CounterMetricFamily(
            "postgres_statements",
            "Statements sent to PostgreSQL, BEGIN and COMMIT included",
            value=self._statements.sent,
        )
        yield CounterMetricFamily(
            "kafka_requests", "Requests sent to Kafka but those for metadata", value=self._requests.sent
        )


class Metrics:
    """The host's own figures; services add theirs to the same registry."""

    def __init__(self, service: str, statements: Statements, requests: Requests) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.registry.register(Traffic(statements, requests))
        Gauge("service_up", "Always 1", ["service"], registry=self.registry).labels(service).set(1)
        messages = Counter("messages", "Messages by what became of them", ["outcome"], registry=self.registry)
        self._messages = {name: messages.labels(name) for name in OUTCOMES}
        self._sizes = Histogram(
            "batch_records", "Records in a batch", buckets=BATCH_SIZES, registry=self.registry
        )
        self._seconds = Histogram(
            "batch_seconds", "Seconds that a batch took", buckets=SECONDS, registry=self.registry
        )
        self.relayed = Gauge("outbox_relayed", "Messages acknowledged by Kafka", registry=self.registry)
        self.outbox_rows = Gauge("outbox_rows", "Messages not yet acknowledged", registry=self.registry)
        self.outbox_age = Gauge(
            "outbox_oldest_seconds", "Age of the oldest message in the outbox", registry=self.registry
        )
        self.parked = Gauge("parked_messages", "Messages waiting to be tried again", registry=self.registry)
        self.dead = Gauge("dead_letters", "Dead letters not redriven", registry=self.registry)
        self.lag = Gauge(
            "consumer_lag",
            "Records not handled yet, by the offsets of the database",
            ["topic", "partition"],
            registry=self.registry,
        )
        self.ready = Gauge("service_ready", "1 when ready", registry=self.registry)

    def batch(self, outcome: Outcome, seconds: float) -> None:
        """Count a committed batch."""
        self._sizes.observe(outcome.records)
        self._seconds.observe(seconds)
        for name, counter in self._messages.items():
            if count := getattr(outcome, name):
                counter.inc(count)
