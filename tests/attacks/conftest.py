"""A fitted model, sealed, and an envelope small enough to cut at every byte."""

import pickle

import pytest
from envelopes import hand_sealed
from sklearn.datasets import load_iris
from sklearn.neighbors import KNeighborsClassifier

from pickleseal import Keyring, signed_dumps
from pickleseal.envelope import metadata as md


@pytest.fixture(scope="module")
def model() -> KNeighborsClassifier:
    return KNeighborsClassifier(n_neighbors=3).fit(*load_iris(return_X_y=True))


@pytest.fixture(scope="module")
def sealed(model: KNeighborsClassifier, ring: Keyring) -> bytes:
    return signed_dumps(model, keyring=ring)


@pytest.fixture(scope="module")
def small(ring: Keyring) -> bytes:
    """Return an envelope of two segments, small enough to cut at every byte."""
    stream = pickle.dumps([1, 2, 3], 5)
    return hand_sealed(ring, md.Metadata(content="pickle"), stream, b"x" * 70)
