#!/bin/sh
# The pipeline with its evaluations side by side, one process per device (GNU xargs):
#   sh scripts/evaluate_on_gpus.sh cuda:0 cuda:1 cuda:2 cuda:3
# DVC lets stages that do not depend on each other run at the same time. One that finds DVC's
# lock taken is left to the last command, which runs whatever is still missing.
set -eu
[ $# -gt 0 ] || { echo "usage: sh scripts/evaluate_on_gpus.sh DEVICE ..." >&2; exit 2; }
export DEVICES="$*"
SAFT_DEVICE="$1" dvc repro finetune
dvc stage list --name-only | grep -E '^(evaluate|check)@' |
    xargs -P $# --process-slot-var=SLOT -I STAGE sh -c '
        set -- $DEVICES
        shift "$SLOT"
        SAFT_DEVICE="$1" dvc repro --single-item "STAGE" || echo "STAGE: left to the end" >&2'
SAFT_DEVICE="$1" dvc repro
