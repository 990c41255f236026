"""Which patches of a patch network to keep, and how far they reach: by what they do to the validation split (ours)."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping

from study.models.patch_network import PatchNetwork
from study.parts.network.traced_split import TracedSplit


def harmless_patches(
    network: PatchNetwork, gammas: Iterable[float], targets: TracedSplit, validation: TracedSplit
) -> Generator[Mapping[str, float], None, PatchNetwork | None]:
    """The patches of `network` that alone break no more validation inputs than they fix, at the one of `gammas` (the
    sharpness of their supports, ascending) that fixes most validation inputs; yields what to log of each.

    A gamma counts where no fewer validation inputs are right than without patches, and a target is. Returns None where
    there is none. (The gamma with most validation inputs right is sharper: it repairs two thirds as many unseen inputs
    of eight LeNet5s of different recipes.)
    """
    before = validation.right_before()
    most, kept = 0, None
    for gamma in gammas:
        network.gamma.fill_(gamma)
        tried = network.only(validation.gain_alone(network) >= 0)
        after, fixed = validation.right(tried), int(targets.right(tried).sum())
        yield {
            "locality/gamma": gamma,
            "locality/fixed": fixed / len(targets.labels),
            "locality/patches": len(tried.patterns),
            "validation/accuracy": after.double().mean().item(),
        }
        mended = int((after & ~before).sum())
        if fixed and after.sum() >= before.sum() and mended > most:  # of equal ones the softest
            most, kept = mended, tried
    return kept
