#!/usr/bin/env bash
# Sets up, then measures accuracy against compute: launch/budget_frontier.sh [CONFIG] [FLAGS]
# TARGETS, TOPK and SEEDS say what to run; FLAGS go to mocanet_jax.frontier.
set -euo pipefail
cd "$(dirname "$0")/.."
launch/setup.sh
config=configs/copy.py
if [ $# -gt 0 ] && [[ $1 != -* ]]; then
    config=$1
    shift
fi
exec .venv/bin/python -m mocanet_jax.frontier --config="$config" --seeds="${SEEDS:-3}" \
    --targets="${TARGETS:-0.1 0.2 0.35 0.5 1.0}" --topk="${TOPK:-1 2 4}" "$@"
