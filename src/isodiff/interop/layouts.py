"""Every layout that is understood, one file each, and which of them a checkpoint has."""

from __future__ import annotations

from isodiff.errors import InputError, nearest
from isodiff.interop.bd3lm import BD3LM
from isodiff.interop.checkpoint import ForeignCheckpoint, unread
from isodiff.interop.dit_ar import DIT_AR
from isodiff.interop.duo import DUO, SCALING_DUO
from isodiff.interop.esolm import ESOLM
from isodiff.interop.gpt2 import GPT2
from isodiff.interop.layout import Layout
from isodiff.interop.llama import LLAMA
from isodiff.interop.mdlm import MDLM
from isodiff.interop.smdm import SMDM

_LAYOUTS = {
    one.name: one for one in (GPT2, LLAMA, MDLM, DUO, SCALING_DUO, BD3LM, ESOLM, DIT_AR, SMDM)
}


def layout_of(checkpoint: ForeignCheckpoint, name: str | None = None) -> Layout:
    """The layout called `name`, or that config.json names, or the one that fits the keys.

    Raises:
        InputError: there is none, or several fit: says which is nearest, or which they are.
    """
    if name is not None:
        if name not in _LAYOUTS:
            raise InputError(
                f"no layout {name!r}{nearest(name, _LAYOUTS)}; layouts: {', '.join(_LAYOUTS)}"
            )
        if missing := _LAYOUTS[name].missing(checkpoint):
            raise InputError(
                f"{checkpoint.name} is not of layout {name}: it lacks {missing[0]} and has "
                f"{unread(checkpoint.tensors)}"
            )
        return _LAYOUTS[name]
    called = checkpoint.config.get("model_type")
    fitting = [one for one in _LAYOUTS.values() if not one.missing(checkpoint)]
    named = [one for one in fitting if called in one.model_types]
    if len(named) == 1:
        return named[0]
    if called is None and len(fitting) == 1:
        return fitting[0]
    if called is None and fitting:
        names = ", ".join(one.name for one in fitting)
        raise InputError(f"{checkpoint.name} may be of layout {names}; say which with --layout")
    near = min(_LAYOUTS.values(), key=lambda one: len(one.missing(checkpoint)) / len(one.marks))
    kind = f" (model_type {called!r})" if called else ""
    why = f"which lacks {lacks[0]}" if (lacks := near.missing(checkpoint)) else "by its keys"
    raise InputError(
        f"{checkpoint.name}{kind} is of no known layout; nearest: {near.name}, {why}; its keys: "
        f"{unread(checkpoint.tensors)}; layouts: {', '.join(_LAYOUTS)}"
    )
