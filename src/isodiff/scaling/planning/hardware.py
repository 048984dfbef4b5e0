r"""What a plan needs of devices: hours and memory of training, speed of writing.

    training    C / (devices x peak x utilization), or D / throughput                               (1)
    writing     a network evaluation of B texts takes
                max( B F / (peak x utilization), (2 P + B K) / bandwidth ) / devices,               (2)

F FLOPs and K bytes of cached keys and values of one text's evaluation, 2 P bytes of weights: the roofline of
arXiv 2211.05102. Launching kernels takes no time in it, so small networks alone are slower than it says.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from isodiff.cost.memory import activation_bytes, state_bytes
from isodiff.cost.sampling import SamplingCost
from isodiff.errors import InputError
from isodiff.scaling.planning.devices import Devices, utilization
from isodiff.scaling.planning.outline import Outline

BATCH = 256
"""Texts written together, or as many as memory has room for the caches of."""
UNKNOWN = "no family of that name says here what writing asks of a network"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where a plan is carried out.

    Attributes:
        utilization: share of the devices' peak that training reaches.
        throughput: training tokens per second of the whole job, instead of the devices' arithmetic.
        measured: FLOP/s of training by family, where runs were timed; instead of both.
        length, vocab_size: tokens of a text, and of the vocabulary.
        sampler_steps: of the samplers that have that dial.
        writing: what writing a text asks of the network, by family.
        shown: positions that a family shows in training per clean token; 1 where it is not said.
    """

    devices: Devices = field(default_factory=lambda: Devices.parse("h100"))
    utilization: float = field(default_factory=utilization)
    throughput: float | None = None
    measured: Mapping[str, float] = field(default_factory=dict)
    length: int = 2048
    vocab_size: int = 32_000
    sampler_steps: int = 128
    writing: Mapping[str, SamplingCost] = field(default_factory=dict)
    shown: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < self.utilization <= 1:
            raise InputError(
                f"--utilization is {self.utilization}; it is a share of the peak, above 0 and at most 1"
            )
        if self.throughput is not None and not (
            math.isfinite(self.throughput) and self.throughput > 0
        ):
            raise InputError(
                f"--throughput is {self.throughput}; it must be a positive number of tokens per second"
            )
        for name in ("length", "vocab_size", "sampler_steps"):
            if getattr(self, name) < 1:
                option = name.replace("_", "-")
                raise InputError(f"--{option} is {getattr(self, name)}; it must be at least 1")

    def to_json(self) -> dict[str, Any]:
        """What was assumed."""
        return {
            "device": self.devices.to_json(),
            "utilisation": self.utilization,
            "throughput": self.throughput,
            "length": self.length,
            "vocab_size": self.vocab_size,
            "sampler_steps": self.sampler_steps,
        }

    @property
    def peak(self) -> float:
        """FLOP/s of all devices."""
        return self.devices.count * self.devices.flops


def training(name: str, flops: float, tokens: float, setting: Setting) -> dict[str, Any]:
    """Hours, by Eq. (1), and the share of the peak that they stand for."""
    if setting.throughput is not None:
        seconds, basis = tokens / setting.throughput, "throughput"
    elif name in setting.measured:
        seconds, basis = flops / setting.measured[name], "measured"
    else:
        seconds, basis = flops / (setting.peak * setting.utilization), "utilisation"
    return {
        "basis": basis,
        "hours": seconds / 3600,
        "device_hours": None if basis == "measured" else setting.devices.count * seconds / 3600,
        "tokens_per_second": tokens / seconds,
        "utilisation": None if basis == "measured" else flops / seconds / setting.peak,
    }


def memory(name: str, network: Outline, setting: Setting) -> dict[str, Any]:
    """Bytes of training with one sequence at a time on each device, and how many devices have room for it.

    Weights, gradients and moments lie whole on every device, or else in equal parts on all.
    """
    states = state_bytes(network.total)
    activations = activation_bytes(
        depth=network.depth,
        width=network.width,
        positions=setting.length * setting.shown.get(name, 1.0),
        scores=0,  # fused attention keeps none
        logits=setting.vocab_size / setting.shown.get(name, 1.0),
        number_bytes=2,
    )
    room = setting.devices.memory_bytes - activations
    return {
        "states_bytes": states,
        "activations_bytes": activations,
        "fits_one_device": states <= room,
        "devices_needed": math.ceil(states / room) if room > 0 else None,
    }


def inference(name: str, network: Outline, setting: Setting) -> dict[str, Any]:
    """FLOPs per token and tokens per second, of one text alone and of many, by Eq. (2)."""
    writing = setting.writing.get(name)
    if writing is None:
        return {"flops_per_token": None, "reason": UNKNOWN}
    devices, weights = setting.devices, 2 * network.total
    per_text = network.cache_bytes(setting.length if writing.slots else 0)
    count = math.ceil((weights + per_text) / devices.memory_bytes)
    room = count * devices.memory_bytes - weights
    batch = min(BATCH, int(room / per_text)) if per_text else BATCH

    def rate(texts: int) -> tuple[float, str]:
        work = texts * network.flops(writing) / (devices.flops * setting.utilization)
        moved = writing.evaluations * weights + texts * network.cache_bytes(writing.slots)
        seconds = max(work, moved / devices.bandwidth) / count
        limit = "arithmetic" if work * devices.bandwidth > moved else "memory"
        return texts * setting.length / seconds, limit

    alone, together = rate(1), rate(batch)
    return {
        "evaluations": writing.evaluations,
        "flops_per_token": network.flops(writing) / setting.length,
        "devices": count,
        "tokens_per_second_alone": alone[0],
        "limit_alone": alone[1],
        "batch": batch,
        "tokens_per_second": together[0],
        "limit": together[1],
    }
