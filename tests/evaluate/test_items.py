"""Items: the three formats, the boundary of tokens, what is refused and what is not lost by it."""

import json
from pathlib import Path

import numpy as np
import pytest

from isodiff.data.subword import UntrainedBPE
from isodiff.data.tokenizer import Bytes
from isodiff.errors import InputError
from isodiff.evaluate.items import (
    Option,
    Target,
    boundary,
    read_items,
    shortened,
)

QUESTION = {"query": "Water is", "choices": ["wet", "dry"], "gold": 0}
PRONOUN = {
    "context_options": [
        "The cup fell on the rug, so the cup",
        "The cup fell on the rug, so the rug",
    ],
    "continuation": "broke.",
    "gold": 0,
}
PASSAGE = {"context": "He knocked, and nobody opened the", "continuation": "door"}


def lines(folder: Path, *values) -> Path:
    file = folder / "items.jsonl"
    file.write_bytes(
        b"\n".join(v if isinstance(v, bytes) else json.dumps(v).encode() for v in values)
    )
    return file


def test_one_context_several_continuations(tmp_path):
    (item,), malformed = read_items(lines(tmp_path, QUESTION))
    assert item.options == (Option("Water is", " wet", "wet"), Option("Water is", " dry", "dry"))
    assert (item.gold, item.line, malformed) == (0, 1, [])
    assert item.options[0].num_bytes == 3


def test_several_contexts_one_continuation(tmp_path):
    (item,), _ = read_items(lines(tmp_path, PRONOUN))
    assert [option.context[-3:] for option in item.options] == ["cup", "rug"]
    assert {option.continuation for option in item.options} == {" broke."}


def test_a_cloze_item(tmp_path):
    (item,), _ = read_items(lines(tmp_path, PASSAGE))
    assert item.options == (Option(PASSAGE["context"], " door", "door"),)


@pytest.mark.parametrize(
    ("query", "choice", "joiner", "expected"),
    [
        ("Water is", "wet", None, ("Water is", " wet")),
        ("Water is ", "wet", None, ("Water is", " wet")),
        ("Water is", " wet", None, ("Water is", " wet")),
        ("Is it?\n", "Yes", None, ("Is it?", "\nYes")),
        ("", "wet", None, ("", "wet")),
        ("Is it?", "Yes", "\nAnswer: ", ("Is it?", "\nAnswer: Yes")),
        ("Is it?\n", "Yes", "", ("Is it?", "\nYes")),
        ("Is it", "?", "", ("Is it", "?")),
    ],
)
def test_what_joins_context_and_continuation(tmp_path, query, choice, joiner, expected):
    file = lines(tmp_path, {"query": query, "choices": [choice, "other"], "gold": 0})
    (item,), _ = read_items(file, joiner=joiner)
    assert (item.options[0].context, item.options[0].continuation) == expected
    assert item.options[0].answer == choice


def test_the_boundary_moves_white_space_and_changes_no_text():
    for context, continuation in (
        ("a  ", "b"),
        ("a\n\n", " b"),
        ("  ", "b"),
        ("a", "b "),
        ("", "b"),
    ):
        before, after = boundary(context, continuation)
        assert before + after == context + continuation and before == before.rstrip()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"query": "a", "choices": ["b"', "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[1, 2]", "not a JSON object"),
        ({"question": "a", "answer": "b"}, "keys 'question', 'answer'; wanted query"),
        ({}, "keys none"),
        ({"choices": ["a", "b"], "gold": 0}, "query is missing"),
        (QUESTION | {"choices": "wet"}, "choices must be a list, got 'wet'"),
        (QUESTION | {"choices": ["wet", 3]}, "choices[1] must be text, got 3"),
        (QUESTION | {"choices": []}, "choices must have at least 2 entries, got 0"),
        (QUESTION | {"choices": ["wet"]}, "choices must have at least 2 entries, got 1"),
        (QUESTION | {"choices": ["wet", " "]}, "an option without text has nothing to score"),
        (QUESTION | {"gold": 2}, "gold is 2; wanted the number of an option, 0 to 1"),
        (QUESTION | {"gold": "0"}, "gold must be a whole number, got '0'"),
        (QUESTION | {"gold": True}, "gold must be a whole number, got True"),
        ({"query": "a", "choices": ["b", "c"]}, "gold is missing"),
        (PRONOUN | {"continuation": ""}, "an option without text"),
        ({"continuation": "door"}, "context is missing"),
        (PASSAGE, "choices and single continuations in one file; line 1 began"),
    ],
)
def test_a_malformed_line_is_named_and_the_rest_is_not_lost(tmp_path, line, reason):
    items, malformed = read_items(lines(tmp_path, QUESTION, b"", line, QUESTION))
    assert [item.line for item in items] == [1, 4]
    (found,) = malformed
    assert found.line == 3 and reason in found.reason


