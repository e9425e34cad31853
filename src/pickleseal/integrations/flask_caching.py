"""Backends of Flask-Caching whose entries are sealed: `CACHE_TYPE` takes their names."""

from flask_caching.backends import FileSystemCache as _FileSystemCache
from flask_caching.backends import RedisCache as _RedisCache

from pickleseal.integrations.cachelib import SealedFiles, SealedRedis


class FileSystemCache(SealedFiles, _FileSystemCache):
    """Flask-Caching's `FileSystemCache`, sealed as `pickleseal.integrations.cachelib` says.

    Examples
    --------
    >>> from pickleseal.integrations.flask_caching import FileSystemCache
    >>> config = {"CACHE_TYPE": f"{FileSystemCache.__module__}.FileSystemCache"}
    """


class RedisCache(SealedRedis, _RedisCache):
    """Flask-Caching's `RedisCache`, sealed as `pickleseal.integrations.cachelib` says.

    Examples
    --------
    >>> from pickleseal.integrations.flask_caching import RedisCache
    >>> RedisCache(key_prefix="shop/").context("user/1")
    'cachelib:shop/:user/1'
    """
