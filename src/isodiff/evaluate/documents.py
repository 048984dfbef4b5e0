"""Likelihood of whole documents: windows with stated context, every token scored exactly once.

A document is its tokens, closed by the end-of-document token, which is scored like any other and has no
bytes (`end` leaves it out). Its first window begins with nothing before it; each later one scores the next
`stride` tokens, given as many tokens before them as the run's context has room for. Nothing is padded:
windows of different lengths go through the network apart. Standard errors are those of the estimate for
these documents; they do not say how much other documents would differ, and are 0 for exact likelihoods.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from isodiff.data.documents import Document
from isodiff.data.tokenizer import Tokenizer
from isodiff.errors import InputError
from isodiff.evaluate.batching import same_shape
from isodiff.evaluate.likelihood import each_protocol, likelihood
from isodiff.record import Kind
from isodiff.rng import Key
from isodiff.runs.build import Trained
from isodiff.runs.resumable import Kept
from isodiff.serialization import IfAny, from_json, to_json
from isodiff.task_results import LawLikelihood, TextLikelihood
from isodiff.units import bits_per_byte, perplexity


@dataclass(frozen=True, kw_only=True)
class DocumentLikelihood(TextLikelihood):
    """Of one document, named by where it comes from."""

    document: str


@dataclass(frozen=True, kw_only=True)
class DocumentsLikelihood(TextLikelihood):
    """Of all documents together, and of each."""

    run: str
    kind: Kind
    protocol: str
    num_documents: int
    documents: tuple[DocumentLikelihood, ...]
    cached_sampler: IfAny[LawLikelihood] = None


class Window(NamedTuple):
    """Tokens start .. stop - 1 of a document, of which those from `first` on are scored."""

    start: int
    first: int
    stop: int


def document_windows(num: int, context: int, stride: int) -> Iterator[Window]:
    """Windows of at most `context` tokens that score each of `num` tokens once, `stride` at a time."""
    stop = min(num, context)
    yield Window(0, 0, stop)
    while stop < num:
        first, stop = stop, min(stop + stride, num)
        yield Window(stop - context, first, stop)


class _Encoded(NamedTuple):
    origin: str
    ids: np.ndarray
    num_bytes: int


class _Job(NamedTuple):
    """A window of a document: its tokens, how many of them are given, the key of its random numbers."""

    document: int
    ids: np.ndarray
    known: int
    key: Key

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.ids), self.known


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scored:
    """A batch of windows."""

    nats: tuple[float, ...]
    se: tuple[float, ...]
    num_forwards: tuple[int, ...]
    kind: Kind
    protocol: str


class _Total(NamedTuple):
    """Nats of some text, their variance, its size and what they cost."""

    nats: float
    variance: float
    num_tokens: int
    num_bytes: int
    num_forwards: int

    @classmethod
    def of(cls, parts: Iterable[_Total]) -> _Total:
        """All of them, drawn independently."""
        return cls(*map(sum, zip(*parts, strict=True)))

    @property
    def likelihood(self) -> TextLikelihood:
        se = math.sqrt(self.variance)
        return TextLikelihood(
            nats_per_token=self.nats / self.num_tokens,
            nats_per_token_se=se / self.num_tokens,
            bits_per_byte=bits_per_byte(self.nats, self.num_bytes),
            bits_per_byte_se=bits_per_byte(se, self.num_bytes),
            perplexity=perplexity(self.nats / self.num_tokens),
            num_tokens=self.num_tokens,
            num_bytes=self.num_bytes,
            num_forwards=self.num_forwards,
        )


def evaluate_documents(
    run: Trained,
    documents: Iterable[Document],
    *,
    method: str = "auto",
    target_se: float | None = None,
    budget: int | None = None,
    stride: int | None = None,
    end: bool = True,
    seed: int = 0,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
) -> DocumentsLikelihood:
    """Nats of every document; with "auto" also those of the family's cached sampler, if it has another law.

    Args:
        target_se: of nats per token over all documents; each window gets its share.
        stride: tokens scored by a window; as many as the context by default, and then only a document's last
            window has tokens before it.
        end: whether the end-of-document token is part of a document.

    Raises:
        InputError: no document, or a stride that the context does not allow.
    """
    texts = [encode_document(run.corpus.tokenizer, document, end) for document in documents]
    limits = {"target_se": target_se, "budget": budget, "stride": stride}
    how = {"end": end, "seed": seed, "batch_size": batch_size, "device": device}
    by = partial(_by_method, run, texts, **limits, **how)
    if method != "auto" or run.family.kind == "exact" or run.family.cached_sampler is None:
        return by(method)
    cached = by(
        "any_order"
    )  # first: it is quick, and an interruption keeps the parts of one method
    own = {name: getattr(cached, name) for name in LawLikelihood.__dataclass_fields__}
    return replace(by(method), cached_sampler=LawLikelihood(**own))


def _by_method(
    run: Trained,
    texts: Sequence[_Encoded],
    method: str,
    *,
    target_se: float | None,
    budget: int | None,
    stride: int | None,
    end: bool,
    seed: int,
    batch_size: int,
    device: torch.device | str,
) -> DocumentsLikelihood:
    context = run.spec.length
    stride = context if stride is None else stride
    if not 1 <= stride <= context:
        raise InputError(f"stride must lie in 1..{context}, the run's context; got {stride}")
    if not texts:
        raise InputError("there is no document with visible text; give files that have some")
    total = sum(len(text.ids) for text in texts)
    jobs = window_jobs(texts, context, stride)

    def scored(some: Sequence[_Job]) -> object:
        num, known = some[0].shape
        estimate = likelihood(
            run,
            torch.from_numpy(np.stack([job.ids for job in some])).to(device),
            observed=(torch.arange(num) < known).expand(len(some), -1),
            method=method,
            target_se=None if target_se is None else target_se * math.sqrt(total * (num - known)),
            budget=budget,
            seed=seed,
            keys=[job.key for job in some],
            batch_size=batch_size,
        )
        if not bool(estimate.nats.isfinite().all()):
            raise InputError(
                f"by method {method} a window has probability 0, and so infinite nats: "
                "its sampler never writes that; take another method"
            )
        return to_json(
            _Scored(
                nats=tuple(estimate.nats.tolist()),
                se=tuple(estimate.se.tolist()),
                num_forwards=tuple(estimate.num_forwards.tolist()),
                kind=estimate.kind,
                protocol=estimate.protocol,
            )
        )

    asked = {
        **{"run": run.spec.id, "step": run.step, "stride": stride, "end": end, "seed": seed},
        **{"method": method, "target_se": target_se, "budget": budget, "batch_size": batch_size},
        "texts": hashlib.sha256(b"".join(text.ids.tobytes() for text in texts)).hexdigest(),
    }
    parts = [[_Total(0, 0, 0, text.num_bytes, 0)] for text in texts]
    protocols: dict[tuple[int, int], str] = {}
    kinds: set[Kind] = set()
    with Kept("documents", len(jobs), "windows", folder=run.folder, asked=asked) as pieces:
        for numbers in same_shape([job.shape for job in jobs], lambda _: batch_size):
            some = [jobs[number] for number in numbers]
            batch = from_json(_Scored, pieces(len(some), partial(scored, some)), "a kept piece")
            protocols.setdefault(some[0].shape, batch.protocol)
            kinds.add(batch.kind)
            columns = zip(some, batch.nats, batch.se, batch.num_forwards, strict=True)
            for job, nats, se, forwards in columns:
                size = len(job.ids) - job.known
                parts[job.document].append(_Total(nats, se**2, size, 0, forwards))
    totals = [_Total.of(part) for part in parts]
    rule = (
        f"windows of at most {context} tokens, {stride} scored at a time given the tokens before them "
        f"that fit, the first given nothing; end of document {'scored' if end else 'left out'}; no padding"
    )
    how = each_protocol((protocols[job.shape] for job in jobs), "windows")
    return DocumentsLikelihood(
        run=run.spec.id,
        kind="exact" if kinds == {"exact"} else "bound",
        protocol=f"{rule}; {how}",
        num_documents=len(texts),
        documents=tuple(
            DocumentLikelihood(document=text.origin, **vars(one.likelihood))
            for text, one in zip(texts, totals, strict=True)
        ),
        **vars(_Total.of(totals).likelihood),
    )


def encode_document(tokenizer: Tokenizer, document: Document, end: bool) -> _Encoded:
    """Tokens of a document and its bytes."""
    try:
        text = tokenizer.normalize(document.text)
    except InputError as error:
        raise InputError(f"{document.origin}: {error}") from None
    ids = tokenizer.encode(text)
    if end:
        ids = np.append(ids, tokenizer.eos)
    if not len(ids):
        raise InputError(f"{document.origin} has no token to score; leave it out")
    return _Encoded(document.origin, ids, len(text.encode()))


def window_jobs(texts: Sequence[_Encoded], context: int, stride: int) -> list[_Job]:
    """All windows.

    The random numbers of one depend on its document's text and its position there, not on other documents;
    only a document that comes twice gets fresh ones.
    """
    jobs: list[_Job] = []
    seen: Counter[str] = Counter()
    for number, text in enumerate(texts):
        name = hashlib.blake2b(text.ids.tobytes(), digest_size=8).hexdigest()
        for start, first, stop in document_windows(len(text.ids), context, stride):
            key = (name, seen[name], first)
            jobs.append(_Job(number, text.ids[start:stop], first - start, key))
        seen[name] += 1
    return jobs
