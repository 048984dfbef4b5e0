"""The stopwatch on a clock of its own: which batch it settles on, what it counts, what it keeps."""

import pytest
import torch

from isodiff.evaluate import speed
from isodiff.evaluate.speed import Drawn, measure_speed, peak

LENGTH = 10
CPU = torch.device("cpu")


class Machine:
    """A sampler whose calls take `seconds(batch)` on the clock that `speed` reads."""

    def __init__(self, monkeypatch, seconds, fails_at: int | None = None) -> None:
        self.now, self.seconds, self.fails_at = 0.0, seconds, fails_at
        self.calls: list[tuple[int, int]] = []
        monkeypatch.setattr(speed.time, "perf_counter", lambda: self.now)

    def draw(self, first: int, batch: int) -> Drawn:
        if self.fails_at is not None and batch >= self.fails_at:
            raise torch.OutOfMemoryError
        self.calls.append((first, batch))
        self.now += self.seconds(batch, len(self.calls))
        rows = torch.arange(first, first + batch)
        return Drawn(rows[:, None].expand(batch, LENGTH), rows % 3)

    def measured(self, num_texts: int = 8, call_seconds: float = 1.0):
        return measure_speed(
            self.draw,
            length=LENGTH,
            num_texts=num_texts,
            call_seconds=call_seconds,
            device=CPU,
            steady=lambda high, low: high <= 1.2 * low,
        )


def test_it_doubles_until_a_call_would_be_too_long(monkeypatch):
    machine = Machine(monkeypatch, lambda batch, call: 0.1 + 0.01 * batch)
    found, drawn = machine.measured(call_seconds=0.5)
    assert list(found.sweep) == [1, 2, 4, 8, 16, 32]  # 64 would take 0.74 s
    assert found.batch == 32 and found.calls == 3
    assert found.tokens_per_second == pytest.approx(32 * LENGTH / 0.42)
    assert found.low == pytest.approx(found.high)
    assert found.latency_seconds == pytest.approx(0.11)
    # Every text is kept, in order, each once.
    assert drawn.tokens[:, 0].tolist() == list(range(len(drawn.tokens)))
    assert found.nfe == pytest.approx(float(drawn.nfe.double().mean()))


def test_it_stops_where_larger_batches_are_slower(monkeypatch):
    machine = Machine(monkeypatch, lambda batch, call: 1e-3 * batch * max(1, batch / 4) ** 2)
    found, _ = machine.measured(call_seconds=1e9)
    assert found.batch in (1, 2, 4)
    assert max(found.sweep) == 8


def test_it_stops_where_memory_ends(monkeypatch):
    machine = Machine(monkeypatch, lambda batch, call: 0.1, fails_at=16)
    found, _ = machine.measured()
    assert found.batch == 8 and max(found.sweep) == 8


def test_the_warm_up_does_not_count_and_texts_are_enough(monkeypatch):
    slow_start = Machine(monkeypatch, lambda batch, call: 100.0 if call == 1 else 0.4)
    found, drawn = slow_start.measured(num_texts=5000)
    assert found.latency_seconds == pytest.approx(0.4)
    assert found.batch == 1024 and 5000 <= len(drawn.tokens) < 6024
    assert found.tokens_per_second == pytest.approx(1024 * LENGTH / 0.4)


def test_quartiles_are_those_of_the_calls(monkeypatch):
    machine = Machine(monkeypatch, lambda batch, call: [0.1, 0.2, 0.4][call % 3] * batch**2)
    found, _ = machine.measured(num_texts=100)
    assert found.low < found.tokens_per_second < found.high


def test_repeats_that_differ_are_made_again_and_the_steady_ones_count(monkeypatch):
    busy = range(2, 5)  # calls of one text while the machine had other work
    machine = Machine(monkeypatch, lambda batch, call: 0.1 * (call if call in busy else 1))
    found, _ = machine.measured()
    assert found.latency_seconds == found.latency_low == found.latency_high == pytest.approx(0.1)
    assert found.calls_alone == 3


def test_what_stays_unsteady_says_so_after_a_few_rounds(monkeypatch):
    machine = Machine(monkeypatch, lambda batch, call: [1.0, 2.0, 4.0][call % 3])
    found, _ = machine.measured(call_seconds=1e-3)
    assert found.latency_high > 1.2 * found.latency_low and found.high > 1.2 * found.low
    assert len(machine.calls) < 40


def test_the_load_is_that_of_the_system(monkeypatch):
    monkeypatch.setattr(speed.os, "getloadavg", lambda: (7.25, 1.0, 1.0))
    found, _ = Machine(monkeypatch, lambda batch, call: 0.1).measured()
    assert found.load == 7.25


def test_the_peak_is_in_bytes():
    found = peak(CPU)
    assert found is None or 10**7 < found < 10**12
