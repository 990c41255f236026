"""Which distortion inputs of each kind have."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from study.data.split import Split, joined
from study.parts.augmentation.affine import RandomAffine
from study.parts.augmentation.label_preserving import distortion_of, keeps_labels
from study.problem.task import TaskSpec
from study.runtime.randomness import stream
from tests.problems import digits_problem


def program_split(name: str, count: int, start: int = 0) -> Split:
    """Item i is [2 i, 2 i + 1], counted from `start`; renamed it is a draw from 100 up, and the number of the item."""

    def renamed(indices: Tensor, generator: torch.Generator | None) -> Tensor:
        draws = torch.randint(100, 10_000, indices.shape, generator=generator)
        return torch.stack([draws, indices + start], 1)

    numbers = torch.arange(start, start + count)
    return Split(name, torch.stack([2 * numbers, 2 * numbers + 1], 1), numbers % 2, variants={"renamed": renamed})


def program_task() -> TaskSpec:
    return dataclasses.replace(digits_problem().task, kind="tokens", input_shape=(2,), threat=None, renamable=True)


def test_which_inputs_have_one() -> None:
    task = digits_problem().task
    assert keeps_labels(task) and keeps_labels(program_task())
    assert not keeps_labels(dataclasses.replace(task, affine_invariant=False))
    for kind in ("table", "tokens"):
        assert not keeps_labels(dataclasses.replace(task, kind=kind))


def test_images_are_mapped_mildly() -> None:
    problem = digits_problem()
    images = problem.train.tensors().inputs[:9]
    for mirror in (False, True):
        distortion = distortion_of(problem.train, problem.task, mirror, stream(0, "d"))
        expected = RandomAffine.mild(1, mirror).distorted(images, stream(0, "d"))
        assert distortion(images, torch.arange(9)).equal(expected)


def test_programs_are_renamed_by_their_place_in_all_splits() -> None:
    data = joined("both", [program_split("train", 4), program_split("repair", 2, start=4)])
    distortion = distortion_of(data, program_task(), False, stream(0, "d"))
    indices = torch.tensor([5, 0, 4, 3])
    inputs = data.fetch(indices).inputs
    first, second = distortion(inputs, indices), distortion(inputs, indices)
    assert first[:, 1].tolist() == second[:, 1].tolist() == [5, 0, 4, 3]
    assert (first[:, 0] >= 100).all() and (first[:, 0] != second[:, 0]).all(), "drawn anew at each call"
    assert distortion_of(data, program_task(), False, stream(0, "d"))(inputs, indices).equal(first)
