"""Whether a tracking server can be used, asked before any work."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from functools import cache

from study.errors import UsageError

ANSWER_SECONDS = 5
"""How long a server may take to say that it is alive."""
LOGIN = (401, 403)


def refuse_silence(uri: str) -> None:
    """See that something at this address says that it is a healthy MLflow server.

    Raises:
        UsageError: It is silent, ill, or another kind of server.
    """
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=ANSWER_SECONDS) as answer:
            if answer.read(100).strip() != b"OK":
                raise UsageError(f"tracking.uri={uri} answers, but not as an MLflow server does: is the address right?")
    except urllib.error.HTTPError as error:
        if error.code not in LOGIN:  # else it may stand behind a login: MLflow reads the credentials itself
            raise UsageError(
                f"tracking.uri={uri} answers, but not as an MLflow server does (HTTP {error.code} at /health)"
            ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UsageError(
            f"tracking.uri={uri} does not answer ({reason}): start the server, or leave tracking.uri out"
        ) from error


@cache
def refuse_stranger(uri: str, experiment: str) -> None:
    """Ask an MLflow server for the experiment, with the user's credentials; once in a process if it answers.

    Raises:
        UsageError: It wants a login, fails, does not speak MLflow's language, or the experiment was deleted.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        found = MlflowClient(uri).get_experiment_by_name(experiment)
    except (MlflowException, OSError, json.JSONDecodeError, AttributeError) as error:
        raise UsageError(f"tracking.uri={uri}: {_reason(error)}") from error
    if found is not None and found.lifecycle_stage != "active":
        raise UsageError(f"tracking.experiment={experiment} was deleted: restore it, or choose another name")


def _reason(error: Exception) -> str:
    """What the server's refusal means, without the page that it may have sent."""
    text = str(error)
    refused = getattr(error, "error_code", "") in ("PERMISSION_DENIED", "UNAUTHENTICATED")
    if refused or any(f"error code {code}" in text for code in LOGIN):
        return (
            "the server refuses the login: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
            "or MLFLOW_TRACKING_TOKEN, to those of an account that may use it"
        )
    said = re.split(r"[.,:]? *(?:Response|<)", " ".join(text.split()))[0][:200]
    return f"the server cannot be used: {said or type(error).__name__}"
