"""AdamW with warm-up, cosine decay and clipping."""

import jax
import optax
from ml_collections import ConfigDict

UNDECAYED = {
    "scale",
    "bias",
    "fill",
    "ring_slots",
    "content_slots",
    "keys",
    "association_sharpness",
    "association_sink",
    "order_sink",
    "price",
    "log_rate",
}
"""Parameters without weight decay, by the last part of their name: norms, biases, slots,
and scores that have a scale of their own."""


def decay_mask(params) -> dict:
    """True for every parameter that weight decay shrinks; the tree of `params`."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1].key not in UNDECAYED, params
    )


def learning_rate_schedule(training: ConfigDict) -> optax.Schedule:
    """Linear warm-up to `learning_rate`, then cosine decay to a tenth of it."""
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=training.learning_rate,
        warmup_steps=training.warmup_steps,
        decay_steps=training.max_steps,
        end_value=0.1 * training.learning_rate,
    )


def build_optimizer(training: ConfigDict) -> optax.GradientTransformation:
    return optax.chain(
        optax.clip_by_global_norm(training.gradient_clip_norm),
        optax.adamw(
            learning_rate_schedule(training),
            b2=training.adam_b2,
            weight_decay=training.weight_decay,
            mask=decay_mask,
        ),
    )
