"""What a classifier made of each word of a text, as a fragment of HTML.

Text and lines have the colours of the page around it, light or dark.

Axes: L words.
"""

import html

import numpy as np

from mocanet_jax.inference.predictor import Explanation
from mocanet_jax.report.answers import SHOWN_WORDS, level
from mocanet_jax.report.pictures import INK, PARTS, SKY, VERMILION, percent

SHOWN_READINGS = 4
"""Layers, members and directions whose experts and slots have room in a row."""

FOR, AGAINST = SKY, VERMILION

STYLE = f"""
.moca {{ font-size: 14px; line-height: 1.5; overflow-x: auto; contain: inline-size }}
.moca h3 {{ font-size: 21px; margin: 0 0 2px }}
.moca .note {{ opacity: .7; font-size: 12.5px; margin: 4px 0 }}
.moca .text {{ font-size: 17px; line-height: 1.9; margin: 10px 0; overflow-wrap: anywhere }}
.moca .text span {{ border-radius: 4px; padding: 2px 3px }}
.moca .numbers {{ display: flex; flex-wrap: wrap; gap: 6px 26px; margin: 8px 0 }}
.moca .numbers b {{ display: block; font-size: 17px; font-variant-numeric: tabular-nums }}
.moca .numbers span {{ font-size: 12.5px; opacity: .75 }}
.moca table {{ border-collapse: collapse; width: 100%; margin: 6px 0 }}
.moca table, .moca tbody, .moca tr {{ border: 0 !important }}
.moca th {{ text-align: left; font-size: 12.5px; font-weight: 600; padding: 2px 12px 4px 0;
  border: 0 !important; border-bottom: 1px solid #8885 !important; white-space: nowrap;
  background: none }}
.moca td {{ padding: 2px 12px 2px 0; border: 0 !important;
  border-bottom: 1px solid #8882 !important; white-space: nowrap; background: none }}
.moca td.points {{ text-align: right; font-variant-numeric: tabular-nums }}
.moca .two {{ display: inline-flex; width: 96px; height: 10px; vertical-align: middle }}
.moca .two i {{ width: 50%; display: flex }}
.moca .two i:first-child {{ justify-content: flex-end; border-right: 1px solid #8888 }}
.moca .stack {{ display: inline-flex; width: 96px; height: 10px; background: #8883;
  vertical-align: middle }}
.moca .chip {{ display: inline-block; min-width: 20px; padding: 0 4px; margin-right: 3px;
  border-radius: 4px; text-align: center; font-size: 12px; line-height: 18px; color: #fff;
  font-variant-numeric: tabular-nums }}
.moca .chip.reads {{ color: {INK} }}
.moca .chip.closed {{ background: #8882; color: inherit; opacity: .6 }}
.moca .key {{ display: inline-block; width: 10px; height: 10px; margin: 0 4px 0 10px }}
"""
"""CSS of what is below, once a page."""


def answer(explained: Explanation, classes, multiplier: float, seconds: float) -> str:
    """The class, the usage and the time of an answer, the text coloured by influence, and a row
    a word. multiplier: λ that was used, in logits."""
    prediction = explained.prediction
    name = classes[prediction.predicted]
    confidence = f"{prediction.confidence:.1%}"
    unit = max(np.abs(explained.influence).max(), 1e-9)
    usage = float(explained.spending.total.mean())
    cut = (
        f" Only the first {len(prediction.words):,} words were read." if prediction.cut else ""
    )
    return (
        f'<div class="moca"><h3>{html.escape(name)}, {confidence}</h3>'
        f'<div class="note">{level(prediction.confidence)} confidence.{cut}</div>'
        f"{cells(numbers(usage, multiplier, seconds))}"
        f"{_text(explained, unit)}{_legend(name)}{_table(explained, unit)}</div>"
    )


