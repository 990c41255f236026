import torch

from study.parts.pictures.layer_change import draw_changes


def test_each_parameter_has_a_panel_on_one_scale() -> None:
    changes = {"a.weight": torch.tensor([[0.0, 0.2], [-0.4, 0.0]]), "a.bias": torch.tensor([0.0, 0.1])}
    (figure,) = draw_changes(changes).values()
    weight, bias, _ = figure.axes
    assert weight.get_title() == "a.weight\n50% changed" and bias.get_title() == "a.bias\n50% changed"
    (shown,), (column,) = weight.get_images(), bias.get_images()
    assert shown.get_array().shape == (2, 2) and column.get_array().shape == (2, 1)  # type: ignore[union-attr]
    assert tuple(round(limit, 6) for limit in shown.get_clim()) == (-0.4, 0.4)
    assert shown.get_clim() == column.get_clim()


def test_a_convolution_and_no_change_can_be_drawn() -> None:
    (figure,) = draw_changes({"c.weight": torch.zeros(3, 2, 3, 3)}).values()
    assert figure.axes[0].get_images()[0].get_array().shape == (3, 18)  # type: ignore[union-attr]
