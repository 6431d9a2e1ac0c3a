import subprocess
import sys

import pytest

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage import lock

HOLD = """
import sys
from pathlib import Path
from mocanet_jax.runtime.storage.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_directory_in_use_is_refused_until_its_process_is_gone(tmp_path):
    """Two trainings in one directory would delete each other's checkpoints; and a process that
    was killed must not lock its directory for ever."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        message = f"{tmp_path} is in use by process {holder.pid}; "
        with pytest.raises(UserError, match=message), lock.locked(tmp_path):
            pass
        holder.kill()
    with lock.locked(tmp_path):
        pass
    with lock.locked(tmp_path):
        pass
