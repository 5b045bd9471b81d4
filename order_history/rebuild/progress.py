"""Shows how far a long piece of work is: a bar on a terminal, a line now and then elsewhere."""

import time
from typing import Final, TextIO

WIDTH: Final = 30
TERMINAL_SECONDS: Final = 0.1
ELSEWHERE_SECONDS: Final = 5.0


class Progress:
    """A count on its way to a total that may grow."""

    def __init__(self, out: TextIO, what: str) -> None:
        self._out = out
        self._what = what
        self._terminal = out.isatty()
        self._every = TERMINAL_SECONDS if self._terminal else ELSEWHERE_SECONDS
        self._started = self._shown = time.monotonic()
        self._done = 0
        self._total = 0

    def expect(self, total: int) -> None:
        """Say how much there will be in all."""
        self._total = max(total, self._done)
        self._show()

    def advance(self, count: int) -> None:
        """Count what is done."""
        self._done += count
        self._total = max(self._total, self._done)
        if time.monotonic() - self._shown >= self._every:
            self._show()

    def close(self) -> None:
        """Show the last state and leave its line."""
        self._show()
        if self._terminal:
            self._out.write("\n")

    def line(self) -> str:
        """The state in one line."""
        share = self._done / self._total if self._total else 1.0
        bar = "█" * int(share * WIDTH)
        rate = self._done / max(time.monotonic() - self._started, 0.001)
        return f"{bar:·<{WIDTH}} {share:4.0%}  {self._done:,} of {self._total:,} {self._what}, {rate:,.0f}/s"

    def _show(self) -> None:
        self._shown = time.monotonic()
        self._out.write(f"\r{self.line()}\x1b[K" if self._terminal else f"{self.line()}\n")
        self._out.flush()
