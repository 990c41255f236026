from study.errors import nearest


def test_nearest_names_at_most_three() -> None:
    assert nearest("joint", ["joint1", "joint2", "joint3", "joint4"]).count("joint") == 3
    assert nearest("x", []) == "there are none"
