#!/usr/bin/env bash
# Sets up, then lints, checks the direction of imports and runs the tests.
# Tests run in two processes; one that has none left takes half of the other's. Arguments go to
# pytest: launch/test.sh -m slow runs the trainings that take minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
launch/setup.sh
.venv/bin/ruff format --check .
.venv/bin/ruff check .
.venv/bin/lint-imports
.venv/bin/python -m pytest -n 2 --dist worksteal "$@"
