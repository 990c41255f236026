"""Figures of single classes and pairs of classes, counted by hand."""

import torch

from study.repairs.changes import LayerChange
from study.tracking.tables import class_table, layer_table, pair_table

TARGET = torch.tensor([0, 0, 0, 1, 1, 1, 1])
BEFORE = torch.tensor([0, 1, 2, 0, 0, 1, 1])
AFTER = torch.tensor([1, 0, 0, 1, 0, 1, 0])
NAMES = ["cat", "a, b", "owl"]


def test_a_line_per_class_and_none_left_out():
    assert class_table(BEFORE, AFTER, TARGET, NAMES).splitlines() == [
        "class,inputs,accuracy_before,accuracy_after,repaired,broken",
        "cat,3,0.333333,0.666667,2,1",
        '"a, b",4,0.5,0.5,1,1',
        "owl,0,,,0,0",
    ]


def test_a_line_per_kind_of_error_the_most_frequent_first():
    assert pair_table(BEFORE, AFTER, TARGET, NAMES).splitlines() == [
        "label,prediction_before,failing,repaired,repair_rate",
        '"a, b",cat,2,1,0.5',
        'cat,"a, b",1,1,1.0',
        "cat,owl,1,1,1.0",
    ]


def test_without_errors_there_is_the_heading_alone():
    assert pair_table(TARGET, AFTER, TARGET, NAMES).count("\n") == 1


def test_a_line_per_layer():
    layers = [LayerChange("net.1", 8, 2, 4.0, 1.0), LayerChange("net.2", 3, 0, 0.0, 0.0)]
    assert layer_table(layers).splitlines() == [
        "layer,weights,changed,distance,relative_distance",
        "net.1,8,0.25,1.0,0.25",
        "net.2,3,0.0,0.0,",
    ]
