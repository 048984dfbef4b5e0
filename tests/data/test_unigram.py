"""The unigram entropy: counted by hand, stored by prepare, counted anew for a corpus that has none."""

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from isodiff.data.corpora import prepare
from isodiff.data.tokens import Corpus
from isodiff.data.unigram import unigram_nats


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("text")
    for i in range(80):
        words = f"{i} {'aeiounrst'[: 1 + i % 9]} " * (4000 + i)
        (folder / f"{i}.txt").write_text(words, encoding="utf-8")
    return prepare([folder], folder / "corpus", validation=0.2, test=0.2)


def by_hand(corpus: Corpus) -> float:
    seen, met = (
        Counter(corpus.split(name).read(0, corpus.split(name).num_tokens).tolist())
        for name in ("train", "validation")
    )
    total = seen.total() + corpus.vocab_size / 2
    nats = [count * math.log(total / (seen[token] + 0.5)) for token, count in met.items()]
    return sum(nats) / met.total()


def test_it_is_the_cross_entropy_under_smoothed_frequencies(corpus: Corpus) -> None:
    assert corpus.split("train").num_tokens > 2**20  # more than are counted together
    assert corpus.manifest.unigram_nats == pytest.approx(by_hand(corpus), rel=1e-12)


def test_a_corpus_without_it_stays_what_it_was(corpus: Corpus, tmp_path: Path) -> None:
    old = Corpus(corpus.folder, replace(corpus.manifest, unigram_nats=None))
    assert unigram_nats(old) == pytest.approx(by_hand(corpus), rel=1e-12)
    assert old.hash == corpus.hash
    old.manifest.write(tmp_path)
    assert "unigram_nats" not in json.loads((tmp_path / "corpus.json").read_text())
