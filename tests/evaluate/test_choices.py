"""Choices: decisions agree with enumeration; accuracies, per byte, PMI; cloze targets."""

import numpy as np
import pytest
import torch

from isodiff.data.tokenizer import Bytes
from isodiff.evaluate.choices import choice_result, choose, option_scores
from isodiff.evaluate.cloze import cloze, predicted, target_nats
from isodiff.evaluate.items import Item, Option, Target, TokenizedItem, tokenize_items
from isodiff.evaluate.scoring import Scorer
from isodiff.evaluate.sequential_test import StoppingRule
from isodiff.families.autoregressive import Autoregressive
from isodiff.families.masked import Masked
from isodiff.intervals import wilson
from isodiff.network.view import LogProbTable, Prediction, View
from isodiff.rng import stream
from isodiff.serialization import to_json
from tests.contract.networks import FAMILIES, V, tiny
from tests.evaluate.test_scoring import enumerated


def item(line: int, context: str, *answers: str, gold: int = 0) -> Item:
    return Item(line, tuple(Option.joined(context, answer, "") for answer in answers), gold)


def tokenized(line: int, targets: list[Target], gold: int = 0) -> TokenizedItem:
    options = item(line, "c", *"ab" * len(targets)).options[: len(targets)]
    return TokenizedItem(Item(line, options, gold), tuple(targets), False)


def random_items(num: int, options: int, scored: int) -> list[TokenizedItem]:
    rng = stream(1, "entries")
    made = []
    for line in range(num):
        context = torch.randint(V, (3,), generator=rng)
        ends = torch.randint(V, (options, scored), generator=rng)
        made.append(tokenized(line, [Target(torch.cat([context, e]).numpy(), 3) for e in ends]))
    return made


def test_decisions_agree_with_enumeration():
    """Of the items that the test calls decided, at most the stated share has another best option."""
    family = Masked(vocab_size=V)
    network = tiny(family)
    ready = random_items(60, 3, 4)
    truth = [[enumerated(family, network, t) for t in one.targets] for one in ready]
    decisions, num_forwards = choose(
        Scorer(family, network), ready, StoppingRule(error=0.05, most=128)
    )
    decided = [
        (np.argmin(means), decision.best[0])
        for means, decision in zip(truth, decisions, strict=True)
        if not decision.undecided[0]
    ]
    assert len(decided) > 45
    assert sum(best != chosen for best, chosen in decided) <= 0.05 * len(decided) + 1
    everything = sum(len(one.targets) for one in ready) * 128
    assert num_forwards < everything / 2
    errors = [
        np.subtract(decision.scores[0], means)
        for means, decision in zip(truth, decisions, strict=True)
    ]
    assert np.abs(errors).mean() < 1.0


@pytest.mark.parametrize("name", ["masked", "uniform", "interpolating-0.5", "block-4", "gaussian"])
def test_options_of_an_item_meet_the_same_noise(name):
    """The same text twice has the same scores, draw by draw; another item has others."""
    family = FAMILIES[name]
    (one,) = random_items(1, 1, 5)
    ready = [tokenized(1, [one.targets[0]] * 2), tokenized(2, [one.targets[0]] * 2)]
    draw = option_scores(Scorer(family, tiny(family)), ready, pmi=True)
    found = draw([(0, 0), (0, 1), (1, 0)], range(3, 9))
    np.testing.assert_allclose(found[:, 0], found[:, 1], rtol=1e-6)
    assert not np.isclose(found[:, 0], found[:, 2], rtol=1e-3).all(-1).any()


@pytest.mark.parametrize("name", ["masked", "uniform", "interpolating-0.5", "block-4", "gaussian"])
def test_answers_do_not_depend_on_the_batch(name):
    family = FAMILIES[name]
    network = tiny(family)
    ready = random_items(6, 3, 5)
    rule = StoppingRule(most=8)
    big, many = choose(Scorer(family, network), ready, rule)
    small, as_many = choose(Scorer(family, network, batch_tokens=20), ready, rule)
    some, _ = choose(Scorer(family, network), ready[3:], rule)
    for one, two in [*zip(big, small, strict=True), *zip(big[3:], some, strict=True)]:
        assert (one.best, one.undecided, one.draws) == (two.best, two.undecided, two.draws)
        np.testing.assert_allclose(one.scores, two.scores, rtol=1e-4, atol=1e-4)
    assert many == as_many


class Fixed:
    """Every position predicts the same distribution: nats of a text are those of its tokens."""

    def __init__(self, **probabilities: float) -> None:
        self.vocab_size = Bytes.vocab_size
        p = torch.full((self.vocab_size,), 1e-9)
        for letter, value in probabilities.items():
            p[ord(letter)] = value
        p[ord(" ")] = 1.0
        self.log_p = p.log()

    def __call__(self, view: View) -> Prediction:
        return LogProbTable(self.log_p.expand(view.num_read, -1))


