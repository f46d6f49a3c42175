#!/bin/sh
# `pip install` into the environment $1, with what the other arguments say. uv does it in a third of
# pip's time (docs/performance.md); where uv cannot be had or fails, pip does it. uv reads no
# settings of pip: an index and folders of wheels that stand in them are told to it here.
set -eu
python=$1/bin/python
shift
setting() { "$python" -m pip config get "global.$1" 2>/dev/null || true; }
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1
index=${PIP_INDEX_URL:-$(setting index-url)}
wheels=$(echo "${PIP_FIND_LINKS:-$(setting find-links)}" | xargs | tr ' ' ,)
[ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
[ -z "$wheels" ] || export UV_FIND_LINKS="${UV_FIND_LINKS:-$wheels}"
if "$python" -m pip install uv==0.13.9; then
    "$python" -m uv pip install --quiet --python "$python" "$@" && exit 0
    echo "uv could not install this; pip will"
fi
exec "$python" -m pip install "$@"
