"""What the tests of adapters share: a Redis of their own."""

from collections.abc import Iterator

import pytest
from local_redis import local_redis


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with local_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url
