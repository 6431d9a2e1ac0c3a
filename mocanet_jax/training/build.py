"""From a config to a model and a task; the only place where the two meet."""

import jax
from ml_collections import ConfigDict

from mocanet_jax.errors import UserError
from mocanet_jax.nn.layer import LayerSpec
from mocanet_jax.nn.model import MocaNet
from mocanet_jax.tasks.copy import CopyTask
from mocanet_jax.tasks.task import Task

TASKS = {"copy": CopyTask}


def build_task(config: ConfigDict) -> Task:
    """Raises UserError for an unknown task or settings it refuses."""
    if config.task not in TASKS:
        raise UserError(f"unknown task {config.task!r}; known tasks: {', '.join(TASKS)}")
    try:
        return TASKS[config.task](**config.data)
    except ValueError as error:
        raise UserError(f"config.data: {error}") from error


def build_model(config: ConfigDict, task: Task) -> MocaNet:
    """Raises UserError for sizes that do not fit together."""
    m = config.model
    location = m.num_location_heads if m.use_memory else 0
    content = m.num_memory_heads - m.num_location_heads if m.use_memory else 0
    if not 0 <= m.num_location_heads <= m.num_memory_heads:
        raise UserError(
            f"config.model: num_location_heads must be between 0 and num_memory_heads "
            f"{m.num_memory_heads}, not {m.num_location_heads}"
        )
    if m.time not in ("auto", "scan", "parallel"):
        raise UserError(f"config.model: time must be auto, scan or parallel, not {m.time!r}")
    if m.num_layers < 1:
        raise UserError(f"config.model: num_layers must be at least 1, not {m.num_layers}")
    if not 0 <= m.target_budget <= 1:
        raise UserError(
            f"config.model: target_budget is a share in [0, 1], not {m.target_budget}"
        )
    fastest = "scan" if jax.default_backend() == "cpu" else "parallel"
    try:
        spec = LayerSpec(
            embedding_dim=m.embedding_dim,
            num_experts=m.num_experts if m.use_experts else 0,
            expert_hidden_dim=m.expert_hidden_dim,
            top_k_experts=m.top_k_experts,
            expert_capacity_factor=m.expert_capacity_factor,
            num_location_heads=location,
            num_content_heads=content,
            num_memory_slots=m.num_memory_slots,
            top_k_slots=m.top_k_slots,
            router_temperature=m.router_temperature,
            pointer_sharpness=m.pointer_sharpness,
            use_controller=m.use_controller,
            time=fastest if m.time == "auto" else m.time,
        )
    except ValueError as error:
        raise UserError(f"config.model: {error}") from error
    return MocaNet(task.vocab_size, m.num_layers, spec)
