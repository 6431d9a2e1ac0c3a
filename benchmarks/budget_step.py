"""Time of a training step within a budget over that of dense routing.

    python -m benchmarks.budget_step [--targets="0.1 0.25 0.5 1"]

All are the copy task with D = 512, E = 16, F = 1024 and 32 sequences, and take turns in one
process. The budget sizes the experts' room, so that a step costs what the target allows,
however many gates are open.
"""

from absl import app, flags

from benchmarks import timing
from benchmarks.training import Steps
from configs import copy

TARGETS = flags.DEFINE_spaceseplist("targets", "0.1 0.25 0.5 1", "Shares of everything on.")
ROUNDS = flags.DEFINE_integer("rounds", 7, "Timed steps of each kind.")
SIZES = {"width": 512, "experts.count": 16, "experts.hidden_dim": 1024}
DENSE = "dense routing"


def step(top_k: int, **budget) -> Steps:
    config = copy.get_config()
    config.model.update_from_flattened_dict(SIZES)
    config.model.experts.top_k = top_k
    config.model.budget.update(budget)
    return Steps(config, count=1)


def main(argv):
    kinds = {DENSE: step(16, routing="topk", target=1.0)}
    for target in map(float, TARGETS.value):
        kinds[f"target {target:g}"] = step(4, target=target)
    times = timing.in_turn(kinds, ROUNDS.value)
    rows = [
        {"routing": name, "step": time, "over dense": time.median / times[DENSE].median}
        for name, time in times.items()
    ]
    timing.publish("budget_step", "training step, D = 512, E = 16, F = 1024, K = 4", rows)


if __name__ == "__main__":
    app.run(main)
