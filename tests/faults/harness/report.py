"""A run's report: lines while it goes on; Markdown, JSON and a plot at the end."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.stack import ROOT
from tests.faults.harness.plot import plotted
from tests.faults.harness.rounds import Round

RESULTS: Final = ROOT / "tests" / "faults" / "results"


def header() -> str:
    """The first line."""
    return f"{'kind':<24} {'orders':>7} {'accepted':>8} {'completed':>9} {'undone':>7} {'at rest':>8} {'recovery':>9} {'took':>6}"


def line(done: Round) -> str:
    """A round as a line, and what was wrong below it."""
    if done.skipped is not None:
        return f"{done.kind:<24} skipped: {done.skipped}"
    recovery = _seconds(done.recovery_seconds)
    text = (
        f"{done.kind:<24} {done.placed:>7} {done.acknowledged:>8} {done.completed:>9} {done.compensated:>7}"
        f" {_seconds(done.at_rest_seconds):>8} {recovery:>9} {done.ended - done.started:>4.0f} s  {'ok' if done.passed else 'WRONG'}"
    )
    if done.violations:
        text += f", {len(done.violations)} violations"
    wrong = [f"    ! {what}" for what in (*done.violations[:8], *done.shortcomings)]
    return "\n".join([text, *wrong])


def begun() -> Path:
    """Make the folder of a run, named by the time."""
    folder = RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    folder.mkdir(parents=True)
    return folder


def stored(rounds: Sequence[Round], seed: int, folder: Path) -> Path:
    """Write everything into the run's folder; returns the Markdown file. Written anew after each round."""
    document = {"seed": seed, "rounds": [done.document() for done in rounds]}
    (folder / "report.json").write_text(json.dumps(document, indent=2, default=str))
    for done in rounds:
        if done.evidence:
            text = json.dumps(done.evidence, indent=1, default=str)
            (folder / f"evidence-{done.kind}.json").write_text(text)
    plotted([done for done in rounds if done.skipped is None], folder / "rounds.png")
    file = folder / "report.md"
    file.write_text(_markdown(rounds, seed))
    return file


def _markdown(rounds: Sequence[Round], seed: int) -> str:
    tried = [done for done in rounds if done.skipped is None]
    slowest = max((done.recovery_seconds or 0.0 for done in tried), default=0.0)
    summary = (
        f"Seed {seed}: {len(tried)} rounds, {sum(done.placed for done in tried)} orders,"
        f" {sum(len(done.violations) for done in tried)} violations, slowest recovery {slowest:.1f} s."
        f" `make faults SEED={seed} KIND=…` runs a round's plan again."
    )
    lines = [
        "# Faults on real processes",
        "",
        summary,
        "",
        "| kind | orders | accepted | completed | undone | at rest | recovery | violations | |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
        *(_row(done) for done in rounds),
        "",
        "![accepted and finished over time](rounds.png)",
        "",
    ]
    for done in tried:
        lines += ["", f"## {done.kind}", "", f"{done.what}.", ""]
        lines += [f"- {event.at - done.started:6.1f} s: {event.what}" for event in done.log]
        if lost := {name: count for name, count in done.lost.items() if count}:
            lines += ["", f"Lost on the way: {', '.join(f'{name} {n}' for name, n in lost.items())}."]
        lines += ["", f"The machine stood still for {done.stalled_seconds:.1f} s of the round."]
        lines += ["", f"Answers to POSTs (0: none came): {done.answers}."]
        lines += [f"- **{what}**" for what in (*done.violations, *done.shortcomings)]
        lines += _weights(done)
    return "\n".join(lines) + "\n"


def _seconds(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s"


def _weights(done: Round) -> list[str]:
    if not done.weights:
        return []
    mebi = 1_048_576
    return [
        "",
        "| what | first, MiB | last, MiB | MiB an hour |",
        "|---|---:|---:|---:|",
        *(
            f"| {name} | {first / mebi:.1f} | {last / mebi:.1f} | {hour / mebi:.1f} |"
            for name, (first, last, hour) in done.weights.items()
        ),
    ]


def _row(done: Round) -> str:
    if done.skipped is not None:
        return f"| {done.kind} | | | | | | | | skipped: {done.skipped} |"
    recovery = _seconds(done.recovery_seconds)
    return (
        f"| {done.kind} | {done.placed} | {done.acknowledged} | {done.completed} | {done.compensated}"
        f" | {_seconds(done.at_rest_seconds)} | {recovery} | {len(done.violations)} | {'ok' if done.passed else '; '.join(done.shortcomings)} |"
    )
