#!/bin/sh
# `pip install` into the environment $1, with what the other arguments say. uv does it in a third of
# pip's time (docs/performance.md); where uv cannot be had or fails, or pip may ask no index, pip
# does it. uv reads no settings of pip: those that decide what is installed are told to it here.
set -eu
python=$1/bin/python
shift
settings=$("$python" -m pip config list 2>/dev/null || true)
# a setting's value, words apart by $2: `global.find-links='/a\n/b'` and "," give /a,/b
setting() {
    for section in :env: install global; do
        value=$(printf '%s\n' "$settings" | sed -n "s/^$section\.$1='\(.*\)'\$/\1/p")
        [ -z "$value" ] || break
    done
    printf '%s\n' "$value" | sed 's/\\n/ /g; s/^ *//; s/ *$//; s/  */'"$2"'/g'
}
tell() { [ -z "$2" ] || [ -n "$(printenv "$1" || true)" ] || export "$1=$2"; }
tell UV_DEFAULT_INDEX "$(setting index-url ' ')"
tell UV_INDEX "$(setting extra-index-url ' ')"
tell UV_FIND_LINKS "$(setting find-links ,)"
tell UV_CONSTRAINT "$(setting constraint ' ')"
tell SSL_CERT_FILE "$(setting cert ' ')"
tell UV_INDEX_STRATEGY unsafe-best-match # as pip chooses among indexes
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1
if [ -z "$(setting no-index ' ')" ] && "$python" -m pip install --only-binary uv uv==0.13.9; then
    "$python" -m uv pip install --quiet --python "$python" "$@" && exit 0
fi
echo "uv cannot install this; pip will" >&2
exec "$python" -m pip install "$@"
