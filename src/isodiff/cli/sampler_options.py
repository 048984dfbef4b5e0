"""The options of all samplers, for verbs that write texts with a run; its family decides which apply."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypedDict,
    get_args,
    get_origin,
    get_type_hints,
)

from tyro.conf import OmitArgPrefixes, arg

from isodiff.cli.messages import flag_of, nearest_option
from isodiff.cli.parsing import Parsed, documented, option
from isodiff.errors import InputError
from isodiff.families import FAMILIES, Family


class _Field(NamedTuple):
    """An option of a family's sampler."""

    hint: Any
    default: Any
    help: str

    @property
    def choices(self) -> tuple[Any, ...]:
        """All there are, if they are few."""
        return get_args(self.hint) if get_origin(self.hint) is Literal else ()


def sampler_settings(
    family: type[Family], given: Mapping[str, Any], **defaults: Any
) -> dict[str, Any]:
    """All options of the family's sampler but `stop`: those given, else `defaults`, else its own.

    Raises:
        InputError: the family's sampler has no such option, or no such choice.
    """
    known = _fields_of(family)
    for name, value in given.items():
        flag = flag_of(name)
        if name not in known:
            flags = [flag_of(one) for one in known]
            raise InputError(
                f"{family.name} has no option {flag}{nearest_option(flag, flags)}; "
                f"its sampler has {', '.join(flags)}"
            )
        choices = known[name].choices
        if choices and value not in choices:
            raise InputError(
                f"{flag} of {family.name} is one of {', '.join(choices)}; got {value!r}"
            )
    return {**{name: defaults.get(name, field.default) for name, field in known.items()}, **given}


def _fields_of(family: type[Family]) -> dict[str, _Field]:
    hints, said = get_type_hints(family.sampler, include_extras=True), documented(family.sampler)
    return {
        field.name: _Field(hints[field.name], field.default, said[field.name])
        for field in dataclasses.fields(family.sampler)
        if field.name != "stop"  # set by the verb
    }


def _groups() -> Any:
    """All options, in groups of those that the same families have."""
    options: dict[str, dict[str, _Field]] = {}
    for name, family in sorted(FAMILIES.items()):
        for option_name, found in _fields_of(family).items():
            options.setdefault(option_name, {})[name] = found
    groups: dict[tuple[str, ...], dict[str, Any]] = {}
    for option_name, owners in sorted(options.items(), key=lambda item: -len(item[1])):
        groups.setdefault(tuple(owners), {})[option_name] = _option(owners)
    made = {
        _title(owners): TypedDict("Options", group, total=False)  # type: ignore[operator]
        for owners, group in groups.items()
    }
    for group in made.values():
        group.__doc__ = ""
    return TypedDict("SamplerOptions", made)  # type: ignore[operator]


def _option(owners: Mapping[str, _Field]) -> Any:
    """One option for all families that have it: any of their choices, each family's words."""
    fields = list(owners.values())
    choices = [choice for one in fields for choice in one.choices]
    hint = Literal[tuple(dict.fromkeys(choices))] if choices else fields[0].hint  # type: ignore[valid-type]
    said = fields[0].help
    if any(one.help != said for one in fields):
        said = " ".join(f"{name}: {one.help}" for name, one in owners.items())
    return option(hint, fields[0].default, help_text=said, absent=True)


def _title(owners: tuple[str, ...]) -> str:
    rest = sorted(set(FAMILIES) - set(owners))
    if not rest:
        return "sampler"
    return f"sampler, all but {rest[0]}" if len(rest) == 1 else f"sampler of {' and '.join(owners)}"


def _together(groups: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for group in groups.values() for name, value in group.items()}


SamplerOptions = Annotated[
    dict[str, Any], Parsed(_groups(), _together), OmitArgPrefixes, arg(name="")
]
"""Those that were given, by name."""
