"""Files of questions, the prompt, questions in tokens, and sums that are generated."""

import functools
import json
import re
from operator import add, mul, sub

import numpy as np
import pytest

from isodiff.data.final_answer import flexible, score_answers, strict
from isodiff.data.qa_format import (
    QuestionAnswer,
    read_questions,
    tokenize_questions,
    write_questions,
)
from isodiff.data.tokenizer import Bytes, Text8
from isodiff.errors import InputError
from isodiff.evaluate import arithmetic as sums
from isodiff.evaluate.arithmetic import arithmetic

ONE = QuestionAnswer("How many?", "Two and two.\n#### 1,004")


def test_the_prompt_and_what_follows_it():
    assert ONE.prompt == "Question: How many?\nAnswer:"
    assert ONE.response == " Two and two.\n#### 1,004"
    assert ONE.gold == 1004


def test_a_file_is_read_as_it_was_written(tmp_path):
    written = [
        ONE,
        QuestionAnswer(
            "Was heißt \N{LEFT DOUBLE QUOTATION MARK}zwölf\N{RIGHT DOUBLE QUOTATION MARK}?",
            "#### 12",
        ),
    ]
    write_questions(tmp_path / "q.jsonl", written)
    assert read_questions(tmp_path / "q.jsonl") == (written, [])


def test_a_bad_line_is_named_and_costs_no_other(tmp_path):
    good = json.dumps({"question": " How many? ", "answer": "#### 3\r\n", "extra": 1}).encode()
    lines = [
        good,
        b"{",
        b"",
        b"[1]",
        b'{"question": "a", "answer": "3"}',
        b'{"question": "", "answer": "#### 3"}',
        b'{"answer": "#### 3"}',
        b'{"question": "\xff", "answer": "#### 3"}',
        b'{"question": "a", "answer": 3}',
        good + b"\r",
    ]
    (tmp_path / "q.jsonl").write_bytes(b"\n".join(lines))
    questions, malformed = read_questions(tmp_path / "q.jsonl")
    assert questions == [QuestionAnswer("How many?", "#### 3")] * 2
    assert [one.line for one in malformed] == [2, 4, 5, 6, 7, 8, 9]
    reasons = [one.reason.split(" (")[0] for one in malformed]
    assert reasons == [
        "not JSON",
        "not a JSON object",
        "the answer does not end with `#### n`",
        "question must not be empty",
        "question is missing",
        "not UTF-8",
        "answer must be text, got 3",
    ]


def test_files_without_a_question(tmp_path):
    (tmp_path / "q.jsonl").write_text("\n{}\n")
    with pytest.raises(InputError, match=r"has no question; line 2: question is missing"):
        read_questions(tmp_path / "q.jsonl")
    (tmp_path / "q.jsonl").write_text("")
    with pytest.raises(
        InputError, match=r"q.jsonl has no question; give JSON lines with question and answer$"
    ):
        read_questions(tmp_path / "q.jsonl")
    with pytest.raises(InputError, match="is not a file; give JSON lines"):
        read_questions(tmp_path)


def test_in_tokens():
    tokenizer = Bytes()
    (one,) = tokenize_questions([ONE], tokenizer)
    assert tokenizer.decode(one.prompt) == ONE.prompt
    assert tokenizer.decode(one.answer) == ONE.response + "<|endoftext|>"
    filled = one.filled(40)
    assert len(filled) == 40 and (filled[len(one.answer) - 1 :] == tokenizer.eos).all()
    assert np.array_equal(one.filled(len(one.answer)), one.answer)
    with pytest.raises(InputError, match=r"an answer of 25 tokens does not fit into 24"):
        one.filled(24)


@pytest.mark.parametrize(
    "tokenizer", [Text8(), Text8(normalized=True)], ids=["plain", "normalized"]
)
def test_a_tokenizer_without_digits_is_refused(tokenizer):
    with pytest.raises(InputError, match=r"cannot write '#### -1,234.5'; answers need a run on"):
        tokenize_questions([ONE], tokenizer)


def evaluated(question: str) -> int:
    """The question read by a program of its own."""
    a, b, *c = map(int, re.findall("[0-9]+", question))
    if question.startswith("What is"):
        return a + b
    return a + b - c[0] if "sells" in question else a * b + c[0]


LAYOUTS = {
    len("0+0=00, 1+1+0=2\n#### "),
    len("0+0=00, 9+9+0=18\n#### "),
    len("20+2=22, 22-2\n#### "),
    len("3*4=12, 12+2\n#### "),
}


def worked(step: str) -> int:
    """A step without its result: numbers joined by one kind of sign."""
    (sign,) = set(re.findall("[-+*]", step))
    return functools.reduce({"+": add, "-": sub, "*": mul}[sign], map(int, step.split(sign)))


@pytest.mark.parametrize("split", ["train", "test"])
def test_sums_are_right_and_so_is_every_step(split):
    questions = arithmetic(3, 2000, split)
    golds = [one.gold for one in questions]
    assert golds == [evaluated(one.question) for one in questions]
    assert score_answers([one.response for one in questions], golds)[0].strict.value == 1
    for one in questions:
        steps = re.findall(r"([-+*0-9]+)=([0-9]+)", one.answer)
        assert all(worked(step) == int(said) for step, said in steps)
        if one.question.startswith("What"):
            assert len(steps) == 2
        else:  # the second step's result is the answer
            second = re.search(r"=([0-9]+), ([0-9]+)([-+][0-9])\n", one.answer)
            assert len(steps) == 1 and second and second[1] == second[2] == steps[0][1]
            assert worked(second[2] + second[3]) == one.gold
        assert len(one.answer) - len(str(one.gold)) in LAYOUTS
        assert strict(one.answer) == flexible(one.answer) == one.gold
    kinds = [
        sum(word in one.question for one in questions) for word in ("What is", "sells", "bags")
    ]
    assert sum(kinds) == 2000
    assert abs(kinds[0] - 1000) < 120 and min(kinds[1:]) > 380  # five standard deviations


def numbers(question: str) -> tuple[bool, bool, frozenset[int] | tuple[int, ...]]:
    """What a question asks, apart from names, things and the order of what is added or multiplied."""
    found = tuple(map(int, re.findall("[0-9]+", question)))
    addition, spending = question.startswith("What is"), "sells" in question
    return addition, spending, found if spending else (*sorted(found[:2]), *found[2:])


def test_no_sum_of_the_test_set_is_in_any_training_set():
    train = {numbers(one.question) for seed in range(3) for one in arithmetic(seed, 5000, "train")}
    test = {numbers(one.question) for seed in range(3) for one in arithmetic(seed, 2000, "test")}
    assert not train & test
    assert len(test) > 500 and len(train) > 5000
    share = sum(
        sums.in_test_set(("addition", a, b, 0)) for a in range(10, 100) for b in range(a, 100)
    )
    assert share / 4095 == pytest.approx(0.1, abs=0.02)


def test_question_i_depends_on_the_seed_alone():
    assert arithmetic(0, 50, "train")[:20] == arithmetic(0, 20, "train")
    assert arithmetic(0, 20, "train") != arithmetic(1, 20, "train")
    assert [one.question for one in arithmetic(0, 3, "train")] == [
        "Sue has 9 bags of 8 pens and 7 more. How many pens?",
        "Tom has 58 pens, buys 5 and sells 7. How many are left?",
        "What is 79 + 60?",
    ]
    with pytest.raises(InputError, match="at least 1"):
        arithmetic(0, 0, "train")
