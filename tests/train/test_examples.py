"""Fine-tuning on questions: what a batch holds, what is scored, what a run is named by, and resuming."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from specs import small
from test_resume import interrupted, newest

from isodiff.data.qa_format import TokenizedQuestion, tokenize_questions
from isodiff.errors import InputError
from isodiff.evaluate.arithmetic import arithmetic
from isodiff.network.padding import Padded
from isodiff.rng import Rows, stream
from isodiff.runs.build import load, measure
from isodiff.runs.spec import RunSpec
from isodiff.train.examples import HELD_OUT, Examples
from isodiff.train.initialization import initialization_from
from isodiff.train.lengths import RowLengths, lengths_that_hold, row_lengths
from isodiff.train.loop import train
from isodiff.train.run import TrainingRun

CPU = torch.device("cpu")
RECIPE = {"precision": "float32", "learning_rate": 1e-2}


def examples(corpus, num: int = 90, **changes) -> Examples:
    settings = {"limit": 200, "room": None, "seed": 0, **changes}
    questions = tokenize_questions(arithmetic(0, num, "train"), corpus.tokenizer)
    rows = row_lengths(questions, 8, length=settings["limit"], room=settings["room"])
    seed = settings["seed"]
    return Examples.of("gsm8k", questions, corpus, rows=rows, batch_size=4, seed=seed)


@pytest.fixture(scope="module")
def base(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    assert train(small(corpus, "masked", recipe=RECIPE), folder, corpus).status == "done"
    return folder


def tuning(corpus, base, name: str, source: Examples, steps: int = 100, **changes) -> RunSpec:
    start = initialization_from(base, corpus) if base is not None else None
    spec = small(corpus, name, length=source.length, recipe=RECIPE, task=source.task, **changes)
    spec = dataclasses.replace(spec, init=None if start is None else start.source)
    return dataclasses.replace(spec, budget=steps * measure(spec, corpus.vocab_size).step_flops)


def test_a_row_is_prompt_answer_ends_and_padding(corpus):
    source = examples(corpus)
    asked = source.trained_on[:5]
    x, observed, lengths = source.rows_of(asked, CPU)
    assert x.shape == (5, source.length) and int(lengths.max()) <= source.length
    for row, known, n, one in zip(x, observed, lengths.tolist(), asked, strict=True):
        prompt, end = len(one.prompt), len(one.prompt) + len(one.answer)
        assert n == prompt + source.room
        assert known.tolist() == [i < prompt or i >= n for i in range(source.length)]
        assert row[:end].tolist() == [*one.prompt, *one.answer]
        assert set(row[end - 1 : n].tolist()) == {corpus.eos}
    assert int((~observed).sum()) == 5 * source.scored


def test_batches_are_functions_of_the_step_and_see_everything_but_what_is_held_out(corpus):
    source = examples(corpus)
    assert len(source.held_out) == -(-90 // HELD_OUT) and len(source.trained_on) == 85
    whole = source.batch(7, range(4), CPU)
    part = source.batch(7, range(1, 3), CPU)
    assert whole.observed is not None and part.observed is not None
    assert torch.equal(whole.x[1:3], part.x) and torch.equal(whole.observed[1:3], part.observed)
    rows = torch.cat([source.batch(step, range(4), CPU).x for step in range(85)])
    seen = {tuple(row.tolist()) for row in rows}
    assert seen == {tuple(row.tolist()) for row in source.rows_of(source.trained_on, CPU).x}
    assert source.epochs(85) == 4
    other = examples(corpus, seed=1).batch(7, range(4), CPU)
    assert not torch.equal(other.x, whole.x)


def test_what_does_not_fit_is_counted(corpus):
    whole = examples(corpus)
    shorter = examples(corpus, limit=whole.length - 1)
    assert shorter.left_out > 0 and len(shorter.fitting) + shorter.left_out == 90
    assert shorter.length < whole.length
    narrow = examples(corpus, room=whole.room - 2)
    assert narrow.room == whole.room - 2 and 0 < narrow.left_out < 90
    assert all(len(one.answer) <= narrow.room for one in narrow.fitting)
    fits = (
        r"0 of 90 examples fit into 30 tokens with \d+ for the answer, .* --answer-tokens \d+ all"
    )
    with pytest.raises(InputError, match=fits):
        examples(corpus, limit=30)


def question(prompt: int, answer: int) -> TokenizedQuestion:
    return TokenizedQuestion(np.zeros(prompt, np.int64), np.zeros(answer, np.int64))


SIZES = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 12)), min_size=1, max_size=40)


@given(sizes=SIZES, share=st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_lengths_that_hold_are_the_shortest(sizes, share):
    questions = [question(*one) for one in sizes]
    every = [RowLengths(n, room) for n in range(25) for room in range(13)]
    holding = [one for one in every if one.fit(questions).mean() >= share]
    assert lengths_that_hold(questions, share) == min(holding)


@given(
    sizes=SIZES,
    usual=st.integers(2, 26),
    length=st.none() | st.integers(2, 26),
    room=st.none() | st.integers(1, 13),
)
def test_lengths_are_as_asked_or_as_the_questions_want_it(sizes, usual, length, room):
    questions = [question(*one) for one in sizes]
    found = row_lengths(questions, usual, length=length, room=room)
    assert found.room == (room or found.room) and found.length == (length or found.length)
    able = [one for one in questions if len(one.answer) <= (room or 13)]
    fitting = found.fit(questions).sum()
    if length is None:
        assert fitting >= 0.99 * len(able) and (found.length == usual or len(able) > 0)
    rooms = [room] if room else range(1, 14)
    most = max(RowLengths(found.length, one).fit(questions).sum() for one in rooms)
    assert fitting == most


def test_the_spec_names_the_task_by_content(corpus, base, tmp_path):
    source, other = examples(corpus), examples(corpus, num=91)
    assert source.task is not None and source.task["examples"] == 90
    assert source.task != other.task
    assert source.task == examples(corpus, seed=3).task
    spec = tuning(corpus, base, "masked", source)
    assert RunSpec.from_json(spec.to_json()) == spec and spec.to_json()["task"] == source.task
    assert "task" not in small(corpus).to_json()
    start = initialization_from(base, corpus)
    for wrong in (other, None):
        with pytest.raises(InputError, match="learns from"):
            train(spec, tmp_path, corpus, init=start, source=wrong)
    with pytest.raises(InputError, match="learns from its corpus"):
        train(small(corpus), tmp_path, corpus, source=source)


def test_the_loss_is_a_mean_over_what_is_scored(corpus, tmp_path):
    """Neither prompts nor padding dilute it: an unknowing network pays log V for each token."""
    source = examples(corpus)
    batch = source.batch(0, range(4), CPU)
    spec = small(corpus, "autoregressive", length=source.length, task=source.task)
    trained = TrainingRun(spec, tmp_path, corpus, source=source)
    loss = batch.loss(trained.family, trained.network, Rows.of(stream(0), 4)).detach()
    assert isinstance(batch.denoiser(trained.network), Padded)
    mean = float(loss.sum() / (4 * source.scored))
    assert mean == pytest.approx(np.log(corpus.vocab_size), rel=1e-3)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("autoregressive", {}),
        ("masked", {}),
        ("uniform", {}),
        ("hybrid", {}),
        ("interpolating", {"alpha_0": 0.5}),
        ("block", {"block_size": 8, "adapt_every": 30, "objective": "nelbo"}),
        ("gaussian", {"embedding_width": 4}),
    ],
)
def test_every_family_learns_the_answers_and_resumes_bit_for_bit(name, options, corpus, tmp_path):
    source = examples(corpus)
    spec = tuning(corpus, None, name, source, options=options)
    record = train(spec, tmp_path / "straight", corpus, source=source)
    assert record.status == "done"
    found = record.results.validation
    assert found.nats_per_token.num == len(source.held_out)
    assert f"answers of {source.room} tokens" in found.protocol
    assert found.nats_per_token.value < (6 if name == "gaussian" else 3.5)  # of log V = 5.5
    interrupted(spec, tmp_path / "broken", corpus, 40, source=source)
    again = train(spec, tmp_path / "broken", corpus, source=source)
    assert newest(tmp_path / "straight") == newest(tmp_path / "broken")
    assert again.results == record.results
    assert load(tmp_path / "straight").spec.task == source.task
