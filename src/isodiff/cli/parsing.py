"""From a verb's functions to its options: tyro, told what `--help` shows and how errors read.

A parameter that is a dataclass becomes a group of options, `--recipe.batch-size` say, whose help is the
dataclass's docstring. `--json` is added to every verb.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import io
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    Required,
    TypedDict,
    Union,
    get_args,
    get_origin,
    is_typeddict,
)
from typing import get_type_hints as type_hints

import docstring_parser
import tyro
from tyro import _errors  # experimental in tyro: pyproject.toml bounds its version
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, arg
from tyro.extras import SubcommandApp

from isodiff.bounds import check
from isodiff.cli.messages import flag_of, refusal
from isodiff.cli.options import Json
from isodiff.cli.verb import Answer, Commands
from isodiff.errors import InputError

_METAVARS = {int: "N", float: "NUMBER", str: "TEXT", Path: "FILE"}
_SHELLS = ("bash", "zsh", "tcsh", "fish")
_Call = tuple[functools.partial[Answer], bool]


class Parsed(NamedTuple):
    """In `Annotated`: options are those of `hint`, and the argument is `made` of what they say."""

    hint: Any
    made: Callable[[Any], Any]


def parse(verb: str, words: Sequence[str]) -> _Call:
    """The call that a command line asks for, not yet made, and whether `--json` was given.

    Raises:
        InputError: the words are not understood.
        SystemExit: help was asked for, and is printed.
    """
    commands, line = _command_line(verb)

    def ask(words: Sequence[str]) -> _Call:
        return _cli(line, prog=f"isodiff {verb}", args=words)

    def refuse(event: _errors.ParseErrorEvent) -> None:
        raise InputError(
            refusal(event, words, commands, functools.partial(_options, ask))
        ) from None

    with _errors.on_parse_error(refuse):
        return ask(words)


def complete(verbs: Sequence[str], words: Sequence[str]) -> int:
    """Print or write the completion script of a shell, for all verbs."""
    if len(words) < 2 or words[1] not in _SHELLS:
        raise InputError(f"{words[0]} needs a shell: {', '.join(_SHELLS)}")
    app = SubcommandApp()
    for verb in verbs:
        line: Any = _command_line(verb)[1]
        app.command(line, name=verb)
    app.cli(prog="isodiff", args=words)
    return 0


def settings_of(cls: type, omit: Collection[str] = ()) -> Any:
    """A dataclass as options: a type that parses to a dict of the fields that were given."""
    said, hints = documented(cls), type_hints(cls, include_extras=True)
    options = {}
    for field in fields(cls):
        if field.name not in omit:
            hint = option(
                hints[field.name], field.default, help_text=said.get(field.name), absent=True
            )
            options[field.name] = Required[hint] if field.default is MISSING else hint
    group = TypedDict(cls.__name__, options, total=False)  # type: ignore[operator]
    group.__doc__ = (cls.__doc__ or "").partition("\n")[0]
    return group


def documented(cls: type) -> dict[str, str]:
    """What docstrings say of the fields of a class, its own docstring before those of its bases."""
    said: dict[str, str] = {}
    for base in cls.__mro__:
        said = _parameters(base.__dict__.get("__doc__")) | said
    return said


def _parameters(docstring: str | None) -> dict[str, str]:
    return {
        name: " ".join((one.description or "").split())
        for one in docstring_parser.parse(docstring or "").params
        for name in one.arg_name.split(", ")
    }


def option(hint: Any, default: Any, *, help_text: str | None = None, absent: bool = False) -> Any:
    """The annotation of an option with its kind as people say it, and its default where it has one.

    `absent`: where it is not given it is left out, rather than set to its default.
    """
    hint, *marks = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    optional = get_origin(hint) in (Union, UnionType) and type(None) in get_args(hint)
    if optional:
        inner = [one for one in get_args(hint) if one is not type(None)]
        marks = [mark for one in inner for mark in _marks(one) if _for_help(mark)] + marks
        hint = Union[(*map(_without_help, inner), None)]
    metavar = _metavar(hint, marks, Positional in marks and default == ())
    if metavar and optional and default is not None:
        metavar += "|None"
    own = [hints for mark in marks if (hints := getattr(mark, "help_behavior_hint", None))]
    if own:
        said = own[-1]
    elif default is inspect.Parameter.empty or default is MISSING:
        said = "(one or more)" if get_origin(hint) is tuple else None
    elif default is None or default is False or default in ((), ""):
        said = ""
    else:
        said = f"(default: {default:g})" if isinstance(default, float) else f"(default: {default})"
    if default is False and not absent:
        marks.append(FlagCreatePairsOff)
    shown = arg(metavar=metavar, help=help_text, help_behavior_hint=said)
    return Annotated[(hint, *marks, shown)]  # type: ignore[misc]


def _marks(hint: Any) -> list[Any]:
    return list(get_args(hint)[1:]) if get_origin(hint) is Annotated else []


def _for_help(mark: Any) -> bool:
    return hasattr(mark, "metavar")


def _without_help(hint: Any) -> Any:
    """The type with its bounds only."""
    bounds = [mark for mark in _marks(hint) if not _for_help(mark)]
    return Annotated[(_plain(hint), *bounds)] if bounds else _plain(hint)  # type: ignore[misc]


def _metavar(hint: Any, marks: Sequence[Any], may_be_none: bool = False) -> str | None:
    """What stands for the value; None leaves it to tyro."""
    named = [mark.metavar for mark in marks if getattr(mark, "metavar", None)]
    if named:
        return named[-1]
    if get_origin(hint) is Annotated:
        return _metavar(get_args(hint)[0], _marks(hint))
    kinds = [one for one in get_args(hint) if one is not type(None)]
    if get_origin(hint) is tuple:
        one = _metavar(kinds[0], ())
        return f"[{one} ...]" if may_be_none else f"{one} [{one} ...]"
    if get_origin(hint) is Literal:
        return "{" + ",".join(map(str, kinds)) + "}"
    if get_origin(hint) in (Union, UnionType):
        return "|".join(_metavar(one, ()) or "VALUE" for one in kinds)
    return _METAVARS.get(hint)


def deferred(function: Callable[..., Answer]) -> Callable[..., _Call]:
    """The function with `--json`, which is not called yet when its options are parsed."""
    parameters, made = [], {}
    hints, said = type_hints(function, include_extras=True), _parameters(function.__doc__)
    for name, parameter in inspect.signature(function).parameters.items():
        hint, default = hints[name], parameter.default
        cls: Any = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        parsed = [mark for mark in _marks(hint) if isinstance(mark, Parsed)]
        if parsed or (isinstance(cls, type) and is_dataclass(cls)):
            use = parsed[0] if parsed else Parsed(settings_of(cls), functools.partial(_make, cls))
            made[name] = use.made
            hint = Annotated[(use.hint, *_marks(hint), None)]  # type: ignore[misc]
            default = inspect.Parameter.empty
        else:
            hint = option(hint, default, help_text=said.get(name))
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(name, kind, default=default, annotation=hint))

    def bind(*, json: bool, **given: Any) -> _Call:
        _check_bounds(hints_given, given)
        given |= {name: make(given[name]) for name, make in made.items()}
        return functools.partial(function, **given), json

    hints_given = {one.name: one.annotation for one in parameters}
    kind = inspect.Parameter.KEYWORD_ONLY
    as_json = inspect.Parameter("json", kind, default=False, annotation=option(Json, False))
    parameters.append(as_json)
    bind.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    bind.__annotations__ = {one.name: one.annotation for one in parameters}
    bind.__name__, bind.__doc__ = function.__name__, (function.__doc__ or "").partition("Args:")[0]
    return bind


def _check_bounds(
    hints: Mapping[str, Any], given: Mapping[str, Any], group: str = "", *, bare: bool = False
) -> None:
    """That options are within bounds; a group's name stands before those of its options, unless `bare`."""
    for name, value in given.items():
        marks, hint = _marks(hints[name]), _plain(hints[name])
        if is_typeddict(hint):
            nameless = any(getattr(mark, "name", None) == "" for mark in marks)
            inner = f"{group}{name}." if not nameless else group
            options = type_hints(hint, include_extras=True)
            _check_bounds(options, value, inner, bare=bare or OmitArgPrefixes in marks)
        else:
            flag = flag_of(name if bare else group + name)
            kind = get_args(hints[name])[0] if get_origin(hints[name]) is Required else hints[name]
            check(kind, value, _metavar(hint, marks) or flag if Positional in marks else flag)


