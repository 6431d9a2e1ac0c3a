from ml_collections import ConfigDict

from mocanet_jax.train.checkpoints.record import Progress, Record, as_fields, of_fields
from mocanet_jax.train.config import language_config, text_config
from mocanet_jax.train.config.completion import completed
from mocanet_jax.train.config.settings import plain
from tests.train import tiny


def test_fields_that_a_record_lacks_are_at_their_defaults():
    """Else a run, or the model in the package, is refused for a field that came later."""
    for config in (tiny.config(), text_config(), language_config()):
        whole = plain(config)
        older = plain(ConfigDict(whole))
        del older["model"]["slot_bits"]
        del older["model"]["experts"]["groups"]
        del older["model"]["controller"]["automata"]
        del older["eval"]["test_sequences"]
        found = completed(older)
        assert found.keys() == older.keys()
        assert found["model"]["slot_bits"] == 32
        assert found["model"]["controller"]["automata"] == {"count": 0, "states": 8, "maps": 8}
        assert completed(whole) == whole, "what is there is left alone"


def test_fields_of_one_kind_of_task_are_not_given_to_others():
    assert "classifier" not in completed(plain(tiny.config()))["model"]
    texts = plain(text_config())
    del texts["model"]["classifier"]["segment"]
    assert completed(texts)["model"]["classifier"]["segment"] == 0
    language = plain(language_config())
    del language["eval"]["slots_factor"]
    assert completed(language)["eval"]["slots_factor"] == 1


def test_records_are_read_with_them():
    older = plain(tiny.config())
    del older["model"]["slot_bits"]
    record = Record(Progress(older, {}, 0.0, 0.0, 0.0, False), 0.5, {})
    read = of_fields(as_fields(record))
    assert read.progress.config == plain(tiny.config())
    assert read.progress.config["model"]["slot_bits"] == 32
