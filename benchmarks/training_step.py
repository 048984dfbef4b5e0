"""Training steps of isodiff beside plain PyTorch, interleaved in one process.

    python benchmarks/training_step.py --out benchmarks/results/training_step_cpu.json

4.7M parameters, 256 tokens, bytes. Two baselines, both eager float32 with default AdamW:
  plain     the same network with the same weights, written the ordinary way: attention with masked scores,
            rotary embedding and head on every position
  module    torch.nn.TransformerEncoder of the same size with learned positions
Both compute the same masked-diffusion or autoregressive objective. Rounds alternate between the variants; the
figure is the median over rounds, with the quartiles.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isodiff.families import family_named
from isodiff.network.rotary import rotary_table
from isodiff.network.shape import Backbone, Shape
from isodiff.network.transformer import Transformer
from isodiff.provenance import provenance
from isodiff.rng import Rows, stream
from isodiff.runs.spec import Recipe
from isodiff.serialization import to_json
from isodiff.train.optimizer import make_optimizer
from isodiff.train.precision import autocast, resolve

V, SHAPE = 257, Shape.parse("4.7M")


class Plain(nn.Module):
    """The same network, written the ordinary way."""

    def __init__(self, network: Transformer) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor, causal: bool) -> Tensor:
        net, heads = self.network, SHAPE.heads
        batch, n = tokens.shape
        h = net.embedding(tokens)
        cos, sin = rotary_table(torch.arange(n), SHAPE.width // heads, 10_000.0)
        hidden = torch.ones(n, n, dtype=torch.bool).triu(1)
        for block in net.blocks:
            qkv = block.qkv(block.norm1(h)).view(batch, n, 3, heads, -1).permute(2, 0, 3, 1, 4)
            q, k, v = qkv[0], qkv[1], qkv[2]
            q, k = (self.rotate(x, cos, sin) for x in (q, k))
            scores = q @ k.transpose(-1, -2) / (SHAPE.width // heads) ** 0.5
            if causal:
                scores = scores.masked_fill(hidden, float("-inf"))
            mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, n, -1)
            h = h + block.out(mixed)
            h = h + block.down(F.gelu(block.up(block.norm2(h)), approximate="tanh"))
        return net.head(net.norm(h))

    @staticmethod
    def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Module(nn.Module):
    """torch.nn.TransformerEncoder."""

    def __init__(self, states: int, length: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            SHAPE.width,
            SHAPE.heads,
            4 * SHAPE.width,
            0.0,
            "gelu",
            batch_first=True,
            norm_first=True,
        )
        self.embedding = nn.Embedding(states, SHAPE.width)
        self.positions = nn.Parameter(torch.randn(length, SHAPE.width) * 0.02)
        self.layers = nn.TransformerEncoder(layer, SHAPE.depth, enable_nested_tensor=False)
        self.head = nn.Linear(SHAPE.width, V)

    def forward(self, tokens: Tensor, causal: bool) -> Tensor:
        n = tokens.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(n) if causal else None
        return self.head(
            self.layers(self.embedding(tokens) + self.positions, mask, is_causal=causal)
        )


def variants(name: str, batch: int, length: int) -> dict[str, Callable[[Tensor, int], float]]:
    """One training step each, on the same corruption of the same tokens."""
    torch.manual_seed(0)
    family = family_named(name)(vocab_size=V)  # type: ignore[call-arg]
    precision = resolve("auto", torch.device("cpu"))

    def network() -> Transformer:
        torch.manual_seed(0)
        return Transformer(
            vocab_size=V, num_states=V + 1, shape=SHAPE, backbone=Backbone(), timed=False
        )

    ours, plain, module = network(), Plain(network()), Module(V + 1, length)
    recipe = Recipe(batch_size=batch, learning_rate=1e-3, width_power=0, weight_decay=0.01)
    fused = make_optimizer(ours, recipe, SHAPE.width)

    def rng(step: int) -> Rows:
        return Rows.of(stream(0, "noise", step), batch)

    def isodiff_step(x: Tensor, step: int) -> float:
        fused.zero_grad(set_to_none=True)
        with autocast(precision, torch.device("cpu")):
            loss = family.loss(ours, x, rng=rng(step)).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(ours.parameters(), 1.0)
        fused.step()
        return loss.item()

    def ordinary(model: nn.Module) -> Callable[[Tensor, int], float]:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95))
        causal = name == "autoregressive"

        def step(x: Tensor, number: int) -> float:
            optimizer.zero_grad(set_to_none=True)
            if causal:
                start = torch.full_like(x[:, :1], V)
                logits = model(torch.cat([start, x[:, :-1]], 1), causal)
                loss = F.cross_entropy(logits.flatten(0, 1), x.flatten())
            else:
                rows = rng(number)
                k = rows.antithetic(length)
                rank = rows.permutation(length).argsort(-1)
                masked = rank >= (length - k)[:, None]
                logits = model(x.masked_fill(masked, V), causal)
                nats = F.cross_entropy(logits.flatten(0, 1), x.flatten(), reduction="none")
                loss = (nats.view_as(x) * masked).mean()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            return loss.item()

        return step

    return {"isodiff": isodiff_step, "plain": ordinary(plain), "module": ordinary(module)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    text = torch.randint(
        V, (options.batch, options.length), generator=torch.Generator().manual_seed(1)
    )
    rows = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        for name in ("masked", "autoregressive"):
            steps = variants(name, options.batch, options.length)
            times: dict[str, list[float]] = {key: [] for key in steps}
            losses: dict[str, list[float]] = {key: [] for key in steps}
            for number in range(options.rounds + 2):
                for key, step in steps.items():
                    start = time.perf_counter()
                    losses[key].append(step(text, number))
                    times[key].append(time.perf_counter() - start)
            tokens = options.batch * options.length
            for key in steps:
                low, middle, high = statistics.quantiles(times[key][2:], n=4)
                rows.append(
                    {
                        "family": name,
                        "variant": key,
                        "threads": threads,
                        "tokens_per_second": tokens / middle,
                        "quartiles": [tokens / high, tokens / low],
                        "speed_over_plain": statistics.median(times["plain"][2:]) / middle,
                        "last_loss": losses[key][-1],
                    }
                )
                print(
                    f"{name:15} {key:8} {threads} threads {tokens / middle:8.0f} tokens/s "
                    f"{rows[-1]['speed_over_plain']:.2f} x plain, loss {losses[key][-1]:.4f}",
                    flush=True,
                )
    result = {
        "what": __doc__.splitlines()[0],
        "batch": options.batch,
        "length": options.length,
        "precision_of_isodiff": resolve("auto", torch.device("cpu")),
        "rows": rows,
        "provenance": to_json(provenance()),
    }
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
