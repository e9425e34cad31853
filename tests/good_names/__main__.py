"""Make the list of good names from the libraries themselves: run by hand, from the folder tests.

    python -m good_names [--add] PYTHON...

Each PYTHON is an interpreter that has some of the libraries, in whatever versions; versions.txt is
what one of them was made from. Each says what pickles of its libraries look up and how, which
classes it found to hold data, and which names act upon what they are given. What all of them say is
merged into good_names.txt, which a person then reads as a diff. With --add, the names of versions
that were asked before stay.

The code that is run there keeps to Python 3.7, so that old libraries can be asked as well.
"""

from __future__ import annotations

import importlib
import json
import pathlib
import re
import subprocess
import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from good_names import objects, probing, reading
from good_names.recording import BUILT, CALLED, HANDED, HASHED, HOLDING, MADE, PLAIN, VALUE, record
from good_names.reviewed import (
    BEYOND,
    BY_HAND,
    LEFT_OUT,
    ONLY_LOOKED_UP,
    PLAIN_NAMES,
    REFUSED,
    REVIEWED,
    STORES,
    VALUE_NAMES,
)

if TYPE_CHECKING:
    from good_names.recording import Names

TESTS = pathlib.Path(__file__).parent.parent
NOT_PROBED = ("numpy", "scipy", "sklearn", "pandas")  # names.py tells what acts there
# The walk looks at what these are made of, or at their states.
WATCHED = ("scipy.stats._continuous_distns", "scipy.stats._distn_infrastructure")
TARGET = TESTS.parent / "src" / "pickleseal" / "scanner" / "good_names.txt"


def from_objects() -> dict[str, Any]:
    """Return what the objects say that this interpreter's libraries can make, ready for JSON."""
    recorded = record(objects.objects())
    faulty: dict[str, list[str]] = {}
    acting: Names = {}
    for module, name in recorded:
        value = getattr(importlib.import_module(module), name.split(".")[0], None)
        # What is only looked up is handed on; what it calls in turn is nobody's business then.
        found = look(value, depth=2 if recorded[module, name] else 0)
        # Nobody can read a compiled helper here; that pickles have it says what it is for.
        found = [fault for fault in found if not fault.startswith("no source")]
        uses = recorded[module, name]
        if found and isinstance(value, type) and MADE in uses and CALLED not in uses:
            found = sorted(set(reading.class_faults(value, with_calls=False)))
            if not found:  # it acts where it is called, and only there
                acting[module, name] = {CALLED}
        if found:
            faulty[module + ":" + name] = found
        if isinstance(value, type):
            recorded[module, name] |= reading.holds(value, recorded[module, name])
        elif value is not None:
            acting.setdefault((module, name), set()).update(probing.acted(value))
    return {
        "versions": versions(),
        "recorded": plain(recorded),
        "functions": plain(reading.functions()),
        "acting": plain(acting),
        "faulty": faulty,
    }


def from_classes(library: str) -> dict[str, Any]:
    """Return what the classes of a library say, ready for JSON."""
    good: Names = {}
    acting: Names = {}
    for module, cls in reading.classes(library):
        if library not in NOT_PROBED:
            acting[module, cls.__name__] = probing.acted(cls)
        if reading.holds_data(module, cls) and not look(cls):
            uses = reading.uses_of(cls)
            good[module, cls.__name__] = uses | reading.holds(cls, uses)
    return {"versions": versions(), "enumerated": plain(good), "acting": plain(acting)}


def look(value: Any, depth: int = 2) -> list[str]:
    """Return what stands in a class or a function that data code has no need of."""
    if isinstance(value, type):
        return sorted(set(reading.class_faults(value)))
    return sorted(set(reading.faults(value, type, depth, set())))


def versions() -> dict[str, str]:
    """Return the version of Python and of each library that was asked."""
    said = {"python": "{}.{}".format(*sys.version_info)}
    for package in dict.fromkeys([*reading.LIBRARIES, "joblib", "pyarrow", "torch"]):
        version = getattr(sys.modules.get(package), "__version__", None)
        if isinstance(version, str):
            said[package] = version
    return said


def plain(names: Names) -> list[list[str]]:
    """Return names as JSON has them: module, name and uses, in order."""
    return [[*key, *sorted(uses)] for key, uses in sorted(names.items())]


def asked(interpreter: str) -> Iterator[dict[str, Any]]:
    """Have an interpreter say what its libraries have, each in a process of its own."""
    for task in ("", *reading.LIBRARIES):
        done = subprocess.run(
            [interpreter, "-m", "good_names", "--collect", task],
            stdout=subprocess.PIPE, check=True, cwd=str(TESTS),
        )  # fmt: skip
        yield json.loads(done.stdout.splitlines()[-1])


