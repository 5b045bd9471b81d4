"""What a run showed, as a page of Markdown."""

from collections.abc import Sequence

from tests.crashpoints.plan import Arming
from tests.crashpoints.rounds import Result


def table(results: Sequence[Result], seconds: float) -> str:
    """Each death, each round, and what was wrong."""
    deaths = [(number, death) for number, result in enumerate(results, 1) for death in result.deaths]
    reached = {death.arming.name for _, death in deaths if death.missed is None}
    names = {death.arming.name for _, death in deaths}
    wrong = [
        f"round {number}: {finding}" for number, result in enumerate(results, 1) for finding in result.wrong
    ]
    orders = sum(result.orders for result in results)
    lines = [
        "# Crash points",
        "",
        f"{len(reached)} of {len(names)} places reached by {len(deaths)} deaths (SIGKILL seen each time).",
        f"{orders:,} orders, {len(wrong)} violations, {seconds:.0f} s.",
        "",
        "| place | in | pass | by | dead after | round |",
        "|---|---|---|---|---|---|",
        *(
            f"| {one.name} | {one.service} | {one.at} | {one.trigger} |"
            f" {'not reached' if missed else f'{after:.1f} s'} | {number} |"
            for number, one, after, missed in _sorted(results)
        ),
        "",
        "| round | deaths | orders | completed | compensated | quiet after | violations |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {number} | {len(result.deaths)} | {result.orders} | {result.completed} |"
            f" {result.compensated} | {result.quiet_seconds:.1f} s | {len(result.wrong)} |"
            for number, result in enumerate(results, 1)
        ),
        "",
        *(f"- {finding}" for finding in wrong),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _sorted(results: Sequence[Result]) -> list[tuple[int, Arming, float, str | None]]:
    told = [
        (number, death.arming, death.seconds, death.missed)
        for number, result in enumerate(results, 1)
        for death in result.deaths
    ]
    return sorted(told, key=lambda row: (row[1].name, row[1].service))
