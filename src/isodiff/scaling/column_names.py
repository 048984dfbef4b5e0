"""What people call the columns of a table of runs, and the units they write into names and numbers.

A name is compared without case, punctuation and the path before it: `throughput/total_tokens` is `total
tokens`. Units count: `total_gflops`, `tokens (B)`, `params_m`, `70M`.
"""

from __future__ import annotations

import math
import re
from typing import Any

_NAMES = {
    "family": "family, model family, family name, method, objective, architecture, arch, experiment, "
    "dataset, dataset name, corpus",
    "budget": "budget, compute budget, flops budget, flop budget, c, training flops, training flop, train "
    "flops, train flop, training compute, train compute, total training flops, total train flops, total "
    "flops, total flop, total flos, total compute, flops, flop, compute, num flops, training compute flop",
    "parameters": "parameters, n, params, num params, num parameters, n params, n parameters, nparams, "
    "parameter count, parameters count, param count, params count, number of parameters, model size, model "
    "params, model parameters, total params, total parameters, non embedding params, non embedding "
    "parameters, params non embedding, non embedding, params no embed, active params, active parameters, "
    "params active, params active precise",
    "tokens": "tokens, d, training tokens, train tokens, num tokens, n tokens, ntokens, token count, total "
    "tokens, total train tokens, total training tokens, num train tokens, num training tokens, number of "
    "tokens, tokens seen, num tokens seen, seen tokens, tokens trained, trained tokens, consumed tokens, "
    "dataset size, dataset tokens, data size",
    "nats": "nats, nats per token, val loss nats per token, validation loss, val loss, valid loss, "
    "eval loss, loss val, loss validation, loss eval, test loss, final validation loss, final val loss, "
    "final loss, loss, cross entropy loss, crossentropyloss, cross entropy, crossentropy, ce loss, ce, "
    "nll, lm loss, l, train loss, training loss, loss train",
    "standard_error": "standard error, stderr, std err, std error, se, sem, loss se, loss stderr",
    "unique_tokens": "unique tokens, num unique tokens, u",
    "kind": "kind",
    "id": "id, run, run id, run name, name, exp name, display name, experiment name, model name",
    "step": "_step",
    "state": "state",
}
"""By the field of a point (and two of a run's history) the names of its column, the surest first."""
ALIASES = {field: tuple(names.split(", ")) for field, names in _NAMES.items()}
COUNTS = ("budget", "parameters", "tokens")
_SCALES = {
    **dict.fromkeys(("k", "thousand", "thousands"), 1e3),
    **dict.fromkeys(("m", "mm", "million", "millions"), 1e6),
    **dict.fromkeys(("b", "bn", "g", "billion", "billions"), 1e9),
    **dict.fromkeys(("t", "tn", "trillion", "trillions"), 1e12),
}
_FLOPS = {"g": 1e9, "t": 1e12, "p": 1e15, "e": 1e18, "z": 1e21, "y": 1e24}
_PF_DAY = 1e15 * 86400
_SCALED = (*COUNTS, "unique_tokens")
_UNITS = {
    "budget": ("flops", "flop"),
    "parameters": ("params", "parameters"),
    "tokens": ("tokens",),
    "unique_tokens": ("tokens",),
    "nats": ("nats", "per", "token"),
}
_WHOLE = ("kind", "id", "step", "state")
"""Fields whose column must be called so in full, path and all."""


def alias_of(field: str, name: str) -> tuple[str, float]:
    """What a column is called, in full where that is a name of the field, and what its unit multiplies."""
    if field == "step":
        return name, 1.0
    whole = unit_of(field, words_of(name))
    return (
        whole if field in _WHOLE or whole[0] in ALIASES[field] else unit_of(field, last_part(name))
    )


def unit_of(field: str, plain: str) -> tuple[str, float]:
    """The plain name without its unit, and what the unit multiplies: `d b tokens` is d, 1e9."""
    if re.search(r"\b(pf|pfs|petaflops?|pflops?)( s)? ?days?$", plain):
        return "compute", _PF_DAY
    words, scale = plain.split(), 1.0
    if field == "budget":
        for i, word in enumerate(words):
            if match := re.fullmatch(r"([gtpezy]|giga|tera|peta|exa|zetta|yotta)(flops?)", word):
                words[i], scale = match[2], _FLOPS[match[1][0]]
    if words and (match := re.fullmatch(r"([mbg])(params|parameters|tokens)", words[0])):
        words[0], scale = match[2], _SCALES[match[1]]
    while len(words) > 1 and " ".join(words) not in ALIASES[field]:
        if words[-1] in _SCALES and field in _SCALED:
            scale *= _SCALES[words[-1]]
        elif re.fullmatch(r"1e\d\d?", words[-1]) and field in _SCALED:
            scale *= float(words[-1])
        elif words[-1] not in _UNITS.get(field, ()):
            break
        words.pop()
    return " ".join(words), scale


def words_of(name: str) -> str:
    """Lower case, words parted by one space: `valLoss`, `val_loss` and `Val. loss` are alike."""
    return " ".join(re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()))


def last_part(name: str) -> str:
    """The words after the last slash or dot; all of them where that is a ratio (`D/N`) or a number."""
    *path, last = re.split(r"[./]", name)
    counts = {alias for field in COUNTS for alias in ALIASES[field]}
    if (
        not path
        or any(words_of(part) in counts for part in path)
        or not re.search("[A-Za-z]{2}", last)
    ):
        return words_of(name)
    return words_of(last)


def as_number(cell: Any) -> Any:
    """`70M`, `1.4T`, `1,000,000` and plain numbers as floats; anything else stays what it is."""
    if isinstance(cell, int) and not isinstance(cell, bool):
        return float(cell) if abs(cell) < 10**300 else math.inf
    if not isinstance(cell, str):
        return cell
    text = cell.strip().replace(" ", "")
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?", text):
        text = text.replace(",", "")
    match = re.fullmatch(r"([+-]?[\d.]+(?:[eE][+-]?\d+)?)([kKmMbBgGtT])?", text)
    if match is None:
        return cell
    try:
        return float(match[1]) * _SCALES.get((match[2] or "").lower(), 1.0)
    except ValueError:
        return cell
