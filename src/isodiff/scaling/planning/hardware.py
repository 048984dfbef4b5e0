r"""What a plan needs of devices: hours and memory of training, speed of sampling.

    training    C / (devices x peak x utilization), or D / training throughput                      (1)
    sampling    a network evaluation of B texts takes
                max( B F / (peak x utilization), (2 P + B K) / bandwidth ) / devices,               (2)

F FLOPs and K bytes of cached keys and values of one text's evaluation, 2 P bytes of weights: the roofline of
arXiv 2211.05102. Launching kernels takes no time in it, so small networks alone are slower than it says.
Peak arithmetic, memory and bandwidth are as makers print them (`data/devices.json`, with sources); gigabytes
there are 10^9 bytes, a few per cent less than a device reports: what is left is the runtime's.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Annotated, Any, Literal

from pydantic import Field

from isodiff.cost.memory import activation_bytes, state_bytes
from isodiff.cost.sampling import SamplingCost, TypicalNetwork
from isodiff.errors import InputError, nearest
from isodiff.serialization import IfAny

_Limit = Literal["arithmetic", "memory"]
BATCH = 256
"""Texts sampled together, or as many as memory has room for the caches of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Devices:
    """So many of one kind.

    Attributes:
        flops: dense bfloat16 FLOP/s of one, at its peak.
        bandwidth: bytes per second between its memory and its arithmetic.
        source: of these numbers.
    """

    name: str
    count: int = 1
    flops: float
    memory_bytes: float
    bandwidth: float
    source: str

    @classmethod
    def parse(cls, text: str) -> Devices:
        """`h100`, or `h100x8` for eight of them.

        Raises:
            InputError: no such device is known, or not one at least.
        """
        known = _facts()["devices"]
        name, count = text.strip().lower(), 1
        match = re.fullmatch(r"(.+)x(\d+)", name)
        if match and name not in known:
            name, count = match[1], int(match[2])
        if name not in known:
            raise InputError(
                f"no device {text!r}{nearest(name, known)}; there is {', '.join(known)}, each with xCOUNT "
                "(h100x8); for another give --training-throughput"
            )
        if count < 1:
            raise InputError(f"--device {text} is no device; give at least one, e.g. {name}x8")
        return cls(name=name, count=count, **known[name])

    @property
    def peak(self) -> float:
        """FLOP/s of all of them."""
        return self.count * self.flops

    def __str__(self) -> str:
        return self.name if self.count == 1 else f"{self.name}x{self.count}"


def device_names() -> tuple[str, ...]:
    """The devices that are known."""
    return tuple(_facts()["devices"])


