"""Labels of documents: what they are, and in which windows they are given."""

from pathlib import Path

import numpy as np
import pytest
import torch

from isodiff.data.corpora import prepare
from isodiff.data.tokens import Corpus
from isodiff.errors import InputError
from isodiff.runs.spec import RunSpec
from isodiff.train.source import Windows
from tests.train.specs import small


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return prepare(
        ["digits"], tmp_path_factory.mktemp("digits") / "corpus", tokenizer="alphabet:0-9a-q"
    )


def test_labels_begin_documents_and_stand_nowhere_else(
    digits: Corpus, corpus: Corpus, tmp_path: Path
):
    assert digits.labels.tolist() == [*range(10)]
    assert corpus.labels.size == 0
    lines = [*(f"+{'ab' * 40}{i}" for i in range(90)), *(f"-{'b+' * 40}{i}" for i in range(90))]
    (tmp_path / "text.txt").write_text("\n".join(lines))
    inside = prepare([tmp_path / "text.txt"], tmp_path / "corpus", separator="\n")
    assert inside.labels.size == 0


@pytest.mark.parametrize("length", [66, 40])
def test_labels_are_given_in_as_many_windows_as_asked(digits: Corpus, length: int):
    """Wherever they stand in a window; the same for any part of a batch, and others in another step."""
    spec = small(digits, length=length, recipe={"labels_given": 0.75})
    source, shares = Windows(spec, digits), []
    for step in range(200):
        whole = source.batch(step, range(4), torch.device("cpu"))
        part = source.batch(step, range(1, 3), torch.device("cpu"))
        assert whole.observed is not None and part.observed is not None
        torch.testing.assert_close(part.observed, whole.observed[1:3])
        labels = whole.x < 10
        assert not (whole.observed & ~labels).any()
        rows = labels.any(-1)
        assert torch.equal(whole.observed[rows].any(-1), (whole.observed == labels)[rows].all(-1))
        shares += whole.observed[rows].any(-1).tolist()
    assert np.mean(shares) == pytest.approx(0.75, abs=0.07) and len(shares) > 400


def test_without_the_option_nothing_is_given_and_ids_stay(digits: Corpus, corpus: Corpus):
    spec = small(digits, length=66)
    assert Windows(spec, digits).batch(0, range(4), torch.device("cpu")).observed is None
    assert "labels_given" not in spec.to_json()["recipe"]
    given = small(digits, length=66, recipe={"labels_given": 0.0})
    assert RunSpec.from_json(given.to_json()) == given and given.id != spec.id
    with pytest.raises(InputError, match="has no labels to give"):
        Windows(small(corpus, recipe={"labels_given": 0.5}), corpus)
