"""A copy model on payloads of one's own: what evaluation would see, at any λ.

Axes: L symbols of a payload.
"""

import jax
import numpy as np
import pytest

from mocanet_jax.inference import copying
from mocanet_jax.inference.copying import DELAY, CopyPredictor
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.tasks.synthetic.copy import MARKER


@pytest.fixture(scope="module")
def predictor(finished):
    return CopyPredictor(finished[0])


def test_the_answer_is_that_of_the_bare_model(predictor):
    """Padding or another delay would show a model at work that is not the trained one."""
    payload = [7, 1, 125]
    copied = predictor.copy(payload)
    tokens = np.array([[*payload, *[0] * DELAY, MARKER, 0, 0, 0]])
    trained, model = predictor._trained, predictor.model
    logits, _, aux = jax.jit(lambda t: t.apply(model, tokens))(trained)
    live = np.asarray(copied.batch.mask[0])
    np.testing.assert_array_equal(copied.batch.tokens[0, live], tokens[0])
    np.testing.assert_allclose(copied.logits[0, live], logits[0], atol=1e-5)
    np.testing.assert_array_equal(copied.answer, np.argmax(logits[0, -3:], axis=-1))
    np.testing.assert_array_equal(copied.batch.targets[0][copied.batch.scored[0]], payload)
    assert copied.usage == pytest.approx(float(aux.usage.shares()["total"]), abs=1e-6)


def test_a_higher_multiplier_spends_less_with_the_same_program(predictor):
    """A slider that compiles at each of its steps answers after seconds."""
    highest = predictor.model.layer.max_multiplier
    usages = [predictor.copy([5, 9], share * highest).usage for share in (0.0, 0.03, 1.0)]
    predictor.copy([1, 2, 3, 4])
    assert usages[0] >= usages[1] >= usages[2] == 0
    assert usages[0] > 0
    assert predictor._run._cache_size() == 1


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ([], "a sequence has 1 to 4 symbols, not 0"),
        ([1] * 5, "a sequence has 1 to 4 symbols, not 5"),
        ([0], "symbols are numbers from 1 to 125"),
        ([126], "symbols are numbers from 1 to 125"),
    ],
)
def test_what_is_no_payload_is_refused(predictor, payload, message):
    """A blank or a marker in the payload is another task, whose answer means nothing."""
    with pytest.raises(UserError, match=message):
        predictor.copy(payload)


def test_a_run_of_another_task_is_refused(finished_text):
    with pytest.raises(UserError, match="holds a sst2 run, not of the copy task"):
        CopyPredictor(finished_text[0])


def test_a_run_is_finished_when_no_step_is_left(finished, tmp_path):
    """Otherwise the page trains again what is there, or shows half a training."""
    assert copying.is_finished(finished[0])
    assert not copying.is_finished(tmp_path)


def test_the_model_is_that_of_the_config(tmp_path, monkeypatch):
    """What is changed for the page must not be what decides how well it learns."""
    seen = []
    monkeypatch.setattr(copying, "train", lambda *arguments: seen.append(arguments))
    copying.train_copy(tmp_path)
    ((config, workdir, _),) = seen
    assert workdir == tmp_path
    known = copying.config_files.load("copy").to_dict()
    changed = config.to_dict()
    changed["eval"].update(lengths=known["eval"]["lengths"])
    changed["eval"].update(long_lengths=known["eval"]["long_lengths"])
    assert changed == known