def test_a_file_without_an_item_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no item; line 1: not a JSON object; give JSON lines"):
        read_items(lines(tmp_path, b"3"))
    with pytest.raises(InputError, match="has no item; give JSON lines"):
        read_items(lines(tmp_path, b""))
    with pytest.raises(InputError, match="is not a file"):
        read_items(tmp_path / "nowhere.jsonl")


def test_the_limit_counts_items(tmp_path):
    file = lines(tmp_path, b"3", QUESTION, QUESTION, b"4")
    items, malformed = read_items(file, limit=1)
    assert [item.line for item in items] == [2] and [one.line for one in malformed] == [1]


def test_bytes_are_divided_where_the_context_ends():
    found = Target.encoded(Bytes(), "ab", " cd")
    assert bytes(found.ids.tolist()) == b"ab cd" and found.known == 2
    assert bytes(found.alone.ids.tolist()) == b" cd" and found.alone.known == 0


@pytest.fixture(scope="module")
def subwords():
    return UntrainedBPE.parse("bpe:272").train(iter(["the water is wet, the weather is wet " * 50]))


def test_subwords_are_those_of_the_whole_text(subwords):
    """A space at the end of a context belongs to the next word; a merge across the boundary is scored."""
    whole = subwords.encode("the water is wet").tolist()
    found = Target.encoded(subwords, *boundary("the water is ", "wet"))
    assert found.ids.tolist() == whole
    assert subwords.decode(found.alone.ids) == " wet"
    assert subwords.decode(found.ids[: found.known]) == "the water is"
    inside = Target.encoded(subwords, "the wat", "er is wet")
    assert inside.ids.tolist() == whole
    assert subwords.decode(inside.alone.ids).endswith("er is wet") and inside.known < len(whole)
    assert inside.known == len(subwords.encode("the"))


def test_an_empty_target_is_refused(subwords):
    with pytest.raises(InputError, match="the target is empty"):
        Target.encoded(subwords, "the water", "")
    with pytest.raises(InputError, match="the target is empty"):
        Target.encoded(Bytes(), "", "")


def numbered(known: int, scored: int, start: int = 0) -> Target:
    return Target(np.arange(start, start + known + scored), known)


def test_contexts_are_cut_from_the_left_by_the_same_number():
    long, short = numbered(10, 6), numbered(10, 2)
    cut = shortened([long, short], 12)
    assert [one.ids.tolist() for one in cut] == [[*range(4, 16)], [*range(4, 12)]]
    assert [one.known for one in cut] == [6, 6]
    assert [
        one is two for one, two in zip(shortened([long, short], 16), [long, short], strict=True)
    ]
    uneven = shortened([numbered(10, 6), numbered(3, 6)], 8)
    assert [one.known for one in uneven] == [2, 0]


@pytest.mark.parametrize("known", [0, 3, 7, 20, 40])
@pytest.mark.parametrize("scored", [1, 8, 9, 23])
def test_windows_score_every_token_once(known, scored):
    whole, length = numbered(known, scored), 8
    pieces = whole.windows(length)
    assert [t for one in pieces for t in one.alone.ids.tolist()] == [*range(known, known + scored)]
    for one in pieces:
        assert len(one) <= length and len(one.alone) > 0
        assert one.ids.tolist() == [*range(one.ids[0], one.ids[0] + len(one))]
    if known + scored <= length:
        assert pieces == [whole] and pieces[0] is whole
    else:
        assert pieces[0].known == min(known, length // 2) or len(pieces) == 1
        assert len(pieces[-1]) == min(length, known + scored)
