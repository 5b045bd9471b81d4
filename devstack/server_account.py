"""Where the embedded PostgreSQL lives and as whom it runs: it refuses root, so root gives it a user and a place."""

import hashlib
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from devstack.errors import StackError
from devstack.processes import Account

_ACCOUNT = "order-saga"
_HOME = Path("/var/lib/order-saga")
_SOCKETS = Path("/tmp")  # noqa: S108 - everybody may enter it, and a socket's path has 107 bytes at most (unix(7))


@dataclass(frozen=True, slots=True)
class Place:
    """The server's binaries and data folder, and the user it runs as: None means the caller."""

    installation: Path
    data: Path
    account: Account | None


def place_for(data: Path, installation: Path) -> Place:
    """Return the place itself for an ordinary user; for root, one that the server's own user can enter."""
    if os.geteuid() != 0:
        return Place(installation, data, None)
    account = _account()
    home = _home_of(data)
    data.parent.mkdir(parents=True, exist_ok=True)
    if not home.exists() and _may_enter(account, data.parent) and _may_enter(account, installation / "bin"):
        return Place(installation, data, account)
    home.mkdir(mode=0o755, parents=True, exist_ok=True)
    os.chown(home, account.uid, account.gid)
    return Place(_copy_wheel(installation, home / "wheel"), data_apart(data), account)


def socket_folder(data: Path) -> Path:
    """Where the server of this data folder keeps its socket."""
    return _SOCKETS / f"order-saga-{os.geteuid()}-{_digest(data)}"


def make_socket_folder(folder: Path, account: Account | None) -> None:
    """Make the folder for the server's own user, without the socket that a killed server has left there."""
    owner = os.geteuid() if account is None else account.uid
    folder.mkdir(mode=0o755, exist_ok=True)
    if account is not None and folder.lstat().st_uid == os.geteuid():
        os.chown(folder, account.uid, account.gid, follow_symlinks=False)
    if folder.is_symlink() or folder.lstat().st_uid != owner:
        raise StackError(f"{folder} is another user's: delete it, PostgreSQL's socket is to lie there.")
    for left in folder.iterdir():
        left.unlink()


def remove_socket_folder(data: Path) -> None:
    """Delete the folder in which the server of this data folder kept its socket, once the server is stopped."""
    if (folder := socket_folder(data)).exists():
        shutil.rmtree(folder)


def data_apart(data: Path) -> Path:
    """Where the data lie if root gave them a folder of their own."""
    return _home_of(data) / "data"


def remove(data: Path) -> None:
    """Delete the data folder, the folder of its own that root may have given it, and the socket's."""
    if data.exists():
        shutil.rmtree(data)
    remove_socket_folder(data)
    remove_apart(data)


def remove_apart(data: Path) -> None:
    """Delete the folder of its own that root may have given the data."""
    if (home := _home_of(data)).exists():
        shutil.rmtree(home)


def _copy_wheel(installation: Path, copy: Path) -> Path:
    """Copy the binaries and, beside their package as the linker wants it, the wheel's shared libraries."""
    package = installation.parent
    if not copy.exists():
        half = copy.with_suffix(".half")
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(installation, half / package.name / installation.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, half / libraries.name, symlinks=True)
        half.rename(copy)
    return copy / package.name / installation.name


def _home_of(data: Path) -> Path:
    return _HOME / _digest(data)


def _digest(data: Path) -> str:
    return hashlib.sha256(str(data).encode()).hexdigest()[:16]


def _account() -> Account:
    try:
        entry = pwd.getpwnam(_ACCOUNT)
    except KeyError:
        _make_account()
        entry = pwd.getpwnam(_ACCOUNT)
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _make_account() -> None:
    command = ["useradd", "--system", "--user-group", "--home-dir", str(_HOME), "--no-create-home", _ACCOUNT]
    already_there = 9
    try:
        made = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        made = None
    if made is None or made.returncode not in (0, already_there):
        raise StackError(
            f"PostgreSQL will not run as root and the system user {_ACCOUNT} could not be made"
            f"{'' if made is None else ' (' + made.stderr.strip() + ')'}:"
            " run as an ordinary user, or name a server by POSTGRES_URL."
        )


def _may_enter(account: Account, folder: Path) -> bool:
    probe = subprocess.run(
        ["test", "-r", folder, "-a", "-x", folder],
        check=False,
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        cwd="/",
    )
    return probe.returncode == 0
