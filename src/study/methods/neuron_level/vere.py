"""VeRe: the neuron whose value could mend most margins, by verified bounds, retrained to take such a value.

J. Ma, P. Yang, J. Wang, Y. Sun, C.-C. Huang, Z. Wang, "VeRe: Verification Guided Synthesis for Repairing Deep Neural
Networks", ICSE 2024, as its authors' code for backdoors runs it (nninjn/VeRe). Level: neuron. Needs: a head with a
hidden Linear and ReLU, in a chain of Linear and ReLU; failing repair inputs.

Where we differ from the code: any misclassification is a failure, not only one as the backdoor's target; the bounds are
closed forms (parts/localisation/margin_bounds.py, equal to auto_LiRPA's); each round takes the inputs that its model
gets wrong and right, not the faulty one's; the score counts right inputs of both pools, which is the code's where they
are equally large; BatchNorm in the head stays where it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from study.errors import NotApplicable, RepairFailed
from study.parts.localisation.margin_bounds import interval_edges
from study.parts.localisation.neuron_effects import Effects
from study.parts.network.hidden_layer import HiddenLayer, SplitAtLayer
from study.parts.network.places import Layers, layer_of
from study.parts.pictures.scores import draw_scores
from study.parts.pictures.search import draw_search
from study.parts.selection.repair_inputs import passing_sample
from study.parts.training.neuron_targets import TinyNetwork, interval_loss, output_loss, train_neuron, write_neuron
from study.problem.problem import Problem
from study.problem.task import TaskSpec
from study.repairs.approach import Approach, Level, Repair, Repaired
from study.runtime.best_state import BestState
from study.runtime.settings import settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Count = Annotated[int, Field(ge=1)]


@settings
class Vere(Approach):
    """Retrains one neuron of the first hidden layer per round; hyperparameters: see conf/method/vere.yaml."""

    level: ClassVar[Level] = "neuron"
    source: ClassVar[str] = "Ma et al.: VeRe, ICSE 2024"
    unchanged_is_result: ClassVar[bool] = True

    rounds: Annotated[int, Field(ge=0)] = 60
    intervals: Count = 10
    interval_times: Annotated[float, Field(gt=0)] = 1.0
    max_fail: Count = 128
    ratio: Annotated[int, Field(ge=0)] = 10
    failing_pool: Count = 1000
    passing_pool: Count = 5000
    epochs: Annotated[int, Field(ge=0)] = 10
    batch_size: Count = 64
    lr: Annotated[float, Field(gt=0)] = 0.01
    lr_features: Annotated[float, Field(gt=0)] = 0.001
    localisation: Literal["bounds", "random"] = "bounds"
    targets: Literal["verified", "output"] = "verified"
    adaptability: Literal["structural", "study", "extended"] = "structural"
    guard: bool = False

    def check(self, task: TaskSpec) -> None:
        if self.adaptability == "study" and "vgg" not in task.name.lower():
            raise NotApplicable(f"adaptability=study needs a VGG, as the authors' code does: {task.name} is none")
        self._layer(task.model, task.example(2))

    def repair(self, problem: Problem) -> Repair:
        """One neuron per round: what each could do, what it should, its training. The best model is handed over."""
        generator, model = problem.stream("search"), problem.copy()
        layer = self._layer(model, problem.repair_set.fetch(problem.failing[:1]).inputs)
        failing = problem.failing[: self.failing_pool]
        passing = passing_sample(problem, self.passing_pool, generator).sort().values
        pool = SplitAtLayer(layer, problem.repair_set, torch.cat([failing, passing]))
        held_out = SplitAtLayer(layer, problem.validation) if self.guard else None
        least = held_out.count if held_out else 0
        best, counts = BestState(), [pool.count]
        best.offer(pool.count, model)
        scores, chosen = list[Tensor](), list[int]()
        costs = {"evaluations": 0, "bounds": 0, "neuron_steps": 0}
        for _ in range(self.rounds):
            if not pool.logits.isfinite().all():
                raise RepairFailed("the outputs of the network are not finite", **costs)
            bad = (~pool.right[: len(failing)]).nonzero()[: self.max_fail, 0]  # step 1
            if not len(bad):
                break
            effects = Effects.of(pool, bad, interval_edges(pool.values, self.interval_times, self.intervals))
            scores.append(effects.significance())  # steps 2 to 5
            number = int(scores[-1].argmax())
            if self.localisation == "random":
                number = int(torch.randint(len(scores[-1]), (), generator=generator))
            chosen.append(number)
            ok = pool.right[len(failing) :].nonzero()[: self.ratio * len(bad), 0] + len(failing)
            costs["neuron_steps"] += self._retrain(pool, number, effects, ok, generator)  # steps 6 to 8
            costs["bounds"] += effects.bounds[..., 0].numel()
            costs["evaluations"] += 1
            pool.refresh()  # step 9
            improved = pool.count > counts[-1] and (held_out is None or held_out.refresh().count >= least)
            if improved:
                best.offer(pool.count, model)
            counts.append(pool.count if improved else counts[-1])
            yield {
                "search/neuron": number,
                "search/significance": scores[-1][number],
                "search/verified": effects.verified[number].any(1).double().mean(),
                "search/failing_fixed": pool.right[: len(failing)].double().mean(),
                "search/passing_kept": pool.right[len(failing) :].double().mean(),
                "search/best_right": counts[-1],
            }
        best.restore(model)
        return Repaired(model, costs, lambda: pictures(problem.faulty, model, layer, counts, scores, chosen))

    def _layer(self, model: nn.Module, example: Tensor) -> HiddenLayer:
        return HiddenLayer.of(model, example, features=self.adaptability == "extended")

    def _retrain(
        self, pool: SplitAtLayer, number: int, effects: Effects, ok: Tensor, generator: torch.Generator
    ) -> int:
        """Steps 6 to 8: train neuron `number` and write it into the network; the number of mini-batches."""
        used, present = torch.cat([effects.items, ok]), pool.values[ok, number]
        if self.targets == "verified":
            lower, upper = effects.targets(number)
            loss = interval_loss(torch.cat([lower, present]), torch.cat([upper, present]))
        else:
            loss = output_loss(pool.layer, number, pool.values[used], pool.labels[used])
        tiny = TinyNetwork(pool.layer, number)
        rate = self.lr if pool.layer.modules else self.lr_features
        settings = {"epochs": self.epochs, "batch_size": self.batch_size}
        steps = train_neuron(tiny, pool.entering[used], loss, **settings, lr=rate, generator=generator)
        write_neuron(pool.layer, number, tiny)
        return steps


def pictures(
    before: nn.Module, after: nn.Module, layer: HiddenLayer, counts: list[int], scores: list[Tensor], chosen: list[int]
) -> Mapping[str, Figure]:
    """Where weights changed, the right inputs over the rounds, and the neurons' significance in the first one."""
    names = [name for name, _ in after.named_parameters() if layer_of(name) in layer.names]
    places = Layers.of(before, names)
    drawn = draw_search(before, places.entries(places.values(before) != places.values(after)), counts, counts[0])
    if not chosen:
        return drawn
    marked = torch.tensor(sorted(set(chosen)))
    significance = draw_scores({layer.names[0]: scores[0]}, {layer.names[0]: marked}, "significance, first round")
    return {**drawn, "neuron_scores": significance}
