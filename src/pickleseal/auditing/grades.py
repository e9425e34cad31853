"""The grade of what was walked through: the worst that any of its names and constructions has."""

from collections.abc import Iterable

from pickleseal.auditing.findings import Grade, GradedName
from pickleseal.auditing.machine import Trace
from pickleseal.auditing.names import grade_name


def grade(traces: Iterable[Trace]) -> tuple[Grade, tuple[GradedName, ...], tuple[str, ...]]:
    """Give the worst grade of some streams, their names with the gravest first, and the reasons.

    A stream that could not be followed to its end is graded by what it had reached by then where
    that is beyond data, and else as unreadable.
    """
    worst = Grade.DATA
    names: dict[tuple[str, str], Grade] = {}
    reasons: dict[str, None] = {}
    for trace in traces:
        reached = Grade.BEYOND if trace.beyond else Grade.DATA
        for module, name, uses in trace.names:
            found = grade_name(module, name, uses)
            reached = max(reached, found)
            names[module, name] = max(found, names.get((module, name), found))
        if not trace.ended and reached < Grade.BEYOND:
            reached = Grade.UNREADABLE
        worst = max(worst, reached)
        reasons.update(dict.fromkeys(trace.beyond))
        if trace.fault is not None:
            reasons[trace.fault] = None
    graded = [GradedName(*key, found) for key, found in names.items()]
    # Stable: of the same grade, what is reached first stands first.
    graded.sort(key=lambda name: name.grade, reverse=True)
    return worst, tuple(graded), tuple(reasons)
