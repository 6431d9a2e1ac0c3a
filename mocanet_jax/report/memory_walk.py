"""The walk of pointers over memory slots during one sequence, as a fragment of HTML with SVG.

Axes: T time, H memory heads, S slots.
"""

import html
from collections.abc import Callable

import numpy as np

from mocanet_jax.report.pictures import BLUE, GREY, INK, ORANGE, RED, SKY
from mocanet_jax.report.sequence_pictures import TOUCHED, Answered, MemoryView, touched, wrapped
from mocanet_jax.report.word_table import cells

CELL, LEFT, TOP = 20, 64, 6
"""Of a step and a slot, and of what is beside and above them, in units of the picture."""

SECONDS_PER_STEP = 0.35
"""Of the animation."""


def walk(
    views: list[MemoryView],
    sequence: Answered,
    name: Callable[[int], str],
    numbers: dict[str, str],
) -> str:
    """Input and output, and for each layer and head the slots that are written and read, with
    dots that follow the pointers.

    name: of a symbol. numbers: what is said besides, by name.
    """
    pictures = [
        _memory(view, head, len(views))
        for view in views
        for head in range(len(view.write_weights))
    ]
    wrong = f'<span style="color:{RED}">{{}}</span>'
    made = zip(sequence.predictions, sequence.targets, sequence.scored, strict=True)
    made = ((html.escape(name(int(p))), p == t) for p, t, scored in made if scored)
    answer = "".join(text if right else wrong.format(text) for text, right in made)
    return (
        f'<div class="moca"><h3>{answer}</h3>'
        f'<div class="note">{sequence.result}</div>{cells(numbers)}{_legend()}'
        f"{_symbols(sequence, name)}{''.join(pictures)}"
        '<div class="note">A column is a step, a row a slot, up to the last that is used. Dots '
        "follow the pointers in time; where a gate is closed nothing is written or read.</div>"
        "</div>"
    )


def _legend():
    key = lambda colour, label: f'<i class="key" style="background:{colour}"></i>{label}'
    meanings = {BLUE: "written", ORANGE: "read", f"{SKY}40": "holds something", RED: "wrong"}
    keys = (key(colour, meaning) for colour, meaning in meanings.items())
    return f'<div class="note">{"".join(keys)}</div>'


def _svg(steps, height, body, label):
    width = LEFT + steps * CELL + 4
    limits = f"min-width:{0.45 * width:.0f}px;max-width:{1.25 * width:.0f}px"
    return (
        f'<svg viewBox="0 0 {width} {height}" style="display:block;width:100%;{limits}" '
        f'role="img" aria-label="{label}" '
        f'font-size="12" fill="currentColor">{body}</svg>'
    )


def _square(time, row, fill, more="", inset=1):
    side = CELL - 2 * inset
    x, y = LEFT + time * CELL + inset, TOP + row * CELL + inset
    size = f'width="{side}" height="{side}" rx="{3 * inset}"'
    return f'<rect x="{x}" y="{y}" {size} fill="{fill}" {more}/>'


def _label(text, row):
    y = TOP + (row + 0.5) * CELL
    place = f'x="{LEFT - 8}" y="{y}" text-anchor="end" dominant-baseline="central"'
    return f"<text {place}>{text}</text>"


def _symbols(sequence, name):
    """Input and output, step by step."""
    rows = [_label("input", 0), _label("output", 1)]
    for time, token in enumerate(sequence.tokens.tolist()):
        blank, marker = token == sequence.blank, token == sequence.marker
        fill = INK if marker else GREY if blank else "#C9DFC0"
        rows.append(_square(time, 0, fill, 'fill-opacity=".5"' if blank else ""))
        rows.append(_letter(time, 0, "" if blank else "▸" if marker else name(token), marker))
        if sequence.scored[time]:
            made = int(sequence.predictions[time])
            right = made == sequence.targets[time]
            rows.append(_square(time, 1, "#C9DFC0" if right else RED))
            rows.append(_letter(time, 1, name(made), not right))
    steps = len(sequence.tokens)
    return _svg(steps, 2 * TOP + 2 * CELL, "".join(rows), "input and output")


def _letter(time, row, text, light):
    x, y = LEFT + (time + 0.5) * CELL, TOP + (row + 0.5) * CELL
    size = "" if len(text) == 1 else 'font-size="9"'
    ink = "#fff" if light else INK
    return (
        f'<text x="{x}" y="{y}" fill="{ink}" text-anchor="middle" dominant-baseline="central" '
        f"{size}>{html.escape(text)}</text>"
    )


def _memory(view, head, layers):
    """The slots of one head over time; slot 0 on top, above it those that are used below it on
    the ring."""
    written = view.write_weights[head] * view.strength[:, head]
    read = view.read_weights[head] * view.reads[:, head]
    pointers = {BLUE: view.write_pointer, ORANGE: view.read_pointer}
    pointers = {c: p[:, head] for c, p in pointers.items() if p is not None}
    pointers = {c: p for c, p in pointers.items() if not np.isnan(p).any()}
    slots, steps = written.shape
    used = touched(np.maximum(written, read))
    rows = range(min(0, used.start), max(1, used.stop))
    held = np.maximum.accumulate(written, axis=1)
    body = [_label(f"slot {n % slots}", n - rows.start) for n in rows if n % 2 == 0]
    for row, slot in enumerate(n % slots for n in rows):
        for time in range(steps):
            if held[slot, time] > TOUCHED:
                body.append(_square(time, row, SKY, 'fill-opacity=".16"', inset=0))
            for share, colour in ((written[slot, time], BLUE), (read[slot, time], ORANGE)):
                if share > TOUCHED:
                    body.append(_square(time, row, colour, f'fill-opacity="{share:.2f}"'))
    body += [_path(p, colour, slots, rows.start) for colour, p in pointers.items()]
    name = (
        f"{view.layer}, head {head}" if layers > 1 or len(view.write_weights) > 1 else "memory"
    )
    counts = (int(gates[:, head].sum()) for gates in (view.writes, view.reads))
    title = "{}: {} writes and {} reads in {} steps".format(name, *counts, steps)
    height = 2 * TOP + len(rows) * CELL
    return f'<div class="note">{title}</div>{_svg(steps, height, "".join(body), title)}'


def _path(pointer, colour, slots, lowest):
    """A pale line, and a dot that moves along it; out of the picture where nothing is used."""
    time, slot = wrapped(pointer, slots, lowest)
    x, y = LEFT + (time + 0.5) * CELL, TOP + (slot - lowest + 0.5) * CELL
    points, pieces = ["M"], []
    for a, b in zip(x, y, strict=True):
        if np.isnan(a):
            points.append("M")
        else:
            pieces.append((a, b))
            points.append(f"{a:.1f},{b:.1f}")
    values = lambda n: ";".join(f"{piece[n]:.1f}" for piece in pieces)
    clock = f'dur="{SECONDS_PER_STEP * len(pieces):.1f}s" repeatCount="indefinite"'
    moves = "".join(
        f'<animate attributeName="{axis}" values="{values(n)}" {clock}/>'
        for n, axis in enumerate(("cx", "cy"))
    )
    cx, cy = pieces[-1]
    return (
        f'<path d="{" ".join(points)}" fill="none" stroke="{colour}" stroke-opacity=".55" '
        f'stroke-width="1.5"/><circle cx="{cx:.1f}" cy="{cy:.1f}" r="6" fill="{colour}" '
        f'stroke="#fff" stroke-width="2">{moves}</circle>'
    )
