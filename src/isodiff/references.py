"""What a run stands on, as BibTeX: its family, its optimizer, the parts of its network.

`references.bib` holds one entry per source; an entry's key is its arXiv number where it has one.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from isodiff.errors import InputError

ARXIV = re.compile(r"\d{4}\.\d{4,5}")
OWN = """@software{{isodiff,
  title = {{isodiff: language-model families compared at matched compute}},
  author = {{The isodiff authors}},
  version = {{{version}}},
}}"""


def keys_of(spec: dict[str, Any], reference: str) -> list[str]:
    """Sources of a run, most specific first; `reference` is its family's line of sources."""
    recipe, backbone = spec["recipe"], spec["backbone"]
    parts = {
        "2505.01618": recipe.get("parametrization") == "complete_p",
        "2203.03466": recipe.get("parametrization") == "complete_p",
        "2405.18392": recipe["schedule"] == "wsd",
        "1711.05101": True,
        "2104.09864": True,
        "1910.07467": backbone["norm"] == "rms",
        "2002.05202": backbone["mlp"] == "swiglu",
        "2010.04245": backbone["qk_norm"],
        "2212.09748": backbone["adaln"],
    }
    own = ARXIV.findall(reference) or ["gpt2"]
    return own + [key for key, used in parts.items() if used]


def entries() -> dict[str, str]:
    """Every entry of `references.bib` by its key."""
    text = files("isodiff").joinpath("references.bib").read_text(encoding="utf-8")
    found = re.finditer(r"^@\w+\{([^,]+),\n.*?^\}", text, re.M | re.S)
    return {match[1]: match[0] for match in found}


def bibtex(keys: list[str]) -> str:
    """The entries of `keys`, and that of isodiff itself.

    Raises:
        InputError: a key has no entry.
    """
    known = entries()
    for key in keys:
        if key not in known:
            raise InputError(f"no entry for {key} in references.bib; add one")
    own = OWN.format(version=version("isodiff"))
    return "\n\n".join([*(known[key] for key in dict.fromkeys(keys)), own])
