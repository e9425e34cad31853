"""The documents are true: their code runs, their links resolve, and no public name is missing.

How fenced blocks are read (see also CONTRIBUTING.md):

- ```python: run; the blocks of one file share a namespace. `#> text` lines are the expected output.
  A statement with a comment `# raises: Name: message` must raise that error. A block whose first
  line is `# name.py` is written to that file instead.
- ```console: each line after `$ ` is run; the lines below are the expected output.
- ```sh: not run, since it installs or builds; only make, pip, git and cd are allowed.
- ```{eval-rst}: a docstring, in which Sphinx writes it: tests/test_docstrings.py runs its examples.
- ```text and the like: not code. A block that begins with `pickleseal.errors.` is the error of the
  block before it.

`...` in expected text matches anything. `python tests/test_docs.py` writes the output of `--help`
into docs/reference/cli.md.
"""

import ast
import contextlib
import doctest
import io
import json
import os
import pickle
import re
import shlex
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from fork_server import Forked, can_run
from local_kms import LocalKms
from local_s3 import local_s3

import pickleseal
from pickleseal import Key, Keyring, Suite
from pickleseal.keys.store.changes import create_key

ROOT = Path(__file__).parent.parent
# Next to an installed wheel there are tests without documents, and nothing to check.
DOCUMENTS = sorted(
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"))
    if path.is_file()
)
NAMES = [path.relative_to(ROOT).as_posix() for path in DOCUMENTS]
CACHES = "docs/how-to/seal-caches.md"
"""It needs the frameworks, which only the sweeps install."""
SWEPT = {
    CACHES,
    *(f"docs/how-to/{name}.md" for name in ("keys-in-aws-kms", "protect-keys")),
    "docs/how-to/buckets-and-clusters.md",
}
"""Their commands take seconds: for a KMS, a store of objects, or a passphrase at its full cost."""
TORCH = os.environ.get("READERS_TORCH", "")
"""An interpreter that has torch, as for tests/scanner/test_readers.py."""
every_document = pytest.mark.parametrize("name", NAMES)
once = pytest.mark.once  # what stands in a document depends on no Python
API = ROOT / "docs/reference/api.md"
CLI = ROOT / "docs/reference/cli.md"
ERRORS = ROOT / "docs/reference/errors.md"

NEEDED = {
    CACHES: ("cachelib", "diskcache"),
    "docs/how-to/use-in-pipelines.md": ("dagster", "kedro", "mlflow"),
    "examples/models_in_a_bucket.py": ("s3fs", "moto.server"),
    "examples/serve_a_model.py": ("fastapi", "uvicorn"),
}
"""Modules that the code of a document or an example imports, and that not every environment has."""

LANGUAGES = {"{eval-rst}", "python", "console", "sh", "text", "json", "yaml", "toml", "dockerfile"}
LOOSELY = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

EXIT_CODE = '; echo "exit code $?"'
SCRIPT = """
import sys
del sys.path[0]
sys.argv[0] = "pickleseal"
from pickleseal.cli import main
main()
"""


class Block(NamedTuple):
    language: str
    line: int
    text: str


def blocks(document: Path) -> Iterator[Block]:
    language, start, lines = None, 0, [""]
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        fence = re.match(r"(```+)(.*)$", line)
        if language is None and fence:
            language, start, lines = fence[2].strip(), number, []
        elif language is not None and fence:
            yield Block(language, start, "\n".join(lines) + "\n")
            language = None
        elif language is not None:
            lines.append(line)
    assert language is None, f"{document}: a block that begins at line {start} has no end"


def prose(document: Path) -> str:
    return re.sub(
        r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )


def same(expected: str, got: str) -> bool:
    # The documents are of Pythons whose pickle.dump writes protocol 4; from 3.14 on it is 5.
    got = got.replace(f"pickle, protocol {pickle.DEFAULT_PROTOCOL}", "pickle, protocol 4")
    checker = doctest.OutputChecker()
    return checker.check_output(expected.rstrip() + "\n", got.rstrip() + "\n", LOOSELY)


def environment() -> dict[str, str]:
    """Return an environment in which commands print the same everywhere."""
    ours = str(Path(sys.executable).parent)
    return {
        # The commands have tests of their own: measuring their coverage here doubles each start.
        # pytest in a block would warn of Python without asserts.
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("COVERAGE_", "PYTHONOPTIMIZE"))
        },
        "PATH": ours + os.pathsep + os.environ["PATH"],
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "TERM": "dumb",
        "PYTHONWARNINGS": "error",
        "PYTHONUTF8": "1",
    }


