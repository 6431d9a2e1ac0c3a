"""Settings of a run: those that cannot work are refused in one line."""

import pytest

from mocanet_jax.runtime.errors import UserError
from tests.train import tiny


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train__max_minutes": -1.0}, "max_minutes must be at least 0, not -1.0"),
        ({"train__max_minutes": float("inf")}, "max_minutes must be a finite number"),
        ({"train__max_steps": 0}, "train.max_steps must be at least 1, not 0"),
        ({"train__learning_rate": 0.0}, "train.learning_rate must be above 0, not 0.0"),
        ({"train__learning_rate": float("nan")}, "learning_rate must be above 0, not nan"),
        ({"train__learning_rate": float("inf")}, "learning_rate must be a finite number"),
        ({"train__average_decay": 1.0}, r"train.average_decay must be in \[0, 1\), not 1"),
        ({"train__average_decay": -0.1}, r"train.average_decay must be in \[0, 1\)"),
        ({"train__adam_b2": 1.0}, r"train.adam_b2 must be in \[0, 1\), not 1.0"),
        ({"train__adam_b2": -0.1}, r"train.adam_b2 must be in \[0, 1\)"),
        ({"train__weight_decay": -0.1}, "train.weight_decay must be at least 0, not -0.1"),
        ({"train__weight_decay": float("nan")}, "weight_decay must be at least 0, not nan"),
        ({"train__state_noise": -0.1}, "train.state_noise must be at least 0, not -0.1"),
        ({"train__stop_at_loss": -0.1}, "train.stop_at_loss must be at least 0, not -0.1"),
        ({"train__curriculum__accuracy": 1.1}, r"accuracy must be in \[0, 1\], not 1.1"),
        ({"train__curriculum__retreat": 1.1}, r"retreat must be in \[0, 1\], not 1.1"),
        ({"train__curriculum__accuracy": -0.1}, r"accuracy must be in \[0, 1\], not -0.1"),
        (
            {"model__budget__base_cost_when_grown": -0.1},
            "model.budget.base_cost_when_grown must be at least 0",
        ),
        (
            {"model__memory__quantisation_penalty": -0.1},
            "model.memory.quantisation_penalty must be at least 0",
        ),
        (
            {"model__experts__z_loss_weight": float("inf")},
            "model.experts.z_loss_weight must be a finite number",
        ),
        ({"train__warmup_steps": -1}, "train.warmup_steps must be at least 0, not -1"),
        ({"train__save_every": 3, "train__eval_every": 2}, "must be a multiple of"),
        ({"seed": -1}, r"seed must be in \[0, 2\^32\), not -1"),
        (
            {"eval__lengths": (2, 0)},
            r"eval.lengths takes whole numbers from 1 on, not \(2, 0\)",
        ),
        (
            {"eval__lengths": (2.5,)},
            r"eval.lengths takes whole numbers from 1 on, not \(2.5,\)",
        ),
        ({"eval__lengths": ("a", 2)}, "eval.lengths takes whole numbers from 1 on"),
        ({"eval__test_sequences": 0}, "eval.test_sequences takes whole numbers from 1 on"),
        ({"task": "paste"}, "unknown task 'paste'; known tasks: copy"),
        ({"data__longest": 0}, "config.data: lengths need"),
        (
            {"model__slot_bits": 8},
            "slot_bits is for association heads or a cache, and there is neither",
        ),
        (
            {"model__memory__heads__association__count": 1, "model__slot_bits": 16},
            "slot_bits must be one of 32, 8, 4, not 16",
        ),
        ({"model__num_layers": 0}, "num_layers must be at least 1, not 0"),
        ({"model__time": "fast"}, "time must be auto, scan or parallel, not 'fast'"),
        ({"model__budget__target": 1.5}, r"model.budget.target must be in \[0, 1\], not 1.5"),
        (
            {"model__memory__heads__ring__count": 3},
            "width 16 is not divisible by 3 memory heads",
        ),
        (
            {"model__memory__heads__association__count": 2},
            "width 16 is not divisible by 3 memory heads",
        ),
        (
            {"model__memory__heads__ring__count": -1},
            "memory.heads.ring.count must not be negative",
        ),
        (
            {"model__memory__heads__priority_queue__count": -1},
            "memory.heads.priority_queue.count must not be negative",
        ),
        (
            {"model__budget__routing": "all"},
            "budget.routing must be one of dynamic, topk, random",
        ),
        (
            {
                "model__memory__heads__loop__count": 1,
                "model__memory__heads__loop__max_wraps": 0,
            },
            "max_wraps must be at least 1",
        ),
        (
            {"model__controller__counters": (1,)},
            r"controller.counters must have sizes from 2 on, not \(1,\)",
        ),
        (
            {"model__controller__automata__count": 2, "model__controller__automata__states": 1},
            "controller.automata.states must be at least 2, not 1",
        ),
        (
            {"model__memory__active_slots": 9},
            "memory.active_slots must be between 1 and memory.num_slots 8, not 9",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_is_written(
    changes, message, tmp_path
):
    """Otherwise the mistake shows as a traceback out of a library, or not at all."""
    with pytest.raises(UserError, match=message):
        tiny.train(tiny.config(**changes), tmp_path / "run", tiny.console())
    assert list(tmp_path.iterdir()) == []
