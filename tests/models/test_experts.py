from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from study.models.experts import ClassExperts, claims
from study.storage.models import load_model, save_model
from tests.problems import digits_problem, digits_splits


def decided(logits: Tensor, own: Tensor) -> list[int]:
    """The confidence rule as a loop: the most confident claim, else the model's own answer."""
    answers = []
    for z, experts in zip(logits, own, strict=True):
        claimants = []
        for k in range(len(z)):
            changed = z.clone()
            changed[k] = experts[k]
            if int(changed.argmax()) == k:
                claimants.append(k)
        answers.append(max(claimants, key=lambda k: experts[k].item()) if claimants else int(z.argmax()))
    return answers


@pytest.mark.parametrize("seed", range(3))
def test_the_largest_logit_is_the_confidence_rule(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)).eval()
    for parameter in model.parameters():
        parameter.data = torch.randint(-2, 3, parameter.shape, generator=generator).float()  # ties are frequent
    network = ClassExperts(model, "2")
    network.steps[:] = torch.randint(-2, 3, (4, 5), generator=generator) * 0.5
    inputs = torch.randint(-2, 3, (300, 6), generator=generator).float()
    own = torch.stack(
        [model[:2](inputs) @ (model[2].weight[k] + network.steps[k]) + model[2].bias[k] for k in range(4)],
        1,
    )
    logits = model(inputs)
    assert network(inputs).argmax(1).tolist() == decided(logits, own)
    changed = torch.stack(
        [logits.index_copy(1, torch.tensor([k]), own[:, k : k + 1]).argmax(1) == k for k in range(4)], 1
    )
    assert torch.equal(claims(logits, own), changed)
    assert (logits.argmax(1) != network(inputs).argmax(1)).any() and not changed.any(1).all()


def test_without_steps_it_is_the_model_and_it_can_be_stored(tmp_path: Path) -> None:
    problem, inputs = digits_problem(), digits_splits()["test"].tensors().inputs[:50]
    network = ClassExperts(problem.copy(), "net.layers.5").eval()
    assert torch.equal(network(inputs), problem.faulty(inputs))
    network.steps[3] = 0.1
    save_model(network, tmp_path)
    loaded = load_model(tmp_path)(inputs)
    assert torch.equal(loaded, network(inputs)) and not torch.equal(loaded, problem.faulty(inputs))
