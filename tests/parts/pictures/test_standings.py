from study.parts.pictures.standings import draw_standings
from study.parts.training.standing import Standing


def test_each_share_has_a_panel_in_percent_with_its_marks() -> None:
    standings = [(0, Standing(0.9, 0.0, 0.0)), (13, Standing(0.95, 0.01, 0.5))]
    figure = draw_standings(standings, {"shift kept": [(13, Standing(0.94, 0.02, 0.4))], "shift undone": []})
    repairs, flips, accuracy = figure.axes
    assert repairs.lines[0].get_ydata().tolist() == [0, 50]  # type: ignore[union-attr]
    assert flips.lines[1].get_ydata().tolist() == [2]  # type: ignore[union-attr]
    assert accuracy.lines[0].get_xdata().tolist() == [0, 13]  # type: ignore[union-attr]
