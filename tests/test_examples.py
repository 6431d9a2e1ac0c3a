"""What examples/ shows runs, and does what it says. Readers start from copies of it."""

import json
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOK = EXAMPLES / "tour.ipynb"


@pytest.fixture
def examples(monkeypatch, tmp_path):
    """Modules of examples/ can be imported, as when one of them is run; files go elsewhere."""
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("own_"):
            del sys.modules[name]


def code_cells():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.slow
def test_the_layer_learns_in_a_model_of_ones_own(examples):
    """A loss that does not fall, or segments that differ, would mislead whoever copies it."""
    import layer_in_flax_model

    losses, difference = layer_in_flax_model.main()
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert difference < 1e-5


@pytest.mark.integration
def test_a_loop_of_ones_own_keeps_its_budget(examples):
    """Usage ends within the target, which the learned task does not need to exceed."""
    import budget_in_own_loop

    losses, usage, _ = (np.asarray(x) for x in budget_in_own_loop.main())
    assert np.mean(losses[-20:]) < 0.1
    assert np.mean(usage[-20:]) <= 0.22
    assert np.mean(usage[:20]) > 0.4


def test_an_expert_of_ones_own_is_counted_and_computes(examples):
    import own_expert

    config, y = own_expert.main()
    assert config.flops.experts == 4 * 2 * (2 * 32 * 64 + 64 * 32)
    assert jnp.all(jnp.isfinite(y))


@pytest.mark.integration
@pytest.mark.parametrize("name", ["own_task", "own_head"])
def test_a_config_trains_a_class_of_ones_own(name, examples):
    """Without a file of the package being touched."""
    module = __import__(name)
    result = module.main(examples / "run")
    assert result.summary["eval/accuracy"] > 0.9


@pytest.mark.integration
def test_the_notebook_runs_from_its_first_cell_to_its_last(examples, monkeypatch):
    """In order and in one namespace, as a reader runs it."""
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda: None)
    names = {}
    try:
        for number, cell in enumerate(code_cells()):
            exec(compile("".join(cell["source"]), f"{NOTEBOOK.name}[{number}]", "exec"), names)
    finally:
        plt.close("all")
    assert names["difference"] < 1e-4
    shares = [usage for _, usage, _ in names["sweep"]]
    assert shares == sorted(shares, reverse=True)
    assert names["sweep"][0][2] > 0.95


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_examples_are_python(path):
    """What does not run here, which takes longer, can at least be read."""
    compile(path.read_text(encoding="utf-8"), path.name, "exec")


def test_the_cells_of_the_notebook_are_python():
    for number, cell in enumerate(code_cells()):
        compile("".join(cell["source"]), f"{NOTEBOOK.name}[{number}]", "exec")


def test_the_notebook_keeps_no_outputs():
    """They would change with every run, and a diff of them cannot be read."""
    for cell in code_cells():
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
