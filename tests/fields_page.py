"""The tables of docs/reference/configs.md, from the fields of configs.

python -m tests.fields_page
"""

from collections.abc import Iterator
from pathlib import Path

from mocanet_jax.train.config.defaults import FIELDS, LANGUAGE_FIELDS, TEXT_FIELDS

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "configs.md"
BEGIN, END = "<!-- fields: begin -->\n", "<!-- fields: end -->\n"


def tables() -> str:
    """A table for each section of a config, and of kinds of tasks."""
    general = {name: x for name, x in FIELDS.items() if not isinstance(x, dict)}
    sections = {"General": general | {"mesh": FIELDS["mesh"]}}
    for name in ("model", "train", "eval", "baseline"):
        sections[f"`{name}`"] = {name: FIELDS[name]}
    sections |= {"Text classifiers": TEXT_FIELDS, "Language models": LANGUAGE_FIELDS}
    return "".join(_table(*item) for item in sections.items())


def _table(title, fields):
    rows = "".join(
        f"| `{name}` | `{default!r}` | {meaning} |\n"
        for name, (default, meaning) in _flat(fields)
    )
    return f"\n## {title}\n\n| field | default | meaning |\n|---|---|---|\n{rows}\n"


def _flat(fields, prefix="") -> Iterator[tuple[str, tuple]]:
    for name, entry in fields.items():
        if isinstance(entry, dict):
            yield from _flat(entry, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", entry


def with_tables(page: str) -> str:
    """The page with what stands between its marks replaced."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + tables() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
