"""What every token spends adds up to the usage that is reported."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from mocanet_jax.evaluate.spending import spending
from mocanet_jax.inference.predictor import TextPredictor
from mocanet_jax.nn.config import ExpertsConfig, LayerConfig, MemoryConfig
from mocanet_jax.nn.experts import MlpExpert
from mocanet_jax.nn.heads import Content, Ring
from mocanet_jax.report import sequence as sequence_report
from mocanet_jax.train.restore import restored
from tests.nn import small

CONFIG = LayerConfig(
    width=2,
    memory=MemoryConfig((Ring(1), Content(1)), num_slots=3, active_slots=1),
    experts=ExpertsConfig(count=2, top_k=2, expert=MlpExpert(2)),
)
"""Of a token, in FLOPs: an expert 16 of 32, a write 8 of 16, a read 4 of 8; 56 in all."""


def layer(computed, writes, reads):
    """Auxiliary outputs of a layer for one sequence, rows of tokens."""
    experts = None if computed is None else SimpleNamespace(computed=np.array(computed))
    gates = (None if gate is None else np.array(gate, float) for gate in (writes, reads))
    return SimpleNamespace(
        experts=experts,
        memory=SimpleNamespace(**dict(zip(("writes", "reads"), gates, strict=True))),
    )


def test_a_token_spends_the_flops_of_what_it_engages():
    """Both experts and one write; then nothing; then one expert and both reads."""
    aux = layer(
        [[True, True], [False, False], [False, True]],
        [[1, 0], [0, 0], [0, 0]],
        [[0, 0], [0, 0], [1, 1]],
    )
    spent = spending(CONFIG, [aux])
    np.testing.assert_allclose(spent.experts, [32 / 56, 0, 16 / 56])
    np.testing.assert_allclose(spent.writes, [8 / 56, 0, 0])
    np.testing.assert_allclose(spent.reads, [0, 0, 8 / 56])
    np.testing.assert_allclose(spent.total, [40 / 56, 0, 24 / 56])


def test_layers_share_the_full_compute():
    """A layer that does everything and one that does nothing spend half of it."""
    on, off = (layer([[x, x]], [[x, x]], [[x, x]]) for x in (True, False))
    np.testing.assert_allclose(spending(CONFIG, [on]).total, [1.0])
    np.testing.assert_allclose(spending(CONFIG, [on, off]).total, [0.5])


def test_a_part_that_is_absent_spends_nothing():
    bare = replace(CONFIG, experts=None)
    spent = spending(bare, [layer(None, [[1, 1], [1, 0]], [[0, 0], [1, 1]])])
    np.testing.assert_allclose(spent.experts, [0, 0])
    np.testing.assert_allclose(spent.total, [16 / 24, 16 / 24])


@pytest.mark.parametrize(("routing", "layers"), [("dynamic", 2), ("topk", 1)])
def test_the_mean_over_tokens_is_the_usage(routing, layers):
    """Padding, which neither spends nor counts, left out."""
    net = small.model(layers, routing=routing)
    params = small.random_params(net)
    rng = np.random.default_rng(0)
    tokens = rng.integers(small.VOCABULARY, size=(3, 12))
    mask = rng.random(tokens.shape) < 0.7
    settings = {"mask": mask, "multiplier": small.MULTIPLIER}
    apply = jax.jit(lambda p: net.apply(p, tokens, **settings)[2])
    aux = jax.device_get(apply(params))
    spent = spending(net.layer, aux.layers)
    assert not spent.total[~mask].any()
    usage, flops = aux.usage.shares(), net.layer.flops
    assert spent.total[mask].mean() == pytest.approx(float(usage["total"]), rel=1e-5)
    for part, of_part in flops._asdict().items():
        share = float(usage[part]) * of_part / sum(flops)
        assert getattr(spent, part)[mask].mean() == pytest.approx(share, rel=1e-5)
    assert 0.1 < spent.total[mask].mean() < 0.9, "every gate is alike here"


def test_words_spend_what_both_readings_of_them_do(finished_text):
    """Word by word: the reading from the end has its time reversed, and padding comes first."""
    predictor = TextPredictor(finished_text[0])
    words = ["the", "dull", "plot", "is", "warm"]
    tokens, mask = predictor.task.pad([words], 8)
    spent = predictor.spending(predictor.predict(" ".join(words)))
    (aux,) = jax.device_get(predictor._layers(predictor.trained, tokens, mask))
    spec = predictor.model.spec.layer
    for i in range(5):
        at = [(member, way, 7 - i if way else i) for member in range(2) for way in range(2)]
        experts = np.mean([aux.experts.computed[a].sum() for a in at])
        writes = np.mean([aux.memory.writes[a].sum() for a in at])
        assert spent.experts[i] == pytest.approx(experts * spec.unit_shares.expert)
        assert spent.writes[i] == pytest.approx(writes * spec.unit_shares.write)
    usage = jax.tree.map(lambda members: members.sum(axis=0), aux.usage).shares()["total"]
    assert spent.total.mean() == pytest.approx(float(usage), rel=1e-5)


def test_an_example_whose_gates_are_closed_shows_no_access(finished):
    """At the highest multiplier, every gate is closed."""
    run = restored(finished[0])
    highest = np.float32(run.model.layer.max_multiplier)
    trained = run.trained._replace(multiplier=highest)
    example = sequence_report.example(run.config, run.model, run.task, trained)
    (view,) = sequence_report.memory_views(run.model.layer, example).values()
    assert (view.experts == -1).all()
    assert not view.writes.any()
    assert not view.reads.any()
    assert not view.strength.any()
    assert not spending(run.model.layer, example.layers).total.any()
    assert len(view.sequence.tokens) == len(view.reads) == view.read_weights.shape[-1]
