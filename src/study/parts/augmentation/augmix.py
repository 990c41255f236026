"""AugMix (Hendrycks et al., ICLR 2020) as batched tensor code: operators, chains of operators, mixing.

Operators work on uint8 images [B, C, H, W], C = 1 or 3, and follow Pillow's conventions. All random numbers are drawn
beforehand on the CPU, so that grouping the images by operator never waits for the accelerator.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from study.parts.augmentation.affine import warp

REPLACE = "replace"
"""Optional tenth operator: a chain that draws it starts from the replacement image (DeepRepair's style operator)."""


@dataclass(frozen=True)
class ChainDraws:
    """What was drawn for N chains of at most D operators; tensors on the CPU.

    Attributes:
        depth: operators in the chain, int64 [N].
        operator: index into `operators`, int64 [N, D]; only the first `depth` count.
        level: strength of the operator, float32 [N, D].
        sign: direction of a geometric operator, -1 or 1, float32 [N, D].
        operators: names that `operator` points to.
    """

    depth: Tensor
    operator: Tensor
    level: Tensor
    sign: Tensor
    operators: tuple[str, ...]

    def active(self) -> Tensor:
        """Which positions belong to the chain, bool [N, D]."""
        return torch.arange(self.operator.shape[1]) < self.depth[:, None]


def to_uint8(images: Tensor) -> Tensor:
    """Float images in [0, 1] as grey levels 0..255, rounded."""
    return _bytes((images * 255).clamp_(0, 255))


def to_float(images: Tensor) -> Tensor:
    """Grey levels 0..255 as float32 in [0, 1]."""
    return images.float() / 255


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel to 0..255; a constant channel stays as it is."""
    values = images.flatten(2)
    low, high = values.amin(dim=2, keepdim=True).double(), values.amax(dim=2, keepdim=True).double()
    # Pillow's own expression in double precision: others, such as 255 / tensor (by the reciprocal), round differently.
    scale = torch.full_like(low, 255) / (high - low).clamp(min=1)
    grey = torch.arange(256, device=images.device)
    table = torch.where(high > low, (grey * scale + -low * scale).clamp(0, 255), grey).to(torch.uint8)
    return table.gather(2, values.long()).view_as(images)


def equalize(images: Tensor) -> Tensor:
    """Equalise the histogram of each channel; a channel with too few distinct pixels stays as it is."""
    values = images.flatten(0, 1).flatten(1).long()
    channels, pixels = values.shape
    grey = torch.arange(256, dtype=torch.int32, device=images.device)
    flat = values + 256 * torch.arange(channels, device=images.device)[:, None]
    counts = torch.ones((), dtype=torch.int32, device=images.device).expand(flat.numel())
    histogram = torch.zeros(channels * 256, dtype=torch.int32, device=images.device)
    histogram = histogram.scatter_add_(0, flat.flatten(), counts).view(channels, 256)
    brightest = histogram.gather(1, values.amax(dim=1, keepdim=True))
    step = (pixels - brightest) // 255
    darker = histogram.cumsum(dim=1, dtype=torch.int32) - histogram
    table = ((darker + step // 2) // step.clamp(min=1)).clamp(max=255)
    table = torch.where(step > 0, table, grey).to(torch.uint8)
    return table.gather(1, values).view_as(images)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the top `bits` [B] (0..8) bits of every pixel."""
    mask = 256 - 2 ** (8 - bits.long())
    return images & mask.to(images)[:, None, None, None]


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert every pixel at or above its image's `threshold` [B] (0..256)."""
    bright = images >= threshold.to(images.device, torch.int16)[:, None, None, None]
    return images ^ bright.to(torch.uint8).mul_(255)


def transform(images: Tensor, matrix: Tensor) -> Tensor:
    """Resample images bilinearly with black fill, as PIL.Image.transform(AFFINE).

    Args:
        images: uint8 [B, C, H, W].
        matrix: [B, 2, 3], (x, y) of the input for (x, y, 1) of the output, in pixels from the upper left corner.
    """
    height, width = images.shape[-2:]
    half = matrix.new_tensor([width / 2, height / 2])
    linear = matrix[:, :, :2] * half / half[:, None]
    shift = linear.sum(dim=2) + matrix[:, :, 2] / half - 1
    theta = torch.cat([linear, shift[:, :, None]], dim=2)
    return _bytes(warp(images.float(), theta.to(images.device)))


def _bytes(images: Tensor) -> Tensor:
    """Round `images`, in place, and convert."""
    # On the CPU float to uint8 is six times slower than by way of int32.
    return images.round_().to(torch.int32).to(torch.uint8)


_PIXEL: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "autocontrast": lambda images, level: autocontrast(images),
    "equalize": lambda images, level: equalize(images),
    "posterize": lambda images, level: posterize(images, 4 - (level * 4 / 10).int()),
    "solarize": lambda images, level: solarize(images, 256 - (level * 256 / 10).int()),
}
"""Operators on grey levels, of images and the level of each."""


def _rotation(level: Tensor, height: int, width: int) -> Tensor:
    angle = torch.deg2rad((level * 30 / 10).trunc())
    cos, sin = angle.cos(), angle.sin()
    x, y = width / 2, height / 2
    return _matrix(level, a=cos, b=-sin, c=x - cos * x + sin * y, d=sin, e=cos, f=y - sin * x - cos * y)


def _matrix(like: Tensor, **entries: Tensor) -> Tensor:
    """Matrices [B, 2, 3] (a b c / d e f), the identity but for the entries given."""
    identity = {"a": torch.ones_like(like), "e": torch.ones_like(like)}
    zero = torch.zeros_like(like)
    return torch.stack([(identity | entries).get(name, zero) for name in "abcdef"], dim=1).view(-1, 2, 3)


