"""Runs on the unigram plateau take no part in a fit: no law of scaling describes them.

A network first learns how frequent tokens are. Its loss then stands at the unigram entropy H1 of the corpus
(data/unigram.py), or a little below, until it finds out how to use context; when that is, is much a matter
of the seed. E + A/N^a + B/D^b speaks of what comes after.

A run has left the plateau when its held-out loss L, of standard error s, is well below:

    L + 2 s < 0.95 H1.                                                                                (1)

5 %, because the plateau is not at H1 itself: losses of small byte-level runs that are flat from validation to
validation stand 1 to 3 % below it (uniform), 2 to 3 % (interpolating) or 2 to 4 % (masked), and fall from
there. Two standard errors, because the windows of a validation are a sample, and bounds have noise of their
own. Where context is worth less than that (DNA, say), fit a table of the runs: it has no entropy to compare
with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from isodiff.record import Record

_MARGIN, _ERRORS = 0.05, 2.0


def on_plateau(record: Record) -> bool:
    """Whether a finished run fails Eq. (1). Records of earlier versions know no entropy, and none does."""
    loss, entropy = record.validation, record.results.unigram_nats
    if loss is None or entropy is None:
        return False
    nats = loss.nats_per_token
    return nats.value + _ERRORS * nats.standard_error >= (1 - _MARGIN) * entropy


def left_out(stuck: Sequence[Record], of: int) -> list[str]:
    """The line that says which runs of `of` a fit leaves out because they are on the plateau, if any."""
    if not stuck:
        return []
    families = Counter(str(record.spec.family.get("name")) for record in stuck)
    entropies = sorted({f"{record.results.unigram_nats:.3f}" for record in stuck})
    return [
        f"{len(stuck)} of {of} runs are left out, as they have not left the unigram plateau "
        f"({', '.join(f'{name} {number}' for name, number in families.items())}): a loss must be "
        f"{_MARGIN:.0%} and {_ERRORS:g} standard errors below the {' or '.join(entropies)} nats per token "
        "of token frequencies alone; larger budgets leave it"
    ]
