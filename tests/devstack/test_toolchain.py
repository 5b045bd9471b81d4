"""Which Java is taken, and where the jars are looked for."""

from pathlib import Path

import pytest

from devstack import toolchain


def _a_java(home: Path, release: str | None, says: str = "") -> Path:
    executable = home / "bin/java"
    executable.parent.mkdir(parents=True)
    executable.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    executable.chmod(0o755)
    if release is not None:
        (home / "release").write_text(release)
    return executable


@pytest.mark.parametrize(
    ("release", "says", "version"),
    [
        ('IMPLEMENTOR="x"\nJAVA_VERSION="17.0.15"\n', "", 17),
        ('JAVA_VERSION="25"\n', "", 25),
        (None, 'openjdk version "21.0.4" 2024-07-16', 21),
        (None, 'java version "1.8.0_402"', 8),
        (None, "command not found", None),
    ],
)
def test_the_version_is_read_from_the_release_file_or_asked_for(
    tmp_path: Path, release: str | None, says: str, version: int | None
) -> None:
    assert toolchain.java_version(_a_java(tmp_path, release, says)) == version


def test_no_java_has_no_version(tmp_path: Path) -> None:
    assert toolchain.java_version(tmp_path / "bin/java") is None


def test_java_home_goes_first_unless_it_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = _a_java(tmp_path / "old", 'JAVA_VERSION="11.0.2"\n')
    new = _a_java(tmp_path / "new", 'JAVA_VERSION="21.0.2"\n')
    on_path = _a_java(tmp_path / "path", 'JAVA_VERSION="17.0.2"\n')
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert toolchain.java({"JAVA_HOME": str(new.parent.parent)}) == new
    assert toolchain.java({"JAVA_HOME": str(old.parent.parent)}) == on_path
    assert toolchain.java({}) == on_path


def test_jars_that_were_fetched_are_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")  # neither Maven nor Java
    real = toolchain.jar_folder({"XDG_CACHE_HOME": str(tmp_path)})
    real.mkdir(parents=True)
    assert toolchain.kafka_jars({"XDG_CACHE_HOME": str(tmp_path)}) == real
