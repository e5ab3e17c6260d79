import pytest

from tests.report.tiny_registry import finished


@pytest.fixture(scope="session")
def complete(tmp_path_factory):
    """A finished run, for tests that only read it."""
    return finished(tmp_path_factory.mktemp("complete"))
