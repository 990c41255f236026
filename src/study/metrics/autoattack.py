"""AutoAttack's robust accuracy; the one file that knows pyautoattack."""

import logging
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import ConfigDict, Field, validate_call
from torch import Tensor, nn

from study.data.threat import Norm, ThreatModel
from study.errors import NotApplicable, UsageError
from study.metrics.base import check_gradient
from study.metrics.description import Description
from study.metrics.measured import Measured
from study.metrics.robustness import NORMS, frozen, limits
from study.metrics.sampling import Sample
from study.runtime.progress import Progress

if TYPE_CHECKING:
    from pyautoattack import AutoAttack

log = logging.getLogger(__name__)

# Attacks need at least this many classes to be defined: APGD-T ranks four logits, FAB-T needs a class to choose.
APGD_TARGETED_CLASSES = 4
FAB_TARGETED_CLASSES = 3
MAX_TARGETS = 9
FLAGS = {
    "randomized defense": "random outputs",
    "dynamic defense": "gradients inside the model",
    "probability distribution": "probabilities for logits",
    "zero gradient": "zero gradients",
    "Square Attack has decreased": "Square finds more",
}
"""A part of each warning with which AutoAttack doubts its own figure, and what it is called here."""


def attack_sequence(version: Literal["reduced", "standard"], classes: int) -> list[str]:
    """The attacks in their order; each sees only the survivors of those before it.

    `standard` is AutoAttack's own sequence, without what too few classes rule out. `reduced` follows APGD-CE with one
    attack whose loss saturated logits cannot mask: APGD-T, or where it is not defined the FAB that is.

    >>> attack_sequence("reduced", 10), attack_sequence("standard", 2)
    (['apgd-ce', 'apgd-t'], ['apgd-ce', 'fab', 'square'])
    """
    fab = "fab-t" if classes >= FAB_TARGETED_CLASSES else "fab"
    if classes < APGD_TARGETED_CLASSES:
        return ["apgd-ce", fab, "square"] if version == "standard" else ["apgd-ce", fab]
    return ["apgd-ce", "apgd-t", fab, "square"] if version == "standard" else ["apgd-ce", "apgd-t"]


