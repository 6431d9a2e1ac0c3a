"""A pretrained encoder as a teacher: it is fine-tuned on labelled texts, and then writes the
probabilities of each class for any number of further texts, for `config.data.soft_labels`
(Hinton et al., 2015; Tang et al., 2019, for small recurrent students).

    pip install torch transformers
    python examples/teacher.py train --model=NAME_OR_DIR --data=train.tsv --out=teacher
    python examples/teacher.py label --model=teacher --texts=more.txt --texts=train.tsv \
        --classes=negative,positive --out=soft.jsonl
    mocanet train sst2:distilled --config.data.path=DIR --config.data.soft_labels=soft.jsonl

Needs PyTorch, which mocanet_jax itself never imports. Files of texts are tables with a column
`sentence` or `text`, or one text a line; .xz and .gz are read as they are.
"""

import argparse
import csv
import gzip
import json
import lzma
import random
import re
import time
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

SENTENCE_END = re.compile(r"(?<=[.!?])[\"')]*\s+(?=[\"'(]*[A-Z0-9])")
MARKUP = re.compile(r"<[^>]{1,20}>|\s+")
TEXT_COLUMNS = ("sentence", "text", "review")


def lines_of(path: str) -> list[str]:
    """Lines of a file of UTF-8, which may be compressed."""
    opened = {".xz": lzma.open, ".gz": gzip.open}.get(Path(path).suffix, open)
    with opened(path, "rt", encoding="utf-8", newline="\n") as file:
        return file.read().split("\n")


def table(path: str) -> tuple[list[str], list[str] | None]:
    """Texts, and labels where there is a column of them."""
    rows = [line for line in lines_of(path) if line.strip()]
    names = rows[0].lower().split("\t")
    column = next((names.index(name) for name in TEXT_COLUMNS if name in names), None)
    if column is None:
        return rows, None
    fields = list(csv.reader(rows[1:], delimiter="\t", quoting=csv.QUOTE_NONE))
    labels = names.index("label") if "label" in names else None
    texts = [row[column].strip() for row in fields]
    return texts, labels if labels is None else [row[labels] for row in fields]


def sentences_of(texts: list[str], words: range) -> list[str]:
    """Sentences of as many words as lie in `words`, each once, in their order."""
    plain = (MARKUP.sub(" ", text).strip() for text in texts)
    found = (sentence for text in plain for sentence in SENTENCE_END.split(text))
    return list(dict.fromkeys(s for s in found if len(s.split()) in words))


def batches(lengths: list[int], tokens: int, shuffled: random.Random | None) -> list[list[int]]:
    """Numbers of texts of similar length, some `tokens` of them a batch when padded."""
    order = list(range(len(lengths)))
    noise = (lambda: shuffled.random() * 2) if shuffled else (lambda: 0)
    order.sort(key=lambda i: lengths[i] + noise())
    found, batch = [], []
    for i in order:
        if batch and (len(batch) + 1) * lengths[i] > tokens:
            found.append(batch)
            batch = []
        batch.append(i)
    found.append(batch)
    if shuffled:
        shuffled.shuffle(found)
    return found


class Encoder:
    """The model, its tokenizer, and logits of texts in mixed precision."""

    def __init__(self, name: str, classes: int | None = None):
        sizes = {} if classes is None else {"num_labels": classes}
        self.tokenizer = AutoTokenizer.from_pretrained(name)
        self.model = AutoModelForSequenceClassification.from_pretrained(name, **sizes)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model.to(self.device)

    def encoded(self, texts: list[str], longest: int) -> list[list[int]]:
        return self.tokenizer(texts, truncation=True, max_length=longest)["input_ids"]

    def logits(self, numbers: list[list[int]]) -> torch.Tensor:
        """float32 [texts, classes]."""
        inputs = self.tokenizer.pad({"input_ids": numbers}, return_tensors="pt")
        with torch.autocast(self.device, torch.bfloat16):
            return self.model(**inputs.to(self.device)).logits.float()


