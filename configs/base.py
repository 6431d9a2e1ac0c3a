"""Defaults of every config, and the ablations that any task can be run with."""

from ml_collections import ConfigDict


def base_config() -> ConfigDict:
    config = ConfigDict()
    config.task = ""
    config.seed = 0
    config.data = ConfigDict()

    mesh = config.mesh = ConfigDict()  # of devices; -1 for all that are left
    mesh.data = -1
    mesh.expert = 1  # devices that share the experts of one copy of the model

    model = config.model = ConfigDict()
    model.name = "moca"  # or one of config.baseline, whose sizes then take the place of these
    model.embedding_dim = 128
    model.num_layers = 1
    model.use_controller = True
    model.use_memory = True
    model.num_memory_heads = 1
    model.num_location_heads = 1
    model.num_association_heads = 0
    model.num_order_heads = 0  # the other memory heads have a key for every slot
    model.num_memory_slots = 64
    model.top_k_slots = 3
    model.pointer_sharpness = 1.0
    model.tape = "ring"  # or loop, where reads go round what was written, or stack
    model.max_laps = 1  # of a loop that the model tells apart
    model.counters = ()  # sizes of counters, each modulo its size
    model.router_temperature = 1.0
    model.use_experts = True
    model.num_experts = 4
    model.top_k_experts = 1
    model.expert_hidden_dim = 128
    model.expert_capacity_factor = 1.25
    model.routing = "dynamic"  # or topk
    model.target_budget = 1.0
    model.budget_loss_weight = 0.05
    model.budget_loss_when_grown = 1.0  # share of it, once lengths are grown
    model.price_rate = 0.3
    model.exploration = 0.01
    model.balance_loss_weight = 0.01
    model.z_loss_weight = 0.001
    model.commitment_loss_weight = 0.0  # on what stands halfway, once pointers are rounded
    model.remat = False  # compute layers anew for their gradients, to save memory
    model.activations = "float32"  # or bfloat16, which accelerators move and multiply faster
    model.time = "auto"  # scan on CPU, parallel on accelerators

    baseline = config.baseline = ConfigDict()
    lstm = baseline.lstm = ConfigDict()
    lstm.num_layers = 1
    lstm.width = 256
    lstm.mlp_dim = 0
    lstm.tied_head = True
    transformer = baseline.transformer = ConfigDict()
    transformer.num_layers = 2
    transformer.width = 128
    transformer.num_heads = 4
    transformer.mlp_dim = 352
    transformer.tied_head = True
    deltanet = baseline.deltanet = ConfigDict()
    deltanet.num_layers = 2
    deltanet.width = 128
    deltanet.num_heads = 2
    deltanet.key_dim = 64
    deltanet.value_dim = 64  # a layer's state is heads · key · value = 64 slots of 128
    deltanet.chunk_size = 16
    deltanet.mlp_dim = 352
    deltanet.tied_head = True

    training = config.training = ConfigDict()
    training.batch_size = 32
    training.accumulate_steps = 1  # parts of a batch, one after another, to save memory
    training.max_steps = 300
    training.max_minutes = 0.0  # compilation included; the last step depends on the machine
    training.learning_rate = 3e-3
    training.warmup_steps = 20
    training.gradient_clip_norm = 1.0
    training.weight_decay = 0.01
    training.adam_b2 = 0.99
    training.average_decay = 0.0  # of the running average that is evaluated; 0 for none
    training.state_noise = 0.3  # on the controllers' first state
    training.shortest = 1  # of the lengths trained on
    training.curriculum_accuracy = 0.97  # a batch above it makes training lengths grow
    training.curriculum_growth = 1.1
    training.curriculum_retreat = 0.0  # a batch below it makes them shrink again
    training.log_every = 10
    training.eval_every = 50
    training.save_every = 50
    training.on_nonfinite = "stop"  # or skip, which learns nothing from such a batch
    training.nonfinite_patience = 10  # batches to skip in a row before giving up
    training.stop_at_loss = 0.0  # nats of validation; 0 never stops early

    evaluation = config.eval = ConfigDict()
    evaluation.validation_sequences = 256
    evaluation.test_sequences = 1024
    evaluation.lengths = ()
    evaluation.sequences_per_length = 256
    evaluation.long_lengths = ()
    evaluation.sequences_per_long_length = 16
    evaluation.tokens_per_batch = 16_512  # 128 sequences of 129 steps
    return config


def no_memory(config: ConfigDict) -> None:
    config.model.use_memory = False


def no_experts(config: ConfigDict) -> None:
    """Without a target, which is a share of everything on: of the memory alone it would be a
    far smaller budget."""
    config.model.use_experts = False
    config.model.target_budget = 1.0


def no_controller(config: ConfigDict) -> None:
    config.model.use_controller = False


def no_location(config: ConfigDict) -> None:
    """Every memory head addresses by content."""
    config.model.num_location_heads = 0


def no_budget(config: ConfigDict) -> None:
    """Gates stay, and nothing presses on them."""
    config.model.target_budget = 1.0
    config.model.budget_loss_weight = 0.0


def fixed_topk(config: ConfigDict) -> None:
    """K experts, a write and a read at every token; no target, which nothing could follow."""
    config.model.routing = "topk"
    config.model.target_budget = 1.0


def dense_routing(config: ConfigDict) -> None:
    """Everything on at every token."""
    no_budget(config)
    config.model.routing = "topk"
    # A reference, so that K is E also where a flag sets E later.
    config.model.top_k_experts = config.model.get_oneway_ref("num_experts")


def smaller_model(config: ConfigDict) -> None:
    """Half as wide; vectors of pieces of words stay."""
    config.model.embedding_dim //= 2
    config.model.expert_hidden_dim //= 2


ABLATIONS = {
    f.__name__: f
    for f in (
        no_memory,
        no_experts,
        no_controller,
        no_location,
        no_budget,
        fixed_topk,
        dense_routing,
        smaller_model,
    )
}


def with_ablation(config: ConfigDict, name: str | None) -> ConfigDict:
    """The config after `--config=FILE:NAME`; None or empty is the baseline."""
    if name and name not in ABLATIONS:
        raise ValueError(f"unknown ablation {name!r}; known: {', '.join(ABLATIONS)}")
    if name:
        ABLATIONS[name](config)
    return config
