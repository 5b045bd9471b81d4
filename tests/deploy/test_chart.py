"""The chart's values and the compose file say of the services what the services say of themselves."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from devstack.compose import container
from devstack.layout import CHECKOUT, SERVICE_PORTS
from libs.service.service import Service

VALUES: dict[str, Any] = yaml.safe_load((CHECKOUT / "deploy/helm/order-saga/values.yaml").read_text())
COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())


def test_every_service_is_in_the_chart() -> None:
    assert set(VALUES["services"]) == set(map(container, SERVICE_PORTS))


@pytest.mark.parametrize("name", SERVICE_PORTS)
def test_a_service_of_the_chart(name: str) -> None:
    service: Service[Any] = import_module(f"{name}.app").service
    values = VALUES["services"][container(name)]
    assert values.get("module", container(name)) == service.name == name
    assert values["port"] == SERVICE_PORTS[name]
    assert sorted(values.get("consumes", [])) == list(service.topics)  # KEDA looks at their lag


@pytest.mark.parametrize("name", SERVICE_PORTS)
def test_a_service_of_the_compose_file(name: str) -> None:
    found = COMPOSE["services"][container(name)]
    assert found["command"] == ["python", "-m", "libs.service", name]
    assert found["environment"]["HTTP_PORT"] == SERVICE_PORTS[name]
    assert found["ports"][0].endswith(f":{SERVICE_PORTS[name]}")


def test_compose_and_the_tests_name_the_same_images() -> None:
    source = (Path(__file__).parents[1] / "support/containers.py").read_text()
    for server in ("postgres", "kafka"):
        named = COMPOSE["services"][server]["image"].partition(":-")[2].removesuffix("}")
        assert f'_IMAGE: Final = "{named}"' in source