def run_python(block: Block, document: Path, namespace: dict[str, object]) -> BaseException | None:
    """Run a block; return the last error that it was expected to raise."""
    last = None
    source = block.text.splitlines()
    if source and re.fullmatch(r"# [a-z_0-9]+\.py", source[0]):
        Path(source[0][2:]).write_text(block.text, encoding="utf-8")
        return None
    tree = ast.increment_lineno(ast.parse(block.text), block.line)
    printed = io.StringIO()
    for node in tree.body:
        code = compile(ast.Module([node], []), str(document), "exec")
        lines = source[node.lineno - block.line - 1 : (node.end_lineno or 0) - block.line]
        raises = re.search(r"# raises: (\w+)(?:: (.*))?$", "\n".join(lines), re.MULTILINE)
        with contextlib.redirect_stdout(printed):
            if raises is None:
                exec(code, namespace)
                continue
            with pytest.raises(Exception) as caught:  # noqa: PT011 - its name is looked at below
                exec(code, namespace)
        last = caught.value
        assert type(caught.value).__name__ == raises[1], f"{document}:{node.lineno}"
        if raises[2]:
            assert same(raises[2], str(caught.value)), f"{document}:{node.lineno}: {caught.value}"
    expected = "".join(f"{line[3:]}\n" for line in source if line.startswith("#> "))
    if expected:
        got = printed.getvalue()
        assert same(expected, got), f"{document}:{block.line} printed:\n{got}"
    return last


def run_console(block: Block, document: Path) -> None:
    assert block.text.startswith("$ "), f"{document}:{block.line} begins without a command"
    for entry in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, expected = entry.split("\n", 1)
        while command.endswith("\\"):
            more, expected = expected.split("\n", 1)
            command = command[:-1] + more
        code, printed = run_in_shell(command)
        where = f"{document}:{block.line}: {command}"
        # A command that fails is shown with `; echo "exit code $?"`.
        assert code == 0, f"{where}\n{printed}"
        if expected.strip():
            assert same(expected, printed), f"{where} printed:\n{printed}"


def run_in_shell(command: str) -> tuple[int, str]:
    """Run a command as a shell does; one that needs no shell, by a fork."""
    env = environment()
    plain = command.removesuffix(EXIT_CODE)
    name, *words = shlex.split(plain, comments=True)
    if name == "pickleseal" and not re.search(r"[^\w\s'\"/.:=,-]", plain) and can_run(env):
        forked = Forked(["-c", SCRIPT, *words], env=env, cwd=os.getcwd(), together=True)
        code, printed, _ = forked.communicate()
        if plain != command:
            return 0, f"{printed.decode()}exit code {code}\n"
        return code, printed.decode()
    done = subprocess.run(
        ["sh", "-c", command],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty working directory; the keys of whoever runs this are out of reach."""
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(tmp_path / "keyring"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return place


@pytest.fixture
def _elsewhere(name: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Provide the store that a document on keys held elsewhere needs."""
    if name == "docs/how-to/protect-keys.md":
        pytest.importorskip("keyrings.alt.file")
        import keyring.core

        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyrings.alt.file.PlaintextKeyring")
        monkeypatch.setattr(keyring.core, "_keyring_backend", None)
        yield
    elif name in NEEDED:
        for module in NEEDED[name]:
            pytest.importorskip(module)
        yield
    elif name == "docs/how-to/keys-in-aws-kms.md":
        pytest.importorskip("moto")
        kms = LocalKms(workplace.parent)
        try:
            roles = blocks(ROOT / "docs/how-to/keys-in-aws-kms.md")
            seal, load = (json.loads(block.text) for block in roles if block.language == "json")
            profiles = {"sealer": kms.user("sealer", seal), "loader": kms.user("loader", load)}
            (workplace.parent / "credentials").write_text(
                "".join(
                    f"[{profile}]\naws_access_key_id={who[0]}\naws_secret_access_key={who[1]}\n"
                    for profile, who in profiles.items()
                )
            )
            for variable, value in kms.environment().items():
                monkeypatch.setenv(variable, value)
            for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
                monkeypatch.delenv(variable)
            monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", f"{workplace.parent}/credentials")
            monkeypatch.setenv("KEY_ARN", kms.key())
            with kms.enforcing():
                yield
        finally:
            kms.stop()
    elif name == "docs/how-to/buckets-and-clusters.md":
        s3fs = pytest.importorskip("s3fs")
        pytest.importorskip("moto")
        with local_s3() as server:
            for variable, value in server.variables().items():
                monkeypatch.setenv(variable, value)
            s3fs.S3FileSystem.clear_instance_cache()
            yield
            s3fs.S3FileSystem.clear_instance_cache()
    else:
        yield


def marks_of(name: str) -> list[pytest.MarkDecorator]:
    """Return no mark for tutorial, README and reference, whose code runs on every Python.

    Guides are mostly commands, and each Python runs the tests of those.
    """
    if name in SWEPT:
        return [pytest.mark.sweep]
    return [once] if name.startswith("docs/how-to/") else []


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("_elsewhere")
@pytest.mark.parametrize("name", [pytest.param(name, marks=marks_of(name)) for name in NAMES])
def test_every_block_of_a_document_runs(
    name: str, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = ROOT / name
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    todo = list(blocks(document))
    first = next((block.text for block in todo if block.language == "console"), "")
    if not re.match(r"\$ .*pickleseal keygen(?!.*--keyring)", first):
        # If the first command of a document does not make a key, its readers have one.
        create_key(workplace.parent / "keyring", suite=Suite.BLAKE3, note="", now=0)
    error: BaseException | None = None
    for block in todo:
        if block.language == "python":
            error = run_python(block, document, vars(main))
        elif block.text.startswith("pickleseal.errors."):
            assert same(block.text, f"{type(error).__module__}.{type(error).__name__}: {error}")
        elif block.language == "console":
            if os.name != "posix":
                pytest.skip("the commands are for a POSIX shell")
            run_console(block, document)


@once
@every_document
def test_every_block_is_of_a_kind_that_is_run_or_is_no_code(name: str) -> None:
    for block in blocks(ROOT / name):
        assert block.language in LANGUAGES, f"{name}:{block.line}"
        if block.language == "sh":
            commands = {line.split()[0] for line in block.text.splitlines() if line.strip()}
            assert commands <= {"make", "pip", "git", "cd"}, f"{name}:{block.line}"


@once
@pytest.mark.parametrize("name", [name for name in NAMES if re.match(r"docs/adr/\d", name)])
def test_every_record_of_a_decision_has_the_same_sections(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert re.match(r"# (\d{4}): .+\n\nStatus: (accepted|replaced by)", text), name
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        "Question",
        "Decision",
        "Why",
        "What is bad about it",
        "Not chosen",
    ]
    title = text.splitlines()[0].removeprefix("# ")
    assert f"- [{title}]({Path(name).name})" in (ROOT / "docs/adr/README.md").read_text("utf-8")


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).strip().replace(" ", "-")
        for heading in headings
    }


