"""The compute budget in a training loop of one's own.

    python examples/budget_in_own_loop.py

Echo: six digits are read, then a marker, then the six digits have to be produced. A layer with
all gates open computes more than this needs. Two lines of the loop hold it under a target:

    loss = task loss + budget.penalty(aux, λ, config);    λ = budget.update(λ, usage, config)

λ stays at 0 until the task is learned; then the constraint is switched on.

Axes: B batch, T time.
"""

import jax
import jax.numpy as jnp
import optax

import mocanet_jax as moca

DIGITS, MARKER, BLANK, VOCAB_SIZE = 10, 10, 11, 12
LENGTH, BATCH = 6, 32
WARM_UP, STEPS = 150, 300


def draw(key):
    """Tokens and targets, int32 [B, T], of which the last LENGTH steps are scored."""
    digits = jax.random.randint(key, (BATCH, LENGTH), 0, DIGITS)
    marker = jnp.full((BATCH, 1), MARKER)
    blanks = jnp.full((BATCH, LENGTH), BLANK)
    tokens = jnp.concatenate([digits, marker, blanks], axis=1)
    return tokens, jnp.concatenate([blanks, marker, digits], axis=1)


def main():
    config = moca.LayerConfig(
        width=32,
        memory=moca.MemoryConfig(heads=(moca.Ring(1),), num_slots=8),
        experts=moca.ExpertsConfig(count=2, expert=moca.MlpExpert(32)),
        budget=moca.BudgetConfig(target=0.2),
    )
    model = moca.MocaNet(VOCAB_SIZE, 1, config)
    example, _ = draw(jax.random.key(0))
    params = jax.jit(model.init)(jax.random.key(1), example[:, :1])["params"]
    optimizer = optax.adam(1e-2)

    def loss(params, key, lam, hardness):
        tokens, targets = draw(key)
        logits, _, aux = model.apply(
            {"params": params},
            tokens,
            train=True,
            hardness=hardness,
            multiplier=lam,
            rngs={"router": key},
        )
        each = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
        task = each[:, -LENGTH:].mean()
        return task + moca.budget.penalty(aux, lam, config.budget), (task, aux.usage)

    @jax.jit
    def step(carry, i):
        params, moments, lam = carry
        learned = i >= WARM_UP
        key = jax.random.fold_in(jax.random.key(2), i)
        gradient, (task, usage) = jax.grad(loss, has_aux=True)(
            params, key, lam, learned.astype(jnp.float32)
        )
        update, moments = optimizer.update(gradient, moments)
        params = optax.apply_updates(params, update)
        new = moca.budget.update(lam, usage, config.budget, config.max_multiplier)
        lam = jnp.where(learned, new, 0.0)
        return (params, moments, lam), (task, usage.shares()["total"], lam)

    start = (params, optimizer.init(params), jnp.zeros(()))
    _, history = jax.lax.scan(step, start, jnp.arange(STEPS))
    for i in range(0, STEPS, STEPS // 10):
        task, usage, lam = (float(x[i]) for x in history)
        print(f"step {i:3}: task loss {task:.3f} nats, usage {usage:.2f}, λ {lam:.2f}")
    return history


if __name__ == "__main__":
    main()
