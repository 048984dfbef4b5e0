"""Flags of a verb that samples from a run: its own options, and those of the family's sampler."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import tyro

from isodiff.errors import InputError
from isodiff.families import Family


def named_run(argv: Sequence[str]) -> Path | None:
    """The run's folder, which comes first; None where help is asked for instead.

    Raises:
        InputError: it does not come first.
    """
    if argv and argv[0] in ("-h", "--help"):
        return None
    if not argv or argv[0].startswith("-"):
        raise InputError("which run? give its folder first")
    return Path(argv[0])


def parse(
    options: type,
    family: type[Family],
    argv: Sequence[str],
    *,
    verb: str,
    does: str,
    defaults: Mapping[str, Any],
) -> tuple[Any, dict[str, Any]]:
    """The verb's options, and the sampler's by name; `stop` is not among those, as the verb sets it.

    `defaults` replace those of fields of either.
    """
    hints = get_type_hints(family.sampler)
    own = {
        field.name: (hints[field.name], defaults.get(field.name, field.default))
        for field in dataclasses.fields(family.sampler)
        if field.name != "stop"
    }
    hints = get_type_hints(options)
    named = {name: value for name, value in defaults.items() if name in hints}
    both = dataclasses.make_dataclass(
        verb.capitalize(),
        [
            *(
                (name, hint, dataclasses.field(default=default))
                for name, (hint, default) in own.items()
            ),
            *(
                (name, hints[name], dataclasses.field(default=value))
                for name, value in named.items()
            ),
        ],
        bases=(options,),
        frozen=True,
        kw_only=True,
    )
    description = f"{does} ({family.name}).\n\n{family.sampler.__doc__}"
    chosen: Any = tyro.cli(both, args=argv, prog=f"isodiff {verb} RUN", description=description)
    return chosen, {name: getattr(chosen, name) for name in own}
