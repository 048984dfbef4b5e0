"""What a run stands on, as BibTeX: its family, its optimizer, the parts of its network.

A family brings the entries of its own papers (`Family.bibtex`); `references.bib` holds those that belong
to no one family. An entry's key is its arXiv number where it has one.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from isodiff.errors import InputError

_ARXIV = re.compile(r"\d{4}\.\d{4,5}")
_OWN = """@software{{isodiff,
  title = {{isodiff: language-model families compared at matched compute}},
  author = {{The isodiff authors}},
  version = {{{version}}},
}}"""


def arxiv(number: str, title: str, authors: str) -> str:
    """The entry of a preprint, under its number; the year is that of the number."""
    return f"""@misc{{{number},
  title = {{{title}}},
  author = {{{authors}}},
  year = {{20{number[:2]}}},
  eprint = {{{number}}},
  archiveprefix = {{arXiv}},
}}
"""


def arxiv_numbers(text: str) -> list[str]:
    """Those that a line of sources names."""
    return _ARXIV.findall(text)


def keys_of(spec: dict[str, Any], reference: str, own: dict[str, str]) -> list[str]:
    """Sources of a run: what its family's `reference` names (or has entries of), then the parts it used."""
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
    return (arxiv_numbers(reference) or list(own)) + [key for key, used in parts.items() if used]


def entries(text: str) -> dict[str, str]:
    """The entries of a BibTeX text by their keys."""
    found = re.finditer(r"^@\w+\{([^,]+),\n.*?^\}", text, re.M | re.S)
    return {match[1]: match[0] for match in found}


def shared_entries() -> dict[str, str]:
    """Every entry of `references.bib`."""
    return entries(files("isodiff").joinpath("references.bib").read_text(encoding="utf-8"))


def bibtex(keys: list[str], own: dict[str, str]) -> str:
    """The entries of `keys`, from the family's `own` or from `references.bib`, and that of isodiff itself.

    Raises:
        InputError: a key has no entry.
    """
    known = shared_entries() | own
    for key in keys:
        if key not in known:
            raise InputError(
                f"no entry for {key} in the family's bibtex or references.bib; add one"
            )
    software = _OWN.format(version=version("isodiff"))
    return "\n\n".join([*(known[key] for key in dict.fromkeys(keys)), software])
