"""`python -m devstack.audit requirements.lock`: known vulnerabilities of what is locked, as the package registry tells them.

pip-audit asks for each locked version. A registry's mirror may tell of newest versions only; where the locked one is
the newest, that answers as well, and what remains is named: a package that nobody could look up was not audited.
"""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

import requests
from packaging.version import Version
from pip_audit._service import PyPIService, ResolvedDependency, ServiceError

PINNED: Final = re.compile(r"(?m)^([A-Za-z0-9._-]+)==([^\s;\\]+)")
TIMEOUT_SECONDS: Final = 15
FOUND: Final = 1
INCOMPLETE: Final = 2


@dataclass(frozen=True, slots=True)
class Audit:
    """How many packages were looked up, what is known of them, and which could not be; `unreached` says why none was."""

    looked_up: int
    findings: tuple[str, ...]
    unknown: tuple[str, ...]
    unreached: str | None = None

    def told(self) -> tuple[int, str]:
        """The exit code, and what to say."""
        if self.unreached is not None:
            return INCOMPLETE, f"No vulnerabilities could be looked up: {self.unreached}."
        lines = [*self.findings]
        if self.unknown:
            names = ", ".join(self.unknown)
            lines.append(f"Not looked up, as the registry tells nothing of these versions: {names}.")
        lines.append(f"Packages looked up: {self.looked_up}; known vulnerabilities: {len(self.findings)}.")
        return FOUND if self.findings else INCOMPLETE if self.unknown else 0, "\n".join(lines)


def audit(lock: str, service: PyPIService) -> Audit:
    """Look up what a lock file's text names; ends at the first package for which nobody answers."""
    service.session.hooks["response"].append(_Newest(service.session))
    findings: list[str] = []
    unknown: list[str] = []
    pinned: list[tuple[str, str]] = PINNED.findall(lock)
    for name, version in pinned:
        try:
            looked_up, known = service.query(ResolvedDependency(name, Version(version)))
        except (requests.RequestException, ServiceError) as error:
            return Audit(0, (), (), f"the package registry did not answer about {name} ({_cause(error)})")
        if looked_up.is_skipped():
            unknown.append(f"{name} {version}")
        holes = {one.id: one for one in known}  # several databases may tell of one
        findings += [_told(name, version, hole.id, hole.fix_versions) for hole in holes.values()]
    return Audit(len(pinned) - len(unknown), tuple(findings), tuple(unknown))


class _Newest:
    """Where nothing is told of a version, ask for the newest, and take that answer when it is the same."""

    def __init__(self, session: requests.Session) -> None:
        self._session = session

    def __call__(self, response: requests.Response, **_how: object) -> requests.Response:
        asked = re.fullmatch(r"(.+)/([^/]+)/json", response.url)
        if response.status_code != HTTPStatus.NOT_FOUND or asked is None or "/pypi/" not in asked[1]:
            return response
        newest = self._session.get(f"{asked[1]}/json", timeout=TIMEOUT_SECONDS)
        same = newest.ok and Version(newest.json()["info"]["version"]) == Version(asked[2])
        return newest if same else response


def _told(name: str, version: str, finding: str, fixed: Iterable[object]) -> str:
    mended = ", ".join(map(str, fixed)) or "no version yet"
    return f"{name} {version}: {finding}, mended by {mended}"


def _cause(error: BaseException) -> str:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return str(error) or type(error).__name__


def main() -> int:
    """Print what is known; 1 for vulnerabilities, 2 where something could not be looked up."""
    code, told = audit(Path(sys.argv[1]).read_text("utf-8"), PyPIService(timeout=TIMEOUT_SECONDS)).told()
    print(told)
    return code


if __name__ == "__main__":
    sys.exit(main())
