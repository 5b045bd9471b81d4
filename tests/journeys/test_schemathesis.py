"""schemathesis on the live gateway: all checks, all phases, links included; no 5xx but the documented 503.

The run here is a short one. At least 20,000 cases, on a stack of your own:

    make up
    JOURNEY_STACK_DIR=.stack SCHEMATHESIS_EXAMPLES=1500 .venv/bin/python -m pytest tests/journeys/test_schemathesis.py
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

from bench.stack import Stack, StackInfo

ROOT: Final = Path(__file__).parents[2]
CONFIG: Final = ROOT / "tests" / "gateway" / "schemathesis.toml"
EXAMPLES: Final = os.environ.get("SCHEMATHESIS_EXAMPLES", "10")
SEED: Final = os.environ.get("SCHEMATHESIS_SEED", "1")


async def test_no_case_finds_a_fault(stack: Stack, info: StackInfo, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("schemathesis")), "--no-color", "--config-file", str(CONFIG)),
        *("run", f"{info.gateway_url}/openapi.json", "--checks", "all", "--continue-on-failure"),
        *("--max-examples", EXAMPLES, "--seed", SEED, "--request-timeout", "60"),
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": "tests.support.fuzz_auth",
            "STACK_JSON": str(stack.folder / "stack.json"),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode(errors="replace")[-8_000:]
