"""Where the platform in containers is, from what compose says of its configuration."""

import pytest

from devstack.compose import container, described
from devstack.errors import StackError
from devstack.layout import SERVICE_PORTS


def a_service(port: int, **environment: str) -> dict[str, object]:
    return {"ports": [{"published": str(port), "target": 1}], "environment": environment}


def a_configuration(server: str = "postgres") -> dict[str, dict[str, object]]:
    services = {
        container(name): a_service(
            port + 100, DATABASE_URL=f"postgresql://{name}_runtime:x@{server}:5432/{name}"
        )
        for name, port in SERVICE_PORTS.items()
    }
    return {
        **services,
        "postgres": a_service(5532),
        "kafka": a_service(
            9192, KAFKA_ADVERTISED_LISTENERS="INTERNAL://kafka:19092,EXTERNAL://127.0.0.1:9192"
        ),
        "card-provider": a_service(8188),
        "migrate": {"environment": {"POSTGRES_ADMIN_URL": "postgresql://postgres:y@postgres:5432/postgres"}},
        "operator": {"environment": {"OPERATOR_EMAIL": "o@example.com", "OPERATOR_PASSWORD": "z"}},
    }


def test_tools_find_everything_on_this_machine() -> None:
    stack = described(a_configuration())
    assert stack["gateway_url"] == "http://127.0.0.1:8181"
    assert stack["kafka_bootstrap"] == "127.0.0.1:9192"
    assert stack["postgres_admin"] == "postgresql://postgres:y@127.0.0.1:5532/postgres"
    assert stack["operator"] == {"email": "o@example.com", "password": "z"}
    dsns = stack["postgres"]
    assert isinstance(dsns, dict)
    assert dsns["order_saga"] == "postgresql://order_saga_runtime:x@127.0.0.1:5532/order_saga"
    urls = stack["service_urls"]
    assert isinstance(urls, dict)
    assert urls["order_history"] == "http://127.0.0.1:8187"


def test_every_broker_is_named() -> None:
    configuration = a_configuration()
    configuration["kafka-2"] = a_service(
        9194, KAFKA_ADVERTISED_LISTENERS="INTERNAL://kafka-2:19092,EXTERNAL://127.0.0.1:9194"
    )
    assert described(configuration)["kafka_bootstrap"] == "127.0.0.1:9192,127.0.0.1:9194"


def test_without_one_server_for_all_nobody_reads_every_database() -> None:
    configuration = a_configuration()
    configuration["migrate"] = {"environment": {}}
    assert not described(configuration)["postgres_admin"]


def test_a_dsn_of_another_kind_is_refused() -> None:
    configuration = a_configuration()
    configuration["order"] = a_service(8183, DATABASE_URL="dbname=orders")
    with pytest.raises(StackError, match="dbname=orders"):
        described(configuration)
