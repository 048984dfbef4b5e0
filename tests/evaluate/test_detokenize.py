"""Detokenization: texts as they were written; what has no marks is left alone."""

import pytest

from isodiff.errors import InputError
from isodiff.evaluate.detokenize import DETOKENIZERS, detokenized

PLAIN = (
    "He said: \"We don't (yet) pay $5,000, or 3.5%, do we?\" The authors' point; it's his.\n\nOne!"
)


@pytest.mark.parametrize("rules", DETOKENIZERS)
def test_ordinary_text_is_left_alone(rules):
    assert detokenized(PLAIN, rules) == PLAIN


@pytest.mark.parametrize("rules", sorted(set(DETOKENIZERS) - {"ptb"}))
def test_twice_is_once(rules):
    for text in (line for lines in EXAMPLES.values() for line, _ in lines):
        once = detokenized(text, rules)
        assert detokenized(once, rules) == once


EXAMPLES = {
    "wikitext": [
        (
            " = = Gameplay = = \n The game 's map , 1 @,@ 200 @-@ odd tiles ( of 3 @.@ 5 kB ) , grew . \n",
            "== Gameplay ==\nThe game's map, 1,200-odd tiles (of 3.5 kB), grew.\n",
        ),
        (
            'the players \' " lost years " : he said ; why ?',
            'the players\' "lost years": he said; why?',
        ),
        ("at 30 ° north", "at 30° north"),
    ],
    "ptb": [
        (
            "mr. vinken 's firm does n't pay $ N million or N\\/N to <unk> \n the traders ' fund",
            "mr. vinken's firm doesn't pay $1 million or 1/1 to ?\nthe traders' fund",
        ),
    ],
    "lm1b": [
        (
            "See http : / / www . example . com , he 's \" sure \" it does n't cost $ 5 ( 3 % ) .",
            "See http://www.example. com, he's \"sure\" it doesn't cost $5 (3%).",
        ),
    ],
    "lambada": [("“I don’t,” ``she'' said", '"I don\'t," "she" said')],
}


@pytest.mark.parametrize(
    ("rules", "marked", "plain"),
    [(rules, *pair) for rules, pairs in EXAMPLES.items() for pair in pairs],
)
def test_marks_are_taken_out(rules, marked, plain):
    assert detokenized(marked, rules).strip(" ") == plain


def test_an_unknown_name_is_refused():
    with pytest.raises(InputError, match="no detokenization 'wikitxt'; did you mean 'wikitext'"):
        detokenized("", "wikitxt")
