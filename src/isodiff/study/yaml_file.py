"""YAML as people write it, and nothing that YAML can be made to do to a reader."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from isodiff.errors import InputError, reason, shown
from isodiff.files import regular

_MOST_BYTES, _MOST_VALUES, _DEEPEST = 2**20, 10**5, 50


def read_yaml(path: Path) -> Any:
    """The value in a YAML file, whose mappings have every key once.

    Raises:
        InputError: no such file, not YAML, or larger than anyone writes, with its aliases followed.
    """
    if regular(path).stat().st_size > _MOST_BYTES:
        raise InputError(f"{path} has more than {_MOST_BYTES:,} bytes; a study has a few hundred")
    try:
        loader = _Loader(path.read_text(encoding="utf-8-sig"))
        node = loader.get_single_node()
        if node is None:
            return None
        if _values(node, {}, 0) > _MOST_VALUES:
            raise InputError(f"{path} holds more than {_MOST_VALUES:,} values, aliases followed")
        return loader.construct_document(node)
    except InputError:
        raise
    except RecursionError:
        raise InputError(f"{path} is nested too deeply") from None
    except Exception as error:  # PyYAML raises whatever Python does for a malformed date or number
        said = " ".join(str(error).split()) if isinstance(error, yaml.YAMLError) else reason(error)
        raise InputError(f"{path} is not valid YAML: {said}") from None


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for number, key in enumerate(keys):
            if key in keys[:number] and node.value[number][0].tag != "tag:yaml.org,2002:merge":
                line = node.value[number][0].start_mark.line + 1
                raise yaml.YAMLError(f"line {line} has the key {shown(key)} again")
        return super().construct_mapping(node, deep)


def _values(node: yaml.Node, known: dict[int, int], depth: int) -> int:
    """How many values a node stands for; an alias stands for all of what it names."""
    if depth > _DEEPEST:
        raise RecursionError
    if id(node) not in known:
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        inner = [one for part in parts for one in (part if isinstance(part, tuple) else (part,))]
        known[id(node)] = 1 + sum(_values(one, known, depth + 1) for one in inner)
    return known[id(node)]
