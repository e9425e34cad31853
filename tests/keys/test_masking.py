"""A key line in the wrong place: no message, traceback, JSON or usage error shows its secret."""

import base64
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from command import run
from hypothesis import example, given
from hypothesis import strategies as st

import pickleseal
from pickleseal import (
    Key,
    Keyring,
    KeyringError,
    MetadataError,
    PinsError,
    TargetError,
    signed_dump,
    signed_dumps,
)
from pickleseal.errors import check_path, holds_key_line, holds_part, masked, shown, without_secrets
from pickleseal.keys.key import KeyLine

RUN = 8
"""No part of a secret that is as long as this may be shown."""

LINE = KeyLine.generate().reveal()
SECRET, KEY_ID = LINE.split(".")[2:]
FORMS = {
    "whole": LINE,
    "with a space in front": f" {LINE}",
    "with a line end": f"{LINE}\n",
    "in quotation marks": f'"{LINE}"',
    "assigned": f"export PICKLESEAL_KEY='{LINE}'",
    "in a path": f"/srv/{LINE}/model.pkl",
    "url-encoded": quote(LINE, safe=""),
    "all percent-encoded": LINE.replace("-", "%2D").replace(".", "%2E"),
    "upper-cased": LINE.upper(),
    "cut in the id": LINE[:-5],
    "cut in the secret": LINE[:40],
    "without its suite": LINE.replace(".2.", ".", 1),
    "wrapped": f"{LINE[:40]}\n{LINE[40:]}",
    "with a blank in it": f"{LINE[:40]} {LINE[40:]}",
    "twice": f"{LINE} {LINE}",
    "twice in one": LINE + LINE,
    "with more behind": f"{LINE}x",
}


EXOTIC = {
    **{f"wrapped at {at}": f"{LINE[:at]}\n{LINE[at:]}" for at in (1, 7, 15, 16, 17)},
    "a blank that does not break": LINE.replace(".", "\u00a0."),
    "a blank of no width": f"{LINE[:5]}\u200b{LINE[5:]}",
    "hyphens that do not break": LINE.replace("-", "\u2011", 2),
    "dashes": LINE.replace("-", "\u2013", 2),
    "underscores": LINE.replace("-", "_", 2),
    "wide dots": LINE.replace(".", "\uff0e"),
    "blanks for dots": LINE.replace(".", " "),
    "backslashes": LINE.replace("-", "\\-").replace(".", "\\."),
    "quoted in parts": f"'pickleseal-key-1'\".2.\"{SECRET}.{KEY_ID}",
    "percent-encoded twice": quote(LINE.replace("-", "%2D").replace(".", "%2E"), safe=""),
    "quoted-printable": LINE.replace("-", "=2D", 2),
    "of a page": LINE.replace(".", "&#46;").replace("-", "&hyphen;", 2),
    **{
        f"in base64 behind {before!r}": base64.b64encode((before + LINE).encode()).decode()
        for before in ("", "a", "KEY=", "export PICKLESEAL_KEY=")
    },
}
"""What becomes of a line in a mail, a chat, a page, a manifest or a script."""


def leaks(text: str) -> list[str]:
    """Return the parts of the secret that are in a text, in any case."""
    low, secret = text.lower(), SECRET.lower()
    parts = (secret[at : at + RUN] for at in range(len(secret) - RUN + 1))
    return [part for part in parts if part in low]


# --- the mask --------------------------------------------------------------------------------


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_a_key_line_is_masked_however_it_is_written(text: str) -> None:
    assert leaks(text), "the test finds what is there"
    for said in (masked(text), shown(text), masked(f"it is '{text}': no"), str(KeyringError(text))):
        assert not leaks(said)
        assert masked(said) == said
        assert "pickleseal-key-1" in said
    assert holds_key_line(text)


@pytest.mark.parametrize("text", EXOTIC.values(), ids=EXOTIC)
def test_a_key_line_is_masked_whatever_it_was_copied_through(text: str) -> None:
    said = masked(f"it is '{text}': no")
    assert not leaks(said)
    encoded = base64.b64encode(SECRET.encode()).decode()
    assert not any(encoded[at : at + RUN] in said for at in range(len(encoded) - RUN))
    assert masked(said) == said
    assert holds_part(text)
    with pytest.raises(KeyringError, match="not a path: put it in PICKLESEAL_KEY"):
        check_path(text)


@given(st.text("pickleseal-key-1.2&#%=;_ \\\n\u200bABC", max_size=300))
@example("pickleseal-key-1" + "&" * 300)
@example("pickleseal-key-1" + "%25" * 300)
@example("p i c k l e " * 300)
def test_masking_what_was_masked_changes_nothing(text: str) -> None:
    assert masked(masked(text)) == masked(text)


