from study.parts.pictures.sizes import draw_sizes


def test_the_sizes_are_drawn_from_the_first_on_and_no_search_has_no_picture() -> None:
    assert draw_sizes([]) == {}
    (axes,) = draw_sizes([0.3, 0.2, 0.1])["size"].axes
    assert axes.lines[0].get_ydata().tolist() == [0.3, 0.2, 0.1]  # type: ignore[union-attr]
    assert axes.get_ylabel() == "size of the change" and axes.get_xlabel() == "proposals (in 50s)"
