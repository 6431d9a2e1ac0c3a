"""The bits at odd places, then those at even ones (task: Delétang et al., 2023).

python -m mocanet_jax.main --config=configs/odds_first.py
"""

from ml_collections import ConfigDict

from configs.base import with_ablation
from configs.formal_language import formal_language_config


def get_config(ablation: str | None = None) -> ConfigDict:
    return with_ablation(formal_language_config("odds_first"), ablation)
