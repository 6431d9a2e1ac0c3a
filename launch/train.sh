#!/usr/bin/env bash
# Sets up, then trains; the copy task unless flags of mocanet_jax.main are given.
set -euo pipefail
cd "$(dirname "$0")/.."
launch/setup.sh
[ $# -gt 0 ] || set -- --config=configs/copy.py
exec .venv/bin/python -m mocanet_jax.main "$@"
