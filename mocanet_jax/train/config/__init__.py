"""Configs: fields and defaults, ablations, files, meanings and checks. Config files import from
here."""

from mocanet_jax.train.config.ablations import ABLATIONS, with_ablations
from mocanet_jax.train.config.defaults import (
    FIELDS,
    LANGUAGE_FIELDS,
    TEXT_FIELDS,
    base_config,
    language_config,
    own_texts_config,
    text_config,
)

__all__ = [
    "ABLATIONS",
    "FIELDS",
    "LANGUAGE_FIELDS",
    "TEXT_FIELDS",
    "base_config",
    "language_config",
    "own_texts_config",
    "text_config",
    "with_ablations",
]
