"""Joint repair: one short training that keeps every property at once (model level).

Our own approach, not published. One warm-up-and-cosine run on the training and the repair inputs repairs; half of each
mini-batch again as adversarial examples makes it robust, a hinge on the old model's losses holds negative flips down,
a balanced draw and an equalised-odds penalty serve fairness where the inputs have a sensitive group. Needs a network
with input gradients and a box of input values (else adv = 0), and groups for the fairness terms (else bal = fair = 0).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, validate_call
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from study.data.split import Batch, joined
from study.errors import NotApplicable, RepairFailed
from study.models.votes import SoftVote, UnanimousVote, mixed, smallest_tau
from study.parts.augmentation.affine import RandomAffine
from study.parts.training.fairness import balancing_weights, equalised_odds
from study.parts.training.oversampling import Oversampled
from study.parts.training.schedule import has_batch_norm, over_steps, peak_rate
from study.problem.prediction import predict
from study.problem.problem import Problem, TaskSpec
from study.repair.approach import FineTuning, Level, Log, Seconds, Stage

Auto = Literal["auto"]
Count = Annotated[int, Field(ge=0, le=10_000)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Joint(FineTuning):
    """Hyperparameters: see conf/method/joint.yaml; `usual_settings` says what `auto` stands for on a subject."""

    level: ClassVar[Level] = "model"
    source: ClassVar[str] = "joint repair, this project"
    automatic_optimization = False  # two backward passes make one step

    @validate_call
    def __init__(
        self,
        *,
        epochs: Count | Auto = "auto",
        lr: Annotated[float, Field(gt=0, le=10)] | Auto = "auto",
        batch_size: Annotated[int, Field(ge=1)] | Auto = "auto",
        extra_failing: Count | Auto = "auto",
        aug: Share | Auto = "auto",
        mirror: bool | Auto = "auto",
        hinge: Weight | Auto = "auto",
        hinge_live: bool | Auto = "auto",
        adv: Weight | Auto = "auto",
        adv_share: Share = 0.5,
        epsilon: Annotated[float, Field(gt=0)] | Auto = "auto",
        bal: Weight | Auto = "auto",
        fair: Weight | Auto = "auto",
        nfr_max: Share | None = None,
        runs: Annotated[int, Field(ge=1, le=100)] = 1,
        flip: bool = False,
        max_seconds: Seconds = None,
    ) -> None:
        super().__init__(max_seconds=max_seconds)
        names = Settings.__dataclass_fields__
        self.given = {name: value for name, value in locals().items() if name in names}
        self.nfr_max = nfr_max
        self.runs = runs
        self.flip = flip
        self._run, self._trained, self._tau = 0, list[nn.Module](), 0.0

    def check(self, task: TaskSpec) -> None:
        def asks_for(name: str) -> bool:
            return self.given[name] != "auto" and float(self.given[name]) > 0

        if asks_for("adv") and (task.box is None or task.kind == "tokens"):
            raise NotApplicable("adv > 0 needs inputs with a gradient and a known range: set method.adv=0")
        if asks_for("adv") and self.given["epsilon"] == "auto" and task.epsilon is None:
            raise NotApplicable("adv > 0 needs a radius, which this data set lacks: set method.epsilon or method.adv=0")
        if asks_for("fair") and not task.has_groups:
            raise NotApplicable("fair > 0 needs the sensitive group of each input, which this data set has not")
        if task.kind != "image" and (asks_for("aug") or self.flip):
            raise NotApplicable("aug > 0 and flip distort images, and these inputs are none: set both to 0")

    def stages(self, problem: Problem) -> Iterator[Stage]:
        for run in range(self.runs):
            self._run = run
            yield self
            self._trained.append(self.model.eval())

    def begin(self, problem: Problem) -> None:
        super().begin(problem)
        self._data = joined("train_and_repair", [problem.train, problem.repair_set])
        usual = usual_settings(problem, len(self._data))
        self.settings = Settings(**{name: usual[name] if v == "auto" else v for name, v in self.given.items()})
        self._distortion = distortion(problem.task, self.settings.mirror)
        self._draws = self._stream("distortion")
        self._by_batch = has_batch_norm(self.model)
        if self.settings.hinge > 0 and self._run == 0:
            self._ceilings = ceilings(predict(problem.faulty, self._data), self._data.labels)

    @property
    def epochs(self) -> int:
        return self.settings.epochs

    def batches(self) -> Oversampled:
        bal, data = self.settings.bal, self._data
        return Oversampled(
            data,
            self.settings.batch_size,
            self._stream("batches"),
            weights=balancing_weights(data.labels, data.groups, bal) if bal > 0 else None,
            extra=self.settings.extra_failing,
            often=len(self.problem.train) + self.problem.failing,
            extra_generator=self._stream("extra_failing"),
        )

    def _stream(self, name: str) -> torch.Generator:
        return self.problem.stream(f"{name}/{self._run}" if self._run else name)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.model.parameters(), self.settings.lr, fused=True)
        return [optimizer], [LambdaLR(optimizer, over_steps(max(1, self.epochs * len(self.batches()))))]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self._taken += 1
        optimizer: Any = self.optimizers()
        scheduler: Any = self.lr_schedulers()
        optimizer.zero_grad()
        batch = self.distorted(batch)
        loss = self.loss(batch)
        self.manual_backward(loss)
        if self._attacked.requires_grad:
            self.manual_backward(self.adversarial_loss(batch))
        optimizer.step()
        scheduler.step()
        self._last_loss = loss.detach()
        return self._last_loss

    def distorted(self, batch: Batch) -> Batch:
        """The batch with its first `aug` * B items distorted, in place."""
        count = int(self.settings.aug * len(batch.labels))
        if count:
            images = batch.inputs[:count]
            theta = self._distortion.draw(count, self._draws).to(images.device)
            images.copy_(self._distortion.apply(images, theta))
        return batch

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy + hinge * (loss above the old model's) + fair * (equalised odds)."""
        logits = self.logits(batch.inputs)
        losses = functional.cross_entropy(logits, batch.labels, reduction="none")
        loss = losses.mean()
        if self.settings.hinge > 0:
            loss = loss + self.settings.hinge * self.hinge_loss(losses, batch)
        if self.settings.fair > 0 and batch.groups is not None:
            loss = loss + self.settings.fair * equalised_odds(logits.softmax(1), batch.labels, batch.groups)
        return loss

    def logits(self, inputs: Tensor) -> Tensor:
        """Logits of m on a batch; the items to be attacked become a leaf that will hold their gradient."""
        count = round(self.settings.adv_share * len(inputs)) if self.settings.adv > 0 else 0
        kept = len(inputs) - count
        self._attacked = inputs.detach()[kept:].requires_grad_(count > 0)
        parts = [inputs[:kept], self._attacked]
        # Apart, the items that are not attacked need no input gradient, which costs as much as all other gradients.
        parts = [torch.cat(parts)] if self._by_batch else [part for part in parts if len(part)]
        return torch.cat([self.model(part) for part in parts])

    def hinge_loss(self, losses: Tensor, batch: Batch) -> Tensor:
        """Mean of max(0, l_i - l0_i) over the clean items, 0 where the old model was wrong.

        With `hinge_live` over all items, the old model evaluated on the distorted ones as well.
        """
        limits = self._ceilings[batch.indices]
        distorted = int(self.settings.aug * len(losses))
        if not self.settings.hinge_live:
            losses, limits = losses[distorted:], limits[distorted:]
        elif distorted:
            with torch.no_grad():
                live = self.problem.faulty(batch.inputs[:distorted])
            limits = torch.cat([ceilings(live, batch.labels[:distorted]), limits[distorted:]])
        return (losses - limits).relu().sum() / max(1, len(losses))

    def adversarial_loss(self, batch: Batch) -> Tensor:
        """Weighted loss of the last `adv_share` * B items as FGSM examples: no random start, no iteration.

        Their direction costs nothing: it is the gradient that the backward pass of `loss` left at the inputs.
        """
        clean, gradient, box = self._attacked.detach(), self._attacked.grad, self.problem.task.box
        assert gradient is not None
        assert box is not None
        attacked = (clean + self.settings.epsilon * gradient.sign()).clamp(*box)
        labels = batch.labels[len(batch.labels) - len(clean) :]
        weight = self.settings.adv * self.settings.adv_share
        return weight * functional.cross_entropy(self.model(attacked), labels)

    def select(self, epoch: int) -> None:
        """Keeps the last weights: the rate has fallen to 0."""
        super().select(epoch)
        self.record({"loss": self._last_loss}, self._taken)
        if not bool(self._last_loss.isfinite()):
            raise RepairFailed("the loss is no longer finite")

    def repaired(self) -> nn.Module:
        """m, or a vote of several m and b where `runs`, `flip` or `nfr_max` ask for one."""
        faulty, validation = self.problem.faulty, self.problem.validation
        models = self._trained or [self.model.eval()]
        vote = self.runs > 1 or self.flip
        after = UnanimousVote.of(self.problem.copy(), models, self.flip) if vote else models[0]
        old, new = predict(faulty, validation), predict(after, validation)
        if self.nfr_max is not None:
            # Half of what is allowed on the test split, because validation is small.
            self._tau = smallest_tau(old, new, validation.labels, self.nfr_max / 2)
        if self._tau > 0:
            after, new = SoftVote(self.problem.copy(), after, self._tau), mixed(old, new, self._tau)
        rights = [int((logits.argmax(1) == validation.labels).sum()) for logits in (old, new)]
        if rights[1] < rights[0]:
            raise RepairFailed(f"validation accuracy fell: {rights[1]} of {len(validation)} right, {rights[0]} before")
        return after.eval()

    def costs(self) -> Log:
        voting = self.runs > 1 or self.flip or self._tau > 0
        return {"steps": self._taken * self.runs, "models": self.runs + voting, "tau": self._tau}


