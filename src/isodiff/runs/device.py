"""Whether this machine has the device that is asked for."""

from __future__ import annotations

import torch

from isodiff.bounds import DeviceName, check
from isodiff.errors import InputError


def check_device(name: str) -> None:
    """That torch has the device.

    Raises:
        InputError: no such device, or not on this machine.
    """
    check(DeviceName, name, "the device")
    kind, _, number = name.partition(":")
    if kind == "cpu":
        return
    found = torch.accelerator.current_accelerator(check_available=True)
    if found is None or found.type != kind:
        raise InputError(
            f"torch finds no {kind} here; give --device cpu, or install a torch that has it"
        )
    if int(number or 0) >= torch.accelerator.device_count():
        raise InputError(
            f"there is no {name}; torch finds {torch.accelerator.device_count()} of them"
        )
