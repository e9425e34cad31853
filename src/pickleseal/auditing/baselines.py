"""Changes since an inventory: new, changed, replaced by an older one, moved, missing.

Pure: findings and an inventory in, findings out.
"""

import os
from collections.abc import Iterable, Iterator, Mapping

from pickleseal.auditing.findings import (
    Change,
    Finding,
    Level,
    Verdict,
)
from pickleseal.envelope import digests
from pickleseal.files.places import absolute, is_url
from pickleseal.persistence.inventory import CONTENT, Inventory, Item

Items = tuple[Item, ...]


def items_of(finding: Finding) -> Items:
    """Return a finding's inventory items: one for each intact envelope, or one for the file.

    Inventories themselves and refused files are not listed.
    """
    path = finding.path if is_url(finding.path) else os.path.normpath(finding.path)
    if finding.verdict is Verdict.UNSEALED:
        return () if finding.digest is None else (Item(path, finding.digest),)
    return tuple(
        Item.of(path, one.digest, one.metadata)
        for one in finding.envelopes
        if one.digest is not None and one.metadata is not None and one.metadata.content != CONTENT
    )


def compare(
    findings: Iterable[Finding],
    inventory: Inventory,
    roots: Iterable[str],
    left_out: Iterable[str] = (),
) -> Iterator[Finding]:
    """Return findings with their changes, and one for each listed file that is missing.

    Unlisted files come last, when it is known whether they are new or moved. `roots` are the
    audited paths; files listed elsewhere do not count as missing. `left_out` are the folders that
    were skipped, complete after the last finding.
    """
    listed: dict[str, Items] = {}
    for item in inventory.items:
        place = absolute(item.path)
        listed[place] = (*listed.get(place, ()), item)
    seen: set[str] = set()
    strangers: list[tuple[Finding, Items]] = []
    unread: list[str] = []
    for finding in findings:
        path = absolute(finding.path)
        seen.add(path)
        if finding.verdict is Verdict.UNREADABLE:
            unread.append(path)
        items = items_of(finding)
        if items and path not in listed:
            strangers.append((finding, items))
        elif items:
            yield _compared(finding, items, listed[path])
        elif path in listed and _holds_none(finding):
            changed = finding._replace(change=Change.CHANGED)
            yield _at_least(changed, Level.WARNING, "the baseline lists an artifact here")
        else:
            yield finding
    missing = {place: items for place, items in _below(listed, roots) if place not in seen}
    for folders, verdict, why, advice in (
        (left_out, Verdict.SKIPPED, "in a folder that was left out", "name that folder too"),
        (unread, Verdict.UNREADABLE, "what it is in cannot be read", ""),
    ):
        for place, items in _below(missing, folders):
            del missing[place]
            reason = f"listed in the baseline, but {why}"
            yield Finding(items[0].path, verdict, Level.WARNING, reason, advice)
    yield from _settle(strangers, missing)
    for items in missing.values():
        yield Finding(
            items[0].path,
            Verdict.MISSING,
            Level.WARNING,
            "listed in the baseline, but missing",
            "restore it, or make a new list with --inventory",
            digest=items[0].digest,
            change=Change.MISSING,
        )


def covers(inventory: Inventory, roots: Iterable[str]) -> bool:
    """Return whether an inventory lists anything at or below these paths."""
    listed = {absolute(item.path): (item,) for item in inventory.items}
    return any(True for _ in _below(listed, roots))


def _below(listed: Mapping[str, Items], roots: Iterable[str]) -> Iterator[tuple[str, Items]]:
    folders = [absolute(root) for root in roots]
    starts = tuple(f"{f.rstrip('/')}/" if is_url(f) else os.path.join(f, "") for f in folders)
    for place, items in list(listed.items()):
        if place in folders or place.startswith(starts):
            yield place, items


def _holds_none(finding: Finding) -> bool:
    """Return whether another file has replaced a listed one; excluded files do not count."""
    left_out = finding.verdict is Verdict.SKIPPED and finding.level is Level.NONE
    return not left_out and finding.level < Level.ERROR


def _settle(strangers: list[tuple[Finding, Items]], missing: dict[str, Items]) -> Iterator[Finding]:
    """Yield unlisted findings as new or moved; a moved file no longer counts as missing."""
    where: dict[tuple[object, ...], list[str]] = {}
    for path, items in missing.items():
        where.setdefault(_names(items), []).append(path)
    for finding, items in strangers:
        paths = where.get(_names(items))
        if paths:
            origin = missing.pop(paths.pop(0))[0].path
            changed = finding._replace(change=Change.MOVED, moved_from=origin)
            yield _at_least(changed, Level.WARNING, f"the baseline lists it as {origin}")
        else:
            changed = finding._replace(change=Change.NEW)
            yield _at_least(changed, Level.NOTE, "the baseline does not list it")


def _compared(finding: Finding, items: Items, before: Items) -> Finding:
    if _names(items) == _names(before):
        return finding
    older = _older(items, before)
    if older:
        advice = "restore the newer file, and find out who replaced it"
        changed = finding._replace(change=Change.OLDER, advice=finding.advice or advice)
        return _at_least(changed, Level.ERROR, older)
    changed = finding._replace(change=Change.CHANGED)
    if [item.context for item in items] != [item.context for item in before]:
        return _at_least(changed, Level.WARNING, "its context is not the one in the baseline")
    if _differ_by_suite(items, before):
        return _at_least(
            changed,
            Level.NOTE,
            "sealed by a key of another suite than the baseline lists, so that their digests cannot"
            " be compared",
        )
    return _at_least(changed, Level.NOTE, "changed since the baseline")


def _differ_by_suite(items: Items, before: Items) -> bool:
    """Return whether nothing but the digests differs, and these are of other suites."""
    return len(items) == len(before) and all(
        item.metadata == listed.metadata is not None
        and (item.digest == listed.digest or not digests.comparable(item.digest, listed.digest))
        for item, listed in zip(items, before, strict=True)
    )


def _older(items: Items, before: Items) -> str | None:
    """Return why a file is older than the listed one, or None if it is not."""
    serial, listed_serial = _largest(items, "serial"), _largest(before, "serial")
    if serial is not None and listed_serial is not None and serial != listed_serial:
        if serial < listed_serial:
            return f"its serial is {serial}, but the baseline lists {listed_serial}"
        return None
    created, listed_created = _largest(items, "created"), _largest(before, "created")
    if created is not None and listed_created is not None and created < listed_created:
        return "sealed before the file that the baseline lists"
    return None


def _largest(items: Items, field: str) -> int | None:
    values: list[int] = [v for item in items if (v := getattr(item, field)) is not None]
    return max(values, default=None)


def _names(items: Items) -> tuple[tuple[str, str | None], ...]:
    """Return what identifies the content. Resealing a file does not change it."""
    return tuple((item.digest, item.metadata) for item in items)


def _at_least(finding: Finding, level: Level, reason: str) -> Finding:
    reason = f"{finding.reason}; {reason}" if finding.reason else reason
    advice = finding.advice or "if you expected that, make a new list with --inventory"
    return finding._replace(level=max(finding.level, level), reason=reason, advice=advice)
