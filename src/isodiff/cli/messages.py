"""What tyro finds wrong with a command line, as one line that says what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import get_args

from tyro import _arguments, _errors

from isodiff.cli.verb import Commands
from isodiff.errors import nearest, shown


def refusal(
    event: _errors.ParseErrorEvent,
    words: Sequence[str],
    commands: Commands | None,
    options: Callable[[Sequence[str]], set[str]],
) -> str:
    """The line for what is wrong with `words`. `options` gives the options of a command."""
    names = [] if commands is None else [*commands.functions]
    names += [] if commands is None else [one for more in commands.aliases.values() for one in more]
    if commands is not None and (not words or words[0] not in names):
        return _no_command(event.prog, words, commands, names)
    match event:
        case _errors.UnrecognizedArgs() if any(word.startswith("-") for word in event.tokens):
            wrong = next(word for word in event.tokens if word.startswith("-")).partition("=")[0]
            return f"no option {wrong}{nearest_option(wrong, options(words[: bool(names)]))}"
        case _errors.UnrecognizedArgs():
            return f"unexpected {event.tokens[0]!r}; --help shows what may follow"
        case _errors.MissingArgs():
            missing = [_named(one.arg, value=True) for one in event.missing_arguments]
            return f"give {' and '.join(missing)}; --help says what it is"
        case _errors.InvalidChoice():
            choices = ", ".join(event.choices)
            known = nearest(event.value, event.choices) or f"; one of {choices}"
            return f"{_named(event.argument)} cannot be {event.value!r}{known}"
        case _errors.BadValue():
            return f"{_named(event.argument)} needs a value: {event.argument.lowered.metavar}"
        case _errors.InstantiationFailure() if event.argument is not None:
            wanted, first = _kind(event.argument), event.message.partition("\n")[0]
            given = re.findall(r"'([^']*)'", first)
            got = f", got {shown(given[-1])}" if given else f": {first}"
            if "int_max_str_digits" in first:
                got = ", got one of thousands of digits"
            return f"{_named(event.argument)} takes {wanted}{got}"
        case _errors.InstantiationFailure():
            return event.message.partition("\n")[0]
        case _:
            return "this command line is not understood; --help shows what is"


def flag_of(name: str) -> str:
    """The option for a parameter."""
    return "--" + name.replace("_", "-")


def nearest_option(wrong: str, known: Iterable[str]) -> str:
    """`nearest` of names without the dashes, which all share."""
    near = nearest(wrong.lstrip("-"), [one.lstrip("-") for one in known])
    return near.replace("mean '", "mean '--")


def _no_command(prog: str, words: Sequence[str], commands: Commands, names: Sequence[str]) -> str:
    """The first word is no command: the nearest one, which an old spelling may have had as an option."""
    known = ", ".join(sorted(commands.functions))
    if not words:
        return f"which {commands.what}? one of {known}"
    bare = [word.lstrip("-").partition("=")[0] for word in words]
    moved = (f"; did you mean '{prog} {one}'?" for one in bare if one in names)
    meant = next(moved, None)
    meant = meant or nearest(bare[0], names)
    return f"no {commands.what} {words[0]!r}{meant}; one of {known}"


def _named(argument: _arguments.ArgumentDefinition, *, value: bool = False) -> str:
    """An argument as it is written, with what stands for its value."""
    metavar, flag = argument.lowered.metavar or "", argument.lowered.name_or_flags[-1]
    if argument.is_positional():
        return metavar
    return f"{flag} {metavar}".strip() if value else flag


def _kind(argument: _arguments.ArgumentDefinition) -> str:
    """What may be given, in words where its type says more than what stands for it."""
    types = {argument.field.type_stripped, *get_args(argument.field.type_stripped)}
    if int in types:
        return "a whole number"
    return "a number" if float in types else argument.lowered.metavar or "a value"
