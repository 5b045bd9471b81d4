"""PostgreSQL and Kafka in containers, of the images that docker-compose.yml names."""

from typing import Final

from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

POSTGRES_IMAGE: Final = "postgres:18"
KAFKA_IMAGE: Final = "apache/kafka:4.1.0"
STARTER: Final = "/tmp/testcontainers_start.sh"  # noqa: S108 - inside the container
READY: Final = r"Transitioning from RECOVERY to RUNNING"


class KafkaContainer(DockerContainer):
    """One KRaft node of the apache/kafka image; the library's own class knows other images only.

    A broker must advertise the port that the host maps, and that is known once the container runs:
    so it starts with a command that waits for a script, which is copied in then and starts the broker.
    """

    PORT: Final = 9092

    def __init__(self, image: str = KAFKA_IMAGE, *, seconds: int = 90) -> None:
        super().__init__(image)
        self._seconds = seconds
        self.with_exposed_ports(self.PORT)
        # Setting any variable of this image replaces all of its defaults, so the set is whole.
        self.with_envs(
            CLUSTER_ID="4L6g3nShT-eMCtK--X86sw",
            KAFKA_NODE_ID="1",
            KAFKA_PROCESS_ROLES="broker,controller",
            KAFKA_LISTENERS=f"EXTERNAL://:{self.PORT},INTERNAL://:19092,CONTROLLER://:9094",
            KAFKA_LISTENER_SECURITY_PROTOCOL_MAP="EXTERNAL:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
            KAFKA_INTER_BROKER_LISTENER_NAME="INTERNAL",
            KAFKA_CONTROLLER_LISTENER_NAMES="CONTROLLER",
            KAFKA_CONTROLLER_QUORUM_VOTERS="1@localhost:9094",
            KAFKA_AUTO_CREATE_TOPICS_ENABLE="false",
            KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR="1",
            KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS="1",
            KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR="1",
            KAFKA_TRANSACTION_STATE_LOG_MIN_ISR="1",
            KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS="0",
            KAFKA_HEAP_OPTS="-Xms256m -Xmx256m",
        )
        self.with_command(["sh", "-c", f"while [ ! -f {STARTER} ]; do sleep 0.1; done; exec bash {STARTER}"])

    @property
    def bootstrap_servers(self) -> str:
        """Where clients on the host find the broker."""
        return f"{self.get_container_host_ip()}:{self.get_exposed_port(self.PORT)}"

    def start(self) -> "KafkaContainer":
        """Start the broker and return once it runs."""
        super().start()
        try:
            advertised = f"EXTERNAL://{self.bootstrap_servers},INTERNAL://localhost:19092"
            script = f"export KAFKA_ADVERTISED_LISTENERS={advertised}\nexec /etc/kafka/docker/run\n"
            self.copy_into_container(script.encode(), STARTER, 0o755)
            LogMessageWaitStrategy(READY).with_startup_timeout(self._seconds).wait_until_ready(self)
        except BaseException:
            self.stop()
            raise
        return self


def postgres_container(image: str = POSTGRES_IMAGE) -> PostgresContainer:
    """A server whose superuser's DSN is `get_connection_url()`."""
    container = PostgresContainer(image, username="postgres", dbname="postgres", driver=None)
    return container.with_command("postgres -c max_connections=200 -c fsync=off")
