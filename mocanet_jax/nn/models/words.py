"""Words to vectors: one row per known word, plus the mean of its pieces.

Axes: B batch, T time, M pieces of a word, D width.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

NO_PIECE = 0
UNKNOWN_WORD = 1


class WordEmbedding(nn.Module):
    """x = table[word] + W · mean of the vectors of the word's pieces.

    Pieces are hashed character n-grams (Bojanowski et al., 2017, "Enriching Word Vectors
    with Subword Information"), so that a word never seen in training still resembles its
    relatives. Their vectors are narrow, and W brings them to D, since they are gathered M
    times as often as words.

    word_dropout: share of words that training hides behind UNKNOWN_WORD. Their pieces
        stay, which is what an unknown word looks like.
    """

    vocab_size: int
    num_pieces: int
    piece_dim: int
    embedding_dim: int
    word_dropout: float

    @nn.compact
    def __call__(self, tokens: jax.Array, train: bool) -> jax.Array:
        """tokens: int [B, T, 1 + M]; first the word, in [0, vocab_size), then its pieces in
        [0, num_pieces), NO_PIECE where there are fewer. Returns float [B, T, D].

        train: needs the "dropout" rng.
        """
        words, pieces = tokens[..., 0], tokens[..., 1:]
        if train and self.word_dropout:
            key = self.make_rng("dropout")
            hidden = jax.random.bernoulli(key, self.word_dropout, words.shape)
            words = jnp.where(hidden, UNKNOWN_WORD, words)
        start = nn.initializers.normal(0.3)
        table = nn.Embed(
            self.vocab_size, self.embedding_dim, embedding_init=start, name="words"
        )
        x = table(words)
        if pieces.shape[-1]:
            table = nn.Embed(
                self.num_pieces, self.piece_dim, embedding_init=start, name="pieces"
            )
            present = pieces != NO_PIECE
            total = jnp.einsum("btmd,btm->btd", table(pieces), present.astype(x.dtype))
            mean = total / jnp.maximum(jnp.sum(present, axis=-1, keepdims=True), 1)
            x += nn.Dense(self.embedding_dim, use_bias=False, name="project")(mean)
        return x
