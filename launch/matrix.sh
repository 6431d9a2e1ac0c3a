#!/usr/bin/env bash
# Tests supported versions of Python, each with the oldest and the newest JAX that is supported:
# launch/matrix.sh [PYTEST ARGUMENTS]; by default the tests of QUICK.
# PYTHONS names interpreters, on PATH or by their paths; SETS the constraints, oldest and newest.
# Environments are made in .matrix/ and kept. Exit code 1: a combination failed or has no
# interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."

PYTHONS=${PYTHONS:-python3.11 python3.12 python3.13}
SETS=${SETS:-oldest newest}
QUICK=(tests/test_api.py tests/tasks/text tests/train/test_settings.py tests/train/test_loop.py
    tests/faults)
declare -A constraints=([oldest]=launch/constraints-oldest.txt [newest]=launch/constraints.txt)

[ $# -gt 0 ] || set -- "${QUICK[@]}"
failed=()
for python in $PYTHONS; do
    if ! version=$("$python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null); then
        echo "error: no interpreter $python; put it on PATH, or name others in PYTHONS" >&2
        failed+=("$python")
        continue
    fi
    for set in $SETS; do
        name="Python $version, $set JAX"
        environment=".matrix/$version-$set"
        echo "== $name"
        [ -x "$environment/bin/python" ] || "$python" -m venv "$environment"
        if "$environment/bin/python" -m pip install --quiet --disable-pip-version-check \
            --constraint "${constraints[$set]}" --editable '.[dev]' &&
            "$environment/bin/python" -m pytest -q "$@"; then
            continue
        fi
        failed+=("$name")
    done
done
if [ ${#failed[@]} -gt 0 ]; then
    printf 'failed: %s\n' "${failed[@]}" >&2
    exit 1
fi
