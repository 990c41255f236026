from study.parts.pictures.fitness import draw_fitness


def test_the_curve_stands_beside_the_faulty_model() -> None:
    (axes,) = draw_fitness([1.0, 1.5, 2.0], original=1.2, label="accuracy", rounds="round").axes
    curve, line = axes.lines
    assert list(curve.get_ydata()) == [1.0, 1.5, 2.0] and list(curve.get_xdata()) == [0, 1, 2]  # type: ignore[arg-type]
    assert set(line.get_ydata()) == {1.2}  # type: ignore[arg-type]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("round", "accuracy")
    assert len(draw_fitness([1.0]).axes[0].lines) == 1
