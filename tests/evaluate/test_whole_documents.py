"""Documents: every token scored once, with the context stated; sums, errors and keys."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from isodiff.data.documents import Document
from isodiff.data.tokenizer import Bytes
from isodiff.errors import InputError
from isodiff.evaluate.documents import (
    Window,
    document_windows,
    encode_document,
    evaluate_documents,
    window_jobs,
)
from isodiff.evaluate.likelihood import LikelihoodEstimate, likelihood
from isodiff.network.shape import Shape
from isodiff.rng import Rows, stream
from isodiff.runs.build import Trained, make_family, make_network
from isodiff.runs.spec import CorpusIdentity, RunSpec

TEXT = "We hold these truths to be self-evident, that all are created equal."


@pytest.mark.parametrize("context", [1, 5, 8])
@pytest.mark.parametrize("num", [1, 4, 5, 8, 9, 23])
def test_windows_score_every_token_once(num: int, context: int) -> None:
    for stride in range(1, context + 1):
        found = list(document_windows(num, context, stride))
        scored = [i for window in found for i in range(window.first, window.stop)]
        assert scored == list(range(num))
        assert found[0] == Window(0, 0, min(num, context))
        for window in found[1:]:
            assert window.stop - window.start == context  # as much context as fits
            assert window.stop - window.first == stride or window.stop == num


def test_windows_of_the_whole_context_have_none_but_for_the_last() -> None:
    assert list(document_windows(23, 10, 10)) == [(0, 0, 10), (10, 10, 20), (13, 20, 23)]
    assert list(document_windows(12, 10, 4)) == [(0, 0, 10), (2, 10, 12)]


class Corpus:
    tokenizer = Bytes()


@pytest.fixture(scope="module")
def run() -> Trained:
    return make("autoregressive")


def make(name: str) -> Trained:
    spec = RunSpec(
        family={"name": name},
        shape=Shape(depth=1, width=16, heads=2),
        length=16,
        budget=1e9,
        corpus=CorpusIdentity(hash="", vocab_size=257, tokenizer="bytes"),
    )
    family = make_family({"name": name}, 257)
    network = make_network(spec, family).eval()
    with torch.no_grad():
        for number, weights in enumerate(network.parameters()):
            rng = torch.Generator().manual_seed(number)
            weights.copy_(0.3 * torch.randn(weights.shape, generator=rng))
    return Trained(spec, family, network, Corpus(), Path("run"), 1)  # type: ignore[arg-type]


def docs(*texts: str) -> list[Document]:
    return [Document(text, f"text {number}") for number, text in enumerate(texts)]


@pytest.mark.parametrize("stride", [None, 5])
def test_the_sum_over_windows_is_that_of_the_tokens(run: Trained, stride: int | None) -> None:
    """Against the network's own nats of each token in its window."""
    found = evaluate_documents(run, docs(TEXT), stride=stride)
    _, ids, num_bytes = encode_document(Bytes(), Document(TEXT, ""), True)
    total = 0.0
    for window in document_windows(len(ids), 16, stride or 16):
        x = torch.from_numpy(ids[window.start : window.stop])[None]
        each = run.family.loss(run.network, x, rng=Rows.of(stream(0, "test"), 1))[0]
        total += float(each[window.first - window.start :].sum().detach())
    assert found.nats_per_token == pytest.approx(total / len(ids), rel=1e-6)
    assert found.bits_per_byte == pytest.approx(total / num_bytes / math.log(2), rel=1e-6)
    assert found.perplexity == pytest.approx(math.exp(total / len(ids)), rel=1e-6)
    assert found.num_tokens == num_bytes + 1 == len(TEXT) + 1
    assert found.nats_per_token_se == 0 and found.kind == "exact"
    assert found.num_forwards == len(list(document_windows(len(ids), 16, stride or 16)))


def test_the_end_of_a_document_can_be_left_out(run: Trained) -> None:
    with_end, without = (evaluate_documents(run, docs("abc"), end=end) for end in (True, False))
    assert with_end.documents[0].num_tokens == 4 and without.documents[0].num_tokens == 3
    assert with_end.documents[0].num_bytes == without.documents[0].num_bytes == 3
    assert "scored" in with_end.protocol and "end of document left out" in without.protocol
    x = torch.tensor([[97, 98, 99, 256]])
    assert with_end.documents[0].nats_per_token == pytest.approx(float(likelihood(run, x).nats) / 4)


