"""The grade of what was walked through: the worst that any of its names and constructions has."""

from collections.abc import Iterable, Sequence

from pickleseal.scanner.grade import Contents, Grade, GradedName
from pickleseal.scanner.machine.trace import Trace
from pickleseal.scanner.names import grade_name


def gravest(grades: Iterable[Grade]) -> Grade:
    """Give the gravest of some grades, data only for none of them.

    What surely reaches beyond data is graver than what merely may: one stream that cannot be
    followed takes nothing back of what another one does.
    """
    return max(grades, key=lambda grade: (grade is Grade.BEYOND, grade), default=Grade.DATA)


def grade(traces: Iterable[Trace]) -> tuple[Grade, tuple[GradedName, ...], tuple[str, ...]]:
    """Give the grade of some streams, their names with the gravest first, and the reasons.

    A stream that could not be followed to its end is unreadable, unless it had reached beyond data
    by then. Reasons begin with what reaches beyond.
    """
    worst = Grade.DATA
    names: dict[tuple[str, str], Grade] = {}
    beyond: dict[str, None] = {}
    faults: dict[str, None] = {}
    for trace in traces:
        reached = Grade.BEYOND if trace.beyond else Grade.DATA
        for module, name, uses in trace.names:
            found = grade_name(module, name, uses)
            reached = max(reached, found)
            names[module, name] = max(found, names.get((module, name), found))
        broken = Grade.DATA if trace.ended else Grade.UNREADABLE
        worst = gravest((worst, reached, broken))
        beyond.update(dict.fromkeys(trace.beyond))
        if trace.fault is not None:
            faults[trace.fault] = None
    graded = [GradedName(*key, found) for key, found in names.items()]
    # Stable: of the same grade, what is reached first stands first.
    graded.sort(key=lambda name: name.grade, reverse=True)
    return worst, tuple(graded), (*beyond, *faults)


def recognized(contents: Contents, known: Sequence[str]) -> Contents:
    """Return contents whose unknown names count as data where they lie in `known` modules.

    What reaches beyond data stays so, and so does what is unknown for any other reason.
    """
    names = tuple(
        name._replace(known=name.grade is Grade.UNKNOWN and _lies_in(name.module, known))
        for name in contents.names
    )
    told = [str(name) for name in names if name.known]
    if not told:
        return contents
    settled = contents.grade is Grade.UNKNOWN and not contents.reasons
    if settled and all(name.known or name.grade is Grade.DATA for name in names):
        contents = contents._replace(grade=Grade.DATA)
    more = f" and {len(told) - _TOLD:,} more" if len(told) > _TOLD else ""
    reason = f"the audit was told that it knows {', '.join(told[:_TOLD])}{more}"
    return contents._replace(names=names, reasons=(*contents.reasons, reason))


_TOLD = 8


def _lies_in(module: str, known: Sequence[str]) -> bool:
    return any(module == one or module.startswith(f"{one}.") for one in known)