def test_a_whole_line_keeps_its_suite_and_id_and_the_text_around_it() -> None:
    assert masked(f"'{LINE}': no") == f"'pickleseal-key-1.2.[hidden].{KEY_ID}': no"
    wrapped = f"pickleseal-key-1.1-scrypt.{'A' * 22}.17.{SECRET * 2}.{KEY_ID}"
    assert masked(wrapped) == f"pickleseal-key-1.1-scrypt.[hidden].{KEY_ID}"


@pytest.mark.parametrize(
    "text",
    [
        "models/fraud.pkl",
        "pickleseal-key-1.txt",
        "pickleseal-key-1/keyring.json",
        "my pickleseal-key-10.key",
        "this is not a key line: a key line begins with pickleseal-key-1.",
        "2c0abba4d7207b23347f7eeb6b697b9d.key",
        "pickleseal-key-1-2026-11-production-server.key",
        "pickleseal keys rotate --keyring /srv/keys/1/2/production",
        "src/pickleseal/keys/store/permissions.py",
        "",
    ],
)
def test_what_is_no_key_line_stays_as_it_is(text: str) -> None:
    assert masked(text) == text
    check_path(text)


@given(st.text(max_size=40), st.text(max_size=40), st.integers(17, len(LINE)))
def test_nothing_around_a_line_or_a_part_of_one_uncovers_it(
    before: str, after: str, length: int
) -> None:
    text = before + LINE[:length] + after
    assert not leaks(masked(text))
    assert masked(masked(text)) == masked(text)


@pytest.mark.parametrize("error", [KeyringError, PinsError, TargetError, pickleseal.SealError])
def test_no_error_of_pickleseal_holds_a_secret(error: type[Exception]) -> None:
    made = error(f"the file {LINE}: no")
    assert not leaks(str(made) + repr(made) + repr(made.args))


def test_a_json_value_is_masked_at_every_depth() -> None:
    value = {LINE: [LINE, {"a": (LINE, 1, None, True)}]}
    assert not leaks(json.dumps(without_secrets(value)))
    assert without_secrets({"a": [1, None, "x"]}) == {"a": [1, None, "x"]}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_a_line_in_the_place_of_a_path_is_told_as_such(text: str) -> None:
    with pytest.raises(KeyringError, match="not a path: put it in PICKLESEAL_KEY"):
        pickleseal.signed_load(text)
    with pytest.raises(KeyringError, match="not a path: put it in PICKLESEAL_KEY"):
        pickleseal.open_keyring(text)


# --- in real processes -----------------------------------------------------------------------

LIBRARY = """
import inspect, io, json, os, pathlib, sys, traceback
import pickleseal

forms = json.loads(sys.stdin.read())
sealed = open("model.pkl", "rb").read()
good = {"obj": [1], "data": sealed, "directory": os.environ["PICKLESEAL_KEYRING"]}
count = 0


def tries(name, parameters):
    # Each parameter in turn is the line, as a text, a path, or within a list or table.
    for chosen in parameters.values():
        if chosen.name == "obj":
            continue
        for text in forms:
            for value in (text, pathlib.Path(text), [text], {text: text}):
                positional, named = [], {}
                for p in parameters.values():
                    if p is not chosen and p.default is not p.empty:
                        continue
                    known = value if p is chosen else good.get(p.name, "model.pkl")
                    if p.name == "file" and "dump" in name and p is not chosen:
                        known = io.BytesIO()
                    if p.kind is p.POSITIONAL_ONLY:
                        positional.append(known)
                    else:
                        named[p.name] = known
                yield positional, named


for name in pickleseal.__all__:
    function = getattr(pickleseal, name)
    if isinstance(function, type) or not callable(function):
        continue
    for positional, named in tries(name, inspect.signature(function).parameters):
        count += 1
        try:
            found = function(*positional, **named)
            if name == "audit":
                found.report()
        except Exception as error:
            traceback.print_exc()
            print(repr(error), repr(error.args))
print(count)
"""

