from __future__ import annotations

import torch

from study.parts.localisation.anomaly import anomaly_scores, most_anomalous


def test_the_score_is_the_cross_entropy_of_the_mean_answers_and_at_least_their_entropy() -> None:
    generator = torch.Generator().manual_seed(0)
    clean = [torch.randn(7, 4, generator=generator) for _ in range(3)]
    failing = [torch.randn(5, 4, generator=generator) for _ in range(3)]
    failing[2] = clean[2]
    scores = anomaly_scores(clean, failing)
    for number, (c, b) in enumerate(zip(clean, failing, strict=True)):
        expected, answered = c.softmax(1).mean(0), b.softmax(1).mean(0)
        assert abs(scores[number] + sum(answered[k] * (expected[k] + 1e-7).log() for k in range(4))) < 1e-6
        entropy = -(answered * answered.log()).sum()
        assert scores[number] >= entropy - 1e-5
    assert abs(scores[2] - entropy) < 1e-5  # the two means agree
    assert scores[0] > -(failing[0].softmax(1).mean(0) * failing[0].softmax(1).mean(0).log()).sum() + 1e-3


def test_the_largest_come_first_and_of_equals_the_deeper() -> None:
    assert most_anomalous(torch.tensor([0.1, 0.3, 0.2, 0.3]), 3) == [3, 1, 2]
    assert most_anomalous(torch.tensor([0.5, 0.1]), 5) == [0, 1]
