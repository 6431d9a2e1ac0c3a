"""Every config: it names a task, builds it with its model, and can be evaluated."""

from importlib import import_module
from pathlib import Path

import jax
import pytest

from mocanet_jax.core.budget import BudgetConfig
from mocanet_jax.evaluate.sequence import SequenceEvaluator
from mocanet_jax.nn.config import LayerConfig
from mocanet_jax.nn.heads import KINDS
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.registry import TASKS
from mocanet_jax.tasks.synthetic.sequence import SequenceTask
from mocanet_jax.train.build import budget_config, build_model, build_task, layer_config
from mocanet_jax.train.config import ABLATIONS, base_config
from mocanet_jax.train.config.settings import check_settings

FILES = Path(__file__).parents[1].glob("configs/*.py")
MODULES = {path.stem: import_module(f"configs.{path.stem}") for path in FILES}
CONFIGS = {
    name: module
    for file, module in MODULES.items()
    if hasattr(module, "get_config")
    for name in getattr(module, "TASKS", (file,))
}
"""By an entry of TASKS or by file: the module of the config, which may be of several."""


def get_config(name, ablation=None):
    several = hasattr(CONFIGS[name], "TASKS")
    names = [name] * several + [ablation] * (ablation is not None)
    return CONFIGS[name].get_config(",".join(names))


OF_TEXTS = ("sst2", "text", "language")


def test_defaults_of_configs_are_those_of_the_layer():
    """Otherwise the layer in a model of one's own is another one than a config's."""
    model = base_config().model
    model.memory.heads.ring.count = 1
    assert layer_config(model) == LayerConfig()
    assert budget_config(model) == BudgetConfig()


def test_every_kind_of_head_has_its_fields():
    """Otherwise a new file in nn/heads/ needs a second entry elsewhere."""
    for name, kind in KINDS.items():
        fields = base_config().model.memory.heads[name].to_dict()
        assert fields.pop("count") == 0
        head = kind()
        assert fields == {field: getattr(head, field) for field in fields}


def test_noisy_recall_has_slots_for_a_quarter(tmp_path):
    """So that what is kept has to be chosen; ablations come behind its name."""
    config = MODULES["mqar"].get_config("noisy,no_experts")
    task = build_task(config, tmp_path)
    assert 4 * config.model.memory.num_slots == task.num_steps(32) == 192
    assert config.model.experts.count == 0
    assert MODULES["mqar"].get_config("no_experts").data.noise == 0


def test_a_distilled_model_needs_its_soft_labels(corpus, tmp_path):
    """Trained on labels instead it would be another one than its name says."""
    config = MODULES["sst2"].get_config("distilled,no_memory")
    assert config.model.memory.heads.content.count == 0
    config.data.update(path=str(corpus), soft_labels=str(tmp_path / "soft.jsonl"))
    with pytest.raises(UserError, match=r"data\.soft_labels: .*soft\.jsonl cannot be read"):
        build_model(config, build_task(config, tmp_path))


def test_every_task_has_a_config():
    assert {get_config(name).task for name in CONFIGS} == set(TASKS)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_builds_its_task_and_model_with_every_ablation(name, corpus, tmp_path):
    """Otherwise a published command ends with an error. Texts are those of a tiny corpus."""
    for ablation in (None, *ABLATIONS):
        config = get_config(name, ablation)
        if config.task in ("sst2", "text"):
            config.data.path = str(corpus)
        if config.task == "language":
            config.data.update(path=str(corpus / "train.tsv"), valid_share=0.1)
        check_settings(config)
        build_model(config, build_task(config, tmp_path))


@pytest.mark.parametrize("name", [n for n in CONFIGS if n in TASKS and n not in OF_TEXTS])
def test_every_length_that_is_evaluated_fits(name, tmp_path):
    """Shapes only. Otherwise training ends well and its evaluation fails, or runs with a memory
    smaller than the trained one."""
    config = get_config(name)
    task = build_task(config, tmp_path)
    assert isinstance(task, SequenceTask)
    assert config.train.curriculum.shortest <= task.first_longest
    lengths = (*config.eval.lengths, *config.eval.long_lengths)
    steps = [task.num_steps(length) for length in range(1, max(lengths) + 1)]
    assert steps == sorted(steps)
    evaluator = SequenceEvaluator(build_model(config, task), task, config)
    for fit in {task.longest, max(lengths)}:
        sample = lambda key, bounds, fit=fit: task.sample(key, 2, (bounds[0], bounds[1]), fit)
        bounds = jax.ShapeDtypeStruct((2,), "int32")
        batch = jax.eval_shape(sample, jax.random.key(0), bounds)
        assert batch.tokens.shape == (2, task.num_steps(fit))
        slots = evaluator.enlarged_slots(fit)
        if fit == task.longest or evaluator.model.layer.memory is None:
            assert slots is None
        else:
            grows = task.memory_length(fit) > task.memory_length(task.longest)
            assert slots >= config.model.memory.num_slots + grows


def test_a_length_that_a_task_does_not_have_is_refused_before_training(tmp_path):
    config = get_config("priority_sort")
    config.eval.long_lengths = (30, 65)
    message = "config.eval.long_lengths: lengths of priority_sort end at 64, not 65"
    with pytest.raises(UserError, match=message):
        build_task(config, tmp_path)
