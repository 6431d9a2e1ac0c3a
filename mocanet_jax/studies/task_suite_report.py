"""What a suite of tasks found, as a Markdown table, JSON and a picture."""

from pathlib import Path
from statistics import median

from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage.files import regular, replace_text, write_json
from mocanet_jax.studies import task_suite_pictures
from mocanet_jax.studies.study_report import ABSENT, failures, failures_as_json, table
from mocanet_jax.studies.task_suite import Reached, SuiteFindings

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
"""Lines of a document between which the table stands."""


def write(findings: SuiteFindings, out: Path) -> None:
    """tasks.md, tasks.json and tasks.png in `out`."""
    write_json(out / "tasks.json", as_json(findings))
    replace_text(out / "tasks.md", f"# Tasks of memory\n\n{markdown(findings)}")
    task_suite_pictures.accuracy_by_length(findings.rows, out / "tasks.png")


def as_json(findings: SuiteFindings) -> dict:
    return {
        "seeds": findings.num_seeds,
        "minutes": findings.minutes,
        "rows": [_row_as_json(row) for row in findings.rows],
        "failed": failures_as_json(findings.failed),
    }


def _row_as_json(row):
    scores, solved = list(row.scores.values()), row.solved
    values = lambda key: [result[key] for result in row.results.values()]
    middle = lambda key: median(one[key] for one in solved) if solved else None
    return {
        "task": row.task,
        "model": row.model,
        "learning_rate": row.chosen.settings["learning_rate"],
        "validation_loss_by_learning_rate": {str(k): loss for k, loss in row.losses.items()},
        "parameters": row.best["parameters"],
        "state_size": row.best["state_size"],
        "state_bytes": row.best.get("state_bytes"),
        "seeds": list(row.results),
        "best_seed": row.best_seed,
        "score": {
            "best": row.scores.get(row.best_seed),
            "max": max(scores, default=None),
            "median": median(scores) if scores else None,
            "min": min(scores, default=None),
            "values": scores,
        },
        "accuracy": {"best": row.best["eval/accuracy"], "values": values("eval/accuracy")},
        "accuracy_by_length": row.best["eval/accuracy_by_length"],
        "solved": len(solved) / len(row.results),
        "solved_step": {"median": middle("solved_step"), "values": values("solved_step")},
        "solved_seconds": {
            "median": middle("solved_seconds"),
            "values": values("solved_seconds"),
        },
        "trained_steps": values("trained_steps"),
        "evaluated_step": values("evaluated_step"),
    }


def markdown(findings: SuiteFindings) -> str:
    """The table, what it is of, and the runs that are missing from it."""
    rates = sorted({rate for row in findings.rows for rate in row.losses})
    limit = f", at most {findings.minutes:g} minutes a run" if findings.minutes else ""
    paragraphs = [
        f"Seeds: {findings.num_seeds}{limit}. Learning rates: {', '.join(map(str, rates))}.",
        table(findings.rows, COLUMNS),
    ]
    paragraphs += failures(findings.failed)
    return "\n\n".join(paragraphs) + "\n"


def _percent(share):
    return f"{100 * share:.2f}"


def _scores(of):
    return lambda row: _percent(of(row)) if row.scores else ABSENT


def _to_solve(key):
    def say(row: Reached) -> str:
        return f"{median(one[key] for one in row.solved):,.0f}" if row.solved else ABSENT

    return say


def _bytes(count):
    """Which runs of older versions did not count."""
    return f"{count:,}" if count else ABSENT


COLUMNS = [
    ("task", lambda row: row.task),
    ("model", lambda row: row.model),
    ("beyond, %: best", _scores(lambda row: row.scores[row.best_seed])),
    ("max", _scores(lambda row: max(row.scores.values()))),
    ("median", _scores(lambda row: median(row.scores.values()))),
    ("worst", _scores(lambda row: min(row.scores.values()))),
    ("in training, %: best", lambda row: _percent(row.best["eval/accuracy"])),
    ("solved", lambda row: f"{len(row.solved)}/{len(row.results)}"),
    ("steps to solve", _to_solve("solved_step")),
    ("seconds", _to_solve("solved_seconds")),
    ("parameters", lambda row: f"{row.best['parameters']:,}"),
    ("state", lambda row: f"{row.best['state_size']:,}"),
    ("bytes of state", lambda row: _bytes(row.best.get("state_bytes"))),
    ("learning rate", lambda row: str(row.chosen.settings["learning_rate"])),
]


def put_into(document: Path, text: str) -> None:
    """Replaces what stands between the lines BEGIN and END of a document.

    Raises UserError, and leaves it as it is, where it has not one of each in this order.
    """
    before, after = around_results(document)
    replace_text(document, "\n".join([*before, BEGIN, "", text.rstrip("\n"), "", END, *after]))


def around_results(document: Path) -> tuple[list[str], list[str]]:
    """The lines before BEGIN and those behind END. Raises UserError as `put_into` does."""
    lines = regular(document).read_text(encoding="utf-8").split("\n")
    if lines.count(BEGIN) == lines.count(END) == 1 and BEGIN in lines[: lines.index(END)]:
        return lines[: lines.index(BEGIN)], lines[lines.index(END) + 1 :]
    raise UserError(
        f"{document} needs one line {BEGIN} and, behind it, one line {END}; results go between"
    )
