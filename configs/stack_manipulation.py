"""A stack after pushes and pops (task: Delétang et al., 2023).

python -m mocanet_jax.main --config=configs/stack_manipulation.py
"""

from ml_collections import ConfigDict

from configs.base import with_ablation
from configs.formal_language import formal_language_config


def get_config(ablation: str | None = None) -> ConfigDict:
    config = formal_language_config("stack_manipulation")
    config.model.tape = "stack"
    return with_ablation(config, ablation)