COMMANDS = """
import json, os, sys
import click
from pickleseal.cli import cli, main

forms = json.loads(sys.stdin.read())
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
count = 0


def commands(command, path):
    yield path, command
    if isinstance(command, click.Group):
        with click.Context(command) as context:
            for name in command.list_commands(context):
                yield from commands(command.get_command(context, name), [*path, name])


def tries(path, command, text):
    # The line is each argument and the value of each option in turn.
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    options = [p for p in command.params if isinstance(p, click.Option)]
    needed = [part for p in options if p.required for part in (p.opts[0], "x")]
    others = ["model.pkl" for p in arguments if p.required]
    yield [*path, text]
    yield [*path, *needed, text]
    yield [*path, *needed, *others, text]
    yield [*path, *needed, *others, f"--{text}"]
    for number in range(len(others)):
        yield [*path, *needed, *others[:number], text, *others[number + 1:]]
    for option in options:
        if option.is_flag:
            yield [*path, *needed, *others, f"{option.opts[0]}={text}"]
        else:
            yield [*path, *needed, *others, option.opts[0], text]
            yield [*path, *needed, *others, option.opts[0], f"json={text}"]
            yield [*path, option.opts[0], text]


def run(arguments):
    global count
    count += 1
    sys.argv = ["pickleseal", *arguments]
    try:
        main()
    except SystemExit:
        sys.stdout.flush()


for path, command in list(commands(cli, [])):
    in_json = any("--json" in p.opts for p in command.params)
    for text in forms:
        for arguments in tries(path, command, text):
            run(arguments)
            if in_json:
                run([*arguments, "--json"])
print(count)
"""

VARIABLES = """
import json, os, sys, traceback
import pickleseal
from pickleseal.cli import main

forms = json.loads(sys.stdin.read())
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
names = [
    "PICKLESEAL_KEYRING", "PICKLESEAL_KEY", "PICKLESEAL_PINS", "PICKLESEAL_MIN_EPOCH",
    "PICKLESEAL_GROUP_READ", "PICKLESEAL_PASSPHRASE", "PICKLESEAL_PASSPHRASE_COMMAND",
    "PICKLESEAL_NEW_PASSPHRASE", "SOURCE_DATE_EPOCH", "XDG_DATA_HOME", "HOME",
]
commands = [
    ["verify", "model.pkl"], ["inspect", "model.pkl", "--json"], ["audit", "model.pkl"],
    ["audit", "model.pkl", "--format", "json"], ["audit", "model.pkl", "--format", "sarif"],
    ["keys", "list"], ["keys", "list", "--json"], ["keys", "show"], ["keys", "doctor"],
    ["keys", "doctor", "--json"], ["keygen"], ["keygen", "--passphrase"], ["pins", "list"],
]
calls = [
    lambda: pickleseal.signed_dumps([1]),
    lambda: pickleseal.signed_load("model.pkl"),
    lambda: pickleseal.open_keyring(os.environ["RING"], min_epoch=None),
    lambda: pickleseal.audit("model.pkl").report(),
]
count = 0
usual = dict(os.environ)
for name in names:
    for text in forms:
        os.environ.update({**usual, "PICKLESEAL_KEYRING": os.environ["RING"]})
        if name in ("PICKLESEAL_KEY", "HOME", "XDG_DATA_HOME"):
            del os.environ["PICKLESEAL_KEYRING"]
        os.environ[name] = text
        for arguments in commands:
            count += 1
            sys.argv = ["pickleseal", *arguments]
            try:
                main()
            except SystemExit:
                sys.stdout.flush()
        for call in calls:
            try:
                print(call())
            except Exception:
                traceback.print_exc()
        os.environ.pop(name)
print(count)
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Return the environment of a process with a ring, and a sealed file beside it."""
    ring = tmp_path / "ring"
    made = subprocess.run(
        [sys.executable, "-m", "pickleseal", "keygen", "--keyring", str(ring)],
        capture_output=True,
        check=True,
    )
    assert made.stdout
    signed_dump([1], tmp_path / "model.pkl", keyring=ring)
    mine = {"PICKLESEAL_KEYRING": str(ring), "RING": str(ring), "XDG_DATA_HOME": f"{tmp_path}/data"}
    yield {**os.environ, **mine}
    for path in tmp_path.rglob("*"):
        assert not leaks(str(path)), "nothing is called by a key line"


def python(code: str, env: dict[str, str], cwd: Path, step: int) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps([*FORMS.values()][::step]),
        capture_output=True,
        text=True,
        check=False,
        env=env,
        cwd=cwd,
    )
    assert done.returncode == 0, masked(done.stderr[-3000:])
    return done.stdout, done.stderr


# Each form is looked at by itself elsewhere.
with_forms = pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.sweep)])


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_a_line_is_sealed_into_no_file_as_a_fact_about_it(text: str) -> None:
    ring = Keyring(Key.generate())
    facts: list[dict[str, Any]] = [{"context": text}, {"info": {"run": [{"key": text}]}}]
    for fact in facts:
        with pytest.raises(MetadataError) as caught:
            signed_dumps(1, keyring=ring, **fact)
        assert not leaks(str(caught.value))


