"""Statistics of generated text: values by hand, standard errors by simulation, nothing dropped."""

import math

import numpy as np
import pytest

from isodiff.data.tokenizer import Bytes
from isodiff.errors import InputError
from isodiff.evaluate.generation import (
    REPEATED,
    distinct,
    entropy,
    exponential,
    per,
    quality,
    repeated_share,
)
from isodiff.evaluate.reference_model import TextNats, TokenizedText
from isodiff.record import Mean
from isodiff.study.sampling import as_texts


class Fixed:
    """A reference model that finds every token equally likely, one in eight."""

    name = "fixed"

    def score(self, texts):
        sizes = np.array([float(len(one.ids)) for one in texts])
        return TextNats(sizes * math.log(8), sizes, sizes)


def text(*documents: str) -> TokenizedText:
    """In bytes, an end of document between two of them."""
    ids = [*documents[0].encode()]
    for one in documents[1:]:
        ids += [Bytes.eos, *one.encode()]
    return TokenizedText(np.array(ids, np.int64), documents)


def test_values_by_hand():
    assert entropy(np.array([3, 3, 3, 3])) == 0
    assert entropy(np.array([1, 2, 3, 4])) == pytest.approx(math.log(4))
    assert entropy(np.array([1, 1, 2, 3])) == pytest.approx(1.5 * math.log(2))
    assert entropy(np.zeros(0, np.int64)) == 0
    assert distinct(["a b a b"], 1) == 0.5
    assert distinct(["a b a b"], 2) == pytest.approx(2 / 3)
    assert distinct(["one"], 2) == 0
    once = b"abcdefghijklmnopqrstuvwxyz"
    assert repeated_share([once]) == 0
    assert repeated_share([once[:REPEATED] + b"!" + once[:REPEATED]]) == pytest.approx(
        2 * REPEATED / (2 * REPEATED + 1)
    )
    assert repeated_share([once[: REPEATED - 1] + b"!?" + once[: REPEATED - 1]]) == 0
    assert repeated_share([b""]) == 0
    assert repeated_share([b"a" * (REPEATED + 1)]) == 1


def test_an_end_of_document_is_no_text():
    """It counts no bytes, joins no words and ends what is repeated."""
    assert distinct(["a b", "a b"], 1) == 0.5
    assert distinct(["a", "b", "a"], 2) == 0
    half, once = REPEATED // 2, b"abcdefghijklmnopqrstuvwxyz"
    assert repeated_share([once[:half], once[half:REPEATED], once[:REPEATED]]) == 0
    assert repeated_share([once[:REPEATED], b"", once[:REPEATED]]) == 1
    one, two, none = text("the state", "of the union"), text("the state of", "the union"), text("")
    found = quality([one, two], [none, none], Fixed())
    assert found.bits_per_byte.value == pytest.approx(3) and found.divergence.value > 0
    same = [text("a" * 9, "b" * 9), text("a" * 9, "b" * 9)]
    glued = [text("a" * 9 + "b" * 9), text("a" * 9 + "b" * 9)]
    assert quality(same, same, Fixed()).divergence.value == pytest.approx(0, abs=1e-12)
    assert quality(same, glued, Fixed()).divergence.value > 0.01


def test_what_samplers_write_is_read_as_documents():
    """Their ends never become characters that a judge would read."""
    ids = np.array([[Bytes.eos, 104, 105, Bytes.eos], [104, 105, 33, 33]])
    one, other = as_texts(ids, Bytes())
    assert one.documents == ("", "hi", "") and other.documents == ("hi!!",)
    assert one.raw == [b"", b"hi", b""] and one.ids.tolist() == ids[0].tolist()


def test_a_ratio_s_standard_error_is_honest():
    rng = np.random.default_rng(0)

    def draw() -> Mean:
        size = rng.integers(20, 200, 100).astype(float)
        return per(size * 2.5 + rng.normal(size=100) * np.sqrt(size), size)

    found = [draw() for _ in range(2000)]
    values = np.array([one.value for one in found])
    assert abs(values.mean() - 2.5) < 4 * values.std() / len(values) ** 0.5
    assert np.mean([one.standard_error for one in found]) == pytest.approx(values.std(), rel=0.05)


def test_perplexity_is_only_derived():
    found = exponential(Mean(2.0, 0.1, 9))
    assert found.value == pytest.approx(math.exp(2))
    assert found.standard_error == pytest.approx(0.1 * math.exp(2))


def test_no_text_is_dropped_and_empty_ones_are_counted():
    texts = [text("the state of the union"), text(""), text("fellow citizens"), text("")]
    held_out = [text("of the people"), text("by the people")]
    found = quality(texts, held_out, Fixed())
    assert found.num_texts == 4 and found.num_empty == 2
    assert found.entropy.num == 4
    assert found.generative_perplexity.value == pytest.approx(8)
    assert found.bits_per_byte.value == pytest.approx(3)
    both = [entropy(texts[0].ids), entropy(texts[2].ids)]
    assert found.entropy.value == pytest.approx(sum(both) / 4)


def test_too_little_is_refused():
    one = [text("a"), text("b")]
    with pytest.raises(InputError, match="needs two or more"):
        quality(one[:1], one, Fixed())
    with pytest.raises(InputError, match="every generated text is empty"):
        quality([text(""), text("")], one, Fixed())