def test_documents_add_up_and_do_not_meet() -> None:
    """Also where there is noise: a document's draws depend on itself alone."""
    run, texts = make("masked"), docs(TEXT, "short", TEXT[:20])
    found = evaluate_documents(run, texts, budget=17)
    alone = evaluate_documents(run, texts[2:], budget=17)
    assert alone.documents[0].nats_per_token == pytest.approx(
        found.documents[2].nats_per_token, rel=1e-5
    )
    assert found.num_documents == len(found.documents) == 3
    assert found.nats_per_token * found.num_tokens == pytest.approx(
        sum(one.nats_per_token * one.num_tokens for one in found.documents)
    )
    assert found.nats_per_token_se * found.num_tokens == pytest.approx(
        math.hypot(*(one.nats_per_token_se * one.num_tokens for one in found.documents))
    )
    assert found.num_forwards == sum(one.num_forwards for one in found.documents)
    assert found.kind == "bound" and "given the tokens before them" in found.protocol


def test_windows_of_any_batch_size() -> None:
    run = make("masked")
    once, again = (evaluate_documents(run, docs(TEXT), batch_size=b) for b in (64, 3))
    assert once.documents[0].nats_per_token == pytest.approx(
        again.documents[0].nats_per_token, rel=1e-5
    )


def test_a_standard_error_for_all_documents_together() -> None:
    run = make("masked")
    texts = docs(TEXT, TEXT[::-1])
    free = evaluate_documents(run, texts, budget=17).nats_per_token_se
    found = evaluate_documents(run, texts, target_se=free / 2)
    assert free / 4 < found.nats_per_token_se <= free / 2


def test_equal_documents_have_draws_of_their_own() -> None:
    text = encode_document(Bytes(), Document(TEXT, ""), True)
    jobs = window_jobs([text, text], 16, 16)
    keys = [job.key for job in jobs]
    assert len(set(keys)) == len(keys) == 2 * math.ceil(len(text.ids) / 16)
    half = len(jobs) // 2
    assert all(np.array_equal(a.ids, b.ids) for a, b in zip(jobs[:half], jobs[half:], strict=True))


def test_bad_input(run: Trained) -> None:
    with pytest.raises(InputError, match="no document with visible text"):
        evaluate_documents(run, [])
    for stride in (0, 17):
        with pytest.raises(InputError, match=r"stride must lie in 1\.\.16"):
            evaluate_documents(run, docs(TEXT), stride=stride)


def test_a_text_outside_the_alphabet_is_named() -> None:
    from isodiff.data.tokenizer import Text8

    with pytest.raises(InputError, match="text 0: character 'W'"):
        encode_document(Text8(), docs(TEXT)[0], True)
    assert encode_document(Text8(), Document("a b", ""), False).ids.tolist() == [1, 0, 2]
    with pytest.raises(InputError, match="no token to score"):
        encode_document(Text8(), Document("", "empty"), False)


def test_the_context_of_a_run_is_the_longest_window(run: Trained) -> None:
    longer = replace(run, spec=replace(run.spec, length=32))
    short, long = (evaluate_documents(r, docs(TEXT)).protocol for r in (run, longer))
    assert "at most 16 tokens" in short and "at most 32 tokens" in long


def test_a_text_that_a_sampler_never_writes_is_named(
    run: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Infinite nats are no number for a file of results."""

    def infinite(run: object, x: torch.Tensor, **options: object) -> LikelihoodEstimate:
        nats = torch.full((len(x),), math.inf, dtype=torch.float64)
        return LikelihoodEstimate(nats, torch.zeros_like(nats), torch.ones(len(x)), "exact", "")

    monkeypatch.setattr("isodiff.evaluate.documents.likelihood", infinite)
    with pytest.raises(InputError, match="by method confidence a window has probability 0"):
        evaluate_documents(run, [Document("a.txt", TEXT)], method="confidence")
