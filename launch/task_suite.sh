#!/usr/bin/env bash
# Sets up, then compares models on tasks of memory: launch/task_suite.sh [FLAGS]
# TASKS, MODELS, RATES, SEEDS and MINUTES say what to run; FLAGS go to mocanet_jax.suite.
set -euo pipefail
cd "$(dirname "$0")/.."
launch/setup.sh
exec .venv/bin/python -m mocanet_jax.suite --tasks="${TASKS:-}" \
    --models="${MODELS:-moca,lstm,transformer,deltanet}" --learning_rates="${RATES:-}" \
    --seeds="${SEEDS:-3}" --minutes="${MINUTES:-10}" "$@"
