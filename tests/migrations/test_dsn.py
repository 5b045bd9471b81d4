"""How a database's address is derived from the admin's."""

import pytest

from migrations.provision import access, drop


@pytest.mark.parametrize(
    ("admin", "expected"),
    [
        ("postgresql://root:pw@db:5433/postgres", "postgresql://order_owner:secret@db:5433/orders"),
        ("host=db user=root", "postgresql://order_owner:secret@db/orders"),
        ("postgresql://root@[::1]:5432/x", "postgresql://order_owner:secret@[::1]:5432/orders"),
        (
            "postgresql:///x?host=/var/run/pg&sslmode=require",
            "postgresql://order_owner:secret@/orders?host=%2Fvar%2Frun%2Fpg&sslmode=require",
        ),
    ],
)
def test_dsns_keep_the_servers_address(admin: str, expected: str) -> None:
    assert access(admin, "order", lambda _role: "secret").owner_dsn == expected


async def test_databases_without_a_prefix_are_not_dropped() -> None:
    with pytest.raises(ValueError, match="prefix"):
        await drop("postgresql://nobody@127.0.0.1:1/none", prefix="")
