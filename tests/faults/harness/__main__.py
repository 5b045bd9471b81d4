"""`python -m tests.faults.harness`: runs rounds and reports; the exit code is not 0 when a promise was broken.

KIND or ROUNDS name kinds, with commas; SEED makes a run the same again; PART=1…5 takes a fifth of the kinds, and
PART=auto another one each day. `nightly` runs every two faults of different families at the same time, then a soak;
KIND names some of them too. FAULTS_STACK_DIR and FAULTS_PORT_OFFSET move the stack.
"""

import asyncio
import logging
import os
import shutil
import sys
import time
import traceback
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import uvloop

from bench.stack import ROOT
from tests.faults.harness import report
from tests.faults.harness.chance import chance
from tests.faults.harness.crowd import gathered
from tests.faults.harness.kinds import KINDS
from tests.faults.harness.kinds.nightly import SOAK, pairs
from tests.faults.harness.rounds import Arena, Kind, Round, broken
from tests.faults.harness.stage import Stage

PARTS: Final = 5
USUAL_MEGABYTES: Final = 1_024
NIGHTLY_MEGABYTES: Final = 6_144


async def main(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> int:
    """Run what was asked for."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the harness's own clients meet the faults too
    known = {kind.name: kind for kind in (*pairs(), SOAK)} if "nightly" in arguments else KINDS
    kinds = chosen(known, environ)
    if kinds is None:
        return 2
    seed = int(environ.get("SEED") or time.time())
    folder = Path(environ.get("FAULTS_STACK_DIR", ROOT / ".stack-faults"))
    offset = int(environ.get("FAULTS_PORT_OFFSET", "9000"))
    disk = NIGHTLY_MEGABYTES if "nightly" in arguments else USUAL_MEGABYTES
    stage = Stage(folder, offset=offset, random=chance(seed), disk_megabytes=disk)
    rounds: list[Round] = []
    _say(f"SEED={seed}: {len(kinds)} kinds; starting the stack …")
    results = file = report.begun()
    try:
        async for done in _rounds(stage, kinds, seed):
            rounds.append(done)
            _say(report.line(done))
            file = await asyncio.to_thread(report.stored, rounds, seed, results)
            if not done.passed and done.skipped is None:
                shutil.copytree(stage.layout.logs, results / f"logs-{done.kind}", dirs_exist_ok=True)
    finally:
        await stage.down()
    _say(f"reported in {file.relative_to(ROOT)}")
    return int(any(not done.passed and done.skipped is None for done in rounds))


async def _rounds(stage: Stage, kinds: Sequence[Kind], seed: int) -> AsyncIterator[Round]:
    """One after the other on the same stack; on a fresh one after a round that left something wrong."""
    arena: Arena | None = None
    for kind in kinds:
        if arena is None:
            arena = await _arena(stage)
            _say(report.header())
        try:
            done = await arena.run(kind, seed)
        except Exception as error:  # noqa: BLE001 - the other kinds are tried all the same
            done = broken(kind, seed, "".join(traceback.format_exception(error)))
        if done.violations or (done.recovery_seconds is None and done.skipped is None):
            arena = None
        yield done


async def _arena(stage: Stage) -> Arena:
    await stage.up()
    return Arena(stage, await gathered(stage), stage.layout.logs)


def chosen(known: Mapping[str, Kind], environ: Mapping[str, str]) -> list[Kind] | None:
    """The kinds that the environment names, or a part of all; None when it names one that there is not."""
    names = [name for name in (environ.get("KIND") or environ.get("ROUNDS") or "").split(",") if name]
    if unknown := [name for name in names if name not in known]:
        sys.stderr.write(f"There is no {', '.join(unknown)}: {', '.join(known)}.\n")
        return None
    if names:
        return [known[name] for name in names]
    part = environ.get("PART") or ""
    if not part:
        return list(known.values())
    number = int(time.time() // 86_400) if part == "auto" else int(part) - 1
    return list(known.values())[number % PARTS :: PARTS]


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(uvloop.run(main(sys.argv[1:])))
