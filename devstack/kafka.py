"""The embedded Kafka: the real broker in KRaft mode, made, started and stopped on a data folder and two ports."""

import asyncio
import base64
import shutil
import struct
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devstack import processes, toolchain
from devstack.errors import StackError
from devstack.processes import ProcessId
from devstack.readiness import START_SECONDS, until_ready

_LOGGING = Path(__file__).with_name("log4j2.properties")
_REPLICAS = 3
_HEAP = "320m"
STOP_PATIENCE = 10.0
"""Seconds; the last brokers of a cluster wait in vain for a quorum that is gone, and lose nothing when killed."""


@dataclass(frozen=True, slots=True)
class Node:
    """One broker, which is a controller too, and where it listens on the loopback address."""

    id: int
    port: int
    controller_port: int


class EmbeddedKafka:
    """One node; `start` formats the data folder when it is new, and the data survives `stop`.

    A cluster is several of these, each with the same `cluster` and `cluster_id`, launched before any is waited for.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int,
        controller_port: int,
        *,
        cluster: Sequence[Node] | None = None,
        cluster_id: str | None = None,
        log: Path | None = None,
        settings: Mapping[str, str] | None = None,
        heap: str = _HEAP,
    ) -> None:
        self.port = port
        self.controller_port = controller_port
        self.data_dir = data_dir.absolute()
        self.log = log or data_dir.with_name(f"{data_dir.name}.log")
        self._nodes = tuple(cluster) if cluster else (Node(1, port, controller_port),)
        self._node = next(node for node in self._nodes if node.port == port)
        self._cluster_id = cluster_id or new_cluster_id()
        self._settings = settings or {}
        self._heap = heap
        self._process: ProcessId | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Every node of the cluster, as clients want it."""
        return ",".join(f"127.0.0.1:{node.port}" for node in self._nodes)

    async def start(self) -> ProcessId:
        """Format the data folder if it is new, start the broker, and return once it answers requests."""
        process = await asyncio.to_thread(self.launch)
        await self.ready(process)
        return process

    def launch(self) -> ProcessId:
        """Start the broker without waiting for it; the first time on a machine this fetches its jars."""
        java, jars = toolchain.java(), toolchain.kafka_jars()
        self.data_dir.mkdir(parents=True, exist_ok=True)
        properties = self.data_dir / "server.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in self.properties().items()))
        classes = f"{jars}/*"
        if not (self.data_dir / "log/meta.properties").exists():
            self._format([java, "-cp", classes, *_QUICK_START], properties)
        argv: list[str | Path] = [
            *_without_preempting(),
            java,
            "-cp",
            classes,
            f"-Xms{self._heap}",
            f"-Xmx{self._heap}",
            *_SMALL_MACHINE,
            "kafka.Kafka",
            properties,
        ]
        self._process = processes.launch(argv, log=self.log, cwd=self.data_dir)
        return self._process

    async def ready(self, process: ProcessId, within: float = START_SECONDS) -> None:
        """Return once this node answers as a broker; it opens its port only after the controller let it in."""
        await until_ready(
            f"Kafka on port {self.port}",
            lambda: answers("127.0.0.1", self.port),
            process=process,
            log=self.log,
            within=within,
        )

    async def stop(self) -> None:
        """Stop what `start` started, cleanly: no log recovery at the next start."""
        if self._process is not None:
            await processes.stop(self._process, patience=STOP_PATIENCE)
            self._process = None

    def remove(self) -> None:
        """Delete the data; the broker must be stopped."""
        if self.data_dir.exists():
            shutil.rmtree(self.data_dir)

    def properties(self) -> dict[str, str]:
        """Return the broker's settings: a small machine, quick joins, nothing made by accident."""
        replicas = min(_REPLICAS, len(self._nodes))
        in_sync = max(1, replicas - 1)
        node = self._node
        return {
            "process.roles": "broker,controller",
            "node.id": str(node.id),
            "controller.quorum.voters": ",".join(
                f"{n.id}@127.0.0.1:{n.controller_port}" for n in self._nodes
            ),
            "listeners": f"PLAINTEXT://127.0.0.1:{node.port},CONTROLLER://127.0.0.1:{node.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{node.port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self.data_dir / "log"),
            "auto.create.topics.enable": "false",
            "unclean.leader.election.enable": "false",
            "default.replication.factor": str(replicas),
            "min.insync.replicas": str(in_sync),
            "offsets.topic.replication.factor": str(replicas),
            "offsets.topic.num.partitions": "8",
            "transaction.state.log.replication.factor": str(replicas),
            "transaction.state.log.min.isr": str(in_sync),
            "transaction.state.log.num.partitions": "8",
            "share.coordinator.state.topic.replication.factor": str(replicas),
            "share.coordinator.state.topic.min.isr": str(in_sync),
            "group.initial.rebalance.delay.ms": "0",
            # A killed broker is let in again once its old session has ended; alone it has nobody to fail over to.
            "broker.session.timeout.ms": "9000" if len(self._nodes) > 1 else "6000",
            "broker.heartbeat.interval.ms": "500",
            "num.network.threads": "1",
            "num.io.threads": "2",
            "num.recovery.threads.per.data.dir": "2",
            "log.segment.bytes": str(256 * 1024 * 1024),
            "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
            **self._settings,
        }

    def _format(self, command: Sequence[object], properties: Path) -> None:
        argv = [*command, "kafka.tools.StorageTool", "format", "-t", self._cluster_id, "-c", properties]
        done = subprocess.run([str(part) for part in argv], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StackError(
                f"Kafka's storage tool could not format {self.data_dir}: {done.stderr.strip() or done.stdout.strip()}"
            )


_QUICK_START = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Dlog4j2.configurationFile={_LOGGING}")
_SMALL_MACHINE = (
    "-XX:TieredStopAtLevel=1",  # on two cores the optimising compiler costs more than it gains, for many minutes
    "-XX:+UseSerialGC",
    "-XX:+UseTransparentHugePages",  # a page looked up in a virtual machine is looked up twice
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:MaxDirectMemorySize=128m",
    "-Xss512k",
    "-Djava.awt.headless=true",
    f"-Dlog4j2.configurationFile={_LOGGING}",
)


def _without_preempting() -> Sequence[str]:
    """Let threads that wake up wait for who is at work (SCHED_BATCH, sched(7)), where util-linux is there to say so.

    On two cores whoever has sent the broker a request would else be interrupted by it, in the midst of its own work.
    """
    return ("chrt", "--batch", "0") if shutil.which("chrt") else ()


def new_cluster_id() -> str:
    """Return a random id in the form that Kafka's storage tool takes: 16 bytes in URL-safe base64."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A", 1)


async def answers(host: str, port: int) -> bool:
    """Ask ApiVersions, the first request of every Kafka client; False while nobody answers it."""
    api_versions, version, correlation, no_client = 18, 0, 7, -1
    request = struct.pack(">hhih", api_versions, version, correlation, no_client)
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(struct.pack(">i", len(request)) + request)
                _size, answered, error = struct.unpack(">iih", await reader.readexactly(10))
            finally:
                writer.close()
    except (OSError, asyncio.IncompleteReadError):
        return False
    return bool(answered == correlation and error == 0)
