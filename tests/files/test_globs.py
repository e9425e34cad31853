"""Globs that select paths."""

from pathlib import Path

import pytest

from pickleseal.files.globs import Globs


@pytest.mark.parametrize(
    ("globs", "fits"),
    [
        ([], False),
        (["*.pkl"], True),
        (["*.joblib"], False),
        (["*.joblib", "models/*"], True),
        (["models/"], False),
        (["*/models/*"], True),
        (["other/*"], False),
        (["memory://models/*"], False),
    ],
)
def test_a_path_fits_one_of_several_globs(
    globs: list[str], *, fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Globs.of(globs).fit(str(tmp_path / "models" / "it.pkl")) is fits
    assert Globs.of(globs).fit("models/it.pkl") is fits


@pytest.mark.parametrize("glob", ["*://models/tmp/*", "memory://models/*"])
def test_a_url_fits_a_glob_of_any_scheme(glob: str) -> None:
    assert Globs.of([glob]).fit("memory://models/tmp/it.pkl")
