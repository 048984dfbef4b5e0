"""The contract every family obeys, and the registry.

A family turns a denoiser into a distribution over sequences. `class Masked(Family, name="masked",
nickname="mdlm", ...)` registers itself; nothing else in the library names a family.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from isodiff.bounds import Checked, FewTimes, VocabularySize, Whole
from isodiff.categorical import Truncation
from isodiff.cost.sampling import SamplingCost
from isodiff.errors import InputError, nearest
from isodiff.network.view import Denoiser, Prediction, Vectors, View
from isodiff.record import Kind
from isodiff.rng import Noise, Rows
from isodiff.types import Chosen, Nats, Tokens

FAMILIES: dict[str, type[Family]] = {}
UNDECIDED = -1
"""Stands where a token is not decided yet."""


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Nats per sequence, and whether they are -log p(x) itself or a bound on it from above."""

    nats: Float[Tensor, " B"]
    kind: Kind


@dataclass(frozen=True, kw_only=True)
class Sampler(Truncation):
    """How a family draws text: from predicted clean tokens, truncated. Families add their own options."""

    examples: ClassVar[Sequence[Mapping[str, Any]]] = ()
    """Options of the class that the conformance tests draw with, beside the family's `variants`."""


@dataclass(frozen=True, kw_only=True)
class Stepped(Sampler):
    """A sampler with a dial between speed and quality.

    Attributes:
        steps: T; None for the limit of many steps, where each network evaluation decides one token.
    """

    steps: FewTimes | None = 128


class SampleState(NamedTuple):
    """Tokens, some of them UNDECIDED, and the rows that this network evaluation was for."""

    tokens: Tokens
    evaluated: Bool[Tensor, " B"]


@runtime_checkable
class Bound(Protocol):
    """An unbiased estimate of -log p(x), or of a bound on it, from a draw of the noise for each row."""

    def __call__(
        self, denoiser: Denoiser, x: Tokens, *, rng: Rows, observed: Chosen | None = None
    ) -> Likelihood:
        """Of the tokens that are not observed, given those."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplerLaw:
    """The law of a sampler that is not the family's `nelbo`; `law` says whose it is, for protocols."""

    nelbo: Bound
    law: str
    kind: Kind


