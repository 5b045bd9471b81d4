#!/bin/sh
# Resolves pyproject.toml into the four lock files: exact versions and hashes, for Python 3.11 and newer, from no
# particular index.
set -eu
tool=.venv/.lock-tool
[ -x $tool/bin/uv ] || { .venv/bin/python -m venv $tool && $tool/bin/pip install --quiet uv; }
unset PIP_FIND_LINKS || true

lock() {
    output=$1
    shift
    $tool/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links --output-file "$output" "$@"
}

lock requirements.lock pyproject.toml --extra devstack
lock requirements-image.lock pyproject.toml --constraints requirements.lock
lock requirements-dev.lock pyproject.toml --extra devstack --extra dev --constraints requirements.lock
lock requirements-java.lock devstack/java.in
