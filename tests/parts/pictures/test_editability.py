"""The pictures of Editable Training."""

from __future__ import annotations

import pytest

from study.parts.pictures.editability import draw_evaluations
from study.parts.training.edit_probes import Editability
from study.parts.training.editor_training import Evaluation
from study.parts.training.standing import Standing


def test_every_evaluation_is_a_point_and_the_chosen_one_is_marked() -> None:
    evaluations = [
        Evaluation(0, Standing(0.9, 0.0, 0.0), Editability(1.0, 0.2, 2.0)),
        Evaluation(13, Standing(0.95, 0.01, 0.5), Editability(0.9, 0.1, 3.0)),
        Evaluation(26, Standing(0.94, 0.02, 0.4), Editability(0.8, 0.05, 4.0)),
    ]
    pictures = draw_evaluations(evaluations, evaluations[1])
    assert {name: len(figure.axes) for name, figure in pictures.items()} == {"progress": 3, "editability": 2}
    line, kept = pictures["editability"].axes[1].get_lines()
    assert list(line.get_xdata()) == [0, 13, 26]
    assert list(line.get_ydata()) == pytest.approx([20, 10, 5])
    assert (list(kept.get_xdata()), list(kept.get_ydata())) == ([13], pytest.approx([10]))
    repairs = pictures["progress"].axes[0].get_lines()[0]
    assert list(repairs.get_ydata()) == pytest.approx([0, 50, 40])


def test_no_training_no_picture() -> None:
    assert draw_evaluations([], None) == {}
