"""Creates the topics, explicitly: auto-creation is off."""

from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from libs.contracts.topics import COMMAND_TOPICS, CONSUMING_SERVICES, EVENT_TOPICS, dead_letters

COMMAND_RETENTION_MS: Final = 7 * 24 * 3_600 * 1_000
UNLIMITED: Final = -1


def retention(prefix: str = "") -> dict[str, int]:
    """Every topic with its retention in milliseconds: commands 7 days, the rest unlimited.

    order_history is rebuilt from the events, and a dead letter is kept until somebody looked.
    """
    commands = {prefix + topic: COMMAND_RETENTION_MS for topic in COMMAND_TOPICS}
    events = {prefix + topic: UNLIMITED for topic in EVENT_TOPICS}
    dead = {prefix + dead_letters(service): UNLIMITED for service in CONSUMING_SERVICES}
    return commands | events | dead


async def create_topics(
    bootstrap_servers: str,
    *,
    partitions: int,
    replication_factor: int = 1,
    min_insync_replicas: int = 1,
    prefix: str = "",
) -> list[str]:
    """Create the topics that are missing and return their names; those that are there stay as they are."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        present = set(await admin.list_topics())
        missing = {name: ms for name, ms in retention(prefix).items() if name not in present}
        if missing:
            answer = await admin.create_topics(
                [
                    NewTopic(
                        name=name,
                        num_partitions=partitions,
                        replication_factor=replication_factor,
                        topic_configs={
                            "retention.ms": str(ms),
                            "min.insync.replicas": str(min_insync_replicas),
                        },
                    )
                    for name, ms in missing.items()
                ]
            )
            for topic, code, message in answer.topic_errors:
                error = for_code(code)
                if code and error is not TopicAlreadyExistsError:
                    raise error(f"{topic}: {message}")
        return sorted(missing)
    finally:
        await admin.close()
