"""A program for a process with 8 virtual devices: the same few steps on meshes of every shape,
and a checkpoint that moves between them.

    python -m tests.runtime.eight_devices DIRECTORY

Prints one line of JSON. By mesh: `losses` of every step, `validation`, `collectives` that the
step was compiled to, `experts` (devices, and how many experts each holds of the parameters and
of their moments). `in_parts`: losses with a batch in two parts and rematerialised layers, on
one device and on 2 x 4. `in_groups`: results of both with experts in groups, whose room
sequences share in twos. `moved`: whether a state saved on 8 devices came back bit for bit on 1,
2 and 4.
"""

import json
import re
import sys
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from mocanet_jax.evaluate.sequence import SequenceEvaluator
from mocanet_jax.nn.parameters import shapes_and_declarations
from mocanet_jax.runtime.sharding import Layout, build_layout, one_device
from mocanet_jax.train import build
from mocanet_jax.train.checkpoints.checkpoint import Checkpoints, Progress
from mocanet_jax.train.optimizer import build_optimizer
from mocanet_jax.train.state import initial_params
from mocanet_jax.train.trainer import Trainer
from tests.train import tiny

STEPS = 20
IN_PARTS = {"train__accumulate_steps": 2, "model__remat": True}
IN_GROUPS = {"model__experts__groups": 4, "model__experts__capacity_pool": 2}
MESHES = ((8, 1), (4, 2), (2, 4), (1, 8))


def config(**changes) -> ConfigDict:
    return tiny.config(
        model__experts__count=8,
        model__memory__heads__content__count=1,  # besides the ring
        train__batch_size=16,
        train__max_steps=STEPS,
        eval__validation_sequences=20,  # which 8 devices do not share evenly
        **changes,
    )


class Run:
    """What a layout makes of the config."""

    def __init__(self, layout: Layout, **changes):
        self.config, self.layout = config(**changes), layout
        self.task = build.build_task(self.config, Path())
        self.model = build.build_model(self.config, self.task)
        _, declarations = shapes_and_declarations(initial_params, self.model, self.task)
        optimizer = build_optimizer(self.config.train, declarations)
        trainer = Trainer(self.model, self.task, optimizer, self.config)
        self.initial, split = trainer.initial_state, declarations.split_axis
        self.like = layout.abstract(jax.eval_shape(self.initial), split)
        self.placed = layout.shardings(self.like, split)
        self.step = layout.jit(trainer.step, out_shardings=(self.placed, layout.replicated))

    def train(self):
        state = self.layout.jit(self.initial, out_shardings=self.placed)()
        compiled = self.step.lower(state, 0, (), ()).compile()
        losses = []
        for _ in range(STEPS):
            state, metrics = compiled(state, 0, (), ())
            losses.append(float(metrics["loss"]))
        return state, losses, compiled.as_text()

    def results(self):
        state, losses, program = self.train()
        evaluator = SequenceEvaluator(self.model, self.task, self.config, self.layout)
        leaves = jax.tree_util.tree_leaves_with_path(state)
        experts = [
            x for path, x in leaves if "['expand']['kernel']" in jax.tree_util.keystr(path)
        ]
        found = re.findall(r" (all-[a-z-]+|reduce-scatter|collective-permute)\(", program)
        return state, {
            "losses": losses,
            "validation": evaluator.validate(state.trained),
            "collectives": {name: found.count(name) for name in sorted(set(found))},
            "experts": [
                [len(x.sharding.device_set), x.addressable_shards[0].data.shape[0]]
                for x in experts
            ],
        }


def moved(directory: Path, state) -> dict[str, bool]:
    """Whether `state`, saved, comes back bit for bit on 1, 2 and 4 devices."""
    with Checkpoints(directory) as checkpoints:
        checkpoints.save(state, Progress({}, {}, 0.0, 0.0, 0.0, False), 0.0)
    same = {}
    for devices, expert in ((1, 1), (2, 2), (4, 2)):
        mesh = jax.make_mesh(
            (devices // expert, expert),
            ("data", "expert"),
            (jax.sharding.AxisType.Auto,) * 2,
            devices=jax.devices()[:devices],
        )
        run = Run(Layout(mesh))
        with Checkpoints(directory, read_only=True) as checkpoints:
            restored = checkpoints.restore(STEPS, run.like)
        bits = [
            np.asarray(a).tobytes() == np.asarray(b).tobytes()
            for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(restored), strict=True)
        ]
        placed = [x.sharding for x in jax.tree.leaves(restored)]
        same[devices] = all(bits) and placed == jax.tree.leaves(run.placed)
    return same


def main(directory: Path) -> None:
    results = {"1": Run(one_device()).results()[1]}
    for data, expert in MESHES:
        settings = config().unlock()
        settings.mesh.update(data=data, expert=expert)
        state, results[f"{data}x{expert}"] = Run(build_layout(settings)).results()
        if (data, expert) == (2, 4):
            results["moved"] = moved(directory, state)
            layouts = (one_device(), build_layout(settings))
            results["in_parts"] = [Run(layout, **IN_PARTS).train()[1] for layout in layouts]
            results["in_groups"] = [Run(layout, **IN_GROUPS).results()[1] for layout in layouts]
    print(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
