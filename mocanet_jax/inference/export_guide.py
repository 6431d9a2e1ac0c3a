"""The README.md of an exported model, in Markdown. Its Python blocks run as they stand, in the
order they come in, in the directory of the export."""

from string import Template

import jax

from mocanet_jax.nn.config import LayerConfig
from mocanet_jax.nn.models.words import UNKNOWN_WORD
from mocanet_jax.tasks.text.task import TextTask
from mocanet_jax.tasks.text.vocabulary import FIRST_WORD, NGRAM_LENGTHS
from mocanet_jax.train.restore import Restored

LISTED_CLASSES = 20

INTRODUCTION = Template("""\
# A trained MOCA-Net

Task `$task`, step $step. The model is one program with its parameters inside; it needs none of
the code that trained it.

| file | |
|---|---|
| `model.stablehlo` | the program, serialised by `jax.export` of JAX $jax, for $platforms |
| `params.safetensors` | the parameters alone, for those who want weights |
| `config.json` | what it was trained with |
""")

TEXT_FILES = """\
| `vocabulary.json` | numbered words, the sizes of pieces of words, and the classes |
| `tokenizer.py` | raw English to words; standard library only |
"""

ARGUMENTS = Template("""
## What goes in and comes out

| | dtype, shape | |
|---|---|---|
| in: `tokens` | $tokens |
| in: `mask` | bool [batch, time] | False for padding$padding |
$outputs

Any batch and any time from 1 on. Every new pair of them is compiled once: pad to a few shapes.
""")

LOADING = """
## Load it

`pip install jax flatbuffers numpy`; JAX reads serialised programs with flatbuffers.
"""

CALL_SEQUENCE = Template("""
```python
import jax
import numpy as np

with open("model.stablehlo", "rb") as file:
    model = jax.jit(jax.export.deserialize(bytearray(file.read())).call)
tokens = np.array([[3, 1, 4, 1, 5]], np.int32)
logits = model(tokens, np.ones(tokens.shape, bool))["logits"]
```

The logits of a step depend on that step and those before it.$memory
""")

CALL_TEXT = Template("""
```python
import jax

with open("model.stablehlo", "rb") as file:
    model = jax.jit(jax.export.deserialize(bytearray(file.read())).call)
```

Words are numbered by the vocabulary from $first_word on, $unknown is any other word and 0 is
padding; behind its number a word has its pieces, hashed n-grams, with 0 for none.

```python
import json
import zlib

import numpy as np
from tokenizer import tokenize

with open("vocabulary.json", encoding="utf-8") as file:
    vocabulary = json.load(file)
numbers = {word: $first_word + i for i, word in enumerate(vocabulary["words"])}
most, buckets = vocabulary["max_pieces"], vocabulary["num_pieces"] - 1


def encode(word):
    marked, row = f"<{word}>", np.zeros(1 + most, np.int32)
    starts = [(n, i) for n in $lengths for i in range(min(len(marked) - n + 1, most))]
    grams = list(dict.fromkeys(marked[i : i + n] for n, i in starts))[:most]
    pieces = [1 + zlib.crc32(g.encode("utf-8", "surrogatepass")) % buckets for g in grams]
    row[: 1 + len(grams)] = numbers.get(word, $unknown), *pieces
    return row


def batch(texts):
    words = [tokenize(text) for text in texts]  # each has at least one
    time = 1 << max(3, (max(map(len, words)) - 1).bit_length())  # 8, 16, 32, ...
    tokens = np.zeros((len(texts), time, 1 + most), np.int32)
    for row, text in zip(tokens, words):
        row[: len(text)] = [encode(word) for word in text]
    return tokens, tokens[:, :, 0] > 0


probabilities = model(*batch(["A warm, funny film.", "Two dull hours."]))["probabilities"]
names = [vocabulary["classes"][i] for i in np.argmax(probabilities, axis=1)]
```
""")

WEIGHTS = """
## The weights

Names are dotted paths. Any reader of safetensors will do, or these lines:

```python
import json

import numpy as np

with open("params.safetensors", "rb") as file:
    header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    data = file.read()
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I32": "<i4"}
weights = {
    name: np.frombuffer(data[slice(*x["data_offsets"])], DTYPES[x["dtype"]]).reshape(x["shape"])
    for name, x in header.items()
    if name != "__metadata__"
}
```

## The program

It runs time as a scan, step by step, on every platform. That is the fast form on a CPU; an
accelerator would be served better by the parallel form, which is a program for one length and
is not exported. Products have JAX's default precision, which on some accelerators is less than
float32.

JAX promises to read a program for six months after the version that wrote it, and later
versions may refuse it (docs.jax.dev/en/latest/export/export.html, "Compatibility guarantees").
Then export again, from the training run; the weights stay readable.
"""


def guide(run: Restored, platforms: tuple[str, ...]) -> str:
    """platforms: as JAX names them."""
    text = isinstance(run.task, TextTask)
    introduction = INTRODUCTION.substitute(
        task=run.config.task,
        step=f"{run.step:,}",
        jax=jax.__version__,
        platforms=", ".join(platforms),
    )
    files, arguments, call = _of_text(run) if text else _of_sequence(run)
    return introduction + files + arguments + LOADING + call + WEIGHTS


def _of_sequence(run):
    arguments = ARGUMENTS.substitute(
        tokens=f"int32 [batch, time] | symbols in [0, {run.task.vocab_size})",
        padding="",
        outputs=f"| out: `logits` | float32 [batch, time, {run.task.vocab_size}] | "
        "of the symbol to produce at each step; without meaning where masked |",
    )
    return "", arguments, CALL_SEQUENCE.substitute(memory=_memory(run.model.layer))


def _memory(layer: LayerConfig | None) -> str:
    if layer is None or not layer.num_heads:
        return ""
    slots = layer.memory.num_slots
    return f" The memory has its trained\nsize, {slots} slots, whatever the length."


def _of_text(run):
    width = len(run.task.classes)
    names = ", ".join(run.task.classes[:LISTED_CLASSES]) + (
        f" and {width - LISTED_CLASSES} more" if width > LISTED_CLASSES else ""
    )
    arguments = ARGUMENTS.substitute(
        tokens=f"int32 [batch, time, {1 + run.task.max_pieces}] | "
        "each word's number, and its pieces",
        padding="; a text has at least one word",
        outputs=f"| out: `probabilities` | float32 [batch, {width}] | "
        f"of {names}; calibrated |\n"
        f"| out: `logits` | float32 [batch, {width}] | before calibration |",
    )
    call = CALL_TEXT.substitute(
        first_word=FIRST_WORD, unknown=UNKNOWN_WORD, lengths=NGRAM_LENGTHS
    )
    return TEXT_FILES, arguments, call
