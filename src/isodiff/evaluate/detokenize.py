"""Published evaluation texts as they would be written: the marks of old tokenizers taken out again.

WikiText, the Penn Treebank and the One Billion Words come cut into words, with spaces before punctuation
and marks of their own. Zero-shot perplexities are reported after undoing that (arXiv 1909.08053,
2310.16834, 2406.07524); a number of a text says which rules it was read by. Rules are applied in order,
each everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from isodiff.errors import InputError, nearest

_Replacements = Sequence[tuple[str, str]]
"""Regular expressions and what stands in their place."""

_CLOSING = r" ([.,;:!?])(?=\s|$)", r"\1"
_BRACKETS = r"([(\[{]) (.*?) ([)\]}])", r"\1\2\3"
_QUOTED = r'" ([^"\n]*?) "', r'"\1"'

DETOKENIZERS: dict[str, _Replacements] = {
    "none": (),
    "wikitext": (
        (r" @([-,.])@ ", r"\1"),
        _CLOSING,
        _BRACKETS,
        _QUOTED,
        (r" '(s|re|ve|ll|d|m|t)\b", r"'\1"),
        (r"(?<=s) '(?= )", "'"),
        (r"= (?==)", "="),
        (r" ?\n ?", "\n"),
        (r" (°)", r"\1"),
    ),
    "ptb": (
        (r" '(s|re|ve|ll|d|m)\b", r"'\1"),
        (r"s ' ", "s' "),
        (r" n't\b", "n't"),
        (r"\\/", "/"),
        (r"(?<!\w)N(?!\w)", "1"),
        (r"([$#]) (?=\d)", r"\1"),
        (r"<unk>", "?"),
        (r" ?\n ?", "\n"),
    ),
    "lm1b": (
        (r"(https?) : / / ", r"\1://"),
        (r"(?<=\/)www \. ", "www."),
        (r" '(s|re|ve|ll|d|m)\b", r"'\1"),
        (r" n't\b", "n't"),
        _CLOSING,
        _BRACKETS,
        _QUOTED,
        (r"([$£€]) (?=\d)", r"\1"),
        (r"(\d) %", r"\1%"),
    ),
    "lambada": ((r"[“”]", '"'), (r"[‘’]", "'"), (r"``|''", '"')),
}


def detokenized(text: str, rules: str) -> str:
    """The text by the rules of this name.

    Raises:
        InputError: there are none of this name.
    """
    if rules not in DETOKENIZERS:
        raise InputError(
            f"no detokenization {rules!r}{nearest(rules, DETOKENIZERS)}; there are {', '.join(DETOKENIZERS)}"
        )
    for pattern, replacement in DETOKENIZERS[rules]:
        text = re.sub(pattern, replacement, text)
    return text
