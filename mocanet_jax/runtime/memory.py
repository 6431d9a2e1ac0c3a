"""How much memory there is, and one line where a computation needs more."""

import jax
import psutil

from mocanet_jax.runtime.errors import UserError

CGROUP = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Files with the limit of a container, in bytes."""

UNKNOWN = 2**63

ADVICE = (
    "a smaller config.train.batch_size, a larger config.train.accumulate_steps or "
    "config.model.remat=True need less"
)


def available() -> int:
    """Bytes of a device: of its own, UNKNOWN where it does not say; of a CPU those of this
    machine, as far as a container may use them."""
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("bytes_limit") or UNKNOWN
    return min(psutil.virtual_memory().total, *map(_limit, CGROUP))


def _limit(file):
    try:
        with open(file, encoding="ascii") as text:
            return int(text.read())
    except (OSError, ValueError):  # no such file, or no limit
        return UNKNOWN


def check(needed: float, what: str, advice: str = ADVICE) -> None:
    """Raises UserError where a device has less than `needed` bytes. what: needs them."""
    there = available()
    if needed > there:
        raise UserError(
            f"{what} takes at least {needed / 1e9:,.1f} GB of memory, and there are "
            f"{there / 1e9:,.1f} GB; {advice}"
        )


def size(tree) -> int:
    """Bytes of all arrays, or of shapes and dtypes."""
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))
