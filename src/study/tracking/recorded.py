"""What was recorded with a run, brought back."""

from __future__ import annotations

from pathlib import Path

from study.errors import UsageError
from study.tracking.store import Store, import_mlflow


def repaired_of(run: str, store: Store) -> Path:
    """The folder of the model that came out of the run of this id: the store's own where it is local, else a copy.

    Raises UsageError where the store has no such run, or no model came out of it.
    """
    import_mlflow()
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    if store.database is not None and not store.database.is_file():
        raise UsageError(f"{run}: there is no MLflow store at {store.database}")
    client = MlflowClient(store.uri)
    try:
        outputs = client.get_run(run).outputs
        if outputs is None or not outputs.model_outputs:
            raise UsageError(f"{run}: this run holds no repaired model")
        model = client.get_logged_model(outputs.model_outputs[0].model_id)
        return Path(download_artifacts(artifact_uri=model.artifact_location, tracking_uri=store.uri))
    except (MlflowException, OSError) as error:
        raise UsageError(f"{run}: {store.uri} has no such run: {str(error).splitlines()[0]}") from error
