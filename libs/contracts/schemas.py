"""The JSON Schema of each message version, and what breaks those who read or write an older one.

`python -m libs.contracts.schemas` writes docs/schemas/, and refuses a change that needs a new version.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from libs.contracts.catalogue import CONTRACTS
from libs.contracts.message import Contract

Schema: TypeAlias = Mapping[str, Any]

FOLDER: Final = Path(__file__).parents[2] / "docs" / "schemas"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_FOR_PEOPLE: Final = frozenset(
    {"title", "description", "examples", "default", "$schema", "$id", "$defs", "$comment"}
)


def schema(contract: type[Contract]) -> dict[str, Any]:
    """The schema of a payload on the wire; a field that it does not name is ignored by its readers."""
    made = contract.model_json_schema(mode="validation")
    return {"$schema": DIALECT, "$id": f"{contract.wire}.json", **made, "title": contract.wire}


def text(contract: type[Contract]) -> str:
    """The schema as its file holds it."""
    return json.dumps(schema(contract), indent=2, ensure_ascii=False) + "\n"


def breaks(old: Schema, new: Schema) -> list[str]:
    """What a change from old to new breaks, each as a sentence; empty when both sides go on understanding each other.

    Messages of one version are written and read by processes of both sides of a deployment, and are
    kept for ever. So what an old writer writes a new reader must take, and the other way round: a
    field may be added when it is not required, and nothing else may change.
    """
    return list(_differences(_resolved(old, old), _resolved(new, new), ""))


def _differences(old: Any, new: Any, place: str) -> Iterator[str]:
    here = place or "the message"
    if not isinstance(old, dict) or not isinstance(new, dict):
        if old != new:
            yield f"{here}: {_short(old)} has become {_short(new)}"
        return
    if "properties" in old or "properties" in new:
        yield from _fields(old, new, place)
    for keyword in sorted((old.keys() | new.keys()) - {"properties", "required"}):
        was, is_now = old.get(keyword), new.get(keyword)
        if isinstance(was, dict) and isinstance(is_now, dict):
            yield from _differences(was, is_now, f"{place}/{keyword}" if keyword != "items" else f"{place}[]")
        elif isinstance(was, list) and isinstance(is_now, list):
            yield from _alternatives(was, is_now, f"{here}: {keyword}")
        elif was != is_now:
            yield f"{here}: {keyword} was {_short(was)} and is now {_short(is_now)}"


def _fields(old: Schema, new: Schema, place: str) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    was_needed, is_needed = set(old.get("required", ())), set(new.get("required", ()))
    for name in sorted(is_needed - was_needed):
        how = "is required now" if name in before else "is new and required"
        yield f"{place}/{name}: {how}, which an old writer does not know"
    for name in sorted(was_needed - is_needed):
        how = "is no longer required" if name in after else "is gone"
        yield f"{place}/{name}: {how}, which an old reader waits for"
    for name in sorted(before.keys() & after.keys()):
        yield from _differences(before[name], after[name], f"{place}/{name}")


def _alternatives(old: list[Any], new: list[Any], what: str) -> Iterator[str]:
    """Alternatives and enumerations: the same ones, in any order."""
    was, is_now = sorted(map(_canonical, old)), sorted(map(_canonical, new))
    if was != is_now:
        yield f"{what} was {_short(old)} and is now {_short(new)}"


def _resolved(node: Any, root: Schema) -> Any:
    """The schema without references, and without what is only there for people."""
    if isinstance(node, list):
        return [_resolved(one, root) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target: Any = root
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return _resolved({**target, **{name: value for name, value in node.items() if name != "$ref"}}, root)
    return {
        name: {field: _resolved(about, root) for field, about in value.items()}
        if name == "properties"
        else _resolved(value, root)
        for name, value in node.items()
        if name not in _FOR_PEOPLE
    }


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _short(value: Any) -> str:
    return _canonical(value)[:120]


def write(folder: Path = FOLDER) -> list[str]:
    """Write every schema; those that would break somebody are left as they are and told of."""
    folder.mkdir(parents=True, exist_ok=True)
    broken = []
    for wire, contract in sorted(CONTRACTS.items()):
        path = folder / f"{wire}.json"
        faults = breaks(json.loads(path.read_text("utf-8")), schema(contract)) if path.exists() else []
        broken += [f"{wire}: {fault}" for fault in faults]
        if not faults:
            path.write_text(text(contract), "utf-8")
    return broken


def main() -> int:
    """Write the schemas; 1 when a change needs a new version of its message."""
    broken = write()
    for fault in broken:
        sys.stderr.write(f"{fault}\n")
    if broken:
        sys.stderr.write(
            "Make a new version of the message (a class with another `wire`), and leave the old one.\n"
        )
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
