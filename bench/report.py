"""Results as a table, as JSON and as plots."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from matplotlib.figure import Figure

from bench.result import Result

COLUMNS: Final = (
    ("scenario", 10),
    ("load", 34),
    ("sagas_per_s", 12),
    ("p50_ms", 9),
    ("p95_ms", 9),
    ("p99_ms", 9),
    ("post_p99_ms", 12),
    ("seen_p50_ms", 12),
    ("cpu_ms_per_saga", 16),
    ("transactions_per_saga", 22),
    ("statements_per_saga", 20),
    ("errors", 7),
)


def header() -> str:
    """The table's first line."""
    return " ".join(f"{name:>{width}}" for name, width in COLUMNS) + "  books"


def row(result: Result) -> str:
    """A result as a line of the table, with what was found wrong below it."""
    fields = asdict(result)
    line = " ".join(f"{fields[name]!s:>{width}}" for name, width in COLUMNS)
    line += f"  {'balance' if not result.books else 'OFF'}"
    if result.notes:
        line += "  " + ", ".join(f"{name}={value}" for name, value in result.notes.items())
    wrong = [f"    ! {text}" for text in (*result.books[:5], *result.complaints[:5])]
    return "\n".join([line, *wrong])


def stored(results: Sequence[Result], folder: Path, about: Mapping[str, object]) -> Path:
    """Write the results as JSON and as plots; returns the JSON file, named by the time."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    file = folder / f"{name}.json"
    document = {"about": about, "results": [asdict(result) for result in results]}
    text = json.dumps(document, indent=2, default=dict)
    file.write_text(text)
    (folder / "latest.json").write_text(text)
    _throughput(results, folder / f"{name}-throughput.png")
    _latencies(results, folder / f"{name}-latency.png")
    _cpu(results, folder / f"{name}-cpu.png")
    return file


def _throughput(results: Sequence[Result], file: Path) -> None:
    peak = [result for result in results if result.scenario == "peak"]
    if not peak:
        return
    figure = Figure(figsize=(7, 4))
    axes = figure.subplots()
    axes.bar([result.load for result in peak], [result.sagas_per_s for result in peak], color="#3b6ea5")
    axes.set(xlabel="orders in flight", ylabel="sagas per second", title="Throughput by orders in flight")
    _save(figure, file)


def _latencies(results: Sequence[Result], file: Path) -> None:
    figure = Figure(figsize=(9, 4.5))
    axes = figure.subplots()
    for result in results:
        total = sum(result.histogram.values()) or 1
        shares = [count / total for count in result.histogram.values()]
        axes.plot(list(result.histogram), shares, marker=".", label=f"{result.scenario} {result.load}")
    axes.set(xlabel="POST to the saga's end, at most (ms)", ylabel="share of orders", title="Latency")
    axes.tick_params(axis="x", rotation=45)
    axes.legend(fontsize=7)
    _save(figure, file)


def _cpu(results: Sequence[Result], file: Path) -> None:
    figure = Figure(figsize=(9, 4.5))
    axes = figure.subplots()
    labels = [f"{result.scenario}\n{result.load}" for result in results]
    processes = sorted({name for result in results for name in result.cpu_ms_by_process})
    bottom = [0.0] * len(results)
    for process in [*processes, "load generator"]:
        heights = [_share(result, process) for result in results]
        axes.bar(labels, heights, bottom=bottom, label=process)
        bottom = [low + high for low, high in zip(bottom, heights, strict=True)]
    axes.set(ylabel="CPU, ms per saga", title="CPU by process")
    axes.tick_params(axis="x", labelsize=7)
    axes.legend(fontsize=7)
    _save(figure, file)


def _share(result: Result, process: str) -> float:
    if process == "load generator":
        return result.generator_cpu_ms_per_saga
    return result.cpu_ms_by_process.get(process, 0.0)


def _save(figure: Figure, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(file, dpi=110)
