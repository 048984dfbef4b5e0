"""Classification by density: which class, at what cost, and what the table of mistakes says."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from isodiff.data.tokenizer import Alphabet
from isodiff.errors import InputError
from isodiff.evaluate.choices import choose
from isodiff.evaluate.classification import ClassificationSettings, read_labeled
from isodiff.evaluate.items import Item, Option, tokenize_items
from isodiff.evaluate.scoring import Scorer
from isodiff.evaluate.sequential_test import StoppingRule
from isodiff.families.autoregressive import Autoregressive
from isodiff.families.masked import Masked
from isodiff.network.view import LogProbTable, Prediction, View

LETTERS = Alphabet.parse("alphabet:0-2a-c")
FAVORITE = 0.6
"""Against 0.2 of all other tokens; nothing is normalized."""


class ByLabel:
    """Beside a label, its letter comes most often; the end is as frequent as any other token."""

    vocab_size = LETTERS.vocab_size

    def __call__(self, view: View) -> Prediction:
        label = (view.inputs[..., None] == torch.arange(3)).any(1).long().argmax(-1)
        p = torch.full((3, self.vocab_size), 0.2)
        p[torch.arange(3), torch.arange(3) + 3] = FAVORITE
        log_p = p.log()[label].repeat_interleave(view.inputs.shape[1], 0)
        return LogProbTable(log_p if view.read is None else log_p[view.read])


def items(*texts: tuple[str, str]) -> list[Item]:
    return [
        Item(line, tuple(Option.joined(one, text, "") for one in "012"), int(label))
        for line, (label, text) in enumerate(texts, 1)
    ]


@pytest.mark.parametrize("family", [Autoregressive, Masked])
def test_the_class_under_which_a_text_is_likeliest(family):
    """Nats differ by log(0.6 / 0.2) for each letter that is a favorite of one class and not of another."""
    ready = tokenize_items(items(("0", "aabac"), ("2", "ccbbc")), LETTERS, 8, documents=True).ready
    assert [len(target) for target in ready[0].targets] == [7, 7, 7]
    assert all(target.ids[-1] == LETTERS.eos and target.known == 1 for target in ready[0].targets)
    scorer = Scorer(family(vocab_size=LETTERS.vocab_size), ByLabel())
    decisions, forwards = choose(scorer, ready, per_byte=False)
    assert [one.best for one in decisions] == [(0,), (2,)]
    gained = np.log(FAVORITE / 0.2) * np.array([[3, 1, 1], [0, 2, 3]])
    found = np.array([one.scores[0] for one in decisions])
    np.testing.assert_allclose(found, -6 * np.log(0.2) - gained, rtol=1e-5)
    assert forwards == 6 if family is Autoregressive else forwards <= 6 * 17


def test_without_a_race_every_class_takes_all_draws():
    ready = tokenize_items(items(("0", "aabac"), ("1", "bbbac")), LETTERS, 8, documents=True).ready
    scorer = Scorer(Masked(vocab_size=LETTERS.vocab_size), ByLabel())
    rule = StoppingRule(most=8, race=False)
    decisions, forwards = choose(scorer, ready, rule, per_byte=False)
    assert {draws for one in decisions for draws in one.draws} == {8}
    assert forwards == 2 * 3 * (8 + 1)
    assert [one.best for one in decisions] == [(0,), (1,)]


def test_a_document_that_does_not_fit_is_left_out_whole():
    """Were its context cut, its label would be gone."""
    found = tokenize_items(items(("0", "a" * 6), ("0", "a" * 7)), LETTERS, 8, documents=True)
    assert [one.item.line for one in found.ready] == [1] and not found.ready[0].shortened
    assert (found.too_long, found.longest) == ([2], 9)


def test_a_file_of_labeled_texts(tmp_path: Path):
    file = tmp_path / "texts.jsonl"
    values = [
        {"text": "good", "label": "+"},
        {"text": "bad", "label": 7},
        {"text": ""},
        {"text": "x", "label": True},
    ]
    file.write_text("\n".join(map(json.dumps, values)))
    texts, malformed = read_labeled(file)
    assert [(one.line, one.label, one.text) for one in texts] == [(1, "+", "good"), (2, "7", "bad")]
    assert [one.line for one in malformed] == [3, 4]


def test_a_prompt_has_a_place_for_the_label():
    settings = ClassificationSettings(prompt="A {label} review: {}")
    assert settings.prompt_of("bad") == "A bad review: {}"
    assert ClassificationSettings().prompt_of("3") == "3"
    with pytest.raises(InputError, match=r"prompt 'A review' lacks \{label\}"):
        ClassificationSettings(prompt="A review")
