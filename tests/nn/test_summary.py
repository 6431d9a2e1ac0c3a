import jax
import jax.numpy as jnp
import pytest

from mocanet_jax.nn import summary
from mocanet_jax.nn.config import AutomataConfig
from mocanet_jax.nn.heads import Association, Content, Loop, PriorityQueue, Ring, Stack
from mocanet_jax.nn.models.classifier import ClassifierSpec, MocaClassifier
from tests.nn import small

HEADS = {
    "ring": (Ring(2),),
    "content": (Content(2),),
    "mixed": (Ring(1), Content(1)),
    "none": (),
}


def shapes(net):
    tokens = jnp.zeros((1, 2), int)
    return jax.eval_shape(net.init, jax.random.key(0), tokens)["params"]


each_routing = pytest.mark.parametrize("routing", small.ROUTINGS)


@each_routing
@pytest.mark.parametrize("kind", HEADS)
def test_components_hold_all_parameters(kind, routing):
    """A parameter that no component owns would be missing from every table. Values that are
    written belong to the memory, all other projections to the router."""
    net = small.model(heads=HEADS[kind], routing=routing)
    params = shapes(net)
    costs = summary.component_costs(net, params)
    size = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
    assert sum(cost.parameters for cost in costs.values()) == size(params)
    layers = [params[f"layers_{i}"] for i in range(2)]
    for part in ("controller", "experts"):
        assert costs[part].parameters == sum(size(layer[part]) for layer in layers)
    projections = [layer["projections"] for layer in layers]
    values = sum(size(p[n]) for p in projections for n in p if n.endswith("_value"))
    assert costs["router"].parameters == sum(map(size, projections)) - values
    if HEADS[kind]:
        memory = sum(size(layer["memory"]) for layer in layers)
        assert costs["memory"].parameters == memory + values


@each_routing
@pytest.mark.parametrize("kind", HEADS)
def test_flops_follow_from_the_weights(kind, routing):
    """Each weight of a matrix costs one multiply-add a token, 2 FLOPs; keys are scored for
    the write and for the read, of two slots each head looks at 8 / H values, and gates at how
    large they are; only K of E experts run."""
    net = small.model(heads=HEADS[kind], routing=routing)
    layer, costs = shapes(net)["layers_0"], summary.layer_flops(net.layer)
    addressing = {"projections": layer["projections"], "memory": layer.get("memory", {})}
    router = 0
    for path, x in jax.tree_util.tree_leaves_with_path(addressing):
        name = jax.tree_util.keystr(path)
        counted = not any(part in name for part in ("bias", "value", "output", "start", "fill"))
        router += counted * x.size * (2 if "keys" in name else 1)
    looked = 0 if kind == "none" else 8 * (3 if routing == "dynamic" else 2)
    assert costs["router"] == 2 * (router + looked)
    each = layer["experts"]["each"]
    matrices = each["expand"]["kernel"].size + each["contract"]["kernel"].size
    assert costs["experts"] == 2 * matrices * 2 / 3
    # Two matrices of 8 · 8, and the recurrence, a multiply-add for each of 8 channels.
    assert costs["controller"] == 2 * (2 * 64) + 2 * 8
    # Two projections of 8 · 8, and a write's two passes over 2 rows of 8.
    assert costs["memory"] == (0 if kind == "none" else 2 * (2 * 64) + 2 * 2 * 16)


RECALLING = {
    "heads": (Loop(1, max_wraps=2), Association(1)),
    "counters": (2, 5),
    "automata": AutomataConfig(2, 3, 4),
}


