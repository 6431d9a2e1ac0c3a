"""Training. The package itself can be called, as `mocanet_jax.train(config, workdir)`."""

from mocanet_jax.runtime.imports import make_callable


def _train(config, workdir, monitor=None):
    """As loop.train, with a path of any kind; without a monitor nothing is printed."""
    from mocanet_jax.runtime.storage.plain_paths import local_path
    from mocanet_jax.train.loop import SILENT, train

    return train(config, local_path(workdir), monitor or SILENT)


make_callable(__name__, _train)
