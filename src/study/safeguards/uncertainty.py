"""What the safeguards have in common that weigh both models by how much their answers waver."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from study.runtime.settings import settings
from study.safeguards.base import Safeguard


@settings
class UncertaintyVoting(Safeguard):
    """Both models' mean answers over several passes, the one that wavers more counting less.

    passes: of each model over an input; prior: share of the repaired model that is fixed in advance, above 0 so that it
    counts more than that at any input; least_variance: the variances of the answers are brought into
    [least_variance, 1 - least_variance].
    """

    passes: Annotated[int, Field(ge=1)] = 10
    prior: Annotated[float, Field(ge=0, lt=1)] = 0.5
    least_variance: Annotated[float, Field(gt=0, lt=0.5)] = 1e-3
