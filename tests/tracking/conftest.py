import pytest


@pytest.fixture(scope="package")
def uri(tmp_path_factory):
    """One database for the folder's tests, since making it takes seconds; every test has its own experiment."""
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"