def merged(answers: Iterable[dict[str, Any]], before: Names) -> Names:
    """Return the names by all that was said, each with its uses; what acts, acts."""
    names = {key: uses - {PLAIN, VALUE} for key, uses in before.items()}
    answers = list(answers)
    for module, name, good in BY_HAND:
        names.setdefault((module, name), set()).update(good)
    for answer in answers:
        for group in ("functions", "enumerated", "recorded"):
            for module, name, *uses in answer.get(group, ()):
                fault = group == "recorded" and answer["faulty"].get(module + ":" + name)
                watched = module.startswith(WATCHED)
                if fault and not watched and (module, name) not in REVIEWED:
                    print(module, name, "is left out:", fault[:2], file=sys.stderr)
                elif (module, name) not in REFUSED and "." not in name:
                    names.setdefault((module, name), set()).update(uses)
        for module, name, *uses in answer["acting"]:
            if uses and (module, name) not in REVIEWED and not module.startswith(WATCHED):
                names.setdefault((module, name), set()).update(use.upper() for use in uses)
    for answer in answers:
        for group in ("enumerated", "recorded"):
            for module, name, *uses in answer.get(group, ()):
                if uses and (module, name) in names:  # in every version, or not at all
                    stored = set(uses) & before.get((module, name), set(uses))
                    names[module, name] -= {HANDED, HOLDING, HASHED} - stored
    for (module, name), uses in names.items():
        if name.startswith("__pyx_unpickle_") and (module, name[15:]) in names:
            names[module, name[15:]] |= {MADE, BUILT}
        reviewed = [letters for pattern, letters in STORES if matches(pattern, module, name)]
        uses.update("".join(reviewed))
        for letter, patterns in ((PLAIN, PLAIN_NAMES), (VALUE, VALUE_NAMES)):
            if any(matches(pattern, module, name) for pattern in patterns):
                uses.add(letter)
    for (module, name), uses in list(names.items()):
        # numpy 2 calls its core _core, and each spelling is read by both.
        for one, other in (("numpy.core", "numpy._core"), ("numpy._core", "numpy.core")):
            if module == one or module.startswith(one + "."):
                names.setdefault((other + module[len(one) :], name), set()).update(uses)
    for module, name, acts, _ in BEYOND:
        names.setdefault((module, name), set()).update(acts)
    for key in ONLY_LOOKED_UP:
        names[key] = set()
    for uses in names.values():
        uses -= {use.lower() for use in uses if use.isupper()}
    return {key: uses for key, uses in names.items() if not is_refused(*key)}


def is_refused(module: str, name: str) -> bool:
    """Return whether a name is not to be on the list."""
    return (module, name) in REFUSED or module.partition(".")[0] in LEFT_OUT


def matches(pattern: str, module: str, name: str) -> bool:
    """Return whether a name is one that a person reviewed."""
    return re.fullmatch(pattern, f"{module} {name}") is not None


def read(text: str) -> tuple[list[str], Names]:
    """Return the lines of a list that say what it was made with, and its names."""
    made_with, names, module = [], {}, ""
    for line in text.splitlines():
        if line.startswith("# made with "):
            made_with.append(line)
        elif line[0] == " ":
            name, _, uses = line[1:].partition(" ")
            names[module, name] = set(uses)
        elif line[0] != "#":
            module = line
    return made_with, names


def written(names: Names, made_with: Iterable[str], date: str) -> str:
    """Return the list as it is written: modules, and below each its names with their uses."""
    lines = ["# Names that build data and fitted models, " + date, "#"]
    lines += made_with
    lines += [
        "#",
        "# Below a module stand its names. A name may be looked up, and what its letters say:",
        "# c called, m made by __new__, b given a state, i given items or keys. A capital letter says that",
        "# it then runs, imports, opens or evaluates what it is given: C called, M made, B given a state.",
        "# It stores objects that may act: a as arguments, o in its state or items; k: as a key, it runs",
        "# nothing. p: made of plain data, it is plain data; v: it is plain data itself.",
    ]
    last = ""
    for (module, name), uses in sorted(names.items()):
        if module != last:
            lines.append(module)
            last = module
        lines.append(" " + " ".join([name, "".join(sorted(uses))]).strip())
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> None:
    """Write the list."""
    from pickleseal.scanner import names as room

    made_with: list[str] = []
    before: Names = {}
    if arguments[0] == "--add":
        made_with, before = read(TARGET.read_text(encoding="utf-8"))
    answers: list[dict[str, Any]] = []
    for interpreter in arguments:
        if interpreter != "--add":
            said = list(asked(interpreter))
            versions = {key: one for answer in said for key, one in answer["versions"].items()}
            told = ", ".join("{} {}".format(*item) for item in versions.items())
            made_with.append("# made with " + told)
            answers += said
    made_with = list(dict.fromkeys(made_with))
    text = written(merged(answers, before), made_with, room.LIST_VERSION)
    TARGET.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--collect"]:
        warnings.simplefilter("ignore")
        print(json.dumps(from_classes(sys.argv[2]) if sys.argv[2] else from_objects()))
    else:
        main(sys.argv[1:])