@functools.cache
def _facts() -> dict[str, Any]:
    table = files("isodiff.scaling") / "data" / "devices.json"
    return json.loads(table.read_text(encoding="utf-8"))


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where a plan is carried out.

    Attributes:
        utilization: share of the devices' peak that training reaches; by default as published runs do.
        training_throughput: tokens per second of the whole job, instead of the devices' arithmetic.
        throughput: tokens per second that are to be served, from all devices together.
        price: of one device for an hour, in any currency.
        length, vocab_size: tokens of a text, and of the vocabulary.
        sampler_steps: of the samplers that have that dial.
        measured: FLOP/s of training by family, where runs were timed; instead of both.
        sampling: what a text asks of the network, by family.
        shown: positions that a family shows in training per clean token; 1 where it is not said.
    """

    devices: Annotated[Devices, Field(alias="device")] = field(
        default_factory=lambda: Devices.parse("h100")
    )
    utilization: Annotated[float, Field(alias="utilisation")] = field(
        default_factory=lambda: float(_facts()["utilization"]["value"])
    )
    training_throughput: float | None = None
    throughput: float | None = None
    price: float | None = None
    length: int = 2048
    vocab_size: int = 32_000
    sampler_steps: int = 128
    measured: Annotated[Mapping[str, float], Field(exclude=True)] = field(default_factory=dict)
    sampling: Annotated[Mapping[str, SamplingCost], Field(exclude=True)] = field(
        default_factory=dict
    )
    shown: Annotated[Mapping[str, float], Field(exclude=True)] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.utilization <= 1:
            raise InputError(
                f"--utilization is {self.utilization}; it is a share of the peak, above 0 and at most 1"
            )
        units = {"training_throughput": "tokens per second", "throughput": "tokens per second"}
        for name, unit in {**units, "price": "an hour"}.items():
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(
                    f"--{name.replace('_', '-')} is {value}; it must be a positive number, {unit}"
                )
        for name in ("length", "vocab_size", "sampler_steps"):
            if (value := getattr(self, name)) < 1:
                raise InputError(f"--{name.replace('_', '-')} is {value}; it must be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingTime:
    """Hours by Eq. (1), by what they were reckoned, their price, and the share of the peak they stand for."""

    basis: Literal["utilisation", "training_throughput", "measured"]
    hours: float
    device_hours: float | None
    price: IfAny[float] = None
    tokens_per_second: float
    utilization: Annotated[float | None, Field(alias="utilisation")]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingMemory:
    """Bytes of training with one sequence at a time on each device, and how many devices have room for it.

    Weights, gradients and moments lie whole on every device, or else in equal parts on all.
    """

    states_bytes: float
    activations_bytes: float
    fits_one_device: bool
    devices_needed: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingSpeed:
    """FLOPs per token and tokens per second at most, of one text alone and of `batch`, by Eq. (2)."""

    evaluations: float
    flops_per_token: float
    devices: int
    tokens_per_second_alone: float
    limit_alone: _Limit
    batch: int
    tokens_per_second: float
    limit: _Limit


@dataclass(frozen=True, kw_only=True, slots=True)
class Serving:
    """Tokens per second of so many copies in batches, on all devices; and what a million tokens cost."""

    copies: int
    tokens_per_second: float
    price_per_million_tokens: IfAny[float] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class UnknownSpeed:
    """No speed, and why."""

    flops_per_token: None = None
    reason: str = "no family of that name says here what writing asks of a network"


def training_time(name: str, flops: float, tokens: float, setting: Setting) -> TrainingTime:
    """Of a run of the family `name`."""
    devices = setting.devices
    if setting.training_throughput is not None:
        seconds, basis = tokens / setting.training_throughput, "training_throughput"
    elif name in setting.measured:
        seconds, basis = flops / setting.measured[name], "measured"
    else:
        seconds, basis = flops / (devices.peak * setting.utilization), "utilisation"
    hours = None if basis == "measured" else devices.count * seconds / 3600
    return TrainingTime(
        basis=basis,
        hours=seconds / 3600,
        device_hours=hours,
        price=None if hours is None or setting.price is None else setting.price * hours,
        tokens_per_second=tokens / seconds,
        utilization=None if basis == "measured" else flops / seconds / devices.peak,
    )


def training_memory(name: str, network: TypicalNetwork, setting: Setting) -> TrainingMemory:
    """Of a network of the family `name`."""
    states, shown = state_bytes(network.total), setting.shown.get(name, 1.0)
    activations = activation_bytes(
        depth=network.depth,
        width=network.width,
        positions=setting.length * shown,
        scores=0,  # fused attention keeps none
        logits=setting.vocab_size / shown,
        number_bytes=2,
    )
    room = setting.devices.memory_bytes - activations
    return TrainingMemory(
        states_bytes=states,
        activations_bytes=activations,
        fits_one_device=states <= room,
        devices_needed=math.ceil(states / room) if room > 0 else None,
    )


def sampling_speed(
    name: str, network: TypicalNetwork, setting: Setting
) -> SamplingSpeed | UnknownSpeed:
    """Of a network of the family `name`, on as many devices as its weights need."""
    cost = setting.sampling.get(name)
    if cost is None:
        return UnknownSpeed()
    devices, weights = setting.devices, 2 * network.total
    per_text = network.cache_bytes(setting.length if cost.slots else 0)
    count = math.ceil((weights + per_text) / devices.memory_bytes)
    room = count * devices.memory_bytes - weights
    batch = min(BATCH, int(room / per_text)) if per_text else BATCH

    def rate(texts: int) -> tuple[float, _Limit]:
        work = texts * network.flops(cost) / (devices.flops * setting.utilization)
        moved = cost.evaluations * weights + texts * network.cache_bytes(cost.slots)
        seconds = max(work, moved / devices.bandwidth) / count
        limit = "arithmetic" if work * devices.bandwidth > moved else "memory"
        return texts * setting.length / seconds, limit

    (alone, limit_alone), (together, limit) = rate(1), rate(batch)
    return SamplingSpeed(
        evaluations=cost.evaluations,
        flops_per_token=network.flops(cost) / setting.length,
        devices=count,
        tokens_per_second_alone=alone,
        limit_alone=limit_alone,
        batch=batch,
        tokens_per_second=together,
        limit=limit,
    )


def serving(speed: SamplingSpeed, setting: Setting) -> Serving:
    """As many copies as the devices hold; a network that needs more devices than there are has none."""
    copies = setting.devices.count // speed.devices
    second = None if setting.price is None else setting.price * speed.devices / 3600
    return Serving(
        copies=copies,
        tokens_per_second=copies * speed.tokens_per_second,
        price_per_million_tokens=second and 1e6 * second / speed.tokens_per_second,
    )
