from study.report.naming import distinct, natural, shared

A, B, C = ("aaaaaaaa",), ("bbbbbbbb",), ("cccccccc",)


def test_a_name_of_its_own_needs_nothing() -> None:
    settings = {A: {"faulty.epochs": "1"}, B: {"faulty.epochs": "2"}}
    assert distinct({A: "mnist / lenet5", B: "digits / mlp"}, settings) == {A: "", B: ""}


def test_equal_names_are_told_apart_by_what_differs() -> None:
    settings = {
        A: {"faulty.epochs": "1", "faulty.lr": "auto", "dataset.download": "True"},
        B: {"faulty.epochs": "2", "faulty.lr": "auto", "dataset.download": "False"},
        C: {"faulty.epochs": "1"},
    }
    added = distinct({A: "mnist", B: "mnist", C: "digits"}, settings)
    assert added == {A: "dataset.download=true, faulty.epochs=1", B: "dataset.download=false, faulty.epochs=2", C: ""}


def test_what_two_metrics_share_is_said_once() -> None:
    settings = {
        A: {"metric.attacks.asr.steps": "10", "metric.attacks.margin.steps": "10"},
        B: {"metric.attacks.asr.steps": "40", "metric.attacks.margin.steps": "40"},
    }
    assert distinct({A: "joint", B: "joint"}, settings) == {A: "metric steps=10", B: "metric steps=40"}


def test_what_differs_in_no_setting_is_told_by_its_key() -> None:
    assert distinct({A: "pictures", B: "pictures"}, {A: {}, B: {}}) == {A: "aaaaaa", B: "bbbbbb"}


def test_only_what_all_runs_have_in_common_and_what_is_asked_for() -> None:
    runs = [
        {"method.lr": "1", "method._target_": "x", "seed": "0", "subject.seed": "0"},
        {"method.lr": "1", "method._target_": "x", "seed": "1", "subject.seed": "1"},
    ]
    assert shared(runs, ("method.", "subject.")) == {"method.lr": "1"}


def test_numbers_in_names_go_by_their_size() -> None:
    assert sorted(["a 100", "a 20", "a", "b 3"], key=natural) == ["a", "a 20", "a 100", "b 3"]
