"""AdamW with warm-up, cosine decay and clipping."""

from functools import partial

import jax
import optax
from ml_collections import ConfigDict

from mocanet_jax.nn.parameters import Declarations
from mocanet_jax.runtime.tree_paths import path_names


def decay_mask(params, declarations: Declarations) -> dict:
    """True for every parameter that weight decay shrinks; the tree of `params`."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: declarations.decays(path_names(path)), params
    )


def learning_rate_schedule(training: ConfigDict) -> optax.Schedule:
    """Linear warm-up to `learning_rate`, over at most half of the steps, then cosine decay to
    a tenth of it."""
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=training.learning_rate,
        warmup_steps=min(training.warmup_steps, training.max_steps // 2),
        decay_steps=training.max_steps,
        end_value=0.1 * training.learning_rate,
    )


def build_optimizer(
    training: ConfigDict, declarations: Declarations
) -> optax.GradientTransformation:
    """declarations: of the model's parameters (nn/parameters.py)."""
    return optax.chain(
        optax.clip_by_global_norm(training.gradient_clip_norm),
        optax.adamw(
            learning_rate_schedule(training),
            b2=training.adam_b2,
            weight_decay=training.weight_decay,
            mask=partial(decay_mask, declarations=declarations),
        ),
    )
