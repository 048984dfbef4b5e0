"""`isodiff finetune`: from a base run and a file of questions to answers and an accuracy."""

import json
import re

import pytest
import tiny_runs

from isodiff.cli import main
from isodiff.data.qa_format import QuestionAnswer, write_questions
from isodiff.evaluate.arithmetic import arithmetic

SMALL = ["--threads", "1", "--validation.windows", "4", "--validation.draws", "1"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finetune")
    tiny_runs.corpus(folder)
    write_questions(folder / "train.jsonl", arithmetic(0, 120, "train"))
    write_questions(folder / "test.jsonl", arithmetic(0, 6, "test"))
    return folder


@pytest.mark.parametrize(
    ("family", "sampler"),
    [
        ("autoregressive", ["--temperature", "0"]),
        ("masked", ["--steps", "4", "--order", "confidence"]),
        ("uniform", ["--steps", "4"]),
        ("block", ["--steps", "2"]),
        ("interpolating", ["--steps", "2"]),
        ("hybrid", ["--steps", "4"]),
        ("gaussian", ["--steps", "3"]),
    ],
)
def test_from_a_base_run_to_an_accuracy(family, sampler, place):
    base = tiny_runs.trained(place, family, place / "corpus")
    words = ["--data", place / "train.jsonl", "--test", place / "test.jsonl", "--length", "110"]
    words += ["--epochs", "4", "--out", place / "tuned", *SMALL, *sampler]
    found = tiny_runs.answer("finetune", base, *words)
    assert found["status"] == "done" and found["spec"]["init"]["run"] == base.name
    assert found["spec"]["task"]["examples"] == 120 and found["left_out"] == 0
    assert found["epochs"] == pytest.approx(4, abs=0.1)
    strict = found["accuracy"]["strict"]
    assert strict["trials"] == 6 and strict["low"] <= strict["value"] <= strict["high"]
    lines = (place / "tuned" / found["id"] / "answers.jsonl").read_text().splitlines()
    answers = [json.loads(line) for line in lines]
    assert [one["question"] for one in answers] == [q.question for q in arithmetic(0, 6, "test")]
    assert sum(one["strict"] for one in answers) == strict["successes"]
    reported = json.loads((place / "tuned" / found["id"] / "tasks" / "test.json").read_text())
    assert reported["accuracy"] == strict["value"] and reported["num_items"] == 6
    assert reported["accuracy_interval"] == [strict["low"], strict["high"]]
    assert all("<|endoftext|>" not in one["answer"] for one in answers)
    if family == "gaussian":
        assert found["accuracy"]["sampler"]["condition"] == "clamp"
    # The same command again trains nothing, and the run is one like others.
    assert tiny_runs.answer("finetune", base, *words)["wall_seconds"] == found["wall_seconds"]
    tuned = place / "tuned" / found["id"]
    drawn = tiny_runs.answer("sample", tuned, "--num", "1", "--prompt", "Question: 1?\nAnswer:")
    assert drawn["samples"][0]["text"].startswith("Question: 1?")
    assert "bits_per_byte" in tiny_runs.answer(
        "evaluate", "split", tuned, "--windows", "4", "--draws", "1"
    )


def test_what_is_left_out_is_said(place, capsys):
    base = tiny_runs.trained(place, "masked", place / "corpus")
    (place / "bad.jsonl").write_text((place / "train.jsonl").read_text() + '{"question": 1}\n')
    words = ["--data", str(place / "bad.jsonl"), "--length", "90", "--epochs", "8", *SMALL]
    assert main(["finetune", str(base), *words, "--out", str(place / "less")]) == 0
    said = capsys.readouterr().err
    assert "line 121 is left out: question must be text, got 1" in said
    (line,) = [one for one in said.splitlines() if " examples are too long and left out" in one]
    assert re.search(r"^\d+ of 120 .*; rows have \d+ tokens, \d+ of them for the answer", line)
    assert re.search(r"--length \d+ --answer-tokens \d+ hold 99% of them, --length 1\d\d", line)


def test_lengths_come_from_the_questions_where_the_run_is_too_short(place, capsys):
    """A run of 32 tokens learns questions in the words of GSM8K by the command as the docs have it."""
    base = tiny_runs.trained(place, "autoregressive", place / "corpus")
    for name, num in (("many", 150), ("few", 3)):
        write_questions(place / f"{name}.jsonl", [worded(i) for i in range(num)])
    words = ["--task", "gsm8k", "--data", place / "many.jsonl", "--test", place / "few.jsonl"]
    words += ["--epochs", "3", "--temperature", "0", "--out", place / "worded", *SMALL]
    found = tiny_runs.answer("finetune", base, *words)
    (line,) = [one for one in capsys.readouterr().err.splitlines() if "too long" in one]
    assert line.startswith("1 of 150 examples are too long and left out; rows have ")
    length, room, every, longest = map(int, re.findall(r"--[a-z-]+ (\d+)", line))
    assert found["left_out"] == 1 and found["spec"]["length"] == length
    assert found["spec"]["task"]["answer_tokens"] == room < longest and length < every
    accuracy = found["accuracy"]
    assert accuracy["num_too_long"] == 1 and accuracy["share_too_long"] == pytest.approx(1 / 3)
    again = tiny_runs.answer(
        "finetune", base, *words, "--length", every, "--answer-tokens", longest
    )
    assert again["left_out"] == 0 and again["accuracy"]["num_too_long"] == 0


def worded(number: int) -> QuestionAnswer:
    """A problem that is longer than 32 bytes, and the first much longer than the others."""
    people = "Ann, Ben and everybody else" if number == 0 else "Ann"
    return QuestionAnswer(
        f"{people} had {number} apples and bought 2. How many are there?",
        f"{people} had {number} and got 2, {number}+2=<<{number}+2={number + 2}>>.\n#### {number + 2}",
    )


def test_bad_input_is_one_line(place, capsys):
    base = tiny_runs.trained(place, "masked", place / "corpus")
    data = ["--data", str(place / "train.jsonl"), "--epochs", "0.1"]
    cases = [
        (["finetune"], "give RUN and --data FILE"),
        (["finetune", str(place), *data], "is not a run"),
        (["finetune", str(base), "--data", "none.jsonl"], "none.jsonl is not a file"),
        (["finetune", str(base), *data, "--length", "32"], "examples fit into 32 tokens"),
        (["finetune", str(base), *data, "--length", "110"], "needs >= 100"),
    ]
    for words, reason in cases:
        assert main(words) == 2
        error = capsys.readouterr().err.strip().splitlines()
        assert reason in error[-1]
