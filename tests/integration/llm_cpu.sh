#!/bin/sh
# Run the describe stage with a real chat model, $1 (a folder or a hub id), through the vLLM engine
# and its server on a CPU, in the environment $2 (see vllm_environment.sh). The figures are printed
# and left in .scratch/test-llm.json. A model of 1.5 billion weights takes 8 GB of memory.
set -eu
cd "$(dirname "$0")/../.."
model=$1
venv=${2:-.venv-vllm}
if [ -z "$model" ]; then
    echo "test-llm: skipped, it needs a chat model: make test-llm MODEL=<folder or hub id>," \
        "for instance MODEL=Qwen/Qwen2.5-0.5B-Instruct"
    exit 0
fi
sh tests/integration/vllm_environment.sh "$venv"
[ ! -d "$model" ] || model=$(cd "$model" && pwd)
export SAFT_LLM="$model" VLLM_CPU_KVCACHE_SPACE="${VLLM_CPU_KVCACHE_SPACE:-2}" VLLM_NO_USAGE_STATS=1
export PYTHONPATH="$PWD/tests/integration/shim"
"$venv/bin/python" -m pytest -p no:cacheprovider -ra -s tests/integration/test_llm.py
