"""The Postman collection, run by newman on a live stack; passed over where npm is not there or cannot get newman."""

import asyncio
import json
import shutil
import signal
from pathlib import Path
from typing import Final

import pytest

from bench.stack import Stack, StackInfo, gone
from tests.support.shop import Customer, Operator

COLLECTION: Final = Path(__file__).parents[2] / "docs" / "postman" / "order-platform.postman_collection.json"
NEWMAN: Final = ("npx", "--yes", "newman@6.2.1")
FETCH_SECONDS: Final = 120.0
RUN_SECONDS: Final = 900.0
"""Two orders of the collection end by a time-out of their own, each a minute after it was placed."""
pytestmark = pytest.mark.skipif(shutil.which("npx") is None, reason="npm is not there")


@pytest.fixture(scope="module", autouse=True)
async def fetched() -> None:
    """Has newman at hand, from npm's cache or its registry; nothing is asked of the stack without it."""
    process = await asyncio.create_subprocess_exec(
        *NEWMAN, "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), timeout=FETCH_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        pytest.skip(f"npm has not fetched newman within {FETCH_SECONDS:.0f} s")
    if process.returncode != 0:
        pytest.skip(f"npm cannot fetch newman: {said.decode(errors='replace').strip()[:300]}")


async def newman(info: StackInfo, collection: Path, **variables: str) -> None:
    """Run a collection; every assertion in it must hold."""
    given = {
        "base_url": info.gateway_url,
        "operator_email": info.operator.email,
        "operator_password": info.operator.password,
        **variables,
    }
    arguments = [word for name, value in given.items() for word in ("--env-var", f"{name}={value}")]
    process = await asyncio.create_subprocess_exec(
        *(*NEWMAN, "run", str(collection), "--color", "off", "--bail", "failure", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), timeout=RUN_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        pytest.fail(f"newman has not ended within {RUN_SECONDS:.0f} s")
    assert process.returncode == 0, said.decode(errors="replace")[-6_000:]


async def test_every_route_and_every_end_of_an_order(info: StackInfo) -> None:
    await newman(info, COLLECTION)


async def test_the_end_that_needs_a_service_to_be_away(
    stack: Stack, info: StackInfo, customer: Customer, operator: Operator, tmp_path: Path
) -> None:
    folder = json.loads(COLLECTION.read_text("utf-8"))
    (ends,) = (one for one in folder["item"] if one["name"].startswith("5 "))
    ends["item"] = [one for one in ends["item"] if one["name"].startswith("Inventory without an answer")]
    assert len(ends["item"]) == 2
    alone = tmp_path / "away.json"
    alone.write_text(json.dumps({**folder, "item": [ends]}))
    scene = {
        "customer_token": customer.token,
        "wallet": str(await customer.wallet()),
        "teapot": str(await operator.product()),
        "inventory_is_away": "yes",
    }
    await gone(stack.signal("inventory", signal.SIGTERM), within=30)
    try:
        await newman(info, alone, **scene)
    finally:
        await stack.up()
