"""`python -m tests.faults.harness`: runs rounds and reports; the exit code is not 0 when a promise was broken.

KIND or ROUNDS name kinds, with commas; SEED makes a run the same again; PART=1…5 takes a fifth of the kinds, and
PART=auto another one each day. FAULTS_STACK_DIR and FAULTS_PORT_OFFSET move the stack.
"""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import uvloop

from bench.stack import ROOT
from tests.faults.harness import report
from tests.faults.harness.chance import chance
from tests.faults.harness.crowd import gathered
from tests.faults.harness.kinds import KINDS
from tests.faults.harness.rounds import Arena, Kind, Round
from tests.faults.harness.stage import Stage

PARTS = 5


async def main(environ: Mapping[str, str] = os.environ) -> int:
    """Run what was asked for."""
    kinds = _chosen(environ)
    if kinds is None:
        return 2
    seed = int(environ.get("SEED") or time.time())
    folder = Path(environ.get("FAULTS_STACK_DIR", ROOT / ".stack-faults"))
    offset = int(environ.get("FAULTS_PORT_OFFSET", "9000"))
    stage = Stage(folder, offset=offset, random=chance(seed))
    rounds: list[Round] = []
    _say(f"SEED={seed}: {len(kinds)} kinds; starting the stack …")
    try:
        arena = await _arena(stage)
        _say(report.header())
        for kind in kinds:
            rounds.append(await arena.run(kind, seed))
            _say(report.line(rounds[-1]))
            if not rounds[-1].passed and rounds[-1].skipped is None and kind is not kinds[-1]:
                _say("  … a fresh stack after that")
                arena = await _arena(stage)
    finally:
        await stage.down()
        if rounds:
            _say(f"reported in {report.stored(rounds, seed).relative_to(ROOT)}")
    return int(any(not done.passed and done.skipped is None for done in rounds))


async def _arena(stage: Stage) -> Arena:
    await stage.up()
    return Arena(stage, await gathered(stage), stage.layout.logs)


def _chosen(environ: Mapping[str, str]) -> list[Kind] | None:
    names = [name for name in (environ.get("KIND") or environ.get("ROUNDS") or "").split(",") if name]
    if unknown := [name for name in names if name not in KINDS]:
        sys.stderr.write(f"There is no {', '.join(unknown)}: {', '.join(KINDS)}.\n")
        return None
    if names:
        return [KINDS[name] for name in names]
    part = environ.get("PART") or ""
    if not part:
        return list(KINDS.values())
    number = int(time.time() // 86_400) if part == "auto" else int(part) - 1
    return list(KINDS.values())[number % PARTS :: PARTS]


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(uvloop.run(main()))
