import pytest


@pytest.fixture(scope="package")
def uri(tmp_path_factory):
    """One database for the folder's tests; every test has its own experiment."""
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@pytest.fixture(autouse=True)
def quickly_made(tables_copied):
    """New databases of the folder's tests are copies of an empty one."""