@each_routing
def test_components_and_flops_of_counters_automata_and_associations(routing):
    """By hand: counters of 2 and 5 have 7 turns and 3 characters of 2 numbers, two automata of
    3 states 4 maps of 3 · 3 each. Half the width associates: two views of 8 tokens, two maps of
    8 · 4, and each of 9 slots' keys and values.
    """
    net = small.model(routing=routing, **RECALLING)
    params, flops = shapes(net), summary.layer_flops(net.layer)
    costs = summary.component_costs(net, params)
    total = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert sum(cost.parameters for cost in costs.values()) == total
    # Matrices of 8 · 7 and 6 · 8, and a bias for each turn, in 2 layers.
    assert costs["counters"] == summary.Cost(2 * (56 + 48 + 7), 2 * 2 * (56 + 48))
    # Matrices of 8 · 8 and 6 · 8, a bias for each choice and the maps, in 2 layers. Eight maps,
    # four soft and four hard, are added up for one that is applied.
    numbers, products = 64 + 48 + 8 + 2 * 4 * 9, 64 + 48 + 2 * (8 + 1) * 9
    assert costs["automata"] == summary.Cost(2 * numbers, 2 * 2 * products)
    bare = small.layer(**RECALLING | {"routing": routing, "counters": (), "automata": None})
    assert summary.layer_flops(bare) == flops | {"counters": 0, "automata": 0}
    gates = 2 * 2 if routing == "dynamic" else 0
    outputs = 3 + 2 + 8 + gates + 3  # experts, strengths, pointers, gates, wraps
    looked = 4 * 2 + (8 if routing == "dynamic" else 0)
    associating = 2 * (8 * 8 + 8 * 4) + 2 * 9 * 4
    assert flops["router"] == 2 * (8 * outputs + looked + associating)


@each_routing
def test_flops_of_a_stack_are_those_of_one_pointer(routing):
    """Three logits of a shift and a sharpness are not computed, of D = 8 numbers each."""
    ring, stack = (
        summary.layer_flops(small.layer(routing=routing, heads=(head, Content(1))))
        for head in (Ring(1), Stack(1))
    )
    assert stack == ring | {"router": ring["router"] - 2 * 8 * 4}


def test_realised_flops_by_hand():
    """What was used of what can be engaged, and all that is always on."""
    net = small.model(heads=(Ring(1),))
    costs = summary.component_costs(net, shapes(net))
    # Two layers of 4·8·8 + 2·8 for the controller and 2·8 an output of the router: 3 experts,
    # a strength, two gates, and 8 of pointers; looking at two slots and how full they are; and
    # 2·8·11 for the head.
    always = 2 * (272 + 16 * 14 + 2 * 8 * 3) + 176
    # Three experts of 4·8·6, a write of 2·8·8 + 2·2·2·8, a read of 2·8·8.
    everything = 3 * 192 + 192 + 128
    assert summary.realised_flops(net, costs, 0.0) == always
    assert summary.realised_flops(net, costs, 1.0) == always + 2 * everything
    assert summary.realised_flops(net, costs, 0.25) == always + 0.5 * everything


def test_realised_flops_of_a_classifier_count_every_reading():
    """Two members, each in two directions, pass a token through a layer four times."""
    spec = ClassifierSpec(
        vocab_size=small.VOCABULARY,
        num_classes=2,
        num_layers=1,
        layer=small.layer(),
        num_pieces=5,
        max_pieces=2,
        piece_dim=4,
        num_members=2,
    )
    net, tokens = MocaClassifier(spec), jnp.zeros((1, 2, 3), int)
    params = jax.eval_shape(net.init, jax.random.key(0), tokens)["params"]
    costs = summary.component_costs(net, params)
    engaged = summary.realised_flops(net, costs, 0.5) - summary.realised_flops(net, costs, 0.0)
    assert engaged == 0.5 * 4 * sum(spec.layer.flops)


def test_realised_flops_of_a_fixed_selection_are_at_its_ceiling():
    """Both ways of counting agree where every token engages the same."""
    net = small.model(routing="topk")
    costs, flops = summary.component_costs(net, shapes(net)), net.layer.flops
    usage = (flops.experts * 2 / 3 + flops.writes + flops.reads) / sum(flops)
    ceiling = sum(cost.flops for cost in costs.values())
    assert summary.realised_flops(net, costs, usage) == pytest.approx(ceiling)


LARGE = {
    "width": 256,
    "hidden_dim": 512,
    "num_experts": 4,
    "num_slots": 16,
    "capacity_factor": 1.0,
}
"""Wide enough that norms and activations, which the analytic model leaves out, are small."""


def analytic(net, params, room=1.0):
    """Forward FLOPs a token, with `room` times the work of the experts that a token uses."""
    costs = summary.component_costs(net, params["params"])
    return sum(cost.flops for cost in costs.values()) + (room - 1) * costs["experts"].flops


def lowered(net, tokens, train, gradient=False):
    """What XLA is given to compile, for as many tokens as there are, and shapes of the
    parameters."""
    params = jax.eval_shape(net.init, jax.random.key(0), tokens)
    rngs = {"router": jax.random.key(0)}
    logits = lambda params: net.apply(params, tokens, train=train, rngs=rngs)[0]
    loss = lambda params: jnp.sum(logits(params) ** 2)
    return jax.jit(jax.grad(loss) if gradient else logits).lower(params), params


