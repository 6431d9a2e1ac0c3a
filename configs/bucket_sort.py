"""A string of five symbols in rising order (task: Delétang et al., 2023).

python -m mocanet_jax.main --config=configs/bucket_sort.py
"""

from ml_collections import ConfigDict

from configs.base import with_ablation
from configs.formal_language import formal_language_config


def get_config(ablation: str | None = None) -> ConfigDict:
    return with_ablation(formal_language_config("bucket_sort"), ablation)