class UnitImages(nn.Module):
    """Presents a model of any bounds and input shape as what pyautoattack knows: images [N, c, h, w] in [0, 1].

    progress: counts the images that pass, while it is set.
    """

    def __init__(self, model: nn.Module, shape: torch.Size, bounds: tuple[float, float]) -> None:
        super().__init__()
        self.model = model
        self.shape = shape
        self.progress: Progress | None = None
        self.low, self.width = bounds[0], bounds[1] - bounds[0]

    def encode(self, inputs: Tensor) -> Tensor:
        """Inputs [N, *shape] as unit images [N, 1.., *shape], filled up with axes of size 1 to four."""
        missing = max(0, 3 - len(self.shape))
        return ((inputs - self.low) / self.width).reshape(len(inputs), *[1] * missing, *self.shape)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, C] of unit images."""
        logits: Tensor = self.model(images.reshape(len(images), *self.shape) * self.width + self.low)
        if self.progress is not None:
            self.progress.advance(len(images))
        return logits


class AutoAttackRobustAccuracy:
    """Of a sample of all inputs, the share that stays right under AutoAttack.

    Source: Croce and Hein, "Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free
    Attacks", ICML 2020. Both models are attacked on the same sample with the same seed.

    Args:
        version: the attacks, see `attack_sequence`.
        norm: of the ball; with `l2` the metric reports as `l2_robust_accuracy`.
        epsilon: radius in units of the inputs; None: see `limits`.
        samples: inputs attacked at most.
        batch_size: inputs attacked at a time.
        steps: iterations of APGD and FAB.
        queries: queries of Square.
    """

    # A plain class: OmegaConf takes instances of dataclasses in a configuration apart.
    @validate_call(config=ConfigDict(allow_inf_nan=False))
    def __init__(
        self,
        *,
        version: Literal["reduced", "standard"] = "reduced",
        norm: Norm = "linf",
        epsilon: Annotated[float, Field(gt=0)] | None = None,
        samples: Annotated[int, Field(ge=1)] = 500,
        batch_size: Annotated[int, Field(ge=1)] = 250,
        steps: Annotated[int, Field(ge=1)] = 100,
        queries: Annotated[int, Field(ge=1)] = 5000,
    ) -> None:
        if find_spec("pyautoattack") is None:
            raise UsageError("metric=autoattack takes a package more: pip install 'repair-study[autoattack]'")
        self.version = version
        self.norm: Norm = norm
        self.epsilon = epsilon
        self.samples = samples
        self.batch_size = batch_size
        self.steps = steps
        self.queries = queries

    @property
    def name(self) -> str:
        """Says the norm; L-infinity is the usual one."""
        return "l2_robust_accuracy" if self.norm == "l2" else "robust_accuracy"

    def describe(self) -> Description:
        """What the metric says about itself, without its protocol."""
        return Description(
            label=self.name.replace("_", " ").replace("l2", "L2"),
            unit="rate",
            higher_is_better=True,
            meaning="share of test inputs that stay right under AutoAttack",
        )

    def descriptions(self) -> dict[str, Description]:
        """See `ModelMetrics.descriptions`."""
        return {self.name: self.describe()}

    def protocol(self, sample: Sample, threat: ThreatModel | None) -> str:
        """Attacks, norm, radius, steps, queries, inputs."""
        limit = limits(threat, self.epsilon, sample.inputs, self.norm)
        ball = f"{NORMS[limit.norm]} radius {limit.radius:g}"
        count = min(self.samples, len(sample.target))
        queries = f", {self.queries} queries" if self.version == "standard" else ""
        return f"AutoAttack ({self.version}), {ball}, {self.steps} steps{queries}, {count} inputs"

    def measured(
        self,
        before: nn.Module,
        after: nn.Module,
        sample: Sample,
        threat: ThreatModel | None,
        generator: torch.Generator,
    ) -> Measured:
        """The robust accuracy, and how AutoAttack doubts it. See `ModelMetrics.measured`."""
        description = replace(self.describe(), protocol=self.protocol(sample, threat))
        check_gradient(before, after)
        threat = limits(threat, self.epsilon, sample.inputs, self.norm)
        if threat.columns is not None:
            raise NotApplicable("AutoAttack moves every value of an input, and only some columns may move")
        chosen = sample.drawn(self.samples, generator)
        seed = int(torch.randint(2**31, (), generator=generator))
        inputs, target = sample.inputs[chosen], sample.target[chosen]
        with torch.no_grad():
            classes = before(inputs[:1]).shape[1]
        total = 2 * len(inputs) * sum(self._passes(classes).values())
        with Progress(f"attack ({self.describe().label})", total, "passes") as progress:
            doubts = {"before": Doubts(), "after": Doubts()}
            rates = {
                when: self._robust_accuracy(model, inputs, target, threat, classes, seed, progress, doubts[when])
                for when, model in (("before", before), ("after", after))
            }
        flags = "; ".join(f"{when}: {', '.join(own.flags)}" for when, own in doubts.items() if own.flags)
        if flags:
            log.warning("AutoAttack doubts its %s (%s)", description.label, flags)
        return Measured.of(self.name, description, rates) | Measured(flags={self.name: flags} if flags else {})

    def _robust_accuracy(
        self,
        model: nn.Module,
        inputs: Tensor,
        target: Tensor,
        threat: ThreatModel,
        classes: int,
        seed: int,
        progress: Progress,
        doubts: "Doubts",
    ) -> float:
        presented = UnitImages(model, inputs.shape[1:], threat.bounds)
        images = presented.encode(inputs)
        passes = self._passes(classes)
        with torch.no_grad():
            batches = zip(images.split(self.batch_size), target.split(self.batch_size), strict=True)
            wrong = sum(int((presented(some).argmax(1) != labels).sum()) for some, labels in batches)
        progress.skip(wrong * sum(passes.values()))
        suite = self._build(presented, classes, threat.radius / presented.width, seed, inputs.device)
        doubts.listen_to(suite)
        own = {"apgd-ce": suite.apgd, "apgd-t": suite.apgd_targeted, "square": suite.square}
        for place, (name, count) in enumerate(passes.items()):
            later = sum(list(passes.values())[place + 1 :])
            _count(own.get(name, suite.fab), count, later, presented, progress)
        # pyautoattack seeds the global generators; FAB runs `backward`, which would leave gradients on the weights.
        with frozen(model), torch.random.fork_rng(devices=[inputs.device] if inputs.is_cuda else []):
            _, predicted = suite.run_standard_evaluation(images, target, batch_size=self.batch_size)
        return float((predicted == target).double().mean())

    def _passes(self, classes: int) -> dict[str, int]:
        """How often each attack of the sequence, in its order, runs an input through the model."""
        targets = min(MAX_TARGETS, classes - 1)
        passes = {
            "apgd-ce": self.steps + 2,
            "apgd-t": targets * (self.steps + 2) + 1,
            "fab": 2 * self.steps + 4,
            "fab-t": targets * (2 * self.steps + 3) + 1,
            "square": self.queries + 3,
        }
        return {attack: passes[attack] for attack in attack_sequence(self.version, classes)}

    def _build(self, model: nn.Module, classes: int, radius: float, seed: int, device: torch.device) -> "AutoAttack":
        # Imported here: the package is needed by this metric alone.
        from pyautoattack import AutoAttack

        attacks: list[Any] = attack_sequence(self.version, classes)
        norm = {"linf": "Linf", "l2": "L2"}[self.norm]
        suite = AutoAttack(model, norm=norm, eps=radius, version="custom", attacks=attacks, device=device, seed=seed)
        # "custom" keeps five restarts and asks for nine target classes whatever the number of classes.
        suite.apgd.n_restarts = suite.fab.n_restarts = 1
        suite.apgd_targeted.n_target_classes = suite.fab.n_target_classes = min(MAX_TARGETS, classes - 1)
        suite.apgd.n_iter = suite.apgd_targeted.n_iter = suite.fab.n_iter = self.steps
        suite.square.n_queries = self.queries
        return suite


class Doubts:
    """Takes the place of AutoAttack's logger; flags: see `FLAGS`, each once, an unknown warning in its own words."""

    def __init__(self) -> None:
        self.flags: list[str] = []

    def listen_to(self, suite: "AutoAttack") -> None:
        """Take what it and its attacks report, for one model."""
        # Imported here: the package is needed by this metric alone.
        from pyautoattack import checks

        suite.logger = suite.apgd.logger = suite.apgd_targeted.logger = self
        checks.funcs.update(dict.fromkeys(checks.funcs, 0))  # it would charge each model with the gradients of all

    def warning(self, message: str) -> None:
        """Note why the figure is doubtful."""
        flag = next((flag for part, flag in FLAGS.items() if part in message), message)
        if flag not in self.flags:
            self.flags.append(flag)

    def debug(self, message: str) -> None:
        """How far it is: the progress bar says that."""


def _count(attack: Any, passes: int, later: int, model: UnitImages, progress: Progress) -> None:
    """Let an attack count its passes; what it, and for fooled inputs the later ones, need not do leaves the total."""
    perturb = attack.perturb

    def counted(images: Tensor, target: Tensor) -> Tensor:
        start, model.progress = progress.done, progress
        found: Tensor = perturb(images, target)
        model.progress = None
        progress.skip(passes * len(images) - (progress.done - start))
        with torch.no_grad():
            progress.skip(later * int((model(found).argmax(1) != target).sum()))
        return found

    attack.perturb = counted
