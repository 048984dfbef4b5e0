"""Answers: given prompts stay, nothing is padded, and each depends on its own number alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import FAMILIES, Recorder, V, tiny

from isodiff.errors import InputError
from isodiff.evaluate.answers import up_to_end, write_answers
from isodiff.evaluate.batching import same_shape
from isodiff.families.base import UNDECIDED, Family
from isodiff.families.sampling import sample
from isodiff.rng import Streams

pytestmark = pytest.mark.usefixtures("float64")
ROOM, EOS = 5, 3
PROMPTS = [np.arange(n) % V for n in (4, 2, 7, 4, 4, 2, 1)]
each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


@each_family
def test_an_answer_depends_on_its_own_number_alone(family: Family) -> None:
    model, sampler = tiny(family), family.sampler_with(4)
    found = write_answers(family, model, PROMPTS, sampler, room=ROOM, eos=EOS, seed=1)
    assert len({tuple(one.ids) for one in found}) > 1
    again = write_answers(family, model, PROMPTS, sampler, room=ROOM, eos=EOS, seed=1, batch_size=2)
    for row, (one, other) in enumerate(zip(found, again, strict=True)):
        start = torch.cat([torch.from_numpy(PROMPTS[row]), torch.full((ROOM,), UNDECIDED)])[None]
        rng = Streams(1, 1, first=row)
        tokens, nfe = sample(family, model, start, sampler, rng=rng)
        alone, ended = up_to_end(tokens[0, len(PROMPTS[row]) :].numpy(), EOS)
        for answer in (one, other):
            assert np.array_equal(answer.ids, alone) and answer.ended == ended
            assert answer.nfe == int(nfe)


@each_family
def test_the_network_is_shown_the_prompt_and_the_room_and_nothing_else(family: Family) -> None:
    for prompt in PROMPTS[1:3]:
        recorder = Recorder(tiny(family))
        write_answers(family, recorder, [prompt], family.sampler_with(4), room=ROOM, eos=EOS)
        assert recorder.views
        for view in recorder.views:
            assert int(view.positions.max()) < len(prompt) + ROOM


def test_prompts_of_equal_length_share_a_batch() -> None:
    lengths = [len(prompt) for prompt in PROMPTS]
    assert [*same_shape(lengths, lambda _: 2)] == [[0, 3], [4], [1, 5], [2], [6]]
    assert [*same_shape(lengths, lambda _: 64)] == [[0, 3, 4], [1, 5], [2], [6]]
    assert [*same_shape(lengths, lambda length: 8 // length)] == [[0, 3], [4], [1, 5], [2], [6]]
    assert [*same_shape([], lambda _: 2)] == []


def test_an_answer_ends_at_its_first_end_or_undecided_token() -> None:
    for ids, kept, ended in (
        ([1, 3, 2, 3], [1], True),
        ([3], [], True),
        ([1, UNDECIDED, 3], [1], False),
        ([1, 2], [1, 2], False),
    ):
        answer, found = up_to_end(np.array(ids), EOS)
        assert answer.tolist() == kept and found == ended


def test_no_room_is_refused() -> None:
    family = FAMILIES["masked"]
    for room, batch_size in ((0, 1), (1, 0)):
        with pytest.raises(InputError, match="room and batch_size must be at least 1"):
            write_answers(
                family,
                tiny(family),
                PROMPTS,
                family.sampler_with(2),
                room=room,
                eos=EOS,
                batch_size=batch_size,
            )
