#!/bin/sh
# Run the describe stage through the real vLLM engine and its server, with tiny random models, in
# the environment $1 (see vllm_environment.sh).
set -eu
cd "$(dirname "$0")/../.."
venv=${1:-.venv-vllm}
sh tests/integration/vllm_environment.sh "$venv"
export OMP_NUM_THREADS=1 SAFT_REAL_VLLM=1 VLLM_CPU_KVCACHE_SPACE=1 HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1
export PYTHONPATH="$PWD/tests/integration/shim"
"$venv/bin/python" -m pytest -p no:cacheprovider -ra -s tests/integration/test_real_vllm.py
