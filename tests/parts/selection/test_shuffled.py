"""Items of several splits, taken in turn."""

import torch

from study.data.split import Split
from study.parts.selection.shuffled import shuffled
from study.runtime.randomness import stream


def numbered(start: int, count: int) -> Split:
    """Items whose input and label are their number."""
    numbers = torch.arange(start, start + count)
    return Split("numbers", numbers[:, None].float(), numbers)


def test_each_split_is_shuffled_and_they_take_turns() -> None:
    splits = [numbered(0, 30), numbered(30, 50)]
    whole = shuffled("both", splits, 1000, stream(0, "order"))
    first, second = whole.labels[:60].unflatten(0, (30, 2)).unbind(1)
    second = torch.cat([second, whole.labels[60:]])  # the smaller split is used up
    for labels, split in zip((first, second), splits, strict=True):
        assert labels.sort().values.equal(split.labels) and not labels.equal(split.labels)
    assert whole.fetch(torch.arange(80)).inputs.flatten().long().equal(whole.labels)


def test_a_limit_takes_the_first_of_them() -> None:
    splits = [numbered(0, 50), numbered(50, 30)]
    whole = shuffled("both", splits, 1000, stream(0, "order"))
    for limit in (0, 20, 60):
        assert shuffled("both", splits, limit, stream(0, "order")).labels.equal(whole.labels[:limit])
