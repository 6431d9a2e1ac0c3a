"""Training tokens per second, against PyTorch's LSTM and Transformer and against the machine.

    pip install -e ".[bench]"
    python -m benchmarks.throughput [--batches="32 64"] [--sst2=DIR]

One optimizer step of each is timed in turn, in one process. Ours is that of configs/copy.py at
the full length of its curriculum, once with all gates as they start, which are open, and once
with gates closed where training closes them (`trained`), for which a model is trained first. A
token is a step of a sequence, padding included, for all alike. The peers have the width of the
config, and the same batches, and like ours compute logits at the scored steps alone.

Utilisation is what the model computes per second, 3 × its forward FLOPs with what was engaged,
over the machine's own product of two matrices of 2048, timed in the same process.
"""

import os

from absl import app, flags

from benchmarks import timing
from benchmarks.training import Steps
from configs import copy, sst2

BATCHES = flags.DEFINE_spaceseplist("batches", "32 64", "Sequences in a batch.")
SST2 = flags.DEFINE_string("sst2", None, "Folder of GLUE's SST-2, to time configs/sst2.py too.")
ROUNDS = flags.DEFINE_integer("rounds", 9, "Timed calls of each.")
TRAINED = flags.DEFINE_integer("trained", 200, "Steps before the trained model is timed.")
COUNT = 5
"""Steps of ours in one call, as training runs them."""

LARGE = {
    "D = 512": {"width": 512, "experts.hidden_dim": 512},
    "D = 512, E = 16, F = 1024, target 0.25": {
        "width": 512,
        "experts.count": 16,
        "experts.hidden_dim": 1024,
        "experts.top_k": 4,
        "budget.target": 0.25,
    },
}
"""Changes to config.model of configs/copy.py for wider models, by dotted name."""


def copy_steps(batch: int, trained: int = 0, model: dict | None = None) -> Steps:
    config = copy.get_config()
    config.train.batch_size = batch
    config.model.update_from_flattened_dict(model or {})
    steps = Steps(config, COUNT)
    while steps.made < trained:
        steps()
    return steps


def against_peers(batch: int, peak: float) -> None:
    from benchmarks import peers

    peers.use_threads(os.cpu_count())
    config = copy.get_config()
    ours = {
        "MOCA-Net": copy_steps(batch),
        "MOCA-Net, trained": copy_steps(batch, TRAINED.value),
    }
    task = ours["MOCA-Net"].task
    length = task.num_steps(task.longest)
    scored = task.answer_length(task.longest)
    sizes = (config.model.width, task.vocab_size, batch, length, scored)
    calls = ours | {
        "PyTorch LSTM": peers.training_step("lstm", *sizes),
        "PyTorch Transformer, 2 layers": peers.training_step("transformer", *sizes),
    }
    times = {
        name: time.over(COUNT if name in ours else 1)
        for name, time in timing.in_turn(calls, ROUNDS.value).items()
    }
    tokens, rows = batch * length, []
    for name, time in times.items():
        steps = ours.get(name)
        rows.append(
            {
                "model": name,
                "step": time,
                "tokens/s": tokens / time.median,
                "over the LSTM": times["PyTorch LSTM"].median / time.median,
                "over the Transformer": times["PyTorch Transformer, 2 layers"].median
                / time.median,
                "utilisation": _utilisation(steps, tokens, time, peak) if steps else "",
            }
        )
    timing.publish("throughput", f"copy, B = {batch}, T = {length}, D = {sizes[0]}", rows)


def _utilisation(steps, tokens, time, peak):
    return f"{steps.flops() * tokens / time.median / (1e9 * peak):.0%}"


def wider(peak: float) -> None:
    ours = {name: copy_steps(32, model=changes) for name, changes in LARGE.items()}
    times = timing.in_turn(ours, max(ROUNDS.value // 3, 3))
    rows = []
    for name, steps in ours.items():
        tokens = 32 * steps.task.num_steps(steps.task.longest) * steps.count
        rows.append(
            {
                "model": name,
                "step": times[name].over(COUNT),
                "tokens/s": tokens / times[name].median,
                "usage": steps.usage,
                "utilisation": _utilisation(steps, tokens, times[name], peak),
            }
        )
    timing.publish("throughput", "wider models, copy, B = 32, T = 129", rows)


def of_sst2(folder: str, peak: float) -> None:
    """All texts in the order of training; the LSTM reads batches of the same shapes, in both
    directions."""
    from benchmarks import peers

    config = sst2.get_config()
    config.data.path = folder
    steps, batch = Steps(config, 20), config.train.batch_size
    chosen = steps.task.batches.select(batch, 0, 20)
    lengths = [steps.task.batches.data.buckets[b].words.shape[1] for b in chosen.bucket]
    lstms = {
        t: peers.training_step("lstm", config.model.width, 128, 2 * batch, t, t)
        for t in set(lengths)
    }
    calls = {"MOCA-Net": lambda: (setattr(steps, "made", 0), steps())[1]}
    calls["PyTorch LSTM, both directions"] = lambda: [lstms[t]() for t in lengths]
    times = timing.in_turn(calls, 5)
    tokens = batch * sum(lengths)
    rows = [
        {
            "model": name,
            "20 steps": time,
            "tokens/s": tokens / time.median,
            "over the LSTM": times["PyTorch LSTM, both directions"].median / time.median,
        }
        for name, time in times.items()
    ]
    rows[0]["utilisation"] = _utilisation(steps, tokens, times["MOCA-Net"], peak)
    rows[1]["utilisation"] = ""
    timing.publish("throughput", f"SST-2, B = {batch}", rows)


def main(argv):
    peak = timing.gigaflops()
    print(f"product of two matrices of 2048: {peak:.0f} GFLOP/s")
    for batch in BATCHES.value:
        against_peers(int(batch), peak)
    wider(peak)
    if SST2.value:
        of_sst2(SST2.value, peak)


if __name__ == "__main__":
    app.run(main)
