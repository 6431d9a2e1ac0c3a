"""Shows the data of a text task: sizes, balance of labels, lengths, unknown words, samples.

python -m mocanet_jax.inspect --config=configs/sst2.py
python -m mocanet_jax.inspect --config=configs/sst2.py --config.data.path=DIR
python -m mocanet_jax.inspect --config=configs/text.py --config.data.path=FILE_OR_DIR
"""

from pathlib import Path

from absl import flags

from mocanet_jax import cli
from mocanet_jax.runtime import backend
from mocanet_jax.runtime.errors import UserError


def main() -> None:
    backend.start()
    from mocanet_jax.report.corpus import describe
    from mocanet_jax.tasks.text.task import TextTask
    from mocanet_jax.train.build import build_task
    from mocanet_jax.train.config.settings import check_settings

    config = cli.config_value(flags.FLAGS["config"])
    check_settings(config)
    task = build_task(config, Path())
    if not isinstance(task, TextTask):
        raise UserError(f"{config.task} has no labelled texts to look at")
    print(describe(task.read_train(), task.read_validation(), task.classes))


if __name__ == "__main__":
    cli.define_config("File with get_config.")
    cli.run(main)
