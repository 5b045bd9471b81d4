"""Draws a definition as a Mermaid state diagram."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from libs.saga.definition import Role, Saga, Stage, Step
from libs.saga.instance import Data

NONE: Final = "-"


def page(saga: Saga[Data]) -> str:
    """A Markdown page: the diagram, and a table of the steps."""
    lines = [
        f"# {saga.name}, version {saga.version}",
        "",
        "Made from the definition by `python -m order_saga.diagrams`; do not edit.",
        "",
        "```mermaid",
        mermaid(saga),
        "```",
        "",
        "| step | kind | asks | answered by | within | undone by |",
        "|---|---|---|---|---|---|",
        *(_row(step) for stage in saga.stages for step in stage.steps),
        "",
    ]
    if saga.notice and saga.notice.command:
        told = f"`{saga.notice.name}` sends {saga.notice.command.__name__}"
        lines += [f"When undoing begins, {told}; nothing waits for its answer.", ""]
    return "\n".join(lines)


def mermaid(saga: Saga[Data]) -> str:
    """The diagram alone."""
    return "\n".join(["stateDiagram-v2", *(f"    {line}" for line in _lines(saga))])


def _lines(saga: Saga[Data]) -> Iterator[str]:
    names = [_state(stage) for stage in saga.stages]
    for stage in saga.stages:
        if len(stage.steps) > 1:
            yield from _group(stage)
    yield f"[*] --> {names[0]}"
    for here, there in zip(names, [*names[1:], "completed"], strict=True):
        yield f"{here} --> {there}"
    yield "completed --> [*]"
    owed: list[str] = []
    for number, stage in enumerate(saga.stages):
        undone = owed[-1] if owed else "compensated"
        for step in stage.steps:
            if step.refused and step.role in {Role.COMPENSABLE, Role.PIVOT}:
                siblings = [each.undo.name for each in stage.steps if each.undo and each is not step]
                yield f"{_state(stage)} --> {[undone, *siblings][-1]}: {step.refused.__name__}"
        undos = [step.undo.name for step in stage.steps if step.undo]
        if number < saga.no_return and any(step.gives_up for step in stage.steps):
            yield f"{_state(stage)} --> {undos[-1] if undos else undone}: no answer in time, or cancel"
        owed += undos
    back = [*reversed(owed), "compensated"]
    for here, there in pairwise(back):
        yield f"{here} --> {there}"
    yield "compensated --> [*]"


def _group(stage: Stage[Data]) -> Iterator[str]:
    yield f"state {_state(stage)} {{"
    for number, step in enumerate(stage.steps):
        if number:
            yield "    --"
        yield f"    {step.name}"
    yield "}"


def _state(stage: Stage[Data]) -> str:
    return stage.name.replace("+", "_and_")


def _row(step: Step[Data]) -> str:
    refused = f" or {step.refused.__name__}" if step.refused else ""
    asks = step.command.__name__ if step.command else NONE
    proof = step.proof.__name__ if step.proof else NONE
    within = NONE if step.role is Role.PAUSE else f"{step.within.total_seconds():g} s"
    undo = f"`{step.undo.name}`" if step.undo else NONE
    return f"| `{step.name}` | {step.role} | {asks} | {proof}{refused} | {within} | {undo} |"
