"""A cache on disk that treats a forged or damaged entry as a missing one.

Run it with: python examples/cache_of_results.py

The name of an entry is its context, so that no entry passes for another. Prints:

    computing 12
    144
    144
    a forged entry is a miss
    computing 12
    144
"""

import tempfile
from pathlib import Path

from pickleseal import Key, Keyring, SealError, signed_dump, signed_load


class Cache:
    """Results of a function, each in a sealed file."""

    def __init__(self, folder: Path, keyring: Keyring) -> None:
        self.folder = folder
        self.keyring = keyring

    def square(self, number: int) -> int:
        """Give the square of a number, from the cache where it has it."""
        path = self.folder / f"{number}.pkl"
        context = f"square/{number}"
        try:
            return int(signed_load(path, context=context, keyring=self.keyring))
        except FileNotFoundError:
            pass
        except SealError:
            print("a forged entry is a miss")
        print("computing", number)
        result = number * number
        signed_dump(result, path, context=context, keyring=self.keyring)
        return result


def main() -> None:
    """Fill the cache, use it, and forge an entry."""
    with tempfile.TemporaryDirectory() as name:
        # A key that lives as long as this process: the cache is of no use to a later one.
        cache = Cache(Path(name), Keyring(Key.generate()))
        print(cache.square(12))
        print(cache.square(12))
        (Path(name) / "12.pkl").write_bytes(b"\x80\x04K\x91.")  # a plain pickle of 145
        print(cache.square(12))


if __name__ == "__main__":
    main()
