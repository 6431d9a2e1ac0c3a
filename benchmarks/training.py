"""Training steps of a config, as benchmarks time them."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from mocanet_jax.nn.summary import component_costs, realised_flops
from mocanet_jax.tasks.synthetic.sequence import SequenceTask
from mocanet_jax.train.loop import prepared


class Steps:
    """`count` training steps of a config in one compiled call, from one to the next.

    The state is that of the start with the curriculum complete, so that batches hold the
    longest sequences. usage: that of the last call. all_devices: as a training run uses them;
    else one.
    """

    def __init__(
        self,
        config: ConfigDict,
        count: int,
        workdir: Path = Path("none"),
        all_devices: bool = False,
    ):
        ready = prepared(config, workdir)
        trainer = ready.trainer
        self.task, self.model = task, model = trainer.task, trainer.model
        if all_devices:
            like = ready.abstract_state()
            state, run = ready.first_state(like)[0], ready.steps(like)
        else:
            state = jax.jit(trainer.initial_state)()
            run = jax.jit(trainer.steps, donate_argnums=0)
        longest = jnp.float32(task.longest)
        self._state = state._replace(curriculum=state.curriculum._replace(longest=longest))
        self._rest = (np.int32(count), np.uint32(0), task.batches.data)
        self._choose = partial(task.batches.select, config.train.batch_size, count=count)
        start = (self._state, *self._rest, self._choose(0))
        self._run = run.lower(*start).compile()
        self.costs = component_costs(model, self._state.params)
        self.count, self.usage, self.made = count, 0.0, 0

    def __call__(self):
        chosen = self._choose(self.made)
        self._state, means, _ = self._run(self._state, *self._rest, chosen)
        self.usage, self.made = float(means["usage"]), self.made + self.count
        return self._state.step

    def flops(self) -> float:
        """Of one token's forward and backward pass, with what the last call had engaged and
        the head at scored steps alone; the backward pass is twice the forward."""
        unasked = 0.0
        if isinstance(self.task, SequenceTask):
            longest = self.task.longest
            scored = self.task.answer_length(longest) / self.task.num_steps(longest)
            unasked = (1 - scored) * self.costs["embedding and head"].flops
        return 3 * (realised_flops(self.model, self.costs, self.usage) - unasked)
