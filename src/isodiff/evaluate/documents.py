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
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from isodiff.data.documents import Document
from isodiff.data.tokenizer import Tokenizer
from isodiff.errors import InputError
from isodiff.evaluate.likelihood import likelihood
from isodiff.record import Kind
from isodiff.rng import Key
from isodiff.runs.build import Trained
from isodiff.runs.resumable import Kept
from isodiff.units import bits_per_byte, perplexity


class Window(NamedTuple):
    """Tokens start .. stop - 1 of a document, of which those from `first` on are scored."""

    start: int
    first: int
    stop: int


def windows(num: int, context: int, stride: int) -> Iterator[Window]:
    """Windows of at most `context` tokens that score each of `num` tokens once, `stride` at a time."""
    stop = min(num, context)
    yield Window(0, 0, stop)
    while stop < num:
        first, stop = stop, min(stop + stride, num)
        yield Window(stop - context, first, stop)


@dataclass(frozen=True, slots=True)
class Sum:
    """Nats of some text, with its size and what they cost."""

    nats: float
    variance: float
    num_tokens: int
    num_bytes: int
    num_forwards: int

    @classmethod
    def of(cls, parts: Iterable[Sum]) -> Sum:
        """All of them, drawn independently."""
        return cls(*map(sum, zip(*map(astuple, parts), strict=True)))

    def to_json(self) -> dict[str, Any]:
        """Per token and per byte."""
        se = math.sqrt(self.variance)
        return {
            "nats_per_token": self.nats / self.num_tokens,
            "nats_per_token_se": se / self.num_tokens,
            "bits_per_byte": bits_per_byte(self.nats, self.num_bytes),
            "bits_per_byte_se": bits_per_byte(se, self.num_bytes),
            "perplexity": perplexity(self.nats / self.num_tokens),
            "num_tokens": self.num_tokens,
            "num_bytes": self.num_bytes,
            "num_forwards": self.num_forwards,
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was found for each document, and how."""

    origins: Sequence[str]
    sums: Sequence[Sum]
    kind: Kind
    protocol: str

    def to_json(self) -> dict[str, Any]:
        """All documents together, then each."""
        each = [
            {"document": origin, **one.to_json()}
            for origin, one in zip(self.origins, self.sums, strict=True)
        ]
        return {
            **Sum.of(self.sums).to_json(),
            "kind": self.kind,
            "protocol": self.protocol,
            "num_documents": len(self.sums),
            "documents": each,
        }


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
) -> Evaluation:
    """Nats of every document.

    Args:
        target_se: of nats per token over all documents; each window gets its share.
        stride: tokens scored by a window; as many as the context by default, and then only a document's last
            window has tokens before it.
        end: whether the end-of-document token is part of a document.

    Raises:
        InputError: no document, or a stride that the context does not allow.
    """
    context = run.spec.length
    stride = context if stride is None else stride
    if not 1 <= stride <= context:
        raise InputError(f"stride must lie in 1..{context}, the run's context; got {stride}")
    texts = [(text, encoded(run.corpus.tokenizer, text, end)) for text in documents]
    if not texts:
        raise InputError("there is no document with visible text; give files that have some")
    total = sum(len(ids) for _, (ids, _) in texts)
    parts: dict[int, list[Sum]] = defaultdict(list)
    protocols: Counter[str] = Counter()
    kinds: set[Kind] = set()

    def scored(group: Sequence[Placed], num: int, known: int) -> dict[str, Any]:
        found = likelihood(
            run,
            torch.from_numpy(np.stack([ids for _, _, ids in group])).to(device),
            observed=(torch.arange(num) < known).expand(len(group), -1),
            method=method,
            target_se=None if target_se is None else target_se * math.sqrt(total * (num - known)),
            budget=budget,
            seed=seed,
            keys=[key for _, key, _ in group],
            batch_size=batch_size,
        )
        columns = (found.nats.tolist(), found.se.tolist(), found.num_forwards.tolist())
        each = list(zip(*columns, strict=True))
        return {"each": each, "kind": found.kind, "protocol": found.protocol}

    groups = by_shape(texts, context, stride)
    asked = {
        **{"run": run.spec.id, "step": run.step, "stride": stride, "end": end, "seed": seed},
        **{"method": method, "target_se": target_se, "budget": budget, "batch_size": batch_size},
        "texts": hashlib.sha256(b"".join(ids.tobytes() for _, (ids, _) in texts)).hexdigest(),
    }
    num_windows = sum(map(len, groups.values()))
    with Kept("documents", num_windows, "windows", folder=run.folder, asked=asked) as pieces:
        for (num, known), group in groups.items():
            protocol = ""
            for start in range(0, len(group), batch_size):
                some = group[start : start + batch_size]
                found = pieces(len(some), partial(scored, some, num, known))
                protocol = protocol or found["protocol"]
                kinds.add(found["kind"])
                for (number, _, _), (nats, se, forwards) in zip(some, found["each"], strict=True):
                    parts[number].append(Sum(nats, se**2, num - known, 0, forwards))
            protocols[protocol] += len(group)
    sums = [
        Sum.of([*parts[number], Sum(0, 0, 0, num_bytes, 0)])
        for number, (_, (_, num_bytes)) in enumerate(texts)
    ]
    how = "; ".join(f"{count} windows: {name}" for name, count in protocols.most_common())
    rule = (
        f"windows of at most {context} tokens, {stride} scored at a time given the tokens before them "
        f"that fit, the first given nothing; end of document {'scored' if end else 'left out'}; no padding"
    )
    kind: Kind = "exact" if kinds == {"exact"} else "bound"
    return Evaluation([text.origin for text, _ in texts], sums, kind, f"{rule}; {how}")


def encoded(tokenizer: Tokenizer, document: Document, end: bool) -> tuple[np.ndarray, int]:
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
    return ids, len(text.encode())


Placed = tuple[int, Key, np.ndarray]
"""Number of the document, key of the window's random numbers, its tokens."""


def by_shape(
    texts: Sequence[tuple[Document, tuple[np.ndarray, int]]], context: int, stride: int
) -> dict[tuple[int, int], list[Placed]]:
    """All windows by their tokens and how many of those are given.

    A window's random numbers depend on its document and place, not on the other documents; only a document
    that comes twice gets fresh ones.
    """
    found: dict[tuple[int, int], list[Placed]] = defaultdict(list)
    seen: Counter[str] = Counter()
    for number, (_, (ids, _)) in enumerate(texts):
        name = hashlib.blake2b(ids.tobytes(), digest_size=8).hexdigest()
        for start, first, stop in windows(len(ids), context, stride):
            key = (name, seen[name], first)
            found[stop - start, first - start].append((number, key, ids[start:stop]))
        seen[name] += 1
    return found