@each_routing
def test_flops_are_those_that_xla_counts(routing):
    """An analytic model that forgets a product, or counts multiply-adds once, misleads every
    comparison. Token by token, so that no loop hides work, and with every expert on."""
    net = small.model(1, **LARGE | {"routing": routing, "top_k": 4})
    program, params = lowered(net, jnp.zeros((256, 1), int), train=False)
    counted = program.compile(small.QUICK).cost_analysis()["flops"] / 256
    assert counted == pytest.approx(analytic(net, params), rel=0.05)
    assert counted > analytic(net, params), "what is left out costs something"


def test_flops_of_counters_automata_and_associations_are_those_that_xla_counts():
    net = small.model(1, **LARGE | RECALLING | {"num_slots": 128, "top_k": 4})
    program, params = lowered(net, jnp.zeros((256, 1), int), train=False)
    counted = program.compile(small.QUICK).cost_analysis()["flops"] / 256
    assert counted == pytest.approx(analytic(net, params), rel=0.05)


SORTING = {"heads": (PriorityQueue(2),)}


@each_routing
def test_flops_of_priority_queues_by_hand(routing):
    """Each of two heads has a rank, 3 shifts and a sharpness; taps for 3 tokens of 8 numbers;
    10 slots, with that of the token itself, are compared with each other and read."""
    net = small.model(routing=routing, **SORTING)
    outputs = 3 + (2 * 2 if routing == "dynamic" else 2) + 2 * 5  # experts, gates or strengths
    filled = 2 * 8 if routing == "dynamic" else 0
    expected = 2 * 8 * outputs + 2 * 3 * 8 + 2 * (14 * 100 + 2 * 10 * 4) + filled
    assert summary.layer_flops(net.layer)["router"] == expected


def test_flops_of_priority_queues_are_those_that_xla_counts():
    net = small.model(1, **LARGE | SORTING | {"num_slots": 128, "top_k": 4})
    program, params = lowered(net, jnp.zeros((256, 1), int), train=False)
    counted = program.compile(small.QUICK).cost_analysis()["flops"] / 256
    assert counted == pytest.approx(analytic(net, params), rel=0.05)


@each_routing
@pytest.mark.parametrize(
    ("train", "factor", "room"), [(True, 1.0, 1.0), (True, 1.5, 1.5), (False, 1.0, 4 / 2)]
)
def test_experts_are_run_for_the_room_that_they_have(train, factor, room, routing):
    """Of K = 2 of 4 experts. The table gives what tokens use; XLA computes all the room, filled
    or not: in training a factor more, in evaluation every expert for every token. That
    matters for comparisons of speed."""
    changes = {"routing": routing, "capacity_factor": factor, "exploration": 0.1}
    net = small.model(1, **LARGE | changes)
    program, params = lowered(net, jnp.zeros((4, 64), int), train)
    counted = program.cost_analysis()["flops"] / (4 * 64)
    assert counted == pytest.approx(analytic(net, params, room), rel=0.03)


@each_routing
def test_a_gradient_costs_three_times_the_forward_pass(routing):
    """As whoever computes training FLOPs from the table assumes: every product has one for
    each of its two arguments in the backward pass."""
    net = small.model(1, **LARGE | {"routing": routing, "exploration": 0.1})
    program, params = lowered(net, jnp.zeros((4, 64), int), train=True, gradient=True)
    counted = program.cost_analysis()["flops"] / (4 * 64)
    assert counted == pytest.approx(3 * analytic(net, params), rel=0.05)


def test_flops_of_a_classifier_are_those_that_xla_counts():
    """Members and directions multiply all layers, and words are made of pieces. 128 words a
    text make the decision, once a text, negligible."""
    spec = ClassifierSpec(
        vocab_size=50,
        num_classes=2,
        num_layers=1,
        layer=small.layer(**LARGE | {"top_k": 4}),
        num_pieces=50,
        max_pieces=3,
        piece_dim=32,
        num_members=2,
    )
    net = MocaClassifier(spec)
    program, params = lowered(net, jnp.zeros((2, 128, 1 + 3), int), train=False)
    counted = program.cost_analysis()["flops"] / (2 * 128)
    assert counted == pytest.approx(analytic(net, params), rel=0.05)
