from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from study.data.split import Split
from study.errors import RepairFailed
from study.parts.localisation.relevance import Relevance
from study.parts.selection import root_causes as steps
from study.parts.selection.root_causes import distances_to_errors, root_causes
from study.parts.selection.unsafe_set import quotas, to_clusters, unsafe_sets
from study.problem.problem import Problem
from tests.problems import digits_problem


@pytest.fixture
def problem() -> Problem:
    return digits_problem()


def found(problem: Problem, errors: Tensor, **options: Any) -> steps.RootCauses:
    return root_causes(Relevance(problem.faulty), problem.repair_set, errors, **({"max_clusters": 30} | options))


def test_failing_inputs_fall_into_clusters_that_are_closer_than_others(problem: Problem) -> None:
    causes = found(problem, problem.failing)
    assert causes.excluded == 0 and causes.cut is not None
    assert causes.count >= 2 and len(causes.labels) == len(problem.failing)
    assert [number for number, _ in causes.curve] == list(range(2, min(30, len(problem.failing) - 1) + 1))
    assert [distance for _, distance in causes.curve] == causes.cut.within.tolist()
    sizes = torch.bincount(causes.labels[causes.labels >= 0])
    assert sizes.min() >= 2
    distance = torch.cdist(causes.heatmaps, causes.heatmaps)
    same = (causes.labels[:, None] == causes.labels) & (causes.labels >= 0)
    assert distance[same].sum() / (same.sum() - sizes.sum()) < 0.8 * distance[~same].mean()


def test_the_layer_whose_heatmaps_separate_wins_over_noise(monkeypatch: pytest.MonkeyPatch, problem: Problem) -> None:
    generator = torch.Generator().manual_seed(0)
    separable = 20 * torch.eye(6)[torch.arange(90) % 3] + torch.randn(90, 6, generator=generator)
    noise = torch.randn(90, 6, generator=generator)
    alive = torch.ones(90, dtype=torch.bool)
    for maps, expected in (([noise, separable], 1), ([separable, noise], 0), ([1e-6 * noise, separable], 1)):
        monkeypatch.setattr(steps, "heatmaps", lambda *_, maps=maps, **__: (list(maps), alive))
        assert found(problem, torch.arange(90)).layer == expected
    assert found(problem, torch.arange(90), scaled=False).layer == 0  # raw distances favour small relevances


@pytest.mark.parametrize("count", [1, 2, 3])
def test_very_few_failing_inputs_are_one_cluster_at_the_deepest_layer(problem: Problem, count: int) -> None:
    causes = found(problem, problem.failing[:count])
    assert causes.labels.tolist() == [0] * count and causes.cut is None and causes.curve == []
    assert causes.layer == len(Relevance(problem.faulty).names) - 1


def test_identical_images_are_one_cluster(problem: Problem) -> None:
    inputs = problem.repair_set.tensors().inputs[problem.failing[:1]].repeat(20, 1, 1, 1)
    split = Split("repair", inputs, torch.zeros(20, dtype=torch.int64))
    causes = root_causes(Relevance(problem.faulty), split, torch.arange(20), max_clusters=30)
    assert causes.labels.tolist() == [0] * 20


def test_if_the_failing_inputs_are_the_improvement_set_each_is_in_its_own_clusters_unsafe_set(problem: Problem) -> None:
    relevance = Relevance(problem.faulty)
    causes = root_causes(relevance, problem.repair_set, problem.failing, max_clusters=30)
    distances = distances_to_errors(relevance, problem.repair_set, problem.failing, causes)
    nearness = to_clusters(distances, causes.labels)
    member = causes.labels >= 0
    assert not nearness[member].gather(1, causes.labels[member, None]).any()
    sets = unsafe_sets(nearness, quotas(causes.labels, 1))
    for cluster, chosen in enumerate(sets):
        assert torch.equal(chosen.indices.sort().values, (causes.labels == cluster).nonzero().flatten())


def test_inputs_that_no_relevance_reaches_are_left_out_or_end_it(problem: Problem) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10)).eval()
    with torch.no_grad():
        net[3].weight.abs_()
        net[1].bias.fill_(-0.01)
    inputs = torch.cat([problem.repair_set.tensors().inputs[:9], torch.zeros(2, 1, 8, 8)])
    split = Split("repair", inputs, torch.zeros(11, dtype=torch.int64))
    causes = root_causes(Relevance(net), split, torch.arange(11), max_clusters=30)
    assert causes.excluded == 2 and causes.errors.tolist() == list(range(9))
    with pytest.raises(RepairFailed, match="no relevance"):
        root_causes(Relevance(net), split, torch.tensor([9, 10]), max_clusters=30)
