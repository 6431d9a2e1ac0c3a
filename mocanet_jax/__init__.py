"""MOCA-Net: routed experts and external memory under a compute budget, in JAX.

    import mocanet_jax as moca

Names below are imported when they are used, so that this line imports neither JAX nor Flax.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

_HOMES = {
    "mocanet_jax.core.addressing": ("Address",),
    "mocanet_jax.core.budget": ("BudgetConfig",),
    "mocanet_jax.nn.config": (
        "AutomataConfig",
        "ControllerConfig",
        "ExpertsConfig",
        "LayerConfig",
        "MemoryConfig",
    ),
    "mocanet_jax.nn.experts": ("GatedExpert", "MlpExpert"),
    "mocanet_jax.nn.heads": (
        "Association",
        "Content",
        "Head",
        "HeadOutput",
        "Loop",
        "PriorityQueue",
        "Ring",
        "Sizes",
        "Stack",
        "Trace",
        "WriteGate",
    ),
    "mocanet_jax.nn.layer": ("LayerAux", "LayerState", "MocaLayer"),
    "mocanet_jax.nn.models.classifier": ("ClassifierSpec", "MocaClassifier"),
    "mocanet_jax.nn.models.sequence": ("MocaNet",),
    "mocanet_jax.nn.projections": ("Projection",),
    "mocanet_jax.runtime.errors": ("UserError",),
    "mocanet_jax.tasks.languages.transduction": ("TransductionTask",),
    "mocanet_jax.tasks.synthetic.sequence": ("Batch", "SequenceTask"),
    "mocanet_jax.inference.loaded": ("LoadedModel", "load"),
    "mocanet_jax.train.config": (
        "base_config",
        "language_config",
        "text_config",
        "with_ablations",
    ),
    "mocanet_jax.train.result": ("Result",),
}
_ATTRIBUTES = {name: home for home, names in _HOMES.items() for name in names}
_MODULES = {
    "budget": "mocanet_jax.core.budget",
    "train": "mocanet_jax.train",  # can be called: train(config, workdir)
    "export": "mocanet_jax.export",  # can be called: export(workdir, out)
}

__all__ = ["__version__", *_ATTRIBUTES, *_MODULES]

if TYPE_CHECKING:
    from mocanet_jax.core import budget as budget
    from mocanet_jax.core.addressing import Address as Address
    from mocanet_jax.core.budget import BudgetConfig as BudgetConfig
    from mocanet_jax.inference.export import export as export
    from mocanet_jax.inference.loaded import LoadedModel as LoadedModel
    from mocanet_jax.inference.loaded import load as load
    from mocanet_jax.nn.config import AutomataConfig as AutomataConfig
    from mocanet_jax.nn.config import ControllerConfig as ControllerConfig
    from mocanet_jax.nn.config import ExpertsConfig as ExpertsConfig
    from mocanet_jax.nn.config import LayerConfig as LayerConfig
    from mocanet_jax.nn.config import MemoryConfig as MemoryConfig
    from mocanet_jax.nn.experts import GatedExpert as GatedExpert
    from mocanet_jax.nn.experts import MlpExpert as MlpExpert
    from mocanet_jax.nn.heads import Association as Association
    from mocanet_jax.nn.heads import Content as Content
    from mocanet_jax.nn.heads import Head as Head
    from mocanet_jax.nn.heads import HeadOutput as HeadOutput
    from mocanet_jax.nn.heads import Loop as Loop
    from mocanet_jax.nn.heads import PriorityQueue as PriorityQueue
    from mocanet_jax.nn.heads import Ring as Ring
    from mocanet_jax.nn.heads import Sizes as Sizes
    from mocanet_jax.nn.heads import Stack as Stack
    from mocanet_jax.nn.heads import Trace as Trace
    from mocanet_jax.nn.heads import WriteGate as WriteGate
    from mocanet_jax.nn.layer import LayerAux as LayerAux
    from mocanet_jax.nn.layer import LayerState as LayerState
    from mocanet_jax.nn.layer import MocaLayer as MocaLayer
    from mocanet_jax.nn.models.classifier import ClassifierSpec as ClassifierSpec
    from mocanet_jax.nn.models.classifier import MocaClassifier as MocaClassifier
    from mocanet_jax.nn.models.sequence import MocaNet as MocaNet
    from mocanet_jax.nn.projections import Projection as Projection
    from mocanet_jax.runtime.errors import UserError as UserError
    from mocanet_jax.tasks.languages.transduction import TransductionTask as TransductionTask
    from mocanet_jax.tasks.synthetic.sequence import Batch as Batch
    from mocanet_jax.tasks.synthetic.sequence import SequenceTask as SequenceTask
    from mocanet_jax.train.config import base_config as base_config
    from mocanet_jax.train.config import language_config as language_config
    from mocanet_jax.train.config import text_config as text_config
    from mocanet_jax.train.config import with_ablations as with_ablations
    from mocanet_jax.train.loop import train as train
    from mocanet_jax.train.result import Result as Result


def __getattr__(name: str) -> Any:
    if name in _ATTRIBUTES:
        value = getattr(import_module(_ATTRIBUTES[name]), name)
    elif name in _MODULES:
        value = import_module(_MODULES[name])
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
