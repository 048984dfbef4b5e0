r"""Quality of generated text, each number with a standard error.

    generative perplexity   exp of the reference model's nats per token       (reference_model.py)
    entropy                 unigram entropy of a text's tokens in nats, averaged over texts: low
                            perplexity is cheap for text that repeats itself (arXiv 2409.02908)
    distinct_n              different n-grams of words over all of them, within a text
    repetition              share of a text's bytes in strings of 16 bytes that it holds twice
    divergence              unbiased distance of n-gram ngram_features from held-out text       (ngram_mmd.py)

An end of document counts no bytes; words and repeated strings do not reach across it, and to the divergence
it is a symbol of its own. Standard errors are over texts. No text is dropped; empty ones are counted. The
same statistics of held-out text of the same length stand beside them: good samples match those, they do not
beat them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from isodiff.errors import InputError
from isodiff.evaluate.ngram_mmd import ngram_features, squared_mmd
from isodiff.evaluate.reference_model import ReferenceModel, TokenizedText
from isodiff.record import Mean
from isodiff.runs.validation import mean

REPEATED = 16  # bytes; held-out English hardly ever says 16 bytes twice within a few hundred
_WORDS = (1, 2, 3)
_END = b"\xff"  # of a document: no byte of UTF-8


@dataclass(frozen=True, slots=True)
class Quality:
    """What a set of texts is worth; see the module for each name."""

    reference_model: str
    num_texts: int
    num_empty: int
    nats_per_token: Mean
    generative_perplexity: Mean
    bits_per_byte: Mean
    entropy: Mean
    distinct: dict[str, Mean]
    repetition: Mean
    divergence: Mean


def quality(
    texts: Sequence[TokenizedText],
    held_out: Sequence[TokenizedText],
    reference_model: ReferenceModel,
) -> Quality:
    """Score `texts`, and compare them with `held_out`.

    Raises:
        InputError: fewer than two texts on either side, or nothing but empty ones.
    """
    if min(len(texts), len(held_out)) < 2:
        raise InputError(
            f"{len(texts)} generated and {len(held_out)} held-out texts; quality needs two or more"
        )
    scores = reference_model.score(texts)
    if not scores.num_tokens.sum():
        raise InputError("every generated text is empty; nothing can be scored")
    nats = per(scores.nats, scores.num_tokens)
    bits = per(scores.nats / math.log(2), scores.num_bytes)
    return Quality(
        reference_model=reference_model.name,
        num_texts=len(texts),
        num_empty=sum(not len(one.ids) for one in texts),
        nats_per_token=nats,
        generative_perplexity=exponential(nats),
        bits_per_byte=bits,
        entropy=_over(texts, lambda one: entropy(one.ids)),
        distinct={
            str(n): _over(texts, lambda one, n=n: distinct(one.documents, n)) for n in _WORDS
        },
        repetition=_over(texts, lambda one: repeated_share(one.raw)),
        divergence=squared_mmd(
            ngram_features([_END.join(one.raw) for one in texts]),
            ngram_features([_END.join(one.raw) for one in held_out]),
        ),
    )


def per(total: NDArray[np.float64], size: NDArray[np.float64]) -> Mean:
    """sum(total) / sum(size) over texts, with the standard error of a ratio (first order)."""
    ratio = float(total.sum() / size.sum())
    residual, number = total - ratio * size, len(total)
    variance = float((residual**2).sum()) / (number * (number - 1))
    return Mean(ratio, math.sqrt(variance) / float(size.mean()), number)


def exponential(value: Mean) -> Mean:
    """exp of a mean, its standard error to first order."""
    center = math.exp(value.value)
    return Mean(center, center * value.standard_error, value.num)


def _over(texts: Sequence[TokenizedText], statistic: Callable[[TokenizedText], float]) -> Mean:
    """Mean of a statistic of each text."""
    return mean(np.array([statistic(one) for one in texts]))


def entropy(ids: NDArray[np.int64]) -> float:
    """-sum f log f over the tokens of one text, nats; 0 for an empty one."""
    if not len(ids):
        return 0.0
    share = np.unique(ids, return_counts=True)[1] / len(ids)
    return float(-(share * np.log(share)).sum())


def distinct(documents: Sequence[str], n: int) -> float:
    """Different n-grams of words over all of them; 0 where there is none."""
    lines = [document.split() for document in documents]
    grams = [tuple(words[i : i + n]) for words in lines for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def repeated_share(documents: Sequence[bytes]) -> float:
    """Share of bytes covered by strings of `REPEATED` bytes that occur more than once."""
    first: dict[bytes, int] = {}
    text = b"".join(documents)
    covered, begin = np.zeros(len(text), bool), 0
    for document in documents:
        for start in range(begin, begin + len(document) - REPEATED + 1):
            before = first.setdefault(text[start : start + REPEATED], start)
            if before != start:
                covered[before : before + REPEATED] = covered[start : start + REPEATED] = True
        begin += len(document)
    return float(covered.mean()) if len(text) else 0.0
