"""`python -m libs.service <service>` runs a service; other words look after its dead letters and offsets."""

import signal
import sys
from types import FrameType


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    # A container's first process ignores SIGTERM until it handles it; until the host does, there is nothing to finish.
    signal.signal(signal.SIGTERM, _end)
    # httpx and structlog load it where development tools have installed it: 5 MB for colours that no service shows.
    sys.modules |= {"rich": None, "httpx._main": None}  # type: ignore[dict-item]
    from libs.service.command import main  # takes longest of all until then

    sys.exit(main(sys.argv[1:]))
