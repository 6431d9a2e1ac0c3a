"""The final evaluation of a language model, as a table."""

from rich.console import Console

from mocanet_jax.evaluate.results import LanguageResults
from mocanet_jax.report.terminal import say, table
from mocanet_jax.tasks.corpora.task import LanguageTask


def show(console: Console, results: LanguageResults, task: LanguageTask) -> None:
    """Loss, bits and perplexity of each split, and how much of the text the model could see."""
    columns = ("split", "tokens", "nats/token", "bits/character", "bits/byte", "usage")
    words = task.vocabulary.kind == "words"
    grid = table(*columns, "perplexity/word" if words else "accuracy")
    for split, m in results.splits.items():
        last = f"{m['perplexity']:.2f}" if words else f"{m['accuracy']:.2%}"
        rates = (m["loss"], m["bits_per_character"], m["bits_per_byte"])
        grid.add_row(
            split,
            f"{m['tokens']:,.0f}",
            *(f"{x:.4f}" for x in rates),
            f"{m['usage']:.2%}",
            last,
        )
    console.print(grid)
    seen = "all tokens before it"
    if results.context:
        seen = "{:,} to {:,} tokens before it".format(*results.context)
    say(console, f"each token is predicted from {seen}")
