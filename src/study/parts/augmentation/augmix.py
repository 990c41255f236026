"""AugMix (Hendrycks et al., ICLR 2020) as batched tensor code: operators, chains of operators, mixing.

Operators work on uint8 images [B, C, H, W], C = 1 or 3, and follow Pillow's conventions. All random numbers are drawn
beforehand on the CPU, so that grouping the images by operator never waits for the accelerator.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

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
    return images.to(torch.float32, copy=True).div_(255)


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
    counts = torch.ones((), dtype=torch.int32, device=images.device).expand_as(values)
    histogram = torch.zeros(channels, 256, dtype=torch.int32, device=images.device).scatter_add_(1, values, counts)
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
    below = (threshold - 1).clamp(min=0).to(images)[:, None, None, None]
    bright = (images > below) | (threshold == 0).to(images.device)[:, None, None, None]
    return images ^ bright.to(torch.uint8).mul_(255)


def transform(images: Tensor, matrix: Tensor) -> Tensor:
    """Resample images bilinearly with black fill, as PIL.Image.transform(AFFINE).

    Args:
        images: uint8 [B, C, H, W].
        matrix: [B, 2, 3], (x, y) of the input for (x, y, 1) of the output, in pixels from the upper left corner.
    """
    return _resampled(images, _normalised(matrix, *images.shape[-2:]))


def shifted(images: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """`transform` of uint8 images [B, C, H, W] by whole pixels, int64 [B] on the CPU: x + `right`, y + `down`."""
    if not len(images):
        return images
    channels, height, width = images.shape[1:]
    most_right, most_down = int(right.abs().max()), int(down.abs().max())
    framed = functional.pad(images, (most_right, most_right, most_down, most_down))
    tall, wide = framed.shape[2:]
    planes = torch.arange(len(images) * channels).view(-1, channels, 1) * tall
    rows = planes + (down + most_down).view(-1, 1, 1) + torch.arange(height)
    starts = rows * wide + (right + most_right).view(-1, 1, 1)
    every = framed.as_strided((framed.numel() - width + 1, width), (1, 1))  # what begins at each pixel
    return every.index_select(0, starts.flatten().to(images.device)).view_as(images)


def _normalised(matrix: Tensor, height: int, width: int) -> Tensor:
    """`matrix` [..., 2, 3] of `transform` as `warp` takes it, for sides that run from -1 to 1."""
    half = matrix.new_tensor([width / 2, height / 2])
    linear = matrix[..., :2] * half / half[:, None]
    shift = linear.sum(dim=-1) + matrix[..., 2] / half - 1
    return torch.cat([linear, shift[..., None]], dim=-1)


def _resampled(images: Tensor, theta: Tensor) -> Tensor:
    return _bytes(warp(images.float(), theta.to(images.device)))


def _bytes(images: Tensor) -> Tensor:
    """Round `images`, in place, and convert."""
    # On the CPU float to uint8 is six times slower than by way of int32.
    return images.round_().to(torch.int32).to(torch.uint8)


PIXEL: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "autocontrast": lambda images, level: autocontrast(images),
    "equalize": lambda images, level: equalize(images),
    "posterize": lambda images, level: posterize(images, 4 - (level * 4 / 10).int()),
    "solarize": lambda images, level: solarize(images, 256 - (level * 256 / 10).int()),
}
"""Operators on grey levels, of images and the level of each."""


_AFFINE = ("rotate", "shear_x", "shear_y")
_TRANSLATIONS = ("translate_x", "translate_y")


def _affine(operator: Tensor, level: Tensor, height: int, width: int) -> Tensor:
    """The matrices [..., 2, 3] for `transform` of affine operators (indices into OPERATORS) at signed levels [...]."""
    rotates, shears_x, shears_y = (operator == OPERATORS.index(name) for name in _AFFINE)
    angle = torch.deg2rad((level * 30 / 10).trunc()) * rotates
    cos, sin = angle.cos(), angle.sin()
    x, y, shear = width / 2, height / 2, level * 0.3 / 10
    across = [cos, torch.where(shears_x, shear, -sin), x - cos * x + sin * y]
    downwards = [torch.where(shears_y, shear, sin), cos, y - sin * x - cos * y]
    return torch.stack([*across, *downwards], dim=-1).view(*level.shape, 2, 3)


OPERATORS: tuple[str, ...] = (*PIXEL, *_AFFINE, *_TRANSLATIONS)
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


def apply_chains(
    images: Tensor, draws: ChainDraws, replacement: Tensor | None = None, source: Tensor | None = None
) -> Tensor:
    """Run images through N chains, uint8 [N, C, H, W]; the result of each operator is rounded to uint8.

    Args:
        images: uint8 [M, C, H, W]; not changed.
        draws: N chains.
        replacement: uint8 like `images`; where a chain contains "replace" it starts from this image instead, and the
            operator does nothing more. An image without a replacement may stand for itself.
        source: the image that each chain starts from, int64 [N] on the CPU; None: chain i from image i.

    Raises:
        ValueError: "replace" is among the operators, but there is no `replacement`.
    """
    place = torch.arange(len(images)) if source is None else source.clone()
    if REPLACE in draws.operators:
        if replacement is None:
            raise ValueError('chains with the operator "replace" need replacement images')
        place += len(images) * (draws.active() & (draws.operator == draws.operators.index(REPLACE))).any(dim=1)
        images = torch.cat([images, replacement])
    # What each step makes is kept, so that a chain is copied no more once it has ended; `place`: where it is by now.
    made, start = [images], 0
    for step in _steps(draws, *images.shape[-2:]):
        made.append(step(made[-1].index_select(0, (place[step.chains] - start).to(images.device))))
        start += len(made[-2])
        place[step.chains] = torch.arange(start, start + len(step.chains))
    return torch.cat(made).index_select(0, place.to(images.device))


@dataclass(frozen=True)
class _Step:
    """One operator for the image of each of n chains, in the order of the operators.

    chains [n]: which they are; sizes: how many take each of PIXEL, an affine operator, a translation, and "replace";
    level [n]: of the operators; theta [A, 2, 3]: of the affine ones, as `warp` takes it; right, down: of the
    translations, as `shifted` takes them.
    """

    chains: Tensor
    sizes: list[int]
    level: Tensor
    theta: Tensor
    right: Tensor
    down: Tensor

    def __call__(self, images: Tensor) -> Tensor:
        *parts, affine, translated, replaced = images.split(self.sizes)
        for index, (operate, level) in enumerate(zip(PIXEL.values(), self.level.split(self.sizes), strict=False)):
            if len(level):
                parts[index] = operate(parts[index], level)
        moved = shifted(translated, self.right, self.down)
        return torch.cat([*parts, _resampled(affine, self.theta), moved, replaced])


def _steps(draws: ChainDraws, height: int, width: int) -> Iterator[_Step]:
    """The steps of chains, one position after the other; what they need is computed for all positions at once."""
    replaces, ended = len(OPERATORS), len(OPERATORS) + 1
    codes = torch.tensor([OPERATORS.index(name) if name != REPLACE else replaces for name in draws.operators])
    operator, order = torch.where(draws.active(), codes[draws.operator], ended).T.sort(dim=1, stable=True)
    level, sign = draws.level.T.gather(1, order), draws.sign.T.gather(1, order)
    first, beyond = len(PIXEL), len(PIXEL) + len(_AFFINE)
    affine, translated = (operator >= first) & (operator < beyond), (operator >= beyond) & (operator < replaces)
    theta = _normalised(_affine(operator[affine], (level * sign)[affine], height, width), height, width)
    moves, far = operator[translated], (level * sign)[translated]
    right, down = (
        ((far * (side / 3) / 10).trunc() * (moves == OPERATORS.index(name))).long()
        for side, name in zip((width, height), _TRANSLATIONS, strict=True)
    )
    counts = [torch.bincount(row, minlength=ended + 1).tolist() for row in operator]
    sizes = [
        [*count[:first], sum(count[first:beyond]), sum(count[beyond:replaces]), count[replaces]] for count in counts
    ]
    thetas = theta.split([size[first] for size in sizes])
    rights, downs = (moved.split([size[first + 1] for size in sizes]) for moved in (right, down))
    for position, size in enumerate(sizes):
        chains = order[position, : sum(size)]
        at_level = level[position, : sum(size)]
        yield _Step(chains, size, at_level, thetas[position], rights[position], downs[position])


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
    weight = weights.to(clean).view(*weights.shape, *ones) * share
    mixed = (1 - share) * clean
    for each, chain in zip(weight, chains, strict=True):
        mixed.addcmul_(each, chain)
    return mixed
