#!/bin/sh
# Makes .venv where there is none, and installs a lock file's packages into it: make_venv.sh <lock>.
# As root on a Debian-like system, a missing python3-venv is installed; elsewhere one sentence names the remedy.
set -eu
lock=$1

fail() {
    echo "$1" >&2
    exit 1
}

can_make_venvs() {
    "$1" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    # The distribution's build comes first: it is optimised by profile, which what pyenv compiles by itself is not (a quarter slower).
    for candidate in /usr/bin/python3 python3 python3.13 python3.12 python3.11; do
        if can_make_venvs "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
}

if [ ! -x .venv/bin/pip ]; then
    python=$(find_python)
    if [ -z "$python" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Installing python3-venv …"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq && apt-get install -qq -y --no-install-recommends python3 python3-venv >/dev/null || true
        python=$(find_python)
    fi
    [ -n "$python" ] || fail "Python 3.11 or newer with its venv module is needed: install it (Debian, Ubuntu: sudo apt-get install python3 python3-venv)."
    "$python" -m venv --clear .venv
fi

echo "Installing the packages of $lock …"
.venv/bin/pip install --quiet --no-input --disable-pip-version-check --require-hashes -r "$lock" ||
    fail "The packages of $lock could not be installed: is the network there? See pip's words above."
