#!/usr/bin/env bash
# Starts N processes of one run on this machine: launch/local_multiprocess.sh N [FLAGS]
# FLAGS go to mocanet_jax.main; the copy task unless there are some. If a process fails, the
# others are ended, by force after GRACE seconds, and its exit code is that of this script.
# SIGTERM and SIGINT are passed on.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! [[ ${1:-} =~ ^[1-9][0-9]*$ ]]; then
    echo "error: how many processes? launch/local_multiprocess.sh N [FLAGS]" >&2
    exit 2
fi
count=$1
shift
launch/setup.sh
[ $# -gt 0 ] || set -- --config=configs/copy.py
port=$(.venv/bin/python -c '
import socket
with socket.socket() as s:
    s.bind(("localhost", 0))
    print(s.getsockname()[1])')

pids=()
signal_all() {
    kill -s "$1" "${pids[@]}" 2>/dev/null || true
}
trap 'signal_all TERM' TERM
trap 'signal_all INT' INT
for ((i = 0; i < count; i++)); do
    .venv/bin/python -m mocanet_jax.main "$@" \
        --coordinator="localhost:$port" --num_processes="$count" --process_id="$i" &
    pids+=($!)
done

# A process that waits for another that is gone would wait for minutes, and may not hear TERM.
code=0
for ((left = count; left > 0; )); do
    if wait -n -p ended "${pids[@]}"; then
        result=0
    else
        result=$?
    fi
    [ -n "${ended:-}" ] || continue # a signal came, and no process ended
    left=$((left - 1))
    remaining=()
    for pid in "${pids[@]}"; do
        [ "$pid" = "$ended" ] || remaining+=("$pid")
    done
    pids=("${remaining[@]}")
    if [ "$result" -ne 0 ] && [ "$code" -eq 0 ]; then
        code=$result
        signal_all TERM
        (sleep "${GRACE:-5}" && signal_all KILL) &
        trap "kill $! 2>/dev/null || true" EXIT
    fi
done
exit "$code"
