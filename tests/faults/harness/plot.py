"""Accepted and finished orders over time, a small picture for each round, with the fault marked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from tests.faults.harness.rounds import Round

COLUMNS: Final = 4


def plotted(rounds: Sequence[Round], file: Path) -> None:
    """Draw all rounds into one picture."""
    if not rounds:
        return
    rows = -(-len(rounds) // COLUMNS)
    figure = Figure(figsize=(4.2 * min(COLUMNS, len(rounds)), 2.6 * rows))
    grid = figure.subplots(rows, min(COLUMNS, len(rounds)), squeeze=False)
    for axes in grid.flat[len(rounds) :]:
        axes.set_axis_off()
    for axes, done in zip(grid.flat, rounds, strict=False):
        for times, label, colour in (
            (done.accepted_at, "accepted", "#3b6ea5"),
            (done.finished_at, "finished", "#d08a2e"),
        ):
            seconds = [at - done.started for at in times]
            axes.step(seconds, range(1, len(seconds) + 1), where="post", label=label, color=colour)
        if done.fault_from is not None and done.fault_to is not None:
            axes.axvspan(
                done.fault_from - done.started, done.fault_to - done.started, color="#c0392b", alpha=0.15
            )
        axes.set_title(done.kind if done.passed else f"{done.kind}: WRONG", fontsize=9)
        axes.tick_params(labelsize=7)
    figure.axes[0].legend(fontsize=7)
    figure.supxlabel("seconds", fontsize=8)
    figure.supylabel("orders", fontsize=8)
    figure.tight_layout()
    figure.savefig(file, dpi=110)
