"""What the audit of the lock says for each way in which a registry may answer, or not."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import requests
from pip_audit._service import PyPIService
from requests.adapters import BaseAdapter

from devstack.audit import FOUND, INCOMPLETE, audit

LOCK = """
good==1.0 \\
    --hash=sha256:00
bad==2.1 ; sys_platform == "linux" \\
    --hash=sha256:00
"""
HOLE = {"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "summary": "A hole.", "fixed_in": ["2.2"]}


class Registry(BaseAdapter):
    """A registry's answers by path; None is no answer at all, and everything else is not found."""

    def __init__(self, pages: Mapping[str, object] | None) -> None:
        super().__init__()
        self.pages = pages

    def send(
        self, request: requests.PreparedRequest, *_arguments: object, **_how: object
    ) -> requests.Response:
        if self.pages is None:
            raise requests.ConnectionError from OSError("Nobody is there")
        path = request.path_url.removeprefix("/pypi/").removesuffix("/json")
        response = requests.Response()
        response.request = request
        response.url = request.url or ""
        response.status_code = 200 if path in self.pages else 404
        response._content = json.dumps(self.pages.get(path)).encode()
        return response

    def close(self) -> None:
        """Nothing to let go of."""


def page(version: str, *holes: object) -> object:
    return {"info": {"version": version}, "vulnerabilities": list(holes)}


def asked(tmp_path: Path, pages: Mapping[str, object] | None) -> tuple[int, str]:
    service = PyPIService(cache_dir=tmp_path)
    service.session.mount("https://", Registry(pages))
    return audit(LOCK, service).told()


def test_versions_without_a_hole_are_counted(tmp_path: Path) -> None:
    code, told = asked(tmp_path, {"good/1.0": page("1.0"), "bad/2.1": page("2.1")})
    assert (code, told) == (0, "Packages looked up: 2; known vulnerabilities: 0.")


@pytest.mark.parametrize(
    "holes", [(HOLE,), (HOLE, {**HOLE, "id": "CVE-2026-1", "aliases": ["PYSEC-2026-1"]})]
)
def test_a_hole_is_named_once_with_what_mends_it(tmp_path: Path, holes: tuple[object, ...]) -> None:
    code, told = asked(tmp_path, {"good/1.0": page("1.0"), "bad/2.1": page("2.1", *holes)})
    assert code == FOUND
    assert told.splitlines() == [
        "bad 2.1: PYSEC-2026-1, mended by 2.2",
        "Packages looked up: 2; known vulnerabilities: 1.",
    ]


def test_a_registry_that_tells_of_newest_versions_only_is_asked_for_them(tmp_path: Path) -> None:
    code, told = asked(tmp_path, {"good": page("1.0"), "bad": page("2.1", HOLE)})
    assert (code, told.splitlines()[0]) == (FOUND, "bad 2.1: PYSEC-2026-1, mended by 2.2")


def test_a_version_that_nobody_tells_of_is_not_passed_over(tmp_path: Path) -> None:
    code, told = asked(tmp_path, {"good/1.0": page("1.0"), "bad": page("2.2")})
    assert code == INCOMPLETE
    assert told.splitlines() == [
        "Not looked up, as the registry tells nothing of these versions: bad 2.1.",
        "Packages looked up: 1; known vulnerabilities: 0.",
    ]


def test_no_answer_is_one_sentence(tmp_path: Path) -> None:
    assert asked(tmp_path, None) == (
        INCOMPLETE,
        "No vulnerabilities could be looked up: the package registry did not answer about good (Nobody is there).",
    )
