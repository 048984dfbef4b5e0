"""The unigram entropy of a corpus: the loss of a model that knows how frequent tokens are, and no context.

It is the cross-entropy of the validation split, `eos` included, under the frequencies of the training split,

    H1 = - sum_v q_v log p_v,    p_v = (n_v + 1/2) / (n + V/2),

n_v the tokens v of n, smoothed by Krichevsky and Trofimov (IEEE Trans. Inf. Theory 27, 1981) so that a token
which training lacks costs finite nats. A network whose predictions ignore the context has this loss in every
family: tokens that are independent are corrupted and restored independently, so no bound is loose there.
"""

from __future__ import annotations

import numpy as np

from isodiff.data.tokens import Corpus, Tokens

_CHUNK = 2**20  # tokens read together


def unigram_nats(corpus: Corpus) -> float:
    """Unigram entropy of a corpus in nats per token: the stored one, or counted where an old corpus has none.

    Raises:
        InputError: a shard that is read was altered.
    """
    if corpus.manifest.unigram_nats is not None:
        return corpus.manifest.unigram_nats
    train, held_out = (
        _counts(corpus.split(name), corpus.vocab_size) for name in ("train", "validation")
    )
    smoothed = (train + 0.5) / (train.sum() + 0.5 * corpus.vocab_size)
    return float(-(held_out @ np.log(smoothed)) / held_out.sum())


def _counts(tokens: Tokens, vocab_size: int) -> np.ndarray:
    """How often each id occurs, int64 [V]."""
    found = np.zeros(vocab_size, np.int64)
    for start in range(0, tokens.num_tokens, _CHUNK):
        ids = tokens.read(start, min(start + _CHUNK, tokens.num_tokens))
        found += np.bincount(ids, minlength=vocab_size)
    return found
