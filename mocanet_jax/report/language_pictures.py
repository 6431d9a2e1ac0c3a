"""A text as its model read it: each token coloured by what it spent, wrote and read.

Axes: N tokens.
"""

import html
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mocanet_jax.report.pictures import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    expert_colours,
    percent,
    plain_text,
    save,
    tidy,
)
from mocanet_jax.runtime.storage.files import replace_text

COLUMNS = 100
"""Characters of a line of the picture."""


class ColouredText(NamedTuple):
    """tokens: N texts, which together are the text. shares: by what is coloured, float [N] in
    [0, 1]. nats: float [N], the loss of each token given those before it; NaN of the first.
    groups: by layer, int [N] in [0, num_groups), the group of the best expert of each token,
        negative where none computed; None for experts without groups."""

    tokens: list[str]
    shares: dict[str, np.ndarray]
    nats: np.ndarray
    groups: dict[str, np.ndarray] | None = None
    num_groups: int = 0


class Colouring(NamedTuple):
    """One way to colour a text. colours: RGB and opacity of every token. hints: texts, one a
    token."""

    title: str
    colours: list[tuple[tuple[float, float, float], float]]
    hints: list[str]


STRONGEST = 0.7
"""Opacity of a share of 1; text on it stays legible."""

COLOURS = {"spent": GREEN, "wrote": BLUE, "read": ORANGE, "copied": PURPLE}


def page(text: ColouredText, title: str, path: Path) -> None:
    """One HTML file that needs nothing else: a paragraph for each quantity, the stronger the
    colour the higher the share; pointing at a token shows its numbers."""
    sections = [_section(text, colouring) for colouring in _colourings(text)]
    replace_text(path, PAGE.format(title=html.escape(title), body="\n".join(sections)))


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.6 sans-serif; color: #222; max-width: 60em; margin: 2em auto }}
p {{ font-family: monospace; white-space: pre-wrap; overflow-wrap: anywhere }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


def _colourings(text: ColouredText) -> Iterator[Colouring]:
    for name, shares in text.shares.items():
        rgb, mean = to_rgb(COLOURS[name]), percent(float(np.mean(shares)))
        yield Colouring(
            f"{name}: {mean} on average",
            [(rgb, STRONGEST * float(share)) for share in shares],
            [f"{name} {percent(float(share))}" for share in shares],
        )
    palette = [to_rgb(colour) for colour in expert_colours(text.num_groups)]
    for layer, groups in (text.groups or {}).items():
        used = len(set(groups[groups >= 0].tolist()))
        yield Colouring(
            f"group of experts, {layer}: {used} of {text.num_groups} here",
            [(palette[g], STRONGEST) if g >= 0 else ((1.0, 1.0, 1.0), 0.0) for g in groups],
            [f"group {g}" if g >= 0 else "no expert" for g in groups],
        )


def _section(text, colouring):
    spans = []
    for number, token in enumerate(text.tokens):
        hint, nats = colouring.hints[number], float(text.nats[number])
        hint += "" if math.isnan(nats) else f", loss {nats:.2f} nats"
        colour, opacity = colouring.colours[number]
        rgb = ",".join(str(round(255 * part)) for part in colour)
        style = f"background:rgba({rgb},{opacity:.2f})"
        spans.append(f'<span title="{hint}" style="{style}">{html.escape(token)}</span>')
    return f"<h2>{colouring.title}</h2>\n<p>{''.join(spans)}</p>"


def picture(text: ColouredText, title: str, path: Path) -> None:
    """The same as a PNG: the text once for each quantity, in lines of COLUMNS characters."""
    cells = _cells(text.tokens)
    lines = 1 + max((row for _, row, _, _ in cells), default=0)
    width = 1 + max((column for _, _, column, _ in cells), default=0)
    colourings = list(_colourings(text))
    size = (max(4.5, 0.11 * width), 0.8 + len(colourings) * (0.5 + 0.19 * lines))
    figure = Figure(figsize=size)
    axes = figure.subplots(len(colourings), 1, squeeze=False)[:, 0]
    for ax, colouring in zip(axes, colourings, strict=True):
        ax.set(xlim=(0, width), ylim=(lines, 0))
        ax.axis("off")
        ax.set_title(colouring.title, loc="left", fontsize=10, color=INK)
        for number, row, column, character in cells:
            colour, opacity = colouring.colours[number]
            style = {"color": colour, "alpha": opacity, "linewidth": 0}
            ax.add_patch(Rectangle((column, row), 1, 1, **style))
            ax.text(
                column + 0.5,
                row + 0.5,
                plain_text(character).strip() or " ",
                family="monospace",
                fontsize=7,
                ha="center",
                va="center",
            )
    figure.suptitle(title, fontsize=11)
    figure.tight_layout(h_pad=1.5, rect=(0, 0, 1, 1 - 0.3 / size[1]))
    save(figure, path)


def slots(perplexity: dict[int, float], path: Path) -> None:
    """Perplexity against the slots of a cache, of which the fewest are those of training."""
    figure = Figure(figsize=(5.5, 3.6))
    ax = figure.subplots()
    trained = min(perplexity)
    ax.plot(list(perplexity), list(perplexity.values()), color=PURPLE, marker="o", ms=4)
    ax.axvline(trained, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
    ax.annotate(
        " in training",
        (trained, 1),
        xycoords=("data", "axes fraction"),
        va="top",
        fontsize=8,
        color=INK,
    )
    ax.set_xscale("log", base=2)
    ax.set_xticks(list(perplexity), [f"{n:,}" for n in perplexity])
    ax.minorticks_off()
    ax.set(xlabel="slots of the cache at test time", ylabel="perplexity of validation, a token")
    ax.set_title("A cache enlarged without training", loc="left", fontsize=11)
    tidy(ax)
    figure.tight_layout()
    save(figure, path)


def state_bytes(perplexity: dict[int, dict[int, float]], path: Path) -> None:
    """Perplexity against the bytes of the state, a line for each number of bits."""
    figure = Figure(figsize=(5.5, 3.6))
    ax = figure.subplots()
    for (bits, found), colour in zip(perplexity.items(), (INK, PURPLE, BLUE), strict=True):
        label = f"{bits} bits a number"
        ax.plot(list(found), list(found.values()), color=colour, marker="o", ms=4, label=label)
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter(lambda size, _: f"{size / 1024:,.0f}")
    ax.minorticks_off()
    ax.set(xlabel="state of one text, KiB", ylabel="perplexity of validation, a token")
    ax.set_title("The same parameters, with more and narrower slots", loc="left", fontsize=11)
    ax.legend(frameon=False, fontsize=8)
    tidy(ax)
    figure.tight_layout()
    save(figure, path)


def _cells(tokens) -> list[tuple[int, int, int, str]]:
    """Number of the token, row, column and character of everything that is drawn; a line end
    ends a row, and is drawn as a sign."""
    cells, row, column = [], 0, 0
    for number, token in enumerate(tokens):
        for character in token:
            cells.append((number, row, column, "⏎" if character == "\n" else character))
            column += 1
            if character == "\n" or column == COLUMNS:
                row, column = row + 1, 0
    return cells
