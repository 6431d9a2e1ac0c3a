"""Data sets of TensorFlow Datasets, read without TensorFlow."""

import builtins
import glob
import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace

from mocanet_jax.runtime.errors import UserError

DOWNLOAD_TIMEOUT = 5.0
"""Seconds to wait for an answer from the place that TFDS would download from."""


@dataclass(frozen=True)
class Dataset:
    """A data set that is downloaded where it is not at hand.

    Attributes:
        name: in TensorFlow Datasets
        title: in messages
        url: where TensorFlow Datasets downloads it from
        instead: what to pass in its place, the end of every message
        module: registers the builder when it is imported; empty where TensorFlow Datasets
            finds it by its name
    """

    name: str
    title: str
    url: str
    instead: str
    module: str = ""

    def prepared(self):
        """The builder, once the data is on disk. Raises UserError where it cannot be had."""
        import requests
        import tensorflow_datasets as tfds

        if self.module:
            importlib.import_module(self.module)
        builder = tfds.builder(self.name)
        if builder.data_path.exists():
            return builder
        try:
            requests.head(self.url, timeout=DOWNLOAD_TIMEOUT)
        except requests.RequestException as error:
            raise UserError(
                f"{self.title} is not in {builder.data_path} and cannot be downloaded now "
                f"({type(error).__name__}). Either run once with a network connection, so that "
                f"TensorFlow Datasets fetches it, or pass {self.instead}"
            ) from error
        try:
            with _local_files(builder):
                builder.download_and_prepare(file_format="array_record")
        except (tfds.download.DownloadError, OSError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"{self.title} could not be downloaded: {reason}; pass {self.instead}"
            ) from error
        return builder

    def rows(self, split: str):
        """A sequence of the split's rows, each a dict. Raises UserError."""
        builder = self.prepared()
        try:
            return builder.as_data_source(split=split)
        except NotImplementedError as error:
            raise UserError(
                f"{self.title} in {builder.data_path} is in a form that takes TensorFlow to "
                f"read; move that folder away to fetch it again, or pass {self.instead}"
            ) from error


@contextmanager
def _local_files(builder) -> Iterator[None]:
    """Some builders open what was downloaded by tf.io.gfile; within the context they use
    Python's own functions, as the files are local."""
    module = sys.modules[type(builder).__module__]
    kept = vars(module).get("tf")
    gfile = SimpleNamespace(isdir=os.path.isdir, glob=glob.glob, GFile=_open)
    if kept is not None:
        module.tf = SimpleNamespace(io=SimpleNamespace(gfile=gfile))
    try:
        yield
    finally:
        if kept is not None:
            module.tf = kept


def _open(path, mode):
    return builtins.open(path, mode, encoding="utf-8", newline="")
