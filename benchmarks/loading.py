"""`python -m benchmarks.loading`: what an epoch of batches costs, by the plainest PyTorch that does the same."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from study.data.image_files import THREADS
from study.data.imagenet import ImageNet
from study.data.split import Split

IN_MEMORY, SIZE = 40_000, 128
"""Images of 32x32 pixels in memory, and of a batch."""
FILES, SIDES, FILE_BATCH = 640, (375, 500), 64
"""JPEG files, their height and width (usual ones of ImageNet), and images of a batch."""
ROUNDS = 5


def in_memory_ratio(images: int = IN_MEMORY, rounds: int = ROUNDS) -> float:
    """Time of shuffled batches of a split by that of a bare loop over the same tensors."""
    inputs, labels = torch.rand(images, 3, 32, 32), torch.randint(10, (images,))
    split, generator = Split("train", inputs, labels), torch.Generator().manual_seed(0)

    def ours() -> None:
        for batch in split.batches(SIZE, generator):
            _use(batch.inputs)

    def bare() -> None:
        for indices in torch.randperm(images, generator=generator).split(SIZE):
            _use(inputs[indices])
            labels[indices]

    return _ratio(ours, bare, rounds)


def from_files_ratio(files: int = FILES, rounds: int = 3) -> float:
    """Time of shuffled batches that are read from files by that of torchvision's ImageFolder and a DataLoader with as
    many workers, whose processes are started beforehand."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_photos(root / "train", files)
        write_photos(root / "val", 4)
        data = ImageNet(root=str(root), validation=1, in_memory_gib=0)
        data.load(0)
        split, generator = data.splits["train"], torch.Generator().manual_seed(0)
        steps = v2.Compose([v2.Resize(256), v2.CenterCrop(224), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
        loader = DataLoader(
            ImageFolder(root / "train", steps), FILE_BATCH, shuffle=True, num_workers=THREADS, persistent_workers=True
        )
        next(iter(loader))

        def ours() -> None:
            for batch in split.batches(FILE_BATCH, generator):
                _use(batch.inputs)

        def torchvisions() -> None:
            for inputs, _ in loader:
                _use(inputs)

        return _ratio(ours, torchvisions, rounds)


def write_photos(folder: Path, count: int) -> None:
    """JPEG files of two classes with smooth noise, which compresses about as photographs do."""
    draws = np.random.default_rng(0)
    for number in range(count):
        place = folder / ("a", "b")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(draws.integers(0, 256, (SIDES[0] // 5, SIDES[1] // 5, 3), dtype=np.uint8))
        coarse.resize(SIDES[::-1], Image.Resampling.BICUBIC).save(place / f"{number:05}.jpg", quality=90)


def _use(inputs: Tensor) -> None:
    """Look at every value, as a network would."""
    inputs.sum()


def _ratio(ours: Callable[[], None], other: Callable[[], None], rounds: int) -> float:
    """Median over rounds in turn, so that whatever else the machine does slows both."""
    ratios = []
    for _ in range(rounds + 1):
        times = []
        for epoch in (ours, other):
            start = time.perf_counter()
            epoch()
            times.append(time.perf_counter() - start)
        ratios.append(times[0] / times[1])
    return statistics.median(ratios[1:])  # the first one warms up


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"an epoch in memory, by that of a bare loop over tensors: {in_memory_ratio():.2f}")
    print(f"an epoch from files, by that of ImageFolder and DataLoader ({THREADS} workers): {from_files_ratio():.2f}")
