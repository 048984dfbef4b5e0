"""The transformer's prediction agrees with a table of the same numbers; draws follow it."""

from __future__ import annotations

import jaxtyping
import pytest
import scipy.stats
import torch
from networks import BACKBONES, FAMILIES, V, tiny, tokens
from torch.utils._python_dispatch import TorchDispatchMode

from isodiff.categorical import IN_CACHE, Truncation
from isodiff.families.masked import Masked
from isodiff.families.uniform import moves
from isodiff.network.attention import Full
from isodiff.network.head import HeadPrediction
from isodiff.network.view import LogProbTable, Prediction, View
from isodiff.process.categorical import Absorbing
from isodiff.rng import Rows, stream

M = 50


def pair(dtype: torch.dtype = torch.float64) -> tuple[HeadPrediction, LogProbTable]:
    rng = stream(0, "head")
    hidden, weight, bias = (
        torch.randn(shape, generator=rng, dtype=torch.float64).to(dtype)
        for shape in ((M, 8), (V, 8), (V,))
    )
    log_p = (hidden.double() @ weight.double().T + bias.double()).log_softmax(-1)
    return HeadPrediction(hidden, weight, bias), LogProbTable(log_p)


def same(got: torch.Tensor, want: torch.Tensor) -> None:
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


def test_every_method_agrees_with_the_table() -> None:
    head, table = pair()
    x, z = torch.randint(V, (2, M), generator=stream(1))
    c = torch.logspace(-9, 9, M, dtype=torch.float64)
    u = torch.rand(M, generator=stream(2), dtype=torch.float64)
    same(head.log_probs(), table.log_probs())
    same(head.nats(x), table.nats(x))
    for got, want in zip(
        head.uniform_statistics(c, x, z), table.uniform_statistics(c, x, z), strict=True
    ):
        same(got, want)
    for temperature in (0.3, 1.0, 2.0):
        assert torch.equal(
            head.draw(u, Truncation(temperature=temperature)),
            table.draw(u, Truncation(temperature=temperature)),
        )


def test_pieces_are_the_whole(monkeypatch) -> None:
    """Whatever their size; the columns stay beside their rows."""
    head, table = pair()
    u = torch.rand(M, generator=stream(2), dtype=torch.float64)
    place = torch.arange(M)
    for rows in (1, 7, M, 2 * M):
        monkeypatch.setattr("isodiff.network.head.PIECE", rows * V)
        pieces = list(head.in_pieces(u, place))
        assert [len(piece[0]) for piece in pieces[:-1]] == [rows] * (len(pieces) - 1)
        logits, v, at = (torch.cat(column) for column in zip(*pieces, strict=True))
        same(logits.log_softmax(-1), table.log_probs())
        assert torch.equal(v, u) and torch.equal(at, place)
        assert torch.equal(head.draw(u), table.draw(u))
    nothing = HeadPrediction(head.hidden[:0], head.weight, head.bias)
    assert nothing.draw(u[:0]).shape == (0,)


class Widest(TorchDispatchMode):
    """The largest float64 array that any operation makes."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else [out]:
            if isinstance(value, torch.Tensor) and value.dtype == torch.float64:
                self.numel = max(self.numel, value.numel())
        return out


def test_no_array_of_positions_by_vocabulary_in_float64() -> None:
    """Draws from 3000 x 1000 numbers, for masks and for uniform noise."""
    v, rows = 1000, 3000
    head = HeadPrediction(*(torch.randn(n, 8, generator=stream(0)) for n in (rows, v)), None)
    u = torch.rand(2, rows, dtype=torch.float64, generator=stream(1))
    z = torch.randint(v, (rows,), generator=stream(2))
    with Widest() as widest:
        head.draw(u[0], Truncation(temperature=0.9))
        for logits, *rest in head.in_pieces(z, *u, u.new_ones(rows)):
            p = Truncation().weights(logits)
            moves(p, rest[0], rest[1], rest[2], 0.5, rest[3])
    assert rows < widest.numel <= IN_CACHE < rows * v


def test_uniform_statistics_are_what_they_say() -> None:
    table = pair()[1]
    x, z = torch.randint(V, (2, M), generator=stream(1))
    c = torch.logspace(-3, 3, M, dtype=torch.float64)
    log_y = (c[:, None] * table.log_probs().exp()).log1p()
    s, a, b = table.uniform_statistics(c, x, z)
    same(s, log_y.sum(-1))
    same(a, log_y[range(M), x])
    same(b, log_y[range(M), z])


def test_low_precision_is_normalized_in_float32() -> None:
    head, _ = pair(torch.bfloat16)
    log_p = head.log_probs()
    assert log_p.dtype == torch.float32
    torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(M), rtol=1e-6, atol=0)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_draws_follow_the_probabilities(temperature: float) -> None:
    head = pair()[0]
    n = 40_000
    many = HeadPrediction(head.hidden[:1].expand(n, -1), head.weight, head.bias)
    x = many.draw(Rows.of(stream(3), n).uniform(), Truncation(temperature=temperature))
    law = (head.log_probs()[0] / temperature).softmax(-1)
    observed = torch.bincount(x, minlength=V).double()
    assert scipy.stats.chisquare(observed.numpy(), (n * law).numpy()).pvalue > 1e-3


@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=BACKBONES)
def test_only_the_positions_read_go_through_the_head(backbone) -> None:
    model = tiny(FAMILIES["masked"], backbone)
    inputs, read = tokens(3, 5), torch.tensor([0, 7, 8, 14])
    everything = model(View(inputs, torch.arange(5), Full()))
    some = model(View(inputs, torch.arange(5), Full(), read=read))
    assert some.log_probs().shape == (4, V) and everything.log_probs().shape == (15, V)
    torch.testing.assert_close(some.log_probs(), everything.log_probs()[read])
    assert isinstance(some, Prediction)


def test_shapes_are_checked_while_tests_run() -> None:
    """The import hook of tests/conftest.py is at work."""
    with pytest.raises(jaxtyping.TypeCheckError):
        Absorbing(V).marginal(torch.zeros(2, V), "0.5")  # type: ignore[arg-type]
    with pytest.raises(jaxtyping.TypeCheckError):
        Masked(vocab_size=V).loss(
            tiny(FAMILIES["masked"]), tokens(2, 3)[0], rng=Rows.of(stream(0), 2)
        )
