"""One run in several processes: how they connect, and which one writes.

Every process runs the same program on its own devices. Files, except checkpoints, and the
console belong to the main process, number 0; checkpoints are written by all together.
"""

import signal

import jax
import numpy as np
from jax.experimental import multihost_utils

from mocanet_jax.runtime.errors import UserError


def join(coordinator: str, num_processes: int, process_id: int) -> None:
    """Joins `num_processes` processes, of which this is number `process_id`.

    coordinator: HOST:PORT, where process 0 listens. To be called before any device is used;
    returns when all have come. Raises UserError for flags that do not fit together.
    """
    host, _, port = coordinator.rpartition(":")
    number = int(port) if port.isdecimal() and port.isascii() and len(port) <= 5 else 0
    if not host or not 0 < number < 2**16:  # which end the process in the libraries below
        raise UserError(f"--coordinator={coordinator} is not HOST:PORT")
    if num_processes < 1:
        raise UserError(f"--num_processes must be at least 1, not {num_processes}")
    if not 0 <= process_id < num_processes:
        raise UserError(
            f"--process_id must be in [0, {num_processes}), as --num_processes says, "
            f"not {process_id}"
        )
    _initialize(
        coordinator_address=coordinator, num_processes=num_processes, process_id=process_id
    )


def join_detected() -> None:
    """Joins the processes that Slurm, Open MPI or a TPU pod says there are.

    Raises UserError where JAX finds no such environment.
    """
    _initialize()


def _initialize(**where):
    # JAX would take SIGTERM for itself, and do nothing until it is polled.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(**where)
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"cannot join the other processes: {reason}") from error


def is_main_process() -> bool:
    """Whether this is process 0, which writes files and prints."""
    return jax.process_index() == 0


def any_signal(received: signal.Signals | None) -> signal.Signals | None:
    """The signal that any process received, None for none. A collective: every process calls
    it, and all stop after the same step."""
    number = _highest(received or 0)
    return signal.Signals(number) if number else None


def any_process(claim: bool) -> bool:
    """Whether `claim` holds in any process. A collective: every process calls it, and all
    get the same answer."""
    return bool(_highest(claim))


def _highest(number: int) -> int:
    """The maximum over all processes."""
    if jax.process_count() == 1:
        return number
    return int(np.max(multihost_utils.process_allgather(np.int32(number))))


def barrier(name: str) -> None:
    """Returns when every process has reached it. name: of this place in the program."""
    multihost_utils.sync_global_devices(name)