@once
@every_document
def test_every_relative_link_leads_to_a_file_and_a_heading(name: str) -> None:
    document = ROOT / name
    for target in re.findall(r"(?:\]\(|src=\"|srcset=\")([^)\"\s]+)[)\"]", prose(document)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), f"{name} links to {target}"
        assert found.is_relative_to(ROOT), f"{name} links to {target}"
        if anchor and found.suffix == ".md":
            assert anchor in anchors(found), f"{name} links to {target}"


@once
@every_document
def test_no_document_names_what_pickleseal_does_not_have(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    files = {"md", "key", "json", "toml", "py", "sarif"}
    for dotted in re.findall(r"(?<![\w./@-])pickleseal\.(\w+)", text):
        assert dotted in files or hasattr(pickleseal, dotted) or is_a_module(dotted), dotted
    for imported in re.findall(r"^from pickleseal import (?!\()(.+)$", text, re.MULTILINE):
        assert {part.split()[0] for part in imported.split(", ")} <= set(pickleseal.__all__)


def is_a_module(name: str) -> bool:
    package = Path(pickleseal.__file__).parent
    return (package / f"{name}.py").is_file() or (package / name).is_dir()


@pytest.mark.skipif(not API.exists(), reason="the documents are not here")
def test_the_api_reference_has_every_public_name_and_no_other() -> None:
    told = set(re.findall(r"^#{3,4} `(\w+)", API.read_text(encoding="utf-8"), re.MULTILINE))
    errors = {name for name in pickleseal.__all__ if name.endswith(("Error", "Warning"))}
    assert told == set(pickleseal.__all__) - errors
    told = set(re.findall(r"^### `(\w+)`", ERRORS.read_text(encoding="utf-8"), re.MULTILINE))
    assert told == errors


@pytest.mark.skipif(not API.exists(), reason="the documents are not here")
def test_the_api_reference_has_the_docstring_of_each_name_below_its_heading() -> None:
    text = API.read_text(encoding="utf-8")
    for name in re.findall(r"^### `(\w+)`", text, re.MULTILINE):
        value = getattr(pickleseal, name)
        if isinstance(value, int):  # the two protocols
            continue
        kind = "autoclass" if isinstance(value, type) else "autofunction"
        below = text.partition(f"### `{name}`\n")[2].partition("\n### ")[0]
        assert f"```{{eval-rst}}\n.. {kind}:: pickleseal.{name}\n" in below


def helps() -> Iterator[tuple[str, str]]:
    """Yield every command as it is typed, with its help, from the command line's own table."""
    import click

    from pickleseal import cli

    def below(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
        yield context.command_path, command.get_help(context)
        if isinstance(command, click.Group):
            for part in command.list_commands(context):
                child = command.get_command(context, part)
                if child is not None and not child.hidden:
                    settings = child.context_settings
                    yield from below(child, click.Context(child, context, part, **settings))

    top = click.Context(
        cli.cli, info_name="pickleseal", terminal_width=98, **cli.cli.context_settings
    )
    return below(cli.cli, top)


def command_reference(begin: str) -> str:
    """Return the command reference: its beginning, and the help of each command.

    The options that nearly all commands have are left out there.
    """
    shared = "--keyring DIR|--json|-q, --quiet|-h, --help"
    common = re.compile(rf"^  ({shared}) .*\n(   .*\n)*", re.MULTILINE)
    parts = [begin.rstrip()]
    for command, printed in helps():
        text = printed + "\n"
        if command != "pickleseal":
            text = re.sub(r"\nOptions:\n(?=\n|\Z)", "", common.sub("", text))
        parts.append(f"## `{command}`\n\n```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


@pytest.mark.skipif(not CLI.exists(), reason="the documents are not here")
def test_the_command_reference_shows_the_help_of_every_command() -> None:
    text = CLI.read_text(encoding="utf-8")
    assert text == command_reference(text.split("\n## ")[0]), "run `python tests/test_docs.py`"


def test_a_command_prints_its_help_as_the_reference_shows_it() -> None:
    done = subprocess.run(
        ["pickleseal", "keys", "rotate", "--help"],
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout.rstrip() == dict(helps())["pickleseal keys rotate"]


@pytest.mark.skipif(not DOCUMENTS, reason="the documents are not here")
def test_the_plan_of_the_house_has_every_room() -> None:
    plan = next(blocks(ROOT / "docs/explanation/design.md")).text
    package = Path(pickleseal.__file__).parent
    rooms = {path.stem for path in package.glob("[a-z]*.py")}
    rooms |= {path.parent.name for path in package.glob("*/__init__.py")}
    assert rooms - {"py"} <= set(re.findall(r"\w+", plan))


@pytest.mark.skipif(not DOCUMENTS, reason="the documents are not here")
def test_every_extra_is_on_the_page_about_installing() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "docs/how-to/install.md").read_text(encoding="utf-8")
    extras = set(re.findall(r"`pickleseal\[([a-z-]+)\]`", page))
    assert extras == set(project["optional-dependencies"])


@pytest.mark.skipif(not DOCUMENTS, reason="the documents are not here")
def test_every_document_can_be_reached_from_the_first_page() -> None:
    seen, todo = set(), [ROOT / "README.md"]
    while todo:
        document = todo.pop()
        seen.add(document)
        for target in re.findall(r"\]\(([^)#\s]+)", prose(document)):
            found = (document.parent / target).resolve()
            if found.suffix == ".md" and found.exists() and found not in seen:
                todo.append(found)
    below_docs = {path for path in DOCUMENTS if path.is_relative_to(ROOT / "docs")}
    assert below_docs - seen == set()


@pytest.mark.sweep
@pytest.mark.parametrize("script", sorted(ROOT.glob("examples/*.py")), ids=lambda path: path.name)
def test_an_example_runs(script: Path, workplace: Path) -> None:
    for module in NEEDED.get(f"examples/{script.name}", ()):
        pytest.importorskip(module)
    done = subprocess.run(
        [sys.executable, str(script)],
        env=environment(),
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    expected = re.search(r'Prints:\n\n(.*?)"""', script.read_text(encoding="utf-8"), re.DOTALL)
    assert expected, f"{script.name} does not tell what it prints"
    assert same("\n".join(line.strip() for line in expected[1].splitlines()), done.stdout)


@pytest.mark.sweep
@pytest.mark.skipif(not (TORCH and DOCUMENTS), reason="READERS_TORCH names no interpreter")
def test_torch_says_of_a_sealed_file_what_the_questions_say(tmp_path: Path) -> None:
    lines = (ROOT / "docs/how-to/questions.md").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith("- `torch.load` says"))
    _, first, advice, then = re.findall("`([^`]+)`", line)
    (tmp_path / "it.pt").write_bytes(pickleseal.signed_dumps(1, keyring=Keyring(Key.generate())))
    for options, expected in (("", (first, "`weights_only`", "to `False`")), (advice, (then,))):
        load = f"import torch; torch.load('it.pt', {options})"
        command = [TORCH, "-c", load]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert all(text in done.stderr for text in expected), done.stderr


if __name__ == "__main__":
    written = CLI.read_text(encoding="utf-8")
    CLI.write_text(command_reference(written.split("\n## ")[0]), encoding="utf-8")
