"""Documents: links lead somewhere, commands and Python in the README work."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import mocanet_jax as moca
from tests import fields_page

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page):
    """Of a page's headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    kept = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.strip().replace(" ", "-") for heading in kept}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    """Pages move; a link that does not is a dead end."""
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if link.startswith(("http:", "https:")):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_every_page_is_in_the_index():
    """What is not linked from it is not found."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    for page in ROOT.glob("docs/*/*.md"):
        assert f"({page.relative_to(ROOT / 'docs')})" in index, page.name


def test_the_python_of_the_readme_runs():
    """The first lines that a user copies."""
    blocks = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL
    )
    names = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["y"].shape == names["x"].shape


def test_the_table_of_fields_is_that_of_the_code():
    """A field that is renamed would be looked for in vain; `python -m tests.fields_page`."""
    page = fields_page.PAGE.read_text(encoding="utf-8")
    assert page == fields_page.with_tables(page)


def test_the_head_of_the_contributors_guide_works():
    """It is what "one file and one export" is shown by: segments equal the whole."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    names = {}
    file, _ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(file, "CONTRIBUTING.md", "exec"), names)
    memory = moca.MemoryConfig(heads=(names["Queue"](2),), num_slots=4)
    layer = moca.MocaLayer(moca.LayerConfig(8, None, memory, None))
    x = jax.random.normal(jax.random.key(0), (2, 6, 8))
    variables, apply = jax.jit(layer.init)(jax.random.key(1), x), jax.jit(layer.apply)
    whole, _, _ = apply(variables, x)
    first, state, _ = apply(variables, x[:, :3])
    rest, _, _ = apply(variables, x[:, 3:], None, state)
    assert jnp.max(jnp.abs(whole - jnp.concatenate([first, rest], axis=1))) < 1e-5
