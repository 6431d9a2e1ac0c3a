#!/usr/bin/env bash
# Makes .venv in the checkout with the pinned versions of launch/constraints.txt.
# Does nothing when neither pyproject.toml nor the constraints changed since.
# EXTRAS=cuda or EXTRAS=tpu adds an accelerator; PYTHON names the interpreter (3.11 or newer).
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "error: Python 3.11 or newer is needed, $python is older; set PYTHON=..." >&2
    exit 2
}
extras="dev${EXTRAS:+,$EXTRAS}"
wanted=$({ echo "$extras"; cat pyproject.toml launch/constraints.txt; } | sha256sum)
stamp=.venv/installed
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    exit 0
fi
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --constraint launch/constraints.txt --editable ".[$extras]"
echo "$wanted" > "$stamp"
