#!/bin/sh
# `pip install` into the environment $1, with what the other arguments say. uv does it in a third of
# pip's time (docs/performance.md); where uv cannot be had or fails, pip does it. uv reads no
# settings of pip: an index that stands in them is told to it here.
set -eu
python=$1/bin/python
shift
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1
index=${PIP_INDEX_URL:-$("$python" -m pip config get global.index-url 2>/dev/null || true)}
[ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
if "$python" -m pip install uv==0.13.9; then
    "$python" -m uv pip install --quiet --python "$python" "$@" && exit 0
    echo "uv could not install this; pip will"
fi
exec "$python" -m pip install "$@"