@with_forms
def test_no_parameter_of_the_library_shows_a_line(
    project: dict[str, str], tmp_path: Path, step: int
) -> None:
    output, complaint = python(LIBRARY, project, tmp_path, step)
    assert int(output.split()[-1]) > 1000, "each parameter was tried"
    assert "this is a key line, not a path" in complaint
    assert not leaks(output + complaint)


@with_forms
def test_no_argument_of_a_command_shows_a_line(
    project: dict[str, str], tmp_path: Path, step: int
) -> None:
    output, complaint = python(COMMANDS, project, tmp_path, step)
    assert int(output.split()[-1]) > 1000, "each argument was tried"
    assert "Traceback" not in complaint
    assert not leaks(output + complaint)


@pytest.mark.once
@pytest.mark.parametrize("as_json", [[], ["--json"]])
@pytest.mark.parametrize(
    "parts",
    [
        (LINE[:50], LINE[50:]),
        (LINE[50:], LINE[:50]),
        ("pickleseal-key-1.", f"2.{SECRET}.{KEY_ID}"),
        ("pickleseal-key-1.2", SECRET),
        ("pickle", f"seal-key-1.2.{SECRET[:20]}", SECRET[20:]),
    ],
)
def test_a_line_that_is_split_between_arguments_is_not_shown(
    parts: tuple[str, ...], as_json: list[str]
) -> None:
    for command in (["verify"], ["keys", "note"], ["no-command"]):
        done = run(*command, *parts, *as_json)
        assert done.returncode == 2
        assert not leaks(done.stdout + done.stderr)
        assert "contain a part of a key line" in done.stdout + done.stderr


REPORTS = (
    ["audit", ".", "--all", "--html", "page.html"],
    *(["audit", ".", "--format", name] for name in ("json", "jsonl", "sarif")),
    ["verify", "."],
    ["find-loads", "."],
    ["find-loads", ".", "--json"],
    ["adopt", ".", "--dry-run", "--context", "{path}"],
)


@pytest.mark.once
@pytest.mark.parametrize("arguments", REPORTS, ids=" ".join)
def test_no_report_shows_a_line(
    arguments: list[str], project: dict[str, str], tmp_path: Path
) -> None:
    """It may be the name of a file, of a member of an archive, or of what a pickle imports."""
    (tmp_path / LINE).mkdir()
    (tmp_path / LINE / "model.pkl").write_bytes(b"cos\nsystem\n.")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / f"{LINE}.pkl").write_bytes((tmp_path / "model.pkl").read_bytes())
    (tmp_path / "names.pkl").write_bytes(b"cpickleseal-key-1.2\n%s\n." % SECRET.encode())
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.writestr(f"{LINE}/data.pkl", b"cos\nsystem\n.")
    wrapped = f"{LINE[:40]}\n{LINE[40:]}"
    (tmp_path / "code.py").write_text(f'import pickle\npickle.loads("""{wrapped}""")\n')
    done = run(*arguments, env=project, cwd=tmp_path)
    for path in list(tmp_path.rglob(f"{LINE}*")):
        path.rename(path.with_name("renamed"))  # the fixture looks for such names
    pages = [page.read_text() for page in tmp_path.glob("*.html")]
    for text in (done.stdout + done.stderr, *pages):
        assert "hidden" in text
        assert not leaks(text)


@with_forms
def test_no_variable_shows_a_line(project: dict[str, str], tmp_path: Path, step: int) -> None:
    output, complaint = python(VARIABLES, project, tmp_path, step)
    assert int(output.split()[-1]) > 500, "each variable was tried"
    assert "PICKLESEAL_KEYRING: this is a key line, not a path" in complaint
    assert not leaks(output + complaint)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('"LINE"', "quotation marks"),
        ("'LINE'", "quotation marks"),
        ('LINE"', "quotation marks"),
        ("PICKLESEAL_KEY=LINE", "variable's name"),
        ("PICKLESEAL_KEY='LINE'", "variable's name"),
        ("export PICKLESEAL_KEY=LINE", "the word export"),
        ("xLINE", "not a key line"),
        (base64.b64encode(LINE.encode()).decode(), "in base64"),
    ],
)
def test_what_stands_around_a_line_in_the_variable_is_told(
    text: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_KEY", text.replace("LINE", LINE))
    with pytest.raises(KeyringError, match=told) as caught:
        pickleseal.signed_dumps(1)
    assert "PICKLESEAL_KEY" in str(caught.value)
    assert not leaks(str(caught.value))
