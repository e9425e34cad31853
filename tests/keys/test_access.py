"""Which groups give nobody else access, and which owners are known."""

import os
import sys
from pathlib import Path

import pytest

grp = pytest.importorskip("grp")
pwd = pytest.importorskip("pwd")

from pickleseal.keys.store.access import is_nobody_else, is_unmapped  # noqa: E402 - not on Windows


def world(
    monkeypatch: pytest.MonkeyPatch, *, group: str, user: tuple[str, int, int], me: int
) -> None:
    """Replace the system's groups and users by one of each."""
    name, uid, gid = user
    one = pwd.struct_passwd((name, "x", uid, gid, "", "/", "/bin/sh"))

    def user_of(number: int) -> object:
        if number != uid:
            raise KeyError(number)
        return one

    monkeypatch.setattr(grp, "getgrgid", lambda gid: grp.struct_group((group, "x", gid, [])))
    monkeypatch.setattr(pwd, "getpwuid", user_of)
    monkeypatch.setattr(pwd, "getpwall", lambda: [one])
    monkeypatch.setattr(os, "geteuid", lambda: me)


@pytest.mark.parametrize(
    ("platform", "group", "gid", "counts"),
    [
        ("darwin", "admin", 80, False),
        ("darwin", "admin", 81, True),
        ("darwin", "admins", 80, True),
        ("linux", "admin", 80, True),
    ],
)
def test_the_administrators_of_a_mac_are_nobody_else_and_on_linux_they_are_a_group(
    platform: str,
    group: str,
    gid: int,
    counts: bool,  # noqa: FBT001 - a column of the table
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world(monkeypatch, group=group, user=("ann", 1000, 1000), me=1000)
    monkeypatch.setattr(sys, "platform", platform)
    assert is_nobody_else(gid, 1000) is not counts


@pytest.mark.parametrize(
    ("user", "me", "counts"),
    [
        (("ann", 1000, 1000), 1000, False),
        (("ann", 1000, 1000), 0, False),
        (("ann", 1000, 2000), 1000, True),
        (("bob", 1000, 1000), 1000, True),
    ],
)
def test_the_private_group_of_the_owner_is_nobody_else(
    user: tuple[str, int, int],
    me: int,
    counts: bool,  # noqa: FBT001 - a column of the table
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world(monkeypatch, group="ann", user=user, me=me)
    assert is_nobody_else(1000, 1000) is not counts


@pytest.mark.parametrize("me", [0, 1000])
def test_the_group_of_root_is_private_to_root_alone(
    me: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In some containers every user is in it."""
    world(monkeypatch, group="root", user=("root", 0, 0), me=me)
    assert is_nobody_else(0, 0) is (me == 0)


def knows_all_users() -> bool:
    table = Path("/proc/self/uid_map")
    return table.exists() and table.read_text().split() == ["0", "0", "4294967295"]


@pytest.mark.skipif(not knows_all_users(), reason="this user namespace has few users")
def test_nobody_is_a_user_like_others_where_all_are_known() -> None:
    assert not is_unmapped(65534)