@pytest.mark.parametrize("family", [Autoregressive, Masked])
def test_accuracy_and_accuracy_per_byte(family):
    """e is likelier than aaa as a whole (0.1 against 0.3^3), and less likely per byte."""
    items = [item(1, "q", "aaa", "e", gold=0), item(2, "q", "e", "aaa", gold=0)]
    ready = tokenize_items(items, Bytes(), 32).ready
    scorer = Scorer(family(vocab_size=Bytes.vocab_size), Fixed(a=0.3, e=0.1))
    decisions, num_forwards = choose(scorer, ready)
    assert len(ready) == 2 and [one.best for one in decisions] == [(1, 0), (0, 1)]
    found = choice_result(ready, decisions, num_forwards)
    assert found.accuracy == 0.5 and found.accuracy_per_byte == 0.5
    assert found.accuracy_interval == wilson(1, 2) and found.chance == 0.5
    assert found.undecided == 0 and found.num_items == 2 and found.num_options == 4
    expected = -np.log([0.3**3, 0.1])
    np.testing.assert_allclose(decisions[0].scores[0], expected, rtol=1e-4)
    forwards = 4 if family is Autoregressive else 8
    assert found.num_forwards == forwards


class Surprising:
    """After a context, letters are as likely as `observed`; without one as `alone`."""

    def __init__(self, observed: Fixed, alone: Fixed) -> None:
        self.vocab_size, self.observed, self.alone = observed.vocab_size, observed, alone

    def __call__(self, view: View) -> Prediction:
        known = (view.inputs == ord("q")).any(-1, keepdim=True).expand(view.inputs.shape).flatten()
        known = known if view.read is None else known[view.read]
        return LogProbTable(torch.where(known[:, None], self.observed.log_p, self.alone.log_p))


@pytest.mark.parametrize("family", [Autoregressive, Masked])
def test_pmi_asks_what_the_context_adds(family):
    """a is likelier after q (0.5 against 0.3), but b has risen more (0.3 from 0.1; a 0.5 from 0.6)."""
    ready = tokenize_items([item(1, "q", "a", "b", gold=1)], Bytes(), 32).ready
    network = Surprising(Fixed(a=0.5, b=0.3), Fixed(a=0.6, b=0.1))
    scorer = Scorer(family(vocab_size=Bytes.vocab_size), network)
    decisions, num_forwards = choose(scorer, ready, pmi=True)
    assert decisions[0].best == (0, 0, 1)
    np.testing.assert_allclose(
        decisions[0].scores[2], [-np.log(0.5 / 0.6), -np.log(0.3 / 0.1)], rtol=1e-4
    )
    found = choice_result(ready, decisions, num_forwards)
    assert (found.accuracy, found.accuracy_pmi, found.undecided_pmi) == (0, 1, 0)
    assert "accuracy_pmi" not in to_json(choice_result(ready, *choose(scorer, ready)))


def test_items_that_are_too_long_are_called_so_and_the_rest_is_scored():
    items = [
        item(1, "a long context " * 9, "yes", "no"),
        item(2, "q", "x" * 40, "no"),
        item(3, "q", "yes", "no"),
        item(4, "q", "no", "x" * 33),
        item(5, "q", "no", "x" * 32),
    ]
    found = tokenize_items(items, Bytes(), 32)
    assert [one.item.line for one in found.ready] == [1, 3, 5]
    assert [one.shortened for one in found.ready] == [True, False, True]
    assert max(len(target) for target in found.ready[0].targets) == 32
    assert (found.too_long, found.longest, found.malformed) == ([2, 4], 40, [])


def cloze_items(*texts: tuple[str, str]) -> list[TokenizedItem]:
    items = [item(line, context, word) for line, (context, word) in enumerate(texts, 1)]
    return tokenize_items(items, Bytes(), 32).ready


@pytest.mark.parametrize("family", [Autoregressive, Masked])
def test_cloze_targets(family):
    """The likeliest letter is a blank: only a word of blanks would be written."""
    network = Fixed(a=0.5)
    scorer = Scorer(family(vocab_size=Bytes.vocab_size), network)
    found = cloze(scorer, cloze_items(("q", "aa"), ("qq", "a")), budget=None, steps=8)
    assert found.accuracy == 0 and found.num_items == 2
    assert found.perplexity == pytest.approx(np.exp(1.5 * np.log(2)), rel=1e-4)
    assert found.nats.standard_error == pytest.approx(np.log(2) / 2, rel=1e-4)
    targets = [
        Target(np.frombuffer(text, np.uint8).astype(np.int64), 1) for text in (b"q   ", b"q  a")
    ]
    right, nfe = predicted(scorer, targets, [("k", 0), ("k", 1)], 8)
    assert right == [True, False] and nfe >= 2


def test_exact_nats_take_one_draw():
    family = Autoregressive(vocab_size=V)
    scorer = Scorer(family, tiny(family))
    (one,) = random_items(1, 1, 4)[0].targets
    (found,) = scorer.mean([one], [("k",)], 32)
    assert scorer.num_forwards == 1
    again = target_nats(scorer, [one], [("k",)], None)
    assert again.kind == "exact" and again.nats[0] == pytest.approx(found, abs=1e-5)


def test_short_targets_are_enumerated():
    """The bound of a few tokens has no noise: all sets of masks are asked for."""
    family = Masked(vocab_size=V)
    network = tiny(family)
    targets = [one.targets[0] for scored in (3, 4, 3) for one in random_items(2, 1, scored)]
    found = target_nats(Scorer(family, network), targets, [("k", i) for i in range(6)], None)
    expected = [enumerated(family, network, one) for one in targets]
    np.testing.assert_allclose(found.nats, expected, rtol=1e-5)
    assert found.num_forwards == 4 * 7 + 2 * 15 and found.kind == "bound"
