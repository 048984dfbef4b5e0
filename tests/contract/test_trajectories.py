"""The frames of a film: one per network evaluation, from the prompt to exactly the tokens returned."""

from __future__ import annotations

import pytest
import torch
from networks import FAMILIES, V, tiny
from torch import Tensor

from isodiff.families.autoregressive import AutoregressiveSampler
from isodiff.families.base import UNDECIDED, Family, Sampler, SampleState, undecided
from isodiff.families.masked import MaskedSampler
from isodiff.families.sampling import Trajectory, sample, sample_trajectories
from isodiff.families.uniform import UniformSampler
from isodiff.rng import Streams

pytestmark = pytest.mark.usefixtures("float64")
L, B = 12, 5
AWKWARD: dict[str, tuple[str, Sampler]] = {
    "stops early": ("autoregressive", AutoregressiveSampler(stop=3)),
    "masks again": ("masked", MaskedSampler(steps=6, remask=0.6)),
    "noises again": ("uniform", UniformSampler(steps=6, kappa=0.2)),
    "one step": ("masked", MaskedSampler(steps=1)),
    "first hitting": ("interpolating-0.5", FAMILIES["interpolating-0.5"].sampler(steps=None)),
}
PLAIN = {name: (name, family.sampler_with(4)) for name, family in FAMILIES.items()}
CASES = PLAIN | AWKWARD
each_case = pytest.mark.parametrize(("name", "sampler"), CASES.values(), ids=CASES)


def prompts() -> Tensor:
    """From nothing given to everything."""
    x = torch.randint(V, (B, L), generator=torch.Generator().manual_seed(0))
    return x.where(torch.arange(L) < torch.tensor([0, 1, 4, 11, L])[:, None], UNDECIDED)


def replay(start: Tensor, trajectory: Trajectory) -> list[list[int]]:
    """The state with the noise, and after every frame."""
    states = [start.tolist()]
    for place, token in trajectory.noise:
        states[0][place] = token
    for frame in trajectory.frames:
        states.append(states[-1].copy())
        for place, token in frame:
            states[-1][place] = token
    return states


@each_case
@pytest.mark.parametrize("prompted", [False, True])
def test_frames_replay_to_the_tokens(name: str, sampler: Sampler, prompted: bool) -> None:
    family, model = FAMILIES[name], tiny(FAMILIES[name])
    start = prompts() if prompted else undecided(B, L)
    tokens, nfe, rows = sample_trajectories(family, model, start, sampler, rng=Streams(0, B), num=B)
    plain, count = sample(family, model, start, sampler, rng=Streams(0, B))
    assert torch.equal(tokens, plain) and torch.equal(nfe, count)
    assert [len(trajectory.frames) for trajectory in rows] == nfe.tolist()
    assert sum(nfe.tolist()) > 0
    for row, trajectory in enumerate(rows):
        assert replay(start[row], trajectory)[-1] == tokens[row].tolist()
        observed = {place for place in range(L) if start[row, place] != UNDECIDED}
        assert not observed & {
            place for frame in [trajectory.noise, *trajectory.frames] for place, _ in frame
        }


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("prompted", [False, True])
def test_noise_fills_all_or_nothing_and_costs_no_evaluation(name: str, prompted: bool) -> None:
    """Tokens where the noise has any; what starts from masks starts undecided."""
    family, model = FAMILIES[name], tiny(FAMILIES[name])
    start = prompts() if prompted else undecided(B, L)
    seen: list[SampleState] = []
    sampler = family.sampler_with(4)
    _, nfe = sample(family, model, start, sampler, rng=Streams(0, B), watch=seen.append)
    _, _, rows = sample_trajectories(family, model, start, sampler, rng=Streams(0, B), num=B)
    noisy = any(not state.evaluated.any() for state in seen)
    assert noisy or family.name not in ("uniform", "gaussian")
    assert torch.equal(nfe, torch.stack([state.evaluated.long() for state in seen]).sum(0))
    for row, trajectory in enumerate(rows):
        undecided_at = [place for place in range(L) if start[row, place] == UNDECIDED]
        assert [place for place, _ in trajectory.noise] == (undecided_at if noisy else [])
        assert all(0 <= token < V for _, token in trajectory.noise)
    if noisy and not prompted:
        shown = [tuple(token for _, token in trajectory.noise) for trajectory in rows]
        assert len(set(shown)) == B  # every text has noise of its own
        assert torch.equal(seen[0].tokens, torch.tensor(shown))


