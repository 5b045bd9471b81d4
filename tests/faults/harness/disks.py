"""A disk that can be filled: a file system in memory of a fixed size, mounted where the data will lie."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

BALLOON: Final = "balloon"
MEBIBYTE: Final = 1024 * 1024


class Disk:
    """One folder's file system; where mounting is not permitted the folder is an ordinary one and `mounted` false."""

    def __init__(self, folder: Path, *, megabytes: int) -> None:
        self._folder = folder
        self._megabytes = megabytes

    @property
    def mounted(self) -> bool:
        """Whether it is a file system of its own."""
        return self._folder.is_mount()

    def mount(self, owner: tuple[int, int] | None = None) -> None:
        """Mount it empty; the data that lay in the folder must be gone."""
        self._folder.mkdir(parents=True, exist_ok=True)
        options = f"size={self._megabytes}m,mode=0700"
        if owner is not None:
            options += f",uid={owner[0]},gid={owner[1]}"
        command = ["mount", "-t", "tmpfs", "-o", options, "order-saga-faults", str(self._folder)]
        try:
            subprocess.run(command, capture_output=True, check=False)
        except FileNotFoundError:
            return  # a machine without `mount`

    def fill(self) -> int:
        """Leave not a byte; returns how many bytes that took."""
        balloon = self._folder / BALLOON
        with balloon.open("wb") as file:
            size = 0
            for step in (MEBIBYTE, 4_096):
                while (free := shutil.disk_usage(self._folder).free) >= step:
                    wanted = min(free // step * step, 64 * MEBIBYTE)
                    try:
                        os.posix_fallocate(file.fileno(), size, wanted)
                    except OSError:
                        break  # somebody else took it in between
                    size += wanted
        return size

    def empty(self) -> None:
        """Give the space back."""
        (self._folder / BALLOON).unlink(missing_ok=True)

    def unmount(self) -> None:
        """Take it away with all that lies on it; nobody may use it any more."""
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self._folder)], capture_output=True, check=True)
