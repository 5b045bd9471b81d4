"""schemathesis on the live gateway: all checks, all phases, links included; no 5xx but the documented 503.

The run here is a short one. At least 20,000 cases, on a stack of your own (`-s` shows the summary):

    make up
    JOURNEY_STACK_DIR=.stack SCHEMATHESIS_EXAMPLES=800 SCHEMATHESIS_CASES=20000 SCHEMATHESIS_WORKERS=4 \
        .venv/bin/python -m pytest -s tests/journeys/test_schemathesis.py
"""

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.stack import Stack, StackInfo

ROOT: Final = Path(__file__).parents[2]
CONFIG: Final = ROOT / "tests" / "gateway" / "schemathesis.toml"
EXAMPLES: Final = os.environ.get("SCHEMATHESIS_EXAMPLES", "10")
SEED: Final = os.environ.get("SCHEMATHESIS_SEED", "1")
WORKERS: Final = os.environ.get("SCHEMATHESIS_WORKERS", "1")
CASES: Final = int(os.environ.get("SCHEMATHESIS_CASES", "1000"))
"""How many cases there must be at least; fewer were no test of the whole API."""


async def test_no_case_finds_a_fault(
    stack: Stack, info: StackInfo, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    report = tmp_path / "report.json"
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("schemathesis")), "--no-color", "--config-file", str(CONFIG)),
        *("run", f"{info.gateway_url}/openapi.json", "--checks", "all", "--continue-on-failure"),
        *("--max-examples", EXAMPLES, "--seed", SEED, "--request-timeout", "60", "--workers", WORKERS),
        *("--report", "json", "--report-json-path", str(report)),
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
    text = said.decode(errors="replace")
    assert process.returncode == 0, text[-8_000:]
    told = json.loads(report.read_text("utf-8"))
    cases = told["test_cases"]
    print(text[-2_500:])  # noqa: T201 - the figures of a long run are what it is made for
    record_property("cases", cases["generated"])
    assert told["operations"]["tested"] == told["operations"]["total"]
    assert all(phase["status"] == "success" for phase in told["phases"].values()), told["phases"]
    assert cases["generated"] >= CASES, cases
    links = re.search(r"API Links: +(\d+) covered", text)
    assert links is not None, text[-8_000:]
    assert int(links[1]) > 0, "no link was followed"
