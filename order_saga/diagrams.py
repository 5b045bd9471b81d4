"""Writes the sagas' diagrams: `python -m order_saga.diagrams [folder]`."""

import sys
from pathlib import Path
from typing import Final

from libs.saga.diagram import page
from order_saga.cancel_completed_order import cancel_completed_order
from order_saga.create_order import create_order

FOLDER: Final = Path(__file__).parent.parent / "docs" / "sagas"


def pages() -> dict[str, str]:
    """Every page by its file's name."""
    return {
        "create_order.md": page(create_order),
        "cancel_completed_order.md": page(cancel_completed_order),
    }


def main(folder: Path) -> None:
    """Write every page into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
