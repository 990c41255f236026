import torch

from study.parts.pictures.scores import draw_scores


def test_scores_are_sorted_and_the_chosen_are_marked_at_their_rank() -> None:
    scores = {"first": torch.tensor([[0.1, 0.4], [0.0, 0.3]]), "second": torch.tensor([1.0, 2.0])}
    first, second = draw_scores(scores, {"first": torch.tensor([3, 1])}, "effect").axes
    curve, marks = first.lines
    assert [round(float(value), 4) for value in curve.get_ydata()] == [0.4, 0.3, 0.1, 0.0]  # type: ignore[union-attr]
    assert list(marks.get_xdata()) == [1, 0]  # type: ignore[arg-type]
    assert first.get_title(loc="left") == "first: 3 of 4 with a score" and first.get_ylabel() == "effect"
    assert len(second.lines) == 1 and second.get_legend() is None
