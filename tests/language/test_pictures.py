"""A text as the model read it."""

import re

import numpy as np
import pytest

from mocanet_jax.report import language, language_pictures
from mocanet_jax.report.language_pictures import ColouredText
from mocanet_jax.tasks.corpora.tokenizers import Words
from mocanet_jax.train.restore import restored
from tests.report.drawing import drawn

TEXT = ColouredText(
    ["a", "<", "\n", "b"],
    {"spent": np.array([0.0, 0.5, 1.0, 0.5]), "read": np.array([1.0, 0.0, 0.0, 0.0])},
    np.array([np.nan, 2.0, 3.0, 4.0]),
)


def test_a_page_holds_the_text_once_for_each_quantity(tmp_path):
    """With its markup escaped, and nothing from elsewhere."""
    language_pictures.page(TEXT, "a <title>", tmp_path / "text.html")
    page = (tmp_path / "text.html").read_text(encoding="utf-8")
    plain = re.sub(r"<[^>]*>", "", page)
    assert plain.count("a&lt;\nb") == 2
    assert "a &lt;title&gt;" in page
    assert "spent: 50 % on average" in page
    assert "read: 25 % on average" in page
    assert "loss 3.00 nats" in page
    assert "nan" not in page
    assert "http" not in page
    assert "src=" not in page


def test_a_picture_shows_it(tmp_path):
    drawn(language_pictures.picture, TEXT, "title", path=tmp_path / "text.png")


def test_groups_of_experts_have_colours_of_their_own(tmp_path):
    """A token without an expert has none."""
    grouped = TEXT._replace(groups={"layer 0": np.array([2, 0, -1, 2])}, num_groups=4)
    language_pictures.page(grouped, "title", tmp_path / "text.html")
    page = (tmp_path / "text.html").read_text(encoding="utf-8")
    (tmp_path / "text.html").unlink()
    assert "group of experts, layer 0: 2 of 4 here" in page
    spans = r'title="(group \d|no expert)[^>]*style="background:rgba\(([^)]*)\)'
    styles = re.findall(spans, page)
    (first, a), (second, b), (third, c), (fourth, d) = styles
    assert (first, second, third, fourth) == ("group 2", "group 0", "no expert", "group 2")
    assert a == d != b
    assert c.endswith(",0.00")
    drawn(language_pictures.picture, grouped, "title", path=tmp_path / "text.png")


@pytest.mark.parametrize("spaced", [True, False])
def test_tokens_of_a_text_join_into_it(spaced):
    """Words have their spaces, line ends none."""
    words = Words(False, ("<unk>", "<eos>", "a", "b"))
    ids = np.array([2, 3, 1, 2] if spaced else [2])
    assert "".join(language._texts(words, ids)) == ("a b\na" if spaced else "a")


def test_a_cache_is_measured_with_more_slots(finished_language, monkeypatch, tmp_path):
    """The first figure is that of the run itself; each has as many slots as it says."""
    workdir, _ = finished_language
    run = restored(workdir)
    monkeypatch.setattr(language, "SLOTS_FACTORS", (1, 3))
    found = language.perplexity_by_slots(run.config, run.model, run.task, run.trained)
    slots = run.model.cache.num_slots
    assert list(found) == [slots, 3 * slots]
    assert found[slots] == pytest.approx(run.progress.validation["perplexity"], rel=1e-4)
    assert found[3 * slots] != pytest.approx(found[slots], rel=1e-4)
    drawn(language_pictures.slots, found, path=tmp_path / "slots.png")
    by_bytes = language.perplexity_by_bytes(run.config, run.task, run.trained, found)
    assert list(by_bytes[32].values()) == list(found.values())
    sizes = {bits: list(perplexity) for bits, perplexity in by_bytes.items()}
    assert sizes[32][0] > sizes[8][0] > sizes[4][0]
    assert len(sizes[8]) == len(sizes[4]) == 1
    folder = tmp_path / "other"
    folder.mkdir()
    drawn(language_pictures.state_bytes, by_bytes, path=folder / "state_bytes.png")


def test_copies_are_coloured(finished_language):
    run = restored(finished_language[0])
    ids = run.task.held_out["valid"].ids[:20]
    shares = language.coloured(run.model, run.task, run.trained, ids).shares
    assert set(shares) == {"spent", "wrote", "read", "copied"}
    assert not shares["copied"][:2].any()  # nothing stands before the first two
    assert (shares["copied"][2:] > 0).all()
