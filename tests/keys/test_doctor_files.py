"""`keys doctor` and the files of a ring: missing, damaged, stray, left over."""

import json
import os
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest
from doctoring import NOW, look, mend, new_key, start
from rings import as_root, change_index, key_file, posix

from pickleseal import KeyringError, open_keyring
from pickleseal.keys.key import KeyLine, outline
from pickleseal.keys.store.changes import change_roster
from pickleseal.keys.store.directory import INDEX
from pickleseal.keys.store.doctor import _unreadable, examine


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    """Return a new ring, with nothing wrong."""
    folder = tmp_path / "a ring"
    new_key(folder)
    return folder


def test_a_missing_key_file_is_put_back_or_given_up(ring: Path) -> None:
    other = new_key(ring)
    (ring / "copy").write_bytes(other.path.read_bytes())
    other.path.unlink()
    (finding,) = look(ring).findings
    assert finding.place == str(other.path)
    assert "missing" in finding.problem
    advice, _, command = finding.fix.partition("if there is none: ")
    assert "backup" in advice
    with pytest.raises(KeyringError):
        open_keyring(ring)
    mend(finding._replace(fix=command))
    assert look(ring).code == 0
    assert open_keyring(ring).primary


def test_a_link_that_leads_nowhere_is_a_missing_key_file(ring: Path) -> None:
    file = key_file(ring)
    file.unlink()
    file.symlink_to(ring / "nowhere")
    assert ["missing" in f.problem for f in look(ring).findings] == [True]


def test_the_file_of_a_revoked_key_need_not_be_there(ring: Path) -> None:
    other = new_key(ring)
    change_roster(ring, lambda r: r.revoke(other.entry.id, reason="", now=NOW))
    assert look(ring).code == 0
    other.path.unlink()
    assert look(ring).code == 0


@posix
@pytest.mark.parametrize("what", ["key", "index"])
def test_a_file_that_its_owner_may_not_read_is_found_and_mended(what: str) -> None:
    def story() -> None:
        with tempfile.TemporaryDirectory() as folder:
            ring = Path(folder, "ring")
            new_key(ring)
            path = key_file(ring) if what == "key" else ring / INDEX
            text = path.read_text()
            path.chmod(0o000)
            (finding,) = examine(ring, now=NOW)
            assert (finding.place, "cannot be read by you" in finding.problem) == (str(path), True)
            mend(finding)
            assert path.read_text() == text
            assert examine(ring, now=NOW) == []

    as_nobody(story)


