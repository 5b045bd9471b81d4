"""schemathesis on the live gateway: all checks, all phases, links included; no 5xx but the documented 503.

The run here is a short one; tests/README.md says how the long one is made, of at least 20,000 cases.
"""

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.stack import Stack, StackInfo

ROOT: Final = Path(__file__).parents[2]
CONFIG: Final = ROOT / "tests" / "gateway" / "schemathesis.toml"
EXAMPLES: Final = os.environ.get("SCHEMATHESIS_EXAMPLES", "10")
SEED: Final = int(os.environ.get("SCHEMATHESIS_SEED", "1"))
PROCESSES: Final = int(os.environ.get("SCHEMATHESIS_PROCESSES", "1"))
"""Processes, not its threads: Python before 3.11.5 cannot parse a lambda in two of those at once (cpython#106905)."""
CASES: Final = int(os.environ.get("SCHEMATHESIS_CASES", "1000"))
"""How many cases there must be at least; fewer were no test of the whole API."""
ALL_PHASES: Final = ("examples", "coverage", "fuzzing", "stateful")
RANDOM_PHASES: Final = ("fuzzing", "stateful")
"""What another seed makes other cases in."""


@dataclass(frozen=True)
class Told:
    """What a run came to."""

    seed: int
    phases: Sequence[str]
    status: int | None
    text: str
    report: Mapping[str, Any]

    @property
    def cases(self) -> int:
        """How many requests were made up and checked."""
        return int(self.report["test_cases"]["generated"])

    @property
    def links(self) -> int:
        """How many of the document's links, and of those inferred from it, were followed."""
        found = re.search(r"API Links: +(\d+) covered", self.text)
        return int(found[1]) if found else 0


async def test_no_case_finds_a_fault(
    stack: Stack, info: StackInfo, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    told = await asyncio.gather(
        *(
            _run(stack, info, tmp_path / str(seed), seed, ALL_PHASES if seed == SEED else RANDOM_PHASES)
            for seed in range(SEED, SEED + PROCESSES)
        )
    )
    cases = sum(one.cases for one in told)
    for one in told:
        print(one.text[-6_000:])  # noqa: T201 - the figures of a long run are what it is made for
        print(f"seed {one.seed}: {one.cases} cases, {one.links} kinds of links followed")  # noqa: T201
    print(f"{cases} cases in all")  # noqa: T201
    record_property("cases", cases)
    for one in told:
        assert one.status == 0, one.text[-8_000:]
        assert all(one.report["phases"][phase]["status"] == "success" for phase in one.phases)
        assert one.links > 0, "no link was followed"
    operations = told[0].report["operations"]
    assert operations["tested"] == operations["total"]
    assert cases >= CASES


async def _run(stack: Stack, info: StackInfo, folder: Path, seed: int, phases: Sequence[str]) -> Told:
    """One schemathesis to its end."""
    folder.mkdir()
    report = folder / "report.json"
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("schemathesis")), "--no-color", "--config-file", str(CONFIG)),
        *("run", f"{info.gateway_url}/openapi.json", "--checks", "all", "--continue-on-failure"),
        *("--max-examples", EXAMPLES, "--seed", str(seed), "--phases", ",".join(phases)),
        *("--suppress-health-check", "too_slow"),  # measured by the wall clock, and the machine may be busy
        *("--report", "json", "--report-json-path", str(report)),
        cwd=folder,
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
    assert report.exists(), text[-8_000:]
    return Told(seed, phases, process.returncode, text, json.loads(report.read_text("utf-8")))
