"""Masked fine-tuning by probes, against a plain loop that runs the whole network at each step."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from study.parts.network.blocks import blocks_of, inlet, segment
from study.parts.network.structure import Structure
from study.parts.training import probe_repair
from study.parts.training.probe_repair import ProbeRepair, Target, Updates, distillation
from study.parts.training.probes import make_probe
from study.parts.training.validation_flips import Rule, flips_of
from study.problem.prediction import right
from study.problem.problem import Problem
from study.runtime.randomness import forked
from tests.fitting import fitted
from tests.networks import TinyNet
from tests.problems import build, digits_splits, problem_of, same

LAST = Rule("last", 1.0, 0.1, 0.0, False)
UPDATES = Updates(
    clean_passes=2, batch=16, lr=0.05, alpha=0.8, temperature=3.0, loss="probe", bn="frozen", mask_bias=False
)


@pytest.fixture(scope="module")
def problem() -> Problem:
    """A convolution with BatchNorm and two dense layers, hardly trained."""
    with forked(0, "tiny"):
        model = build(TinyNet)
        inputs = digits_splits()["train"].tensors()
        optimizer = torch.optim.Adam(model.parameters(), 0.02)
        for _ in range(25):
            optimizer.zero_grad()
            functional.cross_entropy(model(inputs.inputs), inputs.labels).backward()
            optimizer.step()
    return problem_of(model, digits_splits())


def repair_of(problem: Problem, epochs: int = 1, rule: Rule = LAST, mask: float = 0.5, **updates: Any) -> ProbeRepair:
    """A repair of both blocks, the dense one first, with random masks and probes."""
    model = problem.copy()
    structure = Structure(model)
    blocks = blocks_of(structure, problem.repair_set.tensors().inputs[:2])
    with forked(1, "masks"):
        targets = []
        for block in reversed(blocks):
            chosen = torch.rand(model.get_parameter(f"{block.layer}.weight").shape) < mask
            targets.append(Target(block, chosen, make_probe(block.shape, 10, block.early).eval()))
    return ProbeRepair(
        problem,
        model,
        structure,
        targets,
        failing=problem.repair_set.subset(problem.failing),
        passing=problem.repair_set.subset(problem.passing[: len(problem.failing)]),
        epochs=epochs,
        updates=dataclasses.replace(UPDATES, **updates),
        rule=rule,
    )


def looped(problem: Problem, repair: ProbeRepair, epochs: int) -> nn.Module:
    """The repair step written out: each loss from the inputs on, each gradient masked, plain SGD."""
    model = problem.copy()
    structure = Structure(model)
    failing = problem.repair_set.subset(problem.failing).tensors()
    passing = problem.repair_set.subset(problem.passing[: len(problem.failing)]).tensors()
    ends = {block.layer: block.end for block in blocks_of(structure, failing.inputs[:2])}
    readouts = [
        nn.Sequential(segment(structure, inlet(structure), ends[target.block.layer]), target.probe)
        for target in repair.targets
    ]

    def move(target: Target, loss: Tensor) -> None:
        layer = model.get_submodule(target.block.layer)
        model.zero_grad()
        target.probe.zero_grad()
        loss.backward()
        layer.weight.data -= 0.05 * layer.weight.grad * target.mask
        layer.bias.data -= 0.05 * layer.bias.grad

    for _ in range(epochs):
        for target, readout in zip(repair.targets, readouts, strict=True):
            for rows in torch.arange(len(failing.labels)).split(16):
                logits = readout(failing.inputs[rows])
                answers = (readout(passing.inputs[rows]).detach() / 3).softmax(1)
                kept = -(answers * (logits / 3).log_softmax(1)).sum(1).mean()
                move(target, 0.8 * functional.cross_entropy(logits, failing.labels[rows]) + 0.2 * kept)
        for _ in range(2):
            for target in repair.targets:
                for rows in torch.arange(len(failing.labels)).split(16):
                    move(target, functional.cross_entropy(model(failing.inputs[rows]), failing.labels[rows]))
    return model


def test_it_is_the_plain_loop(problem: Problem) -> None:
    repair = repair_of(problem, epochs=2)
    expected = looped(problem, repair, epochs=2)
    fitted(repair)
    pairs = 2 * -(-len(problem.failing) // 16)
    assert repair.steps_taken == 2 * 3 * pairs
    for name, tensor in expected.state_dict().items():
        torch.testing.assert_close(repair.model.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)
    assert not same(repair.model, problem.faulty)


def test_only_masked_weights_and_their_biases_move(problem: Problem) -> None:
    for mask_bias in (False, True):
        repair = repair_of(problem, mask_bias=mask_bias, mask=0.2)
        probes = copy.deepcopy([target.probe for target in repair.targets])
        fitted(repair)
        before, after = problem.faulty.state_dict(), repair.model.state_dict()
        masks = {f"{target.block.layer}.weight": target.mask for target in repair.targets}
        biases = set() if mask_bias else {f"{target.block.layer}.bias" for target in repair.targets}
        for name, tensor in after.items():
            if name in masks:
                assert torch.equal(tensor[~masks[name]], before[name][~masks[name]])
                assert (tensor != before[name])[masks[name]].float().mean() > 0.5
            else:
                assert torch.equal(tensor, before[name]) == (name not in biases), name
        for probe, target in zip(probes, repair.targets, strict=True):
            assert same(probe, target.probe)
        assert not any(module.training for module in repair.model.modules())


def test_batch_norm_drifts_only_if_asked(problem: Problem) -> None:
    repair = repair_of(problem, bn="train")
    probes = copy.deepcopy([target.probe for target in repair.targets])
    fitted(repair)
    name = "net.features.1.running_mean"
    assert not torch.equal(repair.model.get_buffer(name), problem.faulty.get_buffer(name))
    assert all(same(probe, target.probe) for probe, target in zip(probes, repair.targets, strict=True))
    assert not any(module.training for module in repair.model.modules())
    single = dataclasses.replace(problem, failing=problem.failing[:1])
    fitted(repair_of(single, bn="train"))  # one input gives BatchNorm no statistics


def test_each_state_is_measured_on_validation_and_the_rule_chooses(problem: Problem) -> None:
    repair = repair_of(problem, epochs=3)
    fitted(repair)
    candidates = repair.candidates
    assert len(candidates.flips) == 6 and candidates.kept == 5
    before = right(problem.faulty, problem.validation)
    assert candidates.flips[-1] == flips_of(before, repair.model, problem.validation)
    assert candidates.accuracy == pytest.approx(before.double().mean().item())
    ended = repair_of(problem, epochs=3, rule=dataclasses.replace(LAST, accuracy_drop=1.0, failures_left=1.1))
    fitted(ended)
    assert len(ended.candidates.flips) == 1 and ended.candidates.kept == 0
    best = repair_of(problem, epochs=3, rule=dataclasses.replace(LAST, select="score"))
    fitted(best)
    assert best.candidates.flips == candidates.flips
    scores = [flips.repair_rate - flips.negative_flip_rate for flips in candidates.flips]
    assert best.candidates.kept == scores.index(max(scores))
    kept = best.candidates.flips[best.candidates.kept]
    assert flips_of(before, best.model, problem.validation) == kept


def test_the_loss_is_taken_at_the_probe_or_at_the_output(problem: Problem) -> None:
    plain, output = repair_of(problem, alpha=1.0, clean_passes=0), repair_of(problem, alpha=1.0, loss="output")
    step = plain.train_dataloader().steps[0]
    batch = plain.failing.fetch(step.rows)
    with torch.no_grad():
        at_probe, at_output = plain._probe_loss(step), output._probe_loss(step)
        logits = plain.routes[0][1](plain.routes[0][0](batch.inputs))
        torch.testing.assert_close(at_probe, functional.cross_entropy(logits, batch.labels))
        whole = problem.faulty(problem.repair_set.fetch(problem.failing[step.rows]).inputs)
        torch.testing.assert_close(at_output, functional.cross_entropy(whole, batch.labels))
    assert abs(at_probe - at_output) > 0.1


def test_clean_up_steps_see_inputs_under_the_recipes_random_transform(problem: Problem) -> None:
    recipe = dataclasses.replace(problem.recipe, augmentation="crop_flip")
    posed = dataclasses.replace(problem, recipe=recipe)
    repair = repair_of(posed)
    step = repair.train_dataloader().steps[-1]
    batch = problem.repair_set.subset(problem.failing).fetch(step.rows)
    draws = posed.stream("augmentation")
    with torch.no_grad():
        loss = repair._output_loss(step)
        changed = problem.faulty(recipe.augmented(batch.inputs, draws))
        torch.testing.assert_close(loss, functional.cross_entropy(changed, batch.labels))
        plain = functional.cross_entropy(problem.faulty(batch.inputs), batch.labels)
    assert step.cleans and (loss - plain).abs() > 1e-3


def test_distillation_is_the_cross_entropy_of_softened_answers() -> None:
    logits, targets = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    expected = -((targets / 3).softmax(1) * (logits / 3).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(distillation(logits, targets, 3.0), expected)


def test_what_is_cached_changes_nothing(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = repair_of(problem)
    monkeypatch.setattr(probe_repair, "CACHED", 0)
    uncached = repair_of(problem)
    assert uncached.base is inlet(uncached.structure)
    for repair in (cached, uncached):
        fitted(repair)
    for name, tensor in cached.model.state_dict().items():
        torch.testing.assert_close(uncached.model.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)
