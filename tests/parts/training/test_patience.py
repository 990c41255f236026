from study.parts.training.patience import Patience


def test_it_runs_out_after_so_many_epochs_without_a_lower_loss() -> None:
    patience = Patience(3)
    losses = [5.0, 4.0, 4.5, 4.0, 3.9, 4.0, 3.9, 4.1]
    assert [patience.runs_out(loss) for loss in losses] == [False] * 7 + [True]


def test_without_a_limit_or_a_finite_loss() -> None:
    assert not any(Patience(None).runs_out(1.0) for _ in range(50))
    endless = Patience(2)
    assert [endless.runs_out(float("nan")) for _ in range(2)] == [False, True]
