"""Which number of a text counts, by either rule."""

from decimal import Decimal

import pytest

from isodiff.data.final_answer import flexible, gold, score_answers, strict
from isodiff.errors import InputError

WORKED = "He has 3*4=<<3*4=12>>12 eggs.\nHe sells 12-5=<<12-5=7>>7.\n#### 7"

STRICT = {
    WORKED: "7",
    "#### 1,234,567": "1234567",
    "#### -3.50 dollars": "-3.5",
    "#### \N{MINUS SIGN}3": "-3",
    "#### 5\nQuestion: more?\nAnswer: ...\n#### 6": "5",
    "#### 18.": "18",
    "the mark #### alone, then #### 4": "4",
    "#### .5": "0.5",
    "#### $18": None,
    "####18": None,
    "### 18": None,
    "The answer is 18.": None,
    "": None,
}
FLEXIBLE = {
    WORKED: "7",
    "#### 7, that is 7 eggs of 12": "12",
    "She pays $1,234.50.": "1234.5",
    "It costs -$3": "-3",
    "It costs $-3": "-3",
    "so x = -4": "-4",
    "12-5": "5",
    "(2+1)-5": "5",
    "n-5": "5",
    "between 3 and 4...": "4",
    "1,2,3": "3",
    "12,3456": "3456",
    "1,234,567 or 89,01": "1",
    "0.25": "0.25",
    "a share of .5": "0.5",
    "007": "7",
    "none, ... $": None,
    "": None,
}


@pytest.mark.parametrize("text", STRICT, ids=repr)
def test_strict(text):
    wanted = STRICT[text]
    assert strict(text) == (None if wanted is None else Decimal(wanted))


@pytest.mark.parametrize("text", FLEXIBLE, ids=repr)
def test_flexible(text):
    wanted = FLEXIBLE[text]
    assert flexible(text) == (None if wanted is None else Decimal(wanted))


@pytest.mark.parametrize(
    "answer", ["one\n#### 1,200\n", "#### $1,200", "#### 1200.00", "x #### 1200"]
)
def test_the_right_number_ends_the_answer(answer):
    assert gold(answer) == 1200


@pytest.mark.parametrize("answer", ["#### ", "#### 5 eggs", "5", "#### five", "####5"])
def test_answers_without_a_right_number(answer):
    assert gold(answer) is None


def test_numbers_are_compared_as_numbers():
    found, right = score_answers(
        ["#### 18.00", "so 1,000", "#### 3 of 4", "no"], [*map(Decimal, (18, 1000, 3, 9))]
    )
    assert right == [(True, True), (False, True), (True, False), (False, False)]
    assert (found.strict.successes, found.flexible.successes, found.unmarked) == (2, 2, 2)
    assert found.strict.value == 0.5


def test_a_text_for_each_number():
    for texts, golds in (([], []), (["1"], [])):
        with pytest.raises(InputError, match="one each is needed"):
            score_answers(texts, golds)
