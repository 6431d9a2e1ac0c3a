"""What people would run instead, in PyTorch, as benchmarks time it.

Needs the extra `bench`. Every model embeds tokens, runs, and has a linear head over the
vocabulary, as the models of this package do.

Axes: B batch, T time.
"""

from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.nn import functional

LAYERS, HEADS, EXPANSION = 2, 4, 4
"""Of the Transformer."""


def training_step(
    core: str, width: int, vocab_size: int, batch: int, length: int, scored: int
) -> Callable:
    """One step with AdamW and clipping on random tokens, of which the last `scored` of each
    sequence are scored. core: "lstm", one layer, or "transformer", two causal ones of four
    heads."""
    embed, head = nn.Embedding(vocab_size, width), nn.Linear(width, vocab_size)
    if core == "lstm":
        lstm = nn.LSTM(width, width, batch_first=True)
        parts, run = [embed, lstm, head], lambda x: lstm(x)[0]
    else:
        layer = nn.TransformerEncoderLayer(
            width, HEADS, EXPANSION * width, dropout=0.0, batch_first=True
        )
        encoder = nn.TransformerEncoder(layer, LAYERS)
        causal = nn.Transformer.generate_square_subsequent_mask(length)
        parts, run = [embed, encoder, head], lambda x: encoder(x, causal, is_causal=True)
    parameters = [p for part in parts for p in part.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)
    tokens = torch.randint(0, vocab_size, (batch, length))
    targets = torch.randint(0, vocab_size, (batch, scored))

    def step():
        logits = head(run(embed(tokens))[:, -scored:])
        loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return step


def lstm_stream(width: int, vocab_size: int, bare: bool) -> Callable:
    """One token through nn.LSTMCell with carried state; with embedding and head around it, and
    the next token taken, unless `bare`."""
    embed, head = nn.Embedding(vocab_size, width), nn.Linear(width, vocab_size)
    cell = nn.LSTMCell(width, width)
    state, token = (torch.zeros(1, width), torch.zeros(1, width)), torch.zeros(1, dtype=int)
    x = torch.zeros(1, width)

    @torch.inference_mode()
    def step():
        nonlocal state, token
        if bare:
            state = cell(x, state)
        else:
            state = cell(embed(token), state)
            token = head(state[0]).argmax(-1)

    return step


def lstm_text(width: int, vocab_size: int) -> Iterator[int]:
    """Tokens without end, each drawn by its probability, from nn.LSTMCell with embedding and
    head."""
    embed, head = nn.Embedding(vocab_size, width), nn.Linear(width, vocab_size)
    cell = nn.LSTMCell(width, width)
    state, token = (torch.zeros(1, width), torch.zeros(1, width)), torch.zeros(1, dtype=int)
    while True:
        with torch.inference_mode():
            state = cell(embed(token), state)
            token = torch.multinomial(head(state[0]).softmax(-1), 1)[0]
            number = int(token)
        yield number


def transformer_stream(width: int, vocab_size: int, context: int) -> Callable:
    """One token through two layers that attend to `context` cached tokens, of which the
    newest takes the place of the oldest."""
    embed, head = nn.Embedding(vocab_size, width), nn.Linear(width, vocab_size)
    layers = [
        nn.ModuleDict(
            {
                "norm": nn.LayerNorm(width),
                "qkv": nn.Linear(width, 3 * width),
                "out": nn.Linear(width, width),
                "mlp": nn.Sequential(
                    nn.LayerNorm(width),
                    nn.Linear(width, EXPANSION * width),
                    nn.GELU(),
                    nn.Linear(EXPANSION * width, width),
                ),
            }
        )
        for _ in range(LAYERS)
    ]
    caches = torch.randn(LAYERS, 2, HEADS, context, width // HEADS)
    token, place = torch.zeros(1, dtype=int), 0

    @torch.inference_mode()
    def step():
        nonlocal token, place
        x = embed(token)
        for layer, cache in zip(layers, caches, strict=True):
            q, k, v = layer["qkv"](layer["norm"](x)).view(3, HEADS, 1, -1)
            cache[0, :, place], cache[1, :, place] = k[:, 0], v[:, 0]
            found = functional.scaled_dot_product_attention(q, *cache)
            x = x + layer["out"](found.reshape(1, width))
            x = x + layer["mlp"](x)
        token, place = head(x).argmax(-1), (place + 1) % context

    return step


def use_threads(count: int) -> None:
    torch.set_num_threads(count)


def version() -> str:
    return torch.__version__
