"""The grade of walked streams: the worst of all their names and constructions."""

from collections.abc import Iterable, Sequence

from pickleseal.errors import first_few
from pickleseal.scanner.grade import Contents, Grade, GradedName
from pickleseal.scanner.machine.trace import Trace, Use
from pickleseal.scanner.names import grade_name


def grade(traces: Iterable[Trace]) -> tuple[Grade, tuple[GradedName, ...], tuple[str, ...]]:
    """Return the grade of streams, their names with the most severe first, and the reasons.

    A stream that breaks off is CANNOT_TELL, unless it reached beyond data before. Reasons begin
    with those for BEYOND.
    """
    worst = Grade.DATA
    names: dict[tuple[str, str], Grade] = {}
    ghosts: dict[tuple[str, str], None] = {}
    beyond: dict[str, None] = {}
    faults: dict[str, None] = {}
    traces = list(traces)
    usual = _uses(traces)
    for trace in traces:
        worst = max(worst, Grade.BEYOND if trace.beyond else Grade.DATA)
        for module, name, uses in trace.names:
            found = grade_name(module, name, uses)
            # joblib.load starts a new memo for a nested pickle; pickle.load does not, and takes
            # another text as the module of a name such as `dtype`, which it uses in the same way.
            ghost = trace.of_arrays and not uses & ~usual.get(name, Use.LOOKED_UP)
            if ghost and grade_name(module, name, Use.LOOKED_UP) is Grade.UNKNOWN:
                ghosts[module, name] = None
                continue
            worst = max(worst, found)
            names[module, name] = max(found, names.get((module, name), found))
        worst = max(worst, Grade.DATA if trace.ended else Grade.CANNOT_TELL)
        beyond.update(dict.fromkeys(trace.beyond))
        if trace.fault is not None:
            faults[trace.fault] = None
    others = [f"{module}.{name}" for module, name in ghosts if (module, name) not in names]
    graded = [GradedName(*key, found) for key, found in names.items()]
    # Stable: names of the same grade keep the order in which they are reached.
    graded.sort(key=lambda name: name.grade, reverse=True)
    told = [f"{_OF_GHOSTS} {first_few(others, _GHOSTS)} in it"] if others else []
    return worst, tuple(graded), (*beyond, *faults, *told)


def recognized(contents: Contents, known: Sequence[str]) -> Contents:
    """Return contents in which unknown names of `known` modules count as data.

    What reaches beyond data stays so, and so does what is unknown for any other reason.
    """
    if not known:
        return contents
    names = tuple(
        name._replace(known=name.grade is Grade.UNKNOWN and _lies_in(name.module, known))
        for name in contents.names
    )
    told = [str(name) for name in names if name.known]
    if not told:
        return contents
    settled = contents.grade is Grade.UNKNOWN and all(
        reason.startswith(_OF_GHOSTS) for reason in contents.reasons
    )
    if settled and all(name.known or name.grade is Grade.DATA for name in names):
        contents = contents._replace(grade=Grade.DATA)
    reason = f"in modules listed as known: {first_few(told, _TOLD)}"
    return contents._replace(names=names, reasons=(*contents.reasons, reason))


_TOLD = 8


def _lies_in(module: str, known: Sequence[str]) -> bool:
    return any(module == one or module.startswith(f"{one}.") for one in known)


def _uses(traces: Iterable[Trace]) -> dict[str, Use]:
    """Return how joblib.load uses each name, in any module."""
    uses: dict[str, Use] = {}
    for trace in traces:
        if not trace.of_arrays:
            for name in trace.names:
                uses[name.name] = uses.get(name.name, Use.LOOKED_UP) | name.uses
    return uses


_GHOSTS = 3
_OF_GHOSTS = "not graded: pickle.load, which cannot read this file, would look up"