@as_root
def test_a_file_that_cannot_be_read_is_no_damaged_one(
    ring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner may read it again, another user takes it over."""
    key_file(ring).write_text("damaged")
    monkeypatch.setattr(os, "access", lambda *_: False)
    (finding,) = examine(ring, now=NOW)
    assert finding.problem == "cannot be read by you"
    fixes = []
    for owner in (0, 12345):
        os.chown(key_file(ring), owner, -1)
        fixes.append(_unreadable(key_file(ring)).fix.split()[0])
    assert fixes == ["chmod", "chown"]


def as_nobody(story: Callable[[], None]) -> None:
    """Run `story` as a user who may not read everything, in a child if this user is root."""
    if os.geteuid() != 0:
        story()
        return
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.chdir("/")
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            tempfile.tempdir = "/tmp"
            story()
            code = 0
        except BaseException:  # noqa: BLE001 - told to whoever reads the test's output
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


DAMAGED: dict[str, Callable[[str], str]] = {
    "cut": lambda text: text[:-2],
    "changed": lambda text: text[:25] + ("A" if text[25] != "A" else "B") + text[26:],
    "empty": lambda text: "",
    "of another kind": lambda text: text.replace(".2.", ".7."),
    "two lines": lambda text: text * 2,
    "hostile": lambda text: f"\x1b]0;x\x07{text}",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_key_file_is_found_and_not_shown(name: str, ring: Path) -> None:
    file = key_file(ring)
    text = file.read_text()
    file.write_text(DAMAGED[name](text))
    outcome = look(ring)
    (finding,) = outcome.findings
    assert finding.place == str(file)
    assert "is damaged" in finding.problem
    assert "backup" in finding.fix
    assert text.split(".")[2][8:32] not in outcome.text
    assert "\x1b" not in outcome.text


def test_a_key_file_with_another_name_gets_its_own(ring: Path) -> None:
    first, other = key_file(ring), new_key(ring).path
    text = first.read_text()
    other.rename(first)
    misnamed, missing = sorted(look(ring).findings, key=lambda f: f.place != str(first))
    assert "holds another key" in misnamed.problem
    assert (missing.place, "missing" in missing.problem) == (str(other), True)
    mend(misnamed)
    assert [f.place for f in look(ring).findings] == [str(first)]
    first.write_text(text)
    first.chmod(0o600)
    assert look(ring).code == 0


def test_two_key_files_in_each_others_place_are_both_told_and_none_is_lost(ring: Path) -> None:
    first, other = key_file(ring), new_key(ring).path
    texts = first.read_text(), other.read_text()
    first.write_text(texts[1])
    other.write_text(texts[0])
    findings = look(ring).findings
    assert {f.place for f in findings} == {str(first), str(other)}
    assert not [f for f in findings if f.fix.startswith("mv")]


def test_a_key_file_that_names_a_path_as_its_id_decides_no_mend(ring: Path) -> None:
    file = key_file(ring)
    fields = file.read_text().strip().split(".")
    file.write_text(".".join((*fields[:3], "/etc/passwd;x")))
    (finding,) = look(ring).findings
    assert "passwd" not in finding.fix


def test_a_key_file_that_nobody_listed_is_found_and_removed(ring: Path) -> None:
    line = KeyLine.generate()
    stray = ring / f"{outline(line).id}.key"
    stray.write_text(line.reveal())
    stray.chmod(0o600)
    (finding,) = look(ring).findings
    assert finding.place == str(stray)
    assert "not listed" in finding.problem
    mend(finding)
    assert look(ring).code == 0
    assert key_file(ring)


@pytest.mark.parametrize(
    "name",
    [
        "old.key",
        "KEY.KEY",
        "{id}.key.bak",
        "{id}.key~",
        "{id} (1).key",
        ".{id}.key.0a.tmp",
        "x.tmp",
    ],
)
def test_what_is_left_over_is_found_and_removed(name: str, ring: Path) -> None:
    path = ring / name.format(id=key_file(ring).stem)
    path.write_text("x")
    (finding,) = look(ring).findings
    assert finding.place == str(path)
    mend(finding)
    assert look(ring).code == 0
    assert key_file(ring)


def test_other_files_in_the_folder_are_nobodys_business(ring: Path) -> None:
    for name in ("README.md", "keys.txt", "notes.keynote", INDEX + ".sig"):
        (ring / name).touch()
    assert look(ring).code == 0


@pytest.mark.skipif(os.name == "nt", reason="such names cannot be made there")
@pytest.mark.parametrize(
    "name",
    [
        "a\nb.key",
        "a\x1b]0;title\x07.key",
        "[red]a[bold].key",
        "\u202eyek.key",
        "it's $HOME `id` \\n \n'.key",
        "é\n.tmp",
        "-rf \t.tmp",
        os.fsdecode(b"\xff\xfe.tmp"),
    ],
)
def test_a_hostile_name_is_shown_escaped_and_its_file_alone_is_removed(
    name: str, ring: Path
) -> None:
    (ring / name).touch()
    outcome = look(ring)
    (finding,) = outcome.findings
    done = start("--keyring", ring, "--json")
    assert done.stdout.isascii()
    told = {"place": finding.place, "problem": finding.problem, "fix": finding.fix}
    assert json.loads(done.stdout)["findings"] == [told]
    assert os.fsencode(finding.place) == os.fsencode(ring / name)
    for character in ("\x1b]", "\x07", "\u202e", "\udcff", "\t"):
        assert character not in outcome.text
    assert len(outcome.text.splitlines()) == 4
    if not name.isprintable():  # the name as it is shown is another file's
        (ring / name.encode("unicode_escape").decode()).touch()
    before = set(os.listdir(ring))
    mend(finding)
    assert before - set(os.listdir(ring)) == {name}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": "\\u001b]0;x"}',
        '{"epoch": 1}',
        "\x00\xff",
        "[" * 100_000,
        "9" * 9,
    ],
)
def test_a_damaged_index_is_found(text: str, ring: Path) -> None:
    (ring / INDEX).write_bytes(text.encode("latin-1"))
    outcome = look(ring)
    (finding,) = outcome.findings
    assert finding.place == str(ring / INDEX)
    assert "is damaged" in finding.problem
    assert "backup" in finding.fix
    assert "\x1b" not in outcome.text


def test_a_missing_index_beside_keys_is_found_and_no_new_ring_is_proposed(ring: Path) -> None:
    (ring / INDEX).unlink()
    (ring / "left.tmp").touch()
    first, second = look(ring).findings
    assert first.place == str(ring / INDEX)
    assert "missing" in first.problem
    assert "backup" in first.fix
    assert "keygen" not in first.fix
    assert second.place == str(ring / "left.tmp")


def test_an_index_with_another_suite_is_found(ring: Path) -> None:
    change_index(ring, lambda i: i["keys"][i["primary"]].update(suite=1))
    assert ["suite" in f.problem for f in look(ring).findings] == [True]


@pytest.mark.parametrize(("least", "code"), [("1", 0), ("0", 0), ("2", 1), ("999", 1)])
def test_an_index_older_than_the_variable_asks_for_is_found(
    least: str, code: int, ring: Path
) -> None:
    outcome = look(ring, env={"PICKLESEAL_MIN_EPOCH": least})
    assert outcome.code == code
    assert [(f.place, "epoch 1" in f.problem) for f in outcome.findings] == [
        (str(ring / INDEX), True)
    ] * code


@pytest.mark.parametrize("name", ["PICKLESEAL_MIN_EPOCH", "PICKLESEAL_GROUP_READ"])
def test_a_variable_that_cannot_be_read_is_found(name: str, ring: Path) -> None:
    (finding,) = look(ring, env={name: "yes\x1b[2J"}).findings
    assert finding.place == name
    assert name in finding.fix
    mend(finding)
