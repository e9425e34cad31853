"""Print the lowest versions that pyproject.toml allows, as constraints for pip."""

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement


def main() -> None:
    """Print a line for each package that the library itself needs, or can use."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    for text in [*project["dependencies"], *(one for extra in extras for one in extra)]:
        need = Requirement(text)
        (floor,) = (one.version for one in need.specifier if one.operator == ">=")
        marker = f"; {need.marker}" if need.marker else ""
        sys.stdout.write(f"{need.name}=={floor}{marker}\n")


if __name__ == "__main__":
    main()
