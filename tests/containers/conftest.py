"""A platform of its own for the tests of this folder, under a project name, passwords and ports of its own."""

import asyncio
import os
import secrets
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench.stack import ROOT
from tests.conftest import SHORT_DEADLINES, free_offset
from tests.support.compose import ComposeStack, engine_answers, obtained


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies here, and pass it over where no engine answers."""
    ours = [item for item in items if Path(__file__).parent in item.path.parents]
    answers = bool(ours) and engine_answers()
    for item in ours:
        item.add_marker(pytest.mark.containers)
        if not answers:
            item.add_marker(pytest.mark.skip(reason="no container engine with compose answers"))


@pytest.fixture(scope="session")
def compose(tmp_path_factory: pytest.TempPathFactory) -> ComposeStack:
    """The compose file under this run's own names; nothing of it runs yet."""
    folder = tmp_path_factory.mktemp("compose")
    env_file = folder / "env"
    subprocess.run(
        [ROOT / "deploy/compose/make_env.sh"],
        env={**os.environ, "ENV_FILE": str(env_file), "PORT_OFFSET": str(free_offset())},
        check=True,
    )
    own = {
        "COMPOSE_ENV_FILES": str(env_file),
        "COMPOSE_PROJECT_NAME": os.environ.get(
            "TEST_COMPOSE_PROJECT", f"order-saga-test-{secrets.token_hex(3)}"
        ),
        **SHORT_DEADLINES,
    }
    return ComposeStack(folder, own)


@pytest.fixture(scope="session", autouse=True)
def images(compose: ComposeStack) -> None:
    """All that is needed lies here or can be pulled; where it cannot, there is nothing to be tried."""
    if lacking := sorted(each for each in compose.images() if not obtained(each)):
        pytest.skip(f"the engine has not, and cannot pull: {', '.join(lacking)}")


@pytest.fixture(scope="session")
async def platform(compose: ComposeStack, images: None) -> AsyncIterator[ComposeStack]:
    """The platform, healthy; removed at the end with its data. The image stays."""
    try:
        # An image that is there already may be of older code.
        await asyncio.to_thread(compose.compose, "build", "--quiet")
        await compose.up()
        yield compose
    finally:
        await compose.clean()
