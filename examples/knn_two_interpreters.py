"""A model is saved by one Python and used by another; a changed copy is refused.

Run it with: python examples/knn_two_interpreters.py

It makes a folder and a key of its own, and removes both. Prints:

    first Python: accuracy 0.974
    second Python: accuracy 0.974
    a changed copy: BadSealError
    a plain pickle: NotSealedError
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pickleseal

TRAIN = """
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from pickleseal import signed_dump

x, y = load_iris(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0)
model = KNeighborsClassifier(n_neighbors=3).fit(x_train, y_train)
with open("my_knn_model", "wb") as file:
    signed_dump(model, file, context="iris/knn/v1")
print(f"first Python: accuracy {model.score(x_test, y_test):.3f}")
"""

PREDICT = """
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from pickleseal import signed_load

with open("my_knn_model", "rb") as file:
    model = signed_load(file, context="iris/knn/v1")
x, y = load_iris(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0)
print(f"second Python: accuracy {model.score(x_test, y_test):.3f}")
"""


def refusal(path: Path) -> str:
    """Return how a load of this file fails."""
    try:
        pickleseal.signed_load(path, context="iris/knn/v1")
    except pickleseal.SealError as error:
        return type(error).__name__
    raise SystemExit(f"{path} was loaded, and should not have been")


def main() -> None:
    """Do all of it in a folder that is removed at the end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["PICKLESEAL_KEYRING"] = str(folder / "keyring")
        keygen = [sys.executable, "-m", "pickleseal", "keygen"]
        subprocess.run(keygen, stdout=subprocess.DEVNULL, check=True)

        subprocess.run([sys.executable, "-c", TRAIN], cwd=folder, check=True)
        subprocess.run([sys.executable, "-c", PREDICT], cwd=folder, check=True)

        data = bytearray((folder / "my_knn_model").read_bytes())
        data[len(data) // 2] ^= 1
        (folder / "changed").write_bytes(data)
        print("a changed copy:", refusal(folder / "changed"))

        (folder / "plain").write_bytes(b"\x80\x04K\x01.")
        print("a plain pickle:", refusal(folder / "plain"))


if __name__ == "__main__":
    main()
