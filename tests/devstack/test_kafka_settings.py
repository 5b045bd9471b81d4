"""The settings of an embedded broker, alone and among three."""

from pathlib import Path

from devstack.kafka import EmbeddedKafka, Node, new_cluster_id


def test_one_broker_keeps_one_copy(tmp_path: Path) -> None:
    properties = EmbeddedKafka(tmp_path, 9092, 9093).properties()
    assert properties["controller.quorum.voters"] == "1@127.0.0.1:9093"
    assert properties["advertised.listeners"] == "PLAINTEXT://127.0.0.1:9092"
    assert properties["offsets.topic.replication.factor"] == "1"
    assert properties["min.insync.replicas"] == "1"
    assert properties["auto.create.topics.enable"] == "false"


def test_three_brokers_keep_three_copies_of_which_two_must_be_written(tmp_path: Path) -> None:
    nodes = [Node(number, 9000 + number, 9100 + number) for number in (1, 2, 3)]
    second = EmbeddedKafka(tmp_path, 9002, 9102, cluster=nodes)
    properties = second.properties()
    assert properties["node.id"] == "2"
    assert properties["controller.quorum.voters"] == "1@127.0.0.1:9101,2@127.0.0.1:9102,3@127.0.0.1:9103"
    assert properties["default.replication.factor"] == "3"
    assert properties["offsets.topic.replication.factor"] == "3"
    assert properties["min.insync.replicas"] == "2"
    assert second.bootstrap_servers == "127.0.0.1:9001,127.0.0.1:9002,127.0.0.1:9003"


def test_settings_of_the_caller_win(tmp_path: Path) -> None:
    kafka = EmbeddedKafka(tmp_path, 9092, 9093, settings={"num.io.threads": "8"})
    assert kafka.properties()["num.io.threads"] == "8"


def test_cluster_ids_are_what_the_storage_tool_takes() -> None:
    ids = {new_cluster_id() for _ in range(200)}
    assert len(ids) == 200
    assert all(len(each) == 22 and not each.startswith("-") for each in ids)
