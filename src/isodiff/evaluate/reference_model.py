"""The model that scores generated text: an autoregressive run, or any causal model of Hugging Face.

It must have an exact likelihood; a bound would reward texts for which it happens to be tight. Texts longer
than its context are cut into pieces of that length, each scored from its beginning. A reference model with
the tokenizer of the run scores the tokens as drawn; another one reads the decoded text, and then only
bits per byte compare runs. There an end of document is the model's own token for it, and stands for no bytes;
a model without one reads each document from its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from isodiff.data.tokenizer import Tokenizer
from isodiff.errors import InputError, reason
from isodiff.evaluate.batching import same_shape
from isodiff.families.base import Family
from isodiff.network.view import Denoiser
from isodiff.rng import Rows, stream

Ids = NDArray[np.int64]
_BATCH = 64
_CONTEXT = 1024  # of a model that does not say
HUGGING_FACE = "hf:"
"""Prefix of the name of a Hugging Face model: hf:gpt2, hf:/path/to/model."""


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """A text as token ids and as what they say: its documents, one more than it has ends of document."""

    ids: Ids
    documents: tuple[str, ...]

    @property
    def raw(self) -> list[bytes]:
        """UTF-8 of each document; what is not UTF-8 stands as U+FFFD."""
        return [document.encode() for document in self.documents]


@dataclass(frozen=True, slots=True)
class TextNats:
    """Of each text: nats under the reference model, tokens it was scored on, bytes of the text."""

    nats: NDArray[np.float64]
    num_tokens: NDArray[np.float64]
    num_bytes: NDArray[np.float64]


class ReferenceModel(Protocol):
    """Somebody who says how likely a text is."""

    @property
    def name(self) -> str:
        """As protocols call it."""
        ...

    def score(self, texts: Sequence[TokenizedText]) -> TextNats:
        """Nats of every text."""
        ...


@dataclass(frozen=True)
class RunReference:
    """A run with an exact likelihood.

    Attributes:
        run: its id.
        context: tokens of a piece: its training length.
        own: whether the texts' ids are of this run's tokenizer.
    """

    run: str
    family: Family
    denoiser: Denoiser
    tokenizer: Tokenizer
    context: int
    own: bool = True
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        if self.family.kind != "exact":
            raise InputError(
                f"run {self.run} ({self.family.name}) cannot be the reference model: "
                "its likelihood is a bound; give a run of a family with an exact one"
            )

    @property
    def name(self) -> str:
        """Family and run."""
        return f"{self.family.name} run {self.run}"

    def score(self, texts: Sequence[TokenizedText]) -> TextNats:
        """-log p of every text, piece by piece."""
        ids = [text.ids if self.own else self.read(text.documents) for text in texts]
        pieces = _pieces(enumerate(ids), self.context)
        nats = np.zeros(len(ids))
        for numbers in same_shape([len(piece) for _, piece in pieces], lambda _: _BATCH):
            group = [pieces[number] for number in numbers]
            x = torch.from_numpy(np.stack([piece for _, piece in group])).to(self.device)
            rng = Rows.of(stream(0, "judge"), len(x), device=self.device)
            with torch.no_grad():
                found = self.family.nelbo(self.denoiser, x, rng=rng).nats
            np.add.at(nats, [row for row, _ in group], found.double().cpu().numpy())
        return TextNats(nats, np.array([float(len(one)) for one in ids]), self.sizes(texts))

    def read(self, documents: Sequence[str]) -> Ids:
        """The documents in the model's own tokens, its end of document between them."""
        tokenizer = self.tokenizer
        encoded = [tokenizer.encode(tokenizer.normalize(document)) for document in documents]
        return _joined(encoded, tokenizer.eos)

    def sizes(self, texts: Sequence[TokenizedText]) -> NDArray[np.float64]:
        """Bytes of each text, of its tokens where they have fixed ones."""
        known = self.tokenizer.token_bytes
        if known is None or not self.own:
            return _num_bytes(texts)
        return np.array([float(known[text.ids].sum()) for text in texts])


def _num_bytes(texts: Sequence[TokenizedText]) -> NDArray[np.float64]:
    return np.array([float(sum(map(len, text.raw))) for text in texts])


def _joined(documents: Sequence[Ids], end: int) -> Ids:
    """One after the other, `end` between them."""
    first, *others = documents
    return np.concatenate([first, *(part for one in others for part in ([end], one))])


def _pieces(texts: Iterable[tuple[int, Ids]], context: int) -> list[tuple[int, Ids]]:
    """At most `context` tokens in each, with the number of their text."""
    return [
        (row, ids[start : start + context])
        for row, ids in texts
        for start in range(0, len(ids), context)
    ]


@dataclass(frozen=True)
class HuggingFaceReference:
    """A causal language model of the `transformers` library, on the text as it reads.

    Texts begin after the model's beginning-of-sequence token; without one the first token is not scored.

    Attributes:
        first, end: ids of its beginning of sequence and end of document.
    """

    name: str
    model: Any
    encode: Callable[[str], list[int]]
    first: int | None
    end: int | None
    context: int
    device: torch.device | str = "cpu"

    @classmethod
    def open(cls, name: str, device: torch.device | str = "cpu") -> HuggingFaceReference:
        """The model at a path, or in the local cache or the hub by name.

        Raises:
            InputError: transformers is not installed, or there is no such model.
        """
        try:
            import transformers
        except ImportError:
            raise InputError(
                f"reference model {HUGGING_FACE}{name} needs transformers: pip install 'isodiff[hf]'"
            ) from None
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(name)
            loader: Any = transformers.AutoModelForCausalLM  # its stubs lose the type of `to`
            model = loader.from_pretrained(name, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise InputError(
                f"reference model {HUGGING_FACE}{name} cannot be loaded: {reason(error)}"
            ) from None
        length = getattr(model.config, "max_position_embeddings", None) or _CONTEXT

        def encode(text: str) -> list[int]:
            # What is written in a text stays text, also where it spells a special token.
            return tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]

        return cls(
            name=f"{HUGGING_FACE}{Path(name).name}",
            model=model.to(device).eval(),
            encode=encode,
            first=tokenizer.bos_token_id,
            end=tokenizer.eos_token_id,
            context=length - 1,
            device=device,
        )

    def read(self, documents: Sequence[str]) -> list[Ids]:
        """The documents in the model's own tokens, its end of document between them, or apart without one."""
        encoded = [np.array(self.encode(document), np.int64) for document in documents]
        return encoded if self.end is None else [_joined(encoded, self.end)]

    def score(self, texts: Sequence[TokenizedText]) -> TextNats:
        """-log p of every text under the model's own tokens."""
        read = ((row, ids) for row, text in enumerate(texts) for ids in self.read(text.documents))
        pieces = _pieces(read, self.context)
        nats, scored = np.zeros(len(texts)), np.zeros(len(texts))
        for numbers in same_shape([len(piece) for _, piece in pieces], lambda _: _BATCH):
            group = [pieces[number] for number in numbers]
            x = torch.from_numpy(np.stack([piece for _, piece in group])).to(self.device)
            if self.first is not None:
                x = torch.cat([torch.full_like(x[:, :1], self.first), x], 1)
            with torch.no_grad():
                logits = self.model(input_ids=x).logits[:, :-1].float()
            losses = F.cross_entropy(logits.transpose(1, 2), x[:, 1:], reduction="none")
            rows = [row for row, _ in group]
            np.add.at(nats, rows, losses.double().sum(-1).cpu().numpy())
            np.add.at(scored, rows, float(losses.shape[1]))
        return TextNats(nats, scored, _num_bytes(texts))
