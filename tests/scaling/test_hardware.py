"""Hours, memory and speed of sampling, by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from isodiff.cost.sampling import SamplingCost, TypicalNetwork, shown_whole
from isodiff.errors import InputError
from isodiff.scaling.planning.hardware import (
    BATCH,
    Devices,
    SamplingSpeed,
    Setting,
    UnknownSpeed,
    device_names,
    sampling_speed,
    serving,
    training_memory,
    training_time,
)
from isodiff.serialization import from_json, to_json

EIGHT = Devices.parse("h100x8")
SEEN = 2048 * 2049 / 2
LEFT_TO_RIGHT = SamplingCost(evaluations=2048, positions=2048, pairs=SEEN, read=2048, slots=SEEN)
WHOLE = shown_whole(2048, 128, read=2048)


def test_devices_are_read_by_name_and_count() -> None:
    assert (EIGHT.name, EIGHT.count, EIGHT.flops) == ("h100", 8, 989.5e12)
    assert str(EIGHT) == "h100x8" and str(Devices.parse("A100-80")) == "a100-80"
    assert Devices.parse("rtx4090").count == 1 and Devices.parse("rtx4090x2").count == 2
    for name in device_names():
        device = Devices.parse(name)
        assert device.name == name and device.source
        # every one of them needs more than a hundred operations a byte to be busy
        assert 100 < device.flops / device.bandwidth < 450
        assert 20e9 <= device.memory_bytes <= 200e9
    assert from_json(Devices, to_json(EIGHT), "") == EIGHT


def test_a_setting_is_written_without_what_was_worked_out() -> None:
    value = to_json(Setting(devices=EIGHT, measured={"masked": 1.0}, shown={"masked": 2.0}))
    assert set(value) == {
        *("device", "utilisation", "training_throughput", "throughput", "price"),
        *("length", "vocab_size", "sampler_steps"),
    }
    assert value["device"]["count"] == 8 and value["utilisation"] == 0.4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("h1000", "no device 'h1000'; did you mean 'h100'"),
        ("", "no device ''"),
        ("x8", "no device 'x8'"),
        ("h100x0", "give at least one, e.g. h100x8"),
        ("tpu", "for another give --training-throughput"),
    ],
)
def test_unknown_devices_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Devices.parse(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"utilization": 0.0}, "--utilization is 0.0"),
        ({"utilization": 1.2}, "--utilization is 1.2"),
        ({"utilization": math.nan}, "--utilization is nan"),
        ({"throughput": -1.0}, "--throughput is -1.0"),
        ({"throughput": math.inf}, "--throughput is inf"),
        ({"training_throughput": 0.0}, "--training-throughput is 0.0"),
        ({"price": math.nan}, "--price is nan"),
        ({"length": 0}, "--length is 0"),
        ({"vocab_size": 0}, "--vocab-size is 0"),
        ({"sampler_steps": 0}, "--sampler-steps is 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Setting(**options)


def test_hours_by_the_devices() -> None:
    found = training_time("masked", 1e21, 5e10, Setting(devices=EIGHT, utilization=0.5))
    assert found.hours == pytest.approx(1e21 / (8 * 989.5e12 * 0.5) / 3600)
    assert found.device_hours == pytest.approx(8 * found.hours)
    assert found.basis == "utilisation" and found.utilization == pytest.approx(0.5)
    assert found.tokens_per_second == pytest.approx(5e10 / found.hours / 3600)


def test_hours_by_a_throughput_and_what_share_of_the_peak_that_is() -> None:
    setting = Setting(devices=EIGHT, training_throughput=1e6, price=3.0)
    found = training_time("masked", 1e21, 5e10, setting)
    assert found.hours == pytest.approx(5e4 / 3600) and found.basis == "training_throughput"
    assert found.price == pytest.approx(3 * 8 * found.hours)
    served = Setting(devices=EIGHT, throughput=1e6)  # of serving: training is as it was
    assert training_time("masked", 1e21, 5e10, served).basis == "utilisation"
    assert found.utilization == pytest.approx(1e21 / 5e4 / (8 * 989.5e12))


def test_hours_as_measured_are_of_that_family_only() -> None:
    setting = Setting(measured={"masked": 2e10})
    found = training_time("masked", 1e14, 1e8, setting)
    assert found.hours == pytest.approx(1e14 / 2e10 / 3600)
    assert (found.basis, found.device_hours, found.utilization) == ("measured", None, None)
    assert training_time("uniform", 1e14, 1e8, setting).basis == "utilisation"


def test_the_typical_network_counts_as_the_convention_says() -> None:
    core = TypicalNetwork.of(12 * 12 * 768**2, "non_embedding", 32_000)
    assert (core.depth, core.width) == (pytest.approx(12), pytest.approx(768))
    assert core.total == pytest.approx(12 * 12 * 768**2 + 2 * 32_000 * 768)
    whole = TypicalNetwork.of(core.total, "total", 32_000)
    assert whole.width == pytest.approx(768) and whole.core == pytest.approx(core.core)


def test_memory_is_states_and_one_sequence() -> None:
    network = TypicalNetwork.of(12 * 32 * 2048**2, "core", 32_000)  # 1.61G in 32 blocks of 2048
    found = training_memory("masked", network, Setting())
    assert found.states_bytes == pytest.approx(16 * (12 * 32 * 2048**2 + 2 * 32_000 * 2048))
    layers, logits = 32 * 24 * 2048 * 2, 3 * 4 * 32_000
    assert found.activations_bytes == pytest.approx(2048 * (layers + logits))
    assert found.fits_one_device and found.devices_needed == 1
    # two copies of the text double what the layers keep, not the logits
    doubled = training_memory("block", network, Setting(shown={"block": 2.0}))
    assert doubled.activations_bytes == pytest.approx(2048 * (2 * layers + logits))


def test_a_large_network_needs_several_devices() -> None:
    network = TypicalNetwork.of(2e10, "core", 32_000)
    found = training_memory("masked", network, Setting())
    room = 80e9 - found.activations_bytes
    assert not found.fits_one_device
    assert (found.devices_needed - 1) * room < found.states_bytes
    assert found.devices_needed * room >= found.states_bytes
    long = training_memory("masked", network, Setting(length=1_000_000))
    assert long.devices_needed is None and not long.fits_one_device


def test_one_text_from_left_to_right_waits_for_memory_many_for_caches() -> None:
    """Every token reads all weights, and half a cache on average."""
    network = TypicalNetwork.of(12 * 32 * 2048**2, "core", 32_000)
    setting = Setting(sampling={"autoregressive": LEFT_TO_RIGHT})
    found = sampling_speed("autoregressive", network, setting)
    assert isinstance(found, SamplingSpeed)
    per_token = 2 * network.total + 4 * 32 * 2048 * 2049 / 2
    assert found.tokens_per_second_alone == pytest.approx(3.35e12 / per_token)
    assert found.limit_alone == found.limit == "memory"
    full = 4 * 32 * 2048 * 2048  # bytes of a whole cache
    assert found.batch == int((80e9 - 2 * network.total) / full) < BATCH
    each = 2 * network.total / found.batch + 4 * 32 * 2048 * 2049 / 2
    assert found.tokens_per_second == pytest.approx(3.35e12 / each)
    flops = 2 * (network.core + network.head) + 4 * 32 * 2048 * 2049 / 2
    assert found.flops_per_token == pytest.approx(flops)
    assert found.evaluations == 2048 and found.devices == 1


def test_whole_texts_wait_for_arithmetic_and_gain_nothing_from_company() -> None:
    network = TypicalNetwork.of(12 * 32 * 2048**2, "core", 32_000)
    found = sampling_speed("masked", network, Setting(sampling={"masked": WHOLE}, utilization=0.5))
    assert isinstance(found, SamplingSpeed)
    looks = 128 * 2048 * (2 * network.core + 4 * 32 * 2048 * 2048)
    flops = looks + 2 * 2048 * network.head
    assert found.flops_per_token == pytest.approx(flops / 2048)
    assert found.tokens_per_second_alone == pytest.approx(2048 * 989.5e12 * 0.5 / flops)
    assert found.tokens_per_second == pytest.approx(found.tokens_per_second_alone)
    assert found.limit_alone == "arithmetic" and found.batch == BATCH


def test_weights_too_large_for_one_device_lie_on_several() -> None:
    network = TypicalNetwork.of(1.2e11, "core", 32_000)
    setting = Setting(sampling={"autoregressive": LEFT_TO_RIGHT})
    found = sampling_speed("autoregressive", network, setting)
    assert isinstance(found, SamplingSpeed)
    need = 2 * network.total + network.cache_bytes(2048)
    assert found.devices == math.ceil(need / 80e9) > 3 and found.batch >= 1
    per_token = 2 * network.total + network.cache_bytes(SEEN) / 2048
    assert found.tokens_per_second_alone == pytest.approx(found.devices * 3.35e12 / per_token)


def test_what_is_served_by_all_devices_and_for_how_much() -> None:
    network = TypicalNetwork.of(1.2e11, "core", 32_000)
    setting = Setting(sampling={"autoregressive": LEFT_TO_RIGHT}, price=2.0)
    speed = sampling_speed("autoregressive", network, setting)
    assert isinstance(speed, SamplingSpeed) and speed.devices == 4
    none = serving(speed, setting)
    assert (none.copies, none.tokens_per_second) == (0, 0)
    found = serving(speed, replace(setting, devices=Devices.parse("h100x11")))
    assert found.copies == 2 and found.tokens_per_second == 2 * speed.tokens_per_second
    hourly = 3600 * speed.tokens_per_second / 1e6
    assert found.price_per_million_tokens == pytest.approx(4 * 2.0 / hourly)
    assert none.price_per_million_tokens == found.price_per_million_tokens
    assert serving(speed, Setting()).price_per_million_tokens is None


def test_a_family_that_does_not_say_has_no_speed() -> None:
    found = sampling_speed("other", TypicalNetwork.of(1e9, "core", 32_000), Setting())
    assert isinstance(found, UnknownSpeed) and "no family of that name" in found.reason
    assert to_json(found) == {"flops_per_token": None, "reason": found.reason}