@dataclass(frozen=True)
class Settings:
    """The hyperparameters in use, no `auto` among them."""

    epochs: int
    lr: float
    batch_size: int
    extra_failing: int
    aug: float
    mirror: bool
    hinge: float
    hinge_live: bool
    adv: float
    adv_share: float
    epsilon: float
    bal: float
    fair: float


SMALL = 10_000
"""Training and repair inputs below which the settings for small sets are taken."""


def usual_settings(problem: Problem, size: int) -> dict[str, Any]:
    """What `auto` stands for, with `size` training and repair inputs."""
    task, small = problem.task, size < SMALL
    attackable = task.box is not None and task.epsilon is not None and task.kind != "tokens"
    image = task.kind == "image"
    photo = image and task.input_shape[0] == 3
    return {
        "epochs": 20 if small else 10,
        "lr": peak_rate(problem.faulty),
        "batch_size": 64 if small else 128,
        "extra_failing": 2 if small else 4,
        "aug": (1.0 if small and photo else 0.5) if image else 0.0,
        "mirror": problem.recipe.augmentation == "crop_flip",
        "hinge": 1.0 if small else 0.5,
        "hinge_live": small,
        "adv": 2.0 if attackable and not has_batch_norm(problem.faulty) else 0.0,
        "epsilon": (task.epsilon or 0.0) * 2 / 3,
        "bal": 0.5 if task.has_groups else 0.0,
        "fair": 0.5 if task.has_groups else 0.0,
    }


def distortion(task: TaskSpec, mirror: bool) -> RandomAffine:
    """Mild affine maps that keep the label: of drawings on a black ground, or of photos (three channels)."""
    if task.input_shape[0] == 1:
        return RandomAffine(flip=mirror)
    return RandomAffine(rotation=12.0, scale=0.12, shear=0.08, shift=0.06, flip=mirror, padding="border")


def ceilings(logits: Tensor, labels: Tensor) -> Tensor:
    """Loss [N] that the hinge allows: that of the old model's logits [N, C] where they are right, else infinity."""
    losses = functional.cross_entropy(logits, labels, reduction="none")
    return losses.where(logits.argmax(1) == labels, torch.inf)