def test_uniform_noise_is_uniform() -> None:
    """The noise of 400 texts of 12 tokens, by chi-square: what is shown is what the sampler starts from."""
    family = FAMILIES["uniform"]
    states = family.denoise(
        tiny(family), undecided(400, L), family.sampler_with(2), rng=Streams(5, 400)
    )
    with torch.no_grad():
        first = next(states)
    assert not first.evaluated.any()
    counts = first.tokens.flatten().bincount(minlength=V).double()
    mean = 400 * L / V
    assert float(((counts - mean) ** 2 / mean).sum()) < 22.5  # 1 in 1000 for 6 degrees of freedom


@each_case
def test_frames_are_the_canvases_of_the_walk(name: str, sampler: Sampler) -> None:
    """And nothing is said to change that does not."""
    family, model, start = FAMILIES[name], tiny(FAMILIES[name]), prompts()
    seen: list[SampleState] = []
    sample(family, model, start, sampler, rng=Streams(1, B), watch=seen.append)
    _, nfe, rows = sample_trajectories(family, model, start, sampler, rng=Streams(1, B), num=B)
    for row, trajectory in enumerate(rows):
        states = replay(start[row], trajectory)
        seen_states = [state.tokens[row].tolist() for state in seen if state.evaluated[row]]
        assert states[1:-1] == seen_states[:-1] and len(seen_states) == nfe[row]
        for before, frame in zip(states[:-1], trajectory.frames, strict=True):
            assert all(before[place] != token for place, token in frame)
            assert len({place for place, _ in frame}) == len(frame)


@each_case
def test_frames_do_not_depend_on_the_batch(name: str, sampler: Sampler) -> None:
    family, model = FAMILIES[name], tiny(FAMILIES[name])
    _, _, together = sample_trajectories(
        family, model, undecided(B, L), sampler, rng=Streams(2, B), num=B
    )
    for row in range(B):
        rng = Streams(2, 1, first=row)
        _, _, (alone,) = sample_trajectories(
            family, model, undecided(1, L), sampler, rng=rng, num=9
        )
        assert alone == together[row]


def test_tokens_are_taken_back_and_changed_where_the_sampler_does_so() -> None:
    """The awkward cases are awkward: else the tests above would show less than they seem to."""
    kinds = {}
    for name, (family, sampler) in AWKWARD.items():
        found = FAMILIES[family], tiny(FAMILIES[family]), undecided(B, L), sampler
        _, nfe, rows = sample_trajectories(*found, rng=Streams(0, B), num=B)
        again = [
            token for trajectory in rows for frame in trajectory.frames[1:] for _, token in frame
        ]
        filled = sum(len(frame) for trajectory in rows for frame in trajectory.frames)
        kinds[name] = (UNDECIDED in again, filled > B * L, len(set(nfe.tolist())) > 1)
    assert kinds["masks again"][0] and kinds["noises again"][1]
    assert kinds["stops early"] == (False, False, True)


@pytest.mark.parametrize("family", [FAMILIES["masked"]], ids=["masked"])
def test_only_the_first_rows_are_kept(family: Family) -> None:
    tokens, _, rows = sample_trajectories(
        family, tiny(family), undecided(B, L), family.sampler_with(4), rng=Streams(0, B), num=2
    )
    assert len(tokens) == B and len(rows) == 2