class Family(Checked, ABC):
    """A way to turn a denoiser into a distribution over sequences.

    Subclasses are frozen dataclasses whose fields are the family's options; `vocab_size` is filled
    in from the corpus.

    Attributes:
        shows: what the network is shown, in a few words (docs/families.md).
        reads: where the vocabulary head runs in training, in a few words.
        exact_at: options, each with the value that makes the bound the likelihood itself.
        bibtex: entries of its papers; the key of each is its arXiv number, as in `reference`.
        examples: instances that the conformance tests run on beside the default, by name, as options.
        sampler: class of the family's samplers.
        variants: samplers worth comparing, by name, as options of that class; the first is the plain one.
        adapt_every: optimizer steps between calls of `adapt`; 0 for never.
    """

    name: ClassVar[str]
    nickname: ClassVar[str]
    reference: ClassVar[str]
    usual_kind: ClassVar[Kind]
    exact_at: ClassVar[Mapping[str, Any]] = {}
    shows: ClassVar[str] = ""
    reads: ClassVar[str] = ""
    bibtex: ClassVar[str] = ""
    examples: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    sampler: ClassVar[type[Sampler]] = Sampler
    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {"plain": {}}
    vocab_size: VocabularySize
    adapt_every: Whole = 0

    def __init_subclass__(cls, *, name: str, nickname: str, reference: str, kind: Kind) -> None:
        super().__init_subclass__()
        for label in (name, nickname):
            if label in (taken := {n for f in FAMILIES.values() for n in (f.name, f.nickname)}):
                raise TypeError(f"family {label!r} is already defined; taken: {sorted(taken)}")
        cls.name, cls.nickname, cls.reference, cls.usual_kind = name, nickname, reference, kind
        cls.called = f"family {name}"
        FAMILIES[name] = cls

    @property
    def kind(self) -> Kind:
        """What `nelbo` is."""
        exact = any(getattr(self, option) == value for option, value in self.exact_at.items())
        return "exact" if exact else self.usual_kind

    @property
    @abstractmethod
    def num_states(self) -> int:
        """S: rows of the input embedding, the clean vocabulary first."""

    @property
    def time_conditioned(self) -> bool:
        """Whether the network is shown the noise level; it needs to be where it is shown vectors."""
        return self.vectors is not None

    @property
    def vectors(self) -> Vectors | None:
        """What the network has to learn of vectors, where the family shows those instead of states."""
        return None

    @property
    def row_period(self) -> int:
        """Rows after which training does the same with the next ones; ranks take multiples of it."""
        return 1

    @abstractmethod
    def training_views(self, batch: int, length: int) -> tuple[View, ...]:
        """What one training step shows the network, on the meta device: FLOPs are read off it."""

    @abstractmethod
    def loss(
        self, denoiser: Denoiser, x: Tokens, *, rng: Rows, observed: Chosen | None = None
    ) -> Nats:
        """Training objective in nats per token; may be reweighted. Its mean is minimized.

        Tokens that are `observed` are never noised and never scored: 0 stands there.
        """

    def adapt(
        self, denoiser: Denoiser, x: Tokens, *, rng: Rows, observed: Chosen | None = None
    ) -> tuple[Family, dict[str, Any]]:
        """The family with the training options that suit the weights so far, and what they were chosen by."""
        return self, {}

    @abstractmethod
    def nelbo(
        self, denoiser: Denoiser, x: Tokens, *, rng: Rows, observed: Chosen | None = None
    ) -> Likelihood:
        """Unbiased estimate of -log p(x) or of a bound on it. Never reweighted, never truncated.

        With tokens that are `observed`: of -log p(the others | those), where those are shown as they are.
        """

    @property
    def law(self) -> str:
        """Whose `nelbo` is, in words for protocols, where the family's samplers have another law."""
        return ""

    @property
    def cached_sampler(self) -> SamplerLaw | None:
        """Of a sampler that decides one token at a time, in an order that its bound draws: -log p(x | order).

        None where that is no law of its own, or an order takes more than one network evaluation.
        """
        return None

    def check_given(self, undecided: Chosen) -> None:
        """`InputError` where the family cannot condition on the other tokens; it can on any, unless it says.

        Its samplers refuse the same prompts as its likelihoods.
        """

    @classmethod
    def sampler_with(cls, steps: int, **options: Any) -> Sampler:
        """The family's sampler, with so many steps where it has that dial."""
        dial = {"steps": steps} if issubclass(cls.sampler, Stepped) else {}
        return cls.sampler(**dial, **options)

    def sampling_cost(self, length: int, steps: int) -> SamplingCost | None:
        """What its plain sampler of T steps shows the network for a text of L tokens, on average.

        None where the family does not say: `isodiff plan` then gives no speed of sampling.
        """
        return None

    @abstractmethod
    def denoise(
        self, denoiser: Denoiser, prompt: Tokens, sampler: Any, *, rng: Noise
    ) -> Iterator[SampleState]:
        """Decide the undecided positions of `prompt`: yields the state after every network evaluation.

        The first yield may be the noise that texts start from, with no row evaluated. The last yield is the
        sample; where a sampler was told to give texts up, their last positions stay undecided.
        `sampler` is of the class `self.sampler`. Row i may depend on the other rows neither through its draws
        nor through how many of them it uses.
        """


def kind_and_law(law: Family | SamplerLaw) -> str:
    """What protocols say of its numbers: exact, or bound, and whose where that is not plain."""
    return f"{law.kind} {law.law}".rstrip()


@runtime_checkable
class AnyOrder(Protocol):
    """A family whose network predicts a token from any of the others, in blocks that come one after another.

    Its likelihood can then be asked for piece by piece (evaluate/estimators).
    """

    def block(self, length: int, device: torch.device) -> Int[Tensor, " L"]:
        """The block of each position; one block is all there is to most families."""
        ...

    def predict(
        self,
        denoiser: Denoiser,
        x: Tokens,
        masked: Bool[Tensor, "B L"],
        read: Bool[Tensor, "B L"],
    ) -> Prediction:
        """p(x_i | earlier blocks, what is not masked of its own) at the masked positions to read."""
        ...


def family_named(name: str) -> type[Family]:
    """The family with this name or nickname."""
    known = {label: f for f in FAMILIES.values() for label in (f.name, f.nickname)}
    if name not in known:
        raise InputError(
            f"no family {name!r}{nearest(name, known)}; families: {', '.join(sorted(FAMILIES))}"
        )
    return known[name]


def undecided(batch: int, length: int, device: torch.device | str = "cpu") -> Tokens:
    """A prompt that says nothing: no position is decided."""
    return torch.full((batch, length), UNDECIDED, device=device)


def meta(*shape: int) -> Any:
    """An integer tensor without memory: enough to count FLOPs on."""
    return torch.empty(*shape, dtype=torch.long, device="meta")
