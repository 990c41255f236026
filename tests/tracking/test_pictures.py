import io

import numpy as np
import pytest
import torch
from PIL import Image

from study.tracking.drawing import HEAD, MARGIN
from study.tracking.matrices import CELL, confusion, repaired_pairs
from study.tracking.pictures import COLUMNS, THUMBNAIL, gallery


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_a_confusion_matrix_is_blue_on_the_diagonal_and_red_where_errors_are():
    target = torch.tensor([0, 0, 1, 1])
    picture = pixels(confusion(torch.tensor([0, 1, 1, 1]), target, target, ["a", "b"]))
    # The last rows and columns of the second matrix: its right edge is one margin and a line from the picture's.
    corners = [picture[HEAD + 4 + CELL * row] for row in (0, 1)]

    def bluish(colour):
        return colour[2] > colour[0] + 50

    def reddish(colour):
        return colour[0] > colour[2] + 50

    assert [sum(map(bluish, corner)) > 0 for corner in corners] == [True, True]
    assert sum(map(reddish, corners[0])) == pytest.approx(CELL, abs=2)  # label 0, answer 1: before alone
    assert sum(map(reddish, corners[1])) == 0


@pytest.mark.parametrize("names", [["a", "b"], ["red", "green", "a very long name"]])
def test_what_is_written_above_a_table_is_not_cut(names):
    target = torch.arange(len(names)).repeat(1000)
    picture = pixels(confusion(target, target, target, names))

    assert (picture[:HEAD, -2:] == 255).all(), "the text ends before the edge"
    half = picture.shape[1] // 2
    assert (picture[:HEAD, half - 4 : half] == 255).all()


def test_repaired_pairs_are_blue_where_most_is_repaired_and_red_where_little_is():
    target = torch.tensor([0, 0, 0, 1, 1, 1])
    before, after = torch.tensor([1, 1, 0, 0, 0, 1]), torch.tensor([0, 0, 0, 0, 0, 0])
    picture = pixels(repaired_pairs(before, after, target, ["a", "b"]))
    left = MARGIN + int((picture[HEAD - 1, :] == 200).all(axis=1).argmax()) - MARGIN + 1  # behind the frame's line
    corners = picture[HEAD + 4 : HEAD + 2 * CELL : CELL, left + 4 : left + 2 * CELL : CELL]
    colours = [[("white" if min(c) == 255 else "blue" if c[2] > c[0] else "red") for c in row] for row in corners]
    assert colours == [["white", "blue"], ["red", "white"]]


def test_a_confusion_matrix_of_many_classes_stays_small():
    target = torch.arange(1000)

    assert max(pixels(confusion(target, target, target, [f"class {i}" for i in target])).shape) < 5000


def test_a_gallery_shows_the_inputs_that_changed_sides():
    inputs = torch.stack([torch.full((1, 4, 4), value) for value in (0.0, 0.2, 0.4, 0.6)])
    target = torch.zeros(4, dtype=torch.long)
    before, after = torch.tensor([0, 1, 1, 0]), torch.tensor([0, 0, 1, 1])

    def shades(which):
        picture = pixels(gallery(inputs, target, before, after, ["a", "b"], which))
        middle = HEAD + THUMBNAIL // 2
        starts = [MARGIN + column * (THUMBNAIL + MARGIN) + THUMBNAIL // 2 for column in range(COLUMNS)]
        return [int(picture[middle, start, 0]) for start in starts if picture[middle, start, 0] < 255]

    assert shades("fixed") == [51]
    assert shades("broken") == [153]


def test_a_gallery_is_limited_and_may_be_empty():
    inputs, target = torch.rand(9, 3, 40, 20), torch.zeros(9, dtype=torch.long)
    wrong = target + 1

    limited = pixels(gallery(inputs, target, wrong, target, ["a", "b"], limit=COLUMNS))
    full = pixels(gallery(inputs, target, wrong, target, ["a", "b"]))

    assert full.shape[0] > limited.shape[0] > HEAD
    assert pixels(gallery(inputs, target, wrong, target, ["a", "b"], "broken")).shape[0] == HEAD


def test_long_and_foreign_names_and_odd_channels_are_drawn():
    target = torch.arange(3)
    names = ["a very long class name that fits nowhere at all", "größer → 汉字", ""]

    assert pixels(confusion(target, target, target, names)).size
    assert pixels(gallery(torch.rand(3, 2, 5, 9), target, (target + 1) % 3, target, names)).size
