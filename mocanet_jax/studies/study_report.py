"""What a study found, as Markdown tables, JSON and a picture."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from mocanet_jax.runtime.storage.files import replace_text, write_json
from mocanet_jax.studies import study_pictures
from mocanet_jax.studies.study import ACCURACY, EXACT_MATCH, Findings, Outcome, Row, Spread

ABSENT = "–"
R = TypeVar("R")
Column = tuple[str, Callable[[Row], str]]


def write_ablation(findings: Findings, out: Path) -> None:
    """ablation.md, ablation.json and ablation.png in `out`."""
    columns = [("", lambda row: row.variant.name), *_scores(findings), *ABLATION_COLUMNS]
    _write(findings, out / "ablation", "Ablations of", columns)
    study_pictures.ablation(findings.rows, out / "ablation.png")


def write_budgets(findings: Findings, out: Path) -> None:
    """frontier.md, frontier.json and frontier.png in `out`."""
    columns = [("routing", _routing), *_scores(findings), *BUDGET_COLUMNS]
    title = f"{findings.score.label.capitalize()} against compute:"
    _write(findings, out / "frontier", title, columns)
    study_pictures.budgets(findings.rows, out / "frontier.png")


def _write(findings, stem, title, columns):
    write_json(stem.with_suffix(".json"), as_json(findings))
    replace_text(stem.with_suffix(".md"), markdown(findings, title, columns))


def as_json(findings: Findings) -> dict:
    return {
        "config": findings.file,
        "overrides": findings.overrides,
        "seeds": findings.num_seeds,
        "rows": [_row_as_json(row) for row in findings.rows],
        "equal_to_control": findings.equal,
        "failed": failures_as_json(findings.failed),
    }


def _row_as_json(row):
    spreads = {name: _spread_as_json(spread) for name, spread in row.measured.items()}
    difference = row.difference and _spread_as_json(row.difference)
    own = {"name": row.variant.name, **row.variant.settings, "seeds": list(row.seeds)}
    return own | spreads | {f"{row.score.name}_minus_control": difference}


def _spread_as_json(spread):
    ends = [spread.lowest, spread.highest]
    return {"mean": spread.mean, "range": ends, "values": list(spread.values)}


def markdown(findings: Findings, title: str, columns: list[Column]) -> str:
    """A table of means, a table of each seed's score, and what is missing from them.

    columns: a heading, and what a row says under it; the first names the row.
    """
    paragraphs = [f"# {title} {findings.file}"]
    if findings.overrides:
        fields = ", ".join(f"{field}={value}" for field, value in findings.overrides.items())
        paragraphs.append(f"With `{fields}`.")
    spread = "One seed, so no range."
    if findings.num_seeds > 1:
        spread = f"Means over {findings.num_seeds} seeds (lowest to highest seed)."
    paragraphs.append(f"{spread} Usage is the share of everything that this model could use.")
    rows, name = findings.rows, columns[0]
    shown = [(head, say) for head, say in columns if any(say(row) != ABSENT for row in rows)]
    seeds = [(f"seed {seed}", _score_of(seed)) for seed in range(findings.num_seeds)]
    paragraphs += [table(rows, shown), f"{findings.score.heading.capitalize()} of each seed:"]
    paragraphs.append(table(rows, [name, *seeds]))
    paragraphs += [f"`{name}` equals the control with this config." for name in findings.equal]
    paragraphs += _over_budget(rows)
    paragraphs += failures(findings.failed)
    return "\n\n".join(paragraphs) + "\n"


def _over_budget(rows):
    """A line for each row that has seeds without a checkpoint within the budget."""
    for row in rows:
        if "within_budget" in row.measured:
            kept = zip(row.seeds, row.measured["within_budget"].values, strict=True)
            over = [str(seed) for seed, within in kept if not within]
            if over:
                yield (
                    f"{row.variant.name}: no checkpoint of seed {', '.join(over)} is within "
                    "the budget; the one of lowest loss is shown."
                )


def failures(failed: Sequence[Outcome]) -> list[str]:
    """A line for each run that failed."""
    return [
        f"{cell.variant.name}, seed {cell.seed} failed: {problem}"
        for cell, _, problem, _ in failed
    ]


def failures_as_json(failed: Sequence[Outcome]) -> list[dict]:
    return [
        {"name": cell.variant.name, "seed": cell.seed, "problem": problem}
        for cell, _, problem, _ in failed
    ]


def table(rows: Sequence[R], columns: Sequence[tuple[str, Callable[[R], str]]]) -> str:
    """A Markdown table. columns: a heading, and what a row says under it."""
    heads = [head for head, _ in columns]
    rule = ["---"] + ["---:"] * (len(heads) - 1)
    cells = [[say(row) for _, say in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [heads, rule, *cells])


def percent(spread: Spread) -> str:
    """A share with its range over seeds, in percent."""
    return _with_range(spread, ACCURACY.text)


def _number(spread, digits):
    return _with_range(spread, lambda value: f"{value:,.{digits}f}")


def _with_range(spread, form):
    mean, low, high = map(form, (spread.mean, spread.lowest, spread.highest))
    return mean if len(spread.values) == 1 else f"{mean} ({low} to {high})"


def _measured(name, form):
    return lambda row: form(row.measured[name]) if name in row.measured else ABSENT


def _mean(digits):
    return lambda spread: f"{spread.mean:,.{digits}f}"


def _difference(row):
    if row.difference is None:
        return ABSENT
    return _with_range(row.difference, lambda value: row.score.text(value, "+"))


def _usage(row):
    share = lambda name: f"{100 * row.measured[name].mean:.0f}"
    parts = ", ".join(share(f"usage_{part}") for part in ("experts", "writes", "reads"))
    return f"{share('usage')} ({parts})"


def _routing(row):
    settings = row.variant.settings
    if settings["routing"] == "topk":
        return f"fixed, K = {settings['top_k_experts']}"
    return f"{settings['routing']}, target {settings['target_budget']:g}"


def _score_of(seed):
    def say(row):
        if seed not in row.seeds:
            return ABSENT
        return row.score.text(row.measured[row.score.name].values[row.seeds.index(seed)])

    return say


def _scores(findings) -> list[Column]:
    score = findings.score
    own = lambda of: (of.heading, _measured(of.name, lambda s: _with_range(s, of.text)))
    points = "points" if score is ACCURACY else "bits"
    return [own(score), (f"difference, {points}", _difference), own(EXACT_MATCH)]


SPENT = [
    ("usage, % (experts, writes, reads)", _usage),
    ("steps", _measured("steps", _mean(0))),
    ("evaluated step", _measured("evaluated_step", _mean(0))),
    ("seconds", _measured("wall_seconds", _mean(0))),
]
ABLATION_COLUMNS = [
    ("parameters", _measured("parameters", _mean(0))),
    ("FLOPs per token", _measured("flops_per_token", _mean(0))),
    *SPENT,
]
BUDGET_COLUMNS = [
    ("FLOPs per token", _measured("flops_per_token", lambda spread: _number(spread, 0))),
    ("ms per step", _measured("milliseconds_per_step", lambda spread: _number(spread, 1))),
    *SPENT,
]
