"""3M-DNN in its three norms."""

import numpy as np
import torch

from study.methods.layer_level.three_m_dnn import ThreeMDNN
from study.parts.solvers.demands import ORDER
from tests.fitting import driven
from tests.problems import digits_problem


def test_the_change_of_each_norm_is_the_least_in_that_norm() -> None:
    problem, changes = digits_problem(), dict[str, np.ndarray]()
    for norm in ORDER:
        model = driven(ThreeMDNN(points=5, separations=0, norm=norm), problem)[0].model
        pairs = zip(model.parameters(), problem.faulty.parameters(), strict=True)
        changes[norm] = torch.cat([(new - old).detach().double().flatten() for new, old in pairs]).numpy()
    for norm, order in ORDER.items():
        sizes = {of: np.linalg.norm(change, order) for of, change in changes.items()}
        assert sizes[norm] < 0.99 * min(size for of, size in sizes.items() if of != norm), norm
