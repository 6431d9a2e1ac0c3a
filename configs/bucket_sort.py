"""A string of five symbols in rising order (task: Delétang et al., 2023).

python -m mocanet_jax.main --config=configs/bucket_sort.py
"""

from ml_collections import ConfigDict

from configs.base import with_ablation
from configs.formal_language import formal_language_config


def get_config(ablation: str | None = None) -> ConfigDict:
    config = formal_language_config("bucket_sort")
    config.model.num_location_heads = 0
    config.model.num_order_heads = 4
    return with_ablation(config, ablation)