def _plain(hint: Any) -> Any:
    """Without what it is annotated with."""
    while get_origin(hint) in (Annotated, Required):
        hint = get_args(hint)[0]
    return hint


def _make(cls: type, given: dict[str, Any]) -> Any:
    return cls(**given)


def _command_line(verb: str) -> tuple[Commands | None, Callable[..., _Call] | SubcommandApp]:
    """The verb's commands, if it has any, and what parses its words."""
    module = importlib.import_module(f"isodiff.cli.{verb}")
    commands: Commands | None = getattr(module, "COMMANDS", None)
    if commands is None:
        return None, deferred(module.run)
    app = SubcommandApp()
    app.__doc__ = module.__doc__
    for name, function in commands.functions.items():
        bound: Any = deferred(function)
        app.command(bound, name=name, aliases=commands.aliases.get(name))
    return commands, app


def _cli(line: Callable[..., _Call] | SubcommandApp, *, prog: str, args: Sequence[str]) -> _Call:
    if isinstance(line, SubcommandApp):
        return line.cli(prog=prog, description=line.__doc__, args=args)
    return tyro.cli(line, prog=prog, args=args)


def _options(ask: Callable[[Sequence[str]], Any], command: Sequence[str]) -> set[str]:
    """The options that the help of a command shows."""
    with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
        ask([*command, "--help"])
    return set(re.findall(r"--[a-z][\w.-]*\w", shown.getvalue()))
