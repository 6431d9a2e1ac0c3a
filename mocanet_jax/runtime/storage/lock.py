"""One training at a time in a working directory."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mocanet_jax.runtime.errors import UserError


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Holds the directory, which exists, for this process; the system lets go of it however
    the process ends. Raises UserError where another process holds it, or it cannot be written.
    """
    file = None
    try:
        try:
            file = os.open(workdir / "lock", os.O_RDWR | os.O_CREAT, 0o666)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.truncate(file, 0)
            os.write(file, f"{os.getpid()}\n".encode())
        except BlockingIOError as error:
            holder = os.read(file, 20).decode(errors="replace").strip()
            raise UserError(
                f"{workdir} is in use by process {holder}; wait for it, or use another "
                "directory"
            ) from error
        except OSError as error:
            raise UserError(f"cannot write into {workdir}: {error.strerror}") from error
        yield
    finally:
        if file is not None:
            os.close(file)
