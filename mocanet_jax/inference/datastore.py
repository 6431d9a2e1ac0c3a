"""A datastore of a language model: a folder that is whole or not there.

    index.faiss       keys, float16 [N, D], in an index of FAISS (Johnson et al., 2019)
    tokens.npy        [N], the token that came after each
    datastore.json    of which model, tokenizer and corpus, and the mixture that was fitted
    manifest.json     checksums of the others, which are read whole when it is opened

Up to EXACT entries every key is compared. Beyond, keys are in about √N lists by their nearest
centroid, of which PROBES are compared (an inverted file); these are mapped into memory, and
read as they are searched.

Axes: N entries, D width, K neighbours.
"""

import hashlib
import json
import math
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import jax
import numpy as np

from mocanet_jax.evaluate.retrieval import Mixture, Neighbours, Search
from mocanet_jax.nn.models.protocol import Trained
from mocanet_jax.runtime.errors import UserError
from mocanet_jax.runtime.storage import manifest
from mocanet_jax.runtime.storage.files import read_json
from mocanet_jax.runtime.storage.plain_paths import plain_path
from mocanet_jax.tasks.corpora.tokenizers import Tokenizer

DESCRIPTION, TOKENS, INDEX = "datastore.json", "tokens.npy", "index.faiss"

NEIGHBOURS = 1024
"""K."""

EXACT = 1 << 16
"""Entries up to which a search compares every key."""

PROBES = 32
"""Lists that are compared, beyond."""


class Source(NamedTuple):
    """What a datastore is of. step: the checkpoint's. model: checksum of parameters and λ.
    tokenizer: checksum. corpus: path. data: fingerprint of its training split."""

    step: int
    model: str
    tokenizer: str
    corpus: str
    data: dict


class Description(NamedTuple):
    """source: as of Source. entries: N. width: D. mixture: as of Mixture, fitted on the
    validation split of its corpus."""

    source: dict
    entries: int
    width: int
    mixture: dict


class Datastore(NamedTuple):
    """mixture: that was fitted when it was made, or has a given weight. search: of its K
    nearest neighbours."""

    description: Description
    mixture: Mixture
    search: Search


def opened(
    folder: Path, trained: Trained, tokenizer: Tokenizer, weight: float | None = None
) -> Datastore:
    """weight: of its neighbours, in [0, 1); None for that which was fitted.

    Raises UserError as `usable`, and for one of another model or tokenizer.
    """
    description = usable(folder, weight)
    _check_source(folder, Source(**description.source), trained, tokenizer)
    mixture = Mixture(**description.mixture)
    if weight is not None:
        mixture = mixture._replace(weight=weight)
    return Datastore(description, mixture, searched(folder))


def usable(folder: Path, weight: float | None = None) -> Description:
    """What can be said without the model. Raises UserError for a folder that is no datastore or
    is damaged, for a weight out of range, and where FAISS is not installed."""
    library()
    if weight is not None and not 0 <= weight < 1:
        raise UserError(f"the weight of a datastore must be in [0, 1), not {weight}")
    if not (folder / DESCRIPTION).is_file():
        raise UserError(
            f"{folder} is no datastore; make one by mocanet datastore --workdir=RUN "
            f"--corpus=FILE_OR_DIR --out={folder}"
        )
    if problem := manifest.damage(folder):
        raise UserError(f"{folder} is damaged: {problem}; delete it and make it again")
    return Description(**read_json(folder / DESCRIPTION))


def searched(folder: Path) -> Search:
    """The search of what INDEX and TOKENS hold."""
    faiss = library()
    tokens = np.load(folder / TOKENS, mmap_mode="r", allow_pickle=False)
    with plain_path(folder) as plain:
        index = faiss.read_index(str(plain / INDEX), faiss.IO_FLAG_MMAP)
    if num_lists(len(tokens)):
        index.nprobe = PROBES
    return partial(_search, index, tokens)


def num_lists(entries: int) -> int:
    """Of the index of so many entries: the power of 2 nearest to √N; 0 where every key is
    compared."""
    return 0 if entries <= EXACT else 1 << round(math.log2(entries) / 2)


def _search(index, tokens, queries: np.ndarray) -> Neighbours:
    """The K nearest of queries float32 [n, D], nearest first."""
    distances, places = index.search(np.ascontiguousarray(queries), NEIGHBOURS)
    distances = np.where(places < 0, np.float32(np.inf), distances)
    return Neighbours(distances, tokens[places].astype(np.int32))


def library() -> ModuleType:
    """FAISS. Raises UserError where it is not installed."""
    try:
        import faiss
    except ImportError as error:
        raise UserError(
            "a datastore is searched by FAISS, which is not installed; install it by "
            "pip install 'mocanet-jax[retrieval]'"
        ) from error
    return faiss


def _check_source(folder, source, trained, tokenizer):
    again = "make another by mocanet datastore"
    if source.tokenizer != tokenizer_checksum(tokenizer):
        raise UserError(
            f"{folder} was made with another tokenizer, so that its tokens are others; {again}"
        )
    if source.model != model_checksum(trained):
        raise UserError(
            f"{folder} was made by another model or checkpoint (step {source.step}), whose "
            f"features are others; {again}"
        )


def model_checksum(trained: Trained) -> str:
    """Of names, shapes, types and bytes of all arrays."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(trained):
        array = np.ascontiguousarray(leaf)
        name = f"{jax.tree_util.keystr(path)} {array.dtype} {np.shape(leaf)}"
        digest.update(name.encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def tokenizer_checksum(tokenizer: Tokenizer) -> str:
    fields = json.dumps(tokenizer.fields(), sort_keys=True)
    return hashlib.sha256(fields.encode()).hexdigest()