_GEOMETRIC: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "rotate": _rotation,
    "shear_x": lambda level, height, width: _matrix(level, b=level * 0.3 / 10),
    "shear_y": lambda level, height, width: _matrix(level, d=level * 0.3 / 10),
    "translate_x": lambda level, height, width: _matrix(level, c=(level * (width / 3) / 10).trunc()),
    "translate_y": lambda level, height, width: _matrix(level, f=(level * (height / 3) / 10).trunc()),
}
"""Affine operators: the matrices for `transform`, of the signed level of each image, height and width."""

OPERATORS: tuple[str, ...] = (*_PIXEL, *_GEOMETRIC)
"""AugMix's nine operators (without the four that resemble the corruptions of its benchmark)."""


def draw_chains(
    count: int,
    generator: torch.Generator,
    severity: float = 3,
    depth: tuple[int, int] = (1, 3),
    operators: tuple[str, ...] = OPERATORS,
) -> ChainDraws:
    """Draw `count` chains: depth uniform in `depth` (inclusive), operators with replacement, level ~ U(0.1, severity).

    Raises:
        ValueError: an operator is unknown, or `severity` or `depth` is out of range.
    """
    unknown = [name for name in operators if name not in (*OPERATORS, REPLACE)]
    if unknown or not operators:
        raise ValueError(f"operators must be some of {', '.join((*OPERATORS, REPLACE))}: got {operators}")
    if not 0.1 <= severity <= 10:
        raise ValueError(f"severity must lie in [0.1, 10]: got {severity}")
    shallowest, deepest = depth
    if not 0 <= shallowest <= deepest:
        raise ValueError(f"depth must be (shallowest, deepest) with 0 <= shallowest <= deepest: got {depth}")
    shape = (count, deepest)
    return ChainDraws(
        depth=torch.randint(shallowest, deepest + 1, (count,), generator=generator),
        operator=torch.randint(len(operators), shape, generator=generator),
        level=0.1 + (severity - 0.1) * torch.rand(shape, generator=generator),
        sign=2.0 * torch.randint(2, shape, generator=generator) - 1,
        operators=operators,
    )


def apply_chains(images: Tensor, draws: ChainDraws, replacement: Tensor | None = None) -> Tensor:
    """Run every image through its chain; the result of each operator is rounded to uint8.

    Args:
        images: uint8 [N, C, H, W]; not changed.
        draws: N chains.
        replacement: uint8 like `images`; where a chain contains "replace" it starts from this image instead, and the
            operator does nothing more. An image without a replacement may stand for itself.

    Raises:
        ValueError: "replace" is among the operators, but there is no `replacement`.
    """
    if REPLACE in draws.operators:
        if replacement is None:
            raise ValueError('chains with the operator "replace" need replacement images')
        replaced = (draws.active() & (draws.operator == draws.operators.index(REPLACE))).any(dim=1)
        choice = torch.arange(len(images)) + len(images) * replaced
        images = torch.cat([images, replacement]).index_select(0, choice.to(images.device))
    idle = len(OPERATORS)
    codes = torch.tensor([OPERATORS.index(name) if name != REPLACE else idle for name in draws.operators])
    operator = torch.where(draws.active(), codes[draws.operator], idle)
    for position in range(operator.shape[1]):
        images = _apply(images, operator[:, position], draws.level[:, position], draws.sign[:, position])
    return images


def _apply(images: Tensor, operator: Tensor, level: Tensor, sign: Tensor) -> Tensor:
    """One operator per image: sort the images by operator (index into OPERATORS; beyond: none), work, sort back."""
    order = operator.argsort(stable=True)
    sizes = torch.bincount(operator, minlength=len(OPERATORS) + 1).tolist()
    level, signed = level[order], (level * sign)[order]
    parts = list(images.index_select(0, order.to(images.device)).split(sizes))
    levels, signs = level.split(sizes), signed.split(sizes)
    for index, operate in enumerate(_PIXEL.values()):
        if sizes[index]:
            parts[index] = operate(parts[index], levels[index])
    first = len(_PIXEL)
    height, width = images.shape[-2:]
    matrices = [matrix(signs[first + i], height, width) for i, matrix in enumerate(_GEOMETRIC.values())]
    moved = transform(torch.cat(parts[first:-1]), torch.cat(matrices))
    return torch.cat([*parts[:first], moved, parts[-1]]).index_select(0, order.argsort().to(images.device))


def draw_mix(count: int, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw weights ~ Dirichlet(1, ..., 1), [width, count], and the share of the chains m ~ Beta(1, 1), [count].

    Some weights of an image set to 0 and the rest divided by its sum are a Dirichlet draw over the remaining chains.
    """
    exponential = torch.empty(width, count).exponential_(generator=generator)
    return exponential / exponential.sum(dim=0), torch.rand(count, generator=generator)


def mix(clean: Tensor, chains: Tensor, weights: Tensor, m: Tensor) -> Tensor:
    """(1 - m) clean + m sum_i w_i chain_i.

    Args:
        clean: float [B, ...].
        chains: float [k, B, ...].
        weights: [k, B], each column summing to 1.
        m: share of the chains per input, [B].
    """
    ones = [1] * (clean.dim() - 1)
    share = m.to(clean).view(-1, *ones)
    weight = weights.to(clean).view(*weights.shape, *ones)
    return (1 - share) * clean + share * (weight * chains).sum(dim=0)
