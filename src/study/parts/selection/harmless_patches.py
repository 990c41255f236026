"""Which patches of a patch network to keep, and how far they reach: by what they do to the validation split (ours)."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping

from study.models.patch_network import PatchNetwork
from study.parts.network.traced_split import TracedSplit


def harmless_patches(
    network: PatchNetwork, gammas: Iterable[float], targets: TracedSplit, validation: TracedSplit
) -> Generator[Mapping[str, float], None, PatchNetwork | None]:
    """The patches of `network` that alone break no more validation inputs than they fix, at the one of `gammas` (the
    sharpness of their supports, ascending) with most validation inputs right; yields what to log of each.

    Returns None where fewer validation inputs are right than without patches, or no target is, at every gamma.
    """
    most, kept = int(validation.right_before().sum()) - 1, None
    for gamma in gammas:
        network.gamma.fill_(gamma)
        tried = network.only(validation.gain_alone(network) >= 0)
        correct, fixed = int(validation.right(tried).sum()), int(targets.right(tried).sum())
        yield {
            "locality/gamma": gamma,
            "locality/fixed": fixed / len(targets.labels),
            "locality/patches": len(tried.patterns),
            "validation/accuracy": correct / len(validation.labels),
        }
        if fixed and correct > most:  # of equal ones the softest
            most, kept = correct, tried
    return kept
