"""Where a stack lies and listens."""

from pathlib import Path

import pytest

from devstack.errors import StackError
from devstack.layout import CHECKOUT, SERVICE_PORTS, Layout


def test_without_settings_it_lies_in_the_checkout_on_the_usual_ports() -> None:
    layout = Layout.from_environ({})
    assert layout.folder == CHECKOUT / ".stack"
    assert [layout.service_port(service) for service in SERVICE_PORTS] == [*range(8081, 8088)]
    assert (layout.card_provider_port, layout.postgres_port) == (8088, 5432)
    assert [(node.port, node.controller_port) for node in layout.nodes(1)] == [(9092, 9093)]
    assert layout.partitions == 3


def test_the_offset_moves_every_port() -> None:
    plain, moved = Layout.from_environ({}), Layout.from_environ({"STACK_PORT_OFFSET": "100"})
    for service in SERVICE_PORTS:
        assert moved.service_port(service) == plain.service_port(service) + 100
    assert moved.card_provider_port == plain.card_provider_port + 100
    assert moved.postgres_port == plain.postgres_port + 100
    assert [(node.port, node.controller_port) for node in moved.nodes(3)] == [
        (9192, 9193),
        (9194, 9195),
        (9196, 9197),
    ]


def test_no_two_processes_want_the_same_port() -> None:
    layout = Layout.from_environ({})
    ports = [layout.service_port(service) for service in SERVICE_PORTS]
    ports += [layout.card_provider_port, layout.postgres_port]
    ports += [port for node in layout.nodes(3) for port in (node.port, node.controller_port)]
    assert len(ports) == len(set(ports))


def test_a_folder_can_be_anywhere(tmp_path: Path) -> None:
    assert Layout.from_environ({"STACK_DIR": str(tmp_path)}).folder == tmp_path


@pytest.mark.parametrize(
    "environ",
    [
        {"BROKERS": "2"},
        {"BROKERS": "many"},
        {"STACK_PORT_OFFSET": "-1"},
        {"STACK_PORT_OFFSET": "x"},
        {"LAYOUT": "one"},
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str]) -> None:
    [(name, value)] = environ.items()
    with pytest.raises(StackError, match=f"{name}={value}"):
        Layout.from_environ(environ)


def test_services_have_processes_of_their_own_unless_they_are_to_share() -> None:
    for environ in ({}, {"LAYOUT": "apart"}):
        apart = Layout.from_environ(environ)
        assert [apart.process_of(service) for service in SERVICE_PORTS] == [*SERVICE_PORTS]
    together = Layout.from_environ({"LAYOUT": "together"})
    assert {together.process_of(service) for service in SERVICE_PORTS} == {"gateway", "order_saga", "shared"}