def numbers(usage: float, multiplier: float, seconds: float) -> dict[str, str]:
    """Of an answer, by name. usage: share of the full compute. multiplier: λ, in logits."""
    time = f"{1e3 * seconds:.0f} ms" if seconds < 10 else f"{seconds:.0f} s"
    return {
        "of the full compute": percent(usage),
        "λ, in logits": f"{multiplier:.1f}",
        "time of this answer": time,
    }


def cells(numbers: dict[str, str]) -> str:
    """Numbers side by side, each above its name."""
    each = (f"<div><b>{value}</b><span>{name}</span></div>" for name, value in numbers.items())
    return f'<div class="numbers">{"".join(each)}</div>'


def _text(explained, unit):
    words = []
    for word, influence in zip(explained.prediction.words, explained.influence, strict=True):
        colour = FOR if influence > 0 else AGAINST
        alpha = round(200 * abs(influence) / unit)
        words.append(f'<span style="background:{colour}{alpha:02x}">{html.escape(word)}</span>')
    return f'<div class="text">{" ".join(words)}</div>'


def _legend(name):
    key = lambda colour, label: f'<i class="key" style="background:{colour}"></i>{label}'
    keys = [
        key(FOR, f"for {html.escape(name)}"),
        key(AGAINST, "against"),
        *(key(colour, part) for part, colour in PARTS.items()),
    ]
    return f'<div class="note">{"".join(keys)}</div>'


def _table(explained, unit):
    influence = explained.influence
    rows = sorted(sorted(range(len(influence)), key=lambda i: -abs(influence[i]))[:SHOWN_WORDS])
    highest = float(explained.spending.total.max())
    most = max(highest, 1e-9)
    engaged = {
        "experts": explained.experts,
        "writes": explained.slots,
        "reads": explained.read_slots,
    }
    engaged = {part: slots for part, slots in engaged.items() if slots is not None}
    titles = {"experts": "experts", "writes": "written slot", "reads": "read slot"}
    head = "".join(f"<th>{titles[part]}</th>" for part in engaged)
    body = []
    for i in rows:
        chips = "".join(
            f"<td>{_chips(slots[:, i], part)}</td>" for part, slots in engaged.items()
        )
        body.append(
            f"<tr><td>{html.escape(explained.prediction.words[i])}</td>"
            f'<td class="points">{100 * influence[i]:+.1f}</td>'
            f"<td>{_influence(influence[i] / unit)}</td>{chips}"
            f"<td>{_stack(explained.spending, i, most)}</td></tr>"
        )
    shown = len(rows) < len(influence)
    note = f" The {len(rows)} of {len(influence):,} words of most influence." if shown else ""
    return (
        f'<table><tr><th>word</th><th colspan="2">influence, points</th>{head}'
        f"<th>compute, to {percent(highest)}</th></tr>{''.join(body)}</table>"
        '<div class="note">Influence: what the probability loses without the word. A number is '
        "an expert or a slot, one a layer and direction of reading, forwards first; · is a "
        f"closed gate.{note}</div>"
    )


def _influence(share):
    bar = _bar(abs(share), FOR if share > 0 else AGAINST)
    left, right = ("", bar) if share > 0 else (bar, "")
    return f'<span class="two"><i>{left}</i><i>{right}</i></span>'


def _bar(share, colour):
    return f'<i style="width:{100 * share:.1f}%;background:{colour}"></i>'


def _stack(spending, i, most):
    bars = (_bar(getattr(spending, part)[i] / most, colour) for part, colour in PARTS.items())
    return f'<span class="stack">{"".join(bars)}</span>'


def _chips(readings, part):
    """readings: int [readings, K]."""
    chips = []
    for used in readings[:SHOWN_READINGS]:
        name = "+".join(str(i) for i in used if i >= 0)
        style = f'style="background:{PARTS[part]}"' if name else ""
        kind = part if name else "closed"
        chips.append(f'<span class="chip {kind}" {style}>{name or "·"}</span>')
    return "".join(chips) + ("…" if len(readings) > SHOWN_READINGS else "")