def train(args) -> None:
    texts, names = table(args.data)
    classes = sorted(set(names))
    chosen = random.Random(args.seed)
    torch.manual_seed(args.seed)
    kept = [i for i, t in enumerate(texts) if len(t.split()) >= args.shortest]
    labels = torch.tensor([classes.index(names[i]) for i in kept])
    encoder = Encoder(args.model, len(classes))
    numbers = encoder.encoded([texts[i] for i in kept], args.longest)
    lengths = [len(row) for row in numbers]
    epochs = [batches(lengths, args.tokens, chosen) for _ in range(args.epochs)]
    steps = sum(map(len, epochs))
    encoder.model.get_input_embeddings().requires_grad_(False)  # large, and it changes little
    learned = [p for p in encoder.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learned, args.rate, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1, (s + 1) / (0.06 * steps)) * (1 - s / steps)
    )
    encoder.model.train()
    began, total = time.monotonic(), 0.0
    for step, batch in enumerate((batch for epoch in epochs for batch in epoch), start=1):
        logits = encoder.logits([numbers[i] for i in batch])
        loss = torch.nn.functional.cross_entropy(logits, labels[batch].to(logits.device))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        schedule.step()
        total += loss.item()
        if step % 100 == 0 or step == steps:
            spent = time.monotonic() - began
            print(f"step {step}/{steps}  loss {total / 100:.4f}  {spent:.0f} s", flush=True)
            total = 0.0
    encoder.model.save_pretrained(args.out)
    encoder.tokenizer.save_pretrained(args.out)


@torch.inference_mode()
def label(args) -> None:
    texts = []
    for path in args.texts:
        found, labels = table(path)
        if args.sentences and labels is None:
            found = sentences_of(found, range(3, 41))
            random.Random(args.seed).shuffle(found)
            found = found[: args.sentences]
        elif labels is not None:
            found = [text for text in found if len(text.split()) >= args.shortest]
        texts += found
    classes = args.classes.split(",")
    encoder = Encoder(args.model)
    encoder.model.eval().bfloat16()
    began, done = time.monotonic(), 0
    with open(args.out, "w", encoding="utf-8") as file:
        for start in range(0, len(texts), args.piece):
            piece = texts[start : start + args.piece]
            numbers = encoder.encoded(piece, args.longest)
            for batch in batches([len(row) for row in numbers], args.tokens, None):
                shares = torch.softmax(encoder.logits([numbers[i] for i in batch]), -1)
                for i, row in zip(batch, shares.tolist(), strict=True):
                    values = {c: round(p, 4) for c, p in zip(classes, row, strict=True)}
                    line = {"text": piece[i], "probabilities": values}
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
            done += len(piece)
            file.flush()
            spent = time.monotonic() - began
            print(f"{done:,} of {len(texts):,} texts  {spent:.0f} s", flush=True)


def score(args) -> None:
    """Accuracy on a table with labels, in the order of the sorted names of training."""
    texts, names = table(args.data)
    classes = sorted(set(names))
    encoder = Encoder(args.model)
    encoder.model.eval()
    numbers = encoder.encoded(texts, args.longest)
    right = 0
    with torch.inference_mode():
        for batch in batches([len(row) for row in numbers], args.tokens, None):
            answers = encoder.logits([numbers[i] for i in batch]).argmax(-1).tolist()
            right += sum(classes[a] == names[i] for a, i in zip(answers, batch, strict=True))
    print(f"accuracy {right / len(texts):.2%} of {len(texts):,} texts")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    for run in (train, label, score):
        command = commands.add_parser(run.__name__)
        command.set_defaults(run=run)
        command.add_argument("--model", required=True, help="directory or name")
        command.add_argument("--longest", type=int, default=128, help="tokens of a text")
        command.add_argument("--tokens", type=int, default=1024, help="of a batch")
        command.add_argument("--seed", type=int, default=0)
        if run is not label:
            command.add_argument("--data", required=True, help="table with labels")
        if run is not score:
            command.add_argument("--out", required=True)
            command.add_argument("--shortest", type=int, default=1, help="words of a text")
        if run is train:
            command.add_argument("--epochs", type=int, default=2)
            command.add_argument("--rate", type=float, default=5e-5)
        if run is label:
            command.add_argument("--texts", action="append", required=True)
            command.add_argument("--classes", required=True, help="names, in order")
            command.add_argument("--sentences", type=int, default=0, help="of a file of texts")
            command.add_argument("--piece", type=int, default=20_000)
        command.add_argument("--threads", type=int, default=0, help="0 for as many as cores")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    args.run(args)


if __name__ == "__main__":
    main()
