from study.parts.pictures.curves import Panel, draw_panels


def test_the_picture_has_a_panel_each_and_shows_every_mark() -> None:
    marks = {"kept": [(0, 0.2), (5, 0.3)], "undone": []}
    figure = draw_panels([Panel("repair rate", [(0, 0.0), (5, 0.25)], marks), Panel("accuracy", [(0, 0.9)])])
    first, second = figure.axes
    assert first.get_title(loc="left") == "repair rate"
    assert first.lines[0].get_ydata().tolist() == [0, 25]  # type: ignore[union-attr]
    assert first.lines[1].get_xdata().tolist() == [0, 5]  # type: ignore[union-attr]
    legend = first.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["kept"]
    assert second.get_legend() is None
    assert second.get_xlabel() == "gradient steps"
