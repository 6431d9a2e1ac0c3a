"""One table for a machine with accelerators: training steps of three models, in both forms of
time, in float32 and bfloat16, on one device and on all.

    python -m benchmarks.accelerator [--models="copy recall wide"] [--batch=256]

Each is compiled and timed by itself. Utilisation is what the model computes per second, 3 × its
forward FLOPs with what was engaged, over the product of two matrices of 8192 in the same
precision on as many devices, timed in the same process. A token is a step of a sequence,
padding included. Without a setting accelerators run `parallel` and CPUs `scan` (`model.time`);
the table shows whether that is right. Forms of the memory: benchmarks/memory_op.py.
"""

import itertools

import jax
from absl import app, flags
from ml_collections import ConfigDict

from benchmarks import timing
from benchmarks.training import Steps
from configs import copy, mqar
from mocanet_jax.runtime.errors import UserError

MODELS = flags.DEFINE_spaceseplist("models", "copy recall wide", "What is trained.")
BATCH = flags.DEFINE_integer("batch", 256, "Sequences in a batch, over all devices.")
FORMS = flags.DEFINE_spaceseplist("forms", "scan parallel", "config.model.time.")
DTYPES = flags.DEFINE_spaceseplist("dtypes", "float32 bfloat16", "config.model.dtype.")
SIZE = flags.DEFINE_integer("matrix", 8192, "Rows of the matrices that are multiplied.")
ROUNDS = flags.DEFINE_integer("rounds", 5, "Timed calls of each.")
COUNT = 10
"""Steps in one call, as training runs them."""


def of_copy() -> ConfigDict:
    """A pointer memory; D = 128."""
    return copy.get_config()


def of_recall() -> ConfigDict:
    """An associative memory that is read by content."""
    return mqar.get_config()


def of_wide() -> ConfigDict:
    """D = 512, 16 experts of which 4 compute at most."""
    config = copy.get_config()
    config.model.width = 512
    config.model.experts.update(count=16, hidden_dim=1024, top_k=4)
    return config


KINDS = {"copy": of_copy, "recall": of_recall, "wide": of_wide}


def row(name: str, form: str, dtype: str, devices: int, peak: float) -> dict:
    config = KINDS[name]()
    config.train.batch_size = BATCH.value
    config.model.update(time=form, dtype=dtype)
    sizes = {"model": name, "time": form, "dtype": dtype, "devices": devices}
    try:
        steps = Steps(config, COUNT, all_devices=devices > 1)
    except (UserError, jax.errors.JaxRuntimeError) as error:
        reason = str(error).splitlines()[0][:40]
        return sizes | {"step": reason, "tokens/s": "", "utilisation": "", "usage": ""}
    time = timing.in_turn({"": steps}, ROUNDS.value)[""].over(COUNT)
    tokens = BATCH.value * steps.task.num_steps(steps.task.longest)
    return sizes | {
        "step": time,
        "tokens/s": tokens / time.median,
        "utilisation": f"{steps.flops() * tokens / time.median / (1e9 * peak):.1%}",
        "usage": steps.usage,
    }


def main(argv):
    if unknown := set(MODELS.value) - set(KINDS):
        raise app.UsageError(f"--models: {', '.join(unknown)} is none of {', '.join(KINDS)}")
    numbers = dict.fromkeys((1, jax.device_count()))
    peaks = {dtype: timing.gigaflops(SIZE.value, ROUNDS.value, dtype) for dtype in DTYPES.value}
    rows = [{"dtype": dtype, "TFLOP/s": peak / 1e3} for dtype, peak in peaks.items()]
    kind = jax.devices()[0].device_kind
    timing.publish("accelerator", f"product of matrices of {SIZE.value}, one {kind}", rows)
    cases = itertools.product(MODELS.value, numbers, DTYPES.value, FORMS.value)
    rows = [
        row(name, form, dtype, devices, devices * peaks[dtype])
        for name, devices, dtype, form in cases
    ]
    timing.publish("accelerator", f"training, B = {BATCH.value}, {kind}", rows)


if __name__ == "__main__":
    app.run(main)
