#!/bin/sh
# Make the virtual environment $1. Debian and Ubuntu ship python3 without ensurepip: then the
# package python3-venv is installed if we may, and named if we may not.
set -eu
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    { echo "error: $python is older than 3.11; run make PYTHON=/path/to/python3.11" >&2; exit 1; }
[ -x "$1/bin/python" ] && "$1/bin/python" -m pip --version >/dev/null 2>&1 && exit 0
rm -rf "$1"
"$python" -c 'import ensurepip' 2>/dev/null || {
    sudo=""
    [ "$(id -u)" = 0 ] || sudo="sudo -n"
    echo "python3-venv is missing: installing it with apt-get"
    { $sudo apt-get update -qq && $sudo apt-get install -y -qq python3-venv; } >/dev/null 2>&1 ||
        { echo "error: run first: sudo apt-get install python3-venv" >&2; exit 1; }
}
"$python" -m venv "$1"
