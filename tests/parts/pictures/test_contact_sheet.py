from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from study.parts.pictures.contact_sheet import GAP, contact_sheet


def test_images_stand_in_their_rows_in_order_on_white() -> None:
    grey = torch.tensor([0.0, 0.5]).view(2, 1, 1, 1).expand(2, 1, 4, 6)
    red = torch.zeros(1, 3, 4, 6)
    red[:, 0] = 1
    figure = contact_sheet("title", [("two", grey), ("one", red)])
    (axes,) = figure.axes
    sheet = np.asarray(axes.images[0].get_array())
    height, width = 4 + GAP, 6 + GAP
    assert sheet.shape == (2 * height, 2 * width, 3)
    assert (sheet[:4, :6] == 0).all() and (sheet[:4, width : width + 6] == 0.5).all()
    assert (sheet[height : height + 4, :6] == [1, 0, 0]).all()
    assert (sheet[4:height] == 1).all() and (sheet[height:, width:] == 1).all()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["two", "one"]
    assert axes.get_title() == "title"


def test_a_sheet_of_one_image_is_a_picture() -> None:
    file = io.BytesIO()
    contact_sheet("one image", [("a", torch.rand(1, 1, 28, 28))]).savefig(file, format="png")
    assert Image.open(file).width > 100
