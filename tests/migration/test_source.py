"""Call sites in source: which are found, which are not, and that the replacements work."""

import json
from pathlib import Path
from typing import Any

import pytest

from pickleseal import Keyring, inspect, open_keyring, signed_dump, signed_load
from pickleseal.migration.source import text
from pickleseal.migration.source.functions import Kind
from pickleseal.migration.source.notebooks import in_notebook
from pickleseal.migration.source.sites import Reading, Site, in_module


def sites(source: str) -> tuple[Site, ...]:
    found = in_module(source.encode())
    assert found.faults == ()
    return found.sites


def functions(source: str) -> list[str]:
    return [site.function for site in sites(source)]


def instead(source: str) -> str | None:
    (site,) = sites(source)
    return site.instead


def cell(source: str | list[str], kind: str = "code") -> dict[str, Any]:
    return {"cell_type": kind, "source": source, "metadata": {}}


def notebook(*cells: dict[str, Any], **about: Any) -> Reading:
    document = {"cells": list(cells), "metadata": about, "nbformat": 4, "nbformat_minor": 5}
    return in_notebook(json.dumps(document).encode())


# --- what is found ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "function"),
    [
        ("import pickle\npickle.load(f)", "pickle.load"),
        ("import pickle as pkl\npkl.loads(b)", "pickle.loads"),
        ("from pickle import load as pl\npl(f)", "pickle.load"),
        ("from pickle import *\ndumps(x)", "pickle.dumps"),
        ("import _pickle\n_pickle.load(f)", "pickle.load"),
        ("import cPickle as p\np.dump(x, f)", "pickle.dump"),
        ("from six.moves import cPickle\ncPickle.load(f)", "pickle.load"),
        ("import pickle\npickle.Unpickler(f)", "pickle.Unpickler"),
        ("import pickle\nclass U(pickle.Unpickler): pass", "pickle.Unpickler"),
        ("import joblib\njoblib.load(p)", "joblib.load"),
        ("from joblib import load\nload(p)", "joblib.load"),
        ("from sklearn.externals import joblib\njoblib.load(p)", "joblib.load"),
        ("import sklearn.externals.joblib\nsklearn.externals.joblib.load(p)", "joblib.load"),
        ("import pandas as pd\npd.read_pickle(p)", "pandas.read_pickle"),
        ("frame.query('a').to_pickle(p)", "to_pickle"),
        ("import cloudpickle\ncloudpickle.dumps(x)", "cloudpickle.dumps"),
        ("import dill\ndill.load(f)", "dill.load"),
        ("import torch\ntorch.load(p)", "torch.load"),
        ("import torch\ntorch.load(p, weights_only=False)", "torch.load"),
        ("import torch\ntorch.load(p, weights_only=strict)", "torch.load"),
        ("import numpy as np\nnp.load(p, allow_pickle=True)", "numpy.load"),
        ("import numpy as np\nnp.load(p, None, True)", "numpy.load"),
        ("import numpy as np\nnp.load(p, allow_pickle=trusted)", "numpy.load"),
        ("import shelve\nshelve.open(p)", "shelve.open"),
        ("def f():\n    import pickle\n    return pickle.load(x)", "pickle.load"),
        ("import pickle\nx = [pickle.load(f) for f in files]", "pickle.load"),
        ("import pickle\nx = lambda f: pickle.load(f)", "pickle.load"),
        ("import pickle\nclass A:\n    def m(self, f): return pickle.load(f)", "pickle.load"),
        ("try: import joblib\nexcept OSError: joblib = None\njoblib.load(p)", "joblib.load"),
        (
            "try: from joblib import load\nexcept OSError:\n    def load(p): ...\nload(p)",
            "joblib.load",
        ),
        (
            "try: import pickle\nexcept OSError: pickle = fake()\npickle.load(f)",
            "pickle.load",
        ),
        ("if a: from pickle import load\nelse: load = b()\nload(f)", "pickle.load"),
        ("def f():\n    global joblib\n    import joblib\ndef g(): joblib.load(p)", "joblib.load"),
        ("def f(): return pickle.load(x)\nimport pickle", "pickle.load"),
        ("from joblib import load\nload = load(p)", "joblib.load"),
        ("import pickle\nlist(map(pickle.loads, blobs))", "pickle.loads"),
        ("import pickle\npickle._load(f)", "pickle.load"),
        ("import pickle\npickle._loads(b)", "pickle.loads"),
        ("import pickle\npickle._dump(x, f)", "pickle.dump"),
        ("import pickle\npickle._dumps(x)", "pickle.dumps"),
        ("import pickle\npickle._Unpickler(f).load()", "pickle.Unpickler"),
        ("import pickle\nclass A(pickle._Unpickler): ...", "pickle.Unpickler"),
        ("from pickle import _Pickler\n_Pickler(f)", "pickle.Pickler"),
        ("import pickle\nlist(map(pickle._loads, blobs))", "pickle.loads"),
        ("import _pickle\n_pickle.Unpickler(f)", "pickle.Unpickler"),
        ('__import__("pickle").loads(b)', "pickle.loads"),
        ('__import__(name="pickle").loads(b)', "pickle.loads"),
        ('__import__("pandas.io").read_pickle(p)', "pandas.read_pickle"),
        ('__import__("pandas.io.pickle", fromlist=["x"]).read_pickle(p)', "pandas.read_pickle"),
        ('import importlib\nimportlib.import_module("pickle").loads(b)', "pickle.loads"),
        ('from importlib import import_module as i\ni("joblib").load(p)', "joblib.load"),
        ('p = __import__("pickle")\np.loads(b)', "pickle.loads"),
        ('list(map(__import__("pickle").loads, blobs))', "pickle.loads"),
        ("import joblib\njoblib.Memory('cache')", "joblib.Memory"),
        ("from joblib.memory import Memory\nMemory(location=place)", "joblib.Memory"),
        ("from joblib import Memory\nMemory(**settings)", "joblib.Memory"),
        ("import joblib\njoblib.Memory('cache', backend='local')", "joblib.Memory"),
        ('import importlib as i\ni.import_module("six.moves.cPickle").load(p)', "pickle.load"),
        ('__import__("six.moves.cPickle", fromlist=["load"]).load(p)', "pickle.load"),
        ('__import__("joblib.memory").load(p)', "joblib.load"),
        ("import torch\nlist(map(torch.load, paths))", "torch.load"),
        ("import dill\nlist(map(dill.loads, blobs))", "dill.loads"),
        ("import joblib\nclass A(joblib.Memory): ...", "joblib.Memory"),
        ("load = 1\nclass A:\n  def m(self): load(f)\nfrom pickle import load", "pickle.load"),
        ("class A:\n  from pickle import load\n  x = load(f)", "pickle.load"),
        ("import pickle as p\ndef f(): return p.load(x)", "pickle.load"),
        ("import pickle\nx[pickle.load(f)] = y", "pickle.load"),
        ("import joblib\nif off:\n  joblib = None\njoblib.load(p)", "joblib.load"),
        ("from joblib import load\nload: Any\nload(p)", "joblib.load"),
        ("import \uff50ickle\n\uff50ickle.load(f)", "pickle.load"),
        ('import pickle\nx = f"é {pickle.loads(b)!r}"', "pickle.loads"),
    ],
)
def test_a_bare_pickle_is_found_under_whatever_name(source: str, function: str) -> None:
    assert functions(source) == [function]


def test_an_alias_of_a_function_is_followed() -> None:
    found = sites("import pickle\nread = pickle.load\nread(f)")
    assert [(site.code, site.function) for site in found] == [
        ("pickle.load", "pickle.load"),
        ("read(f)", "pickle.load"),
    ]


@pytest.mark.parametrize(
    "source",
    [
        "import json\njson.load(f)",
        "load(f)",
        "from joblib import Memory\nMemory('cache', backend='pickleseal')",
        "from joblib import Memory\nMemory(None)",
        "from joblib import Memory\nMemory(verbose=0)",
        "from joblib import Memory\ndef f(cache: Memory) -> None: ...",
        '__import__("json").loads(b)  # no pickle',
        "__import__(pickle).loads(b)",
        'def __import__(name): ...\n__import__("pickle").loads(b)',
        'from .importlib import import_module\nimport_module("pickle").loads(b)',
        "import pickleseal as pickle\npickle.load(f)",
        "from pickleseal import load\nload(f)",
        "import pickle\npickle = other()\npickle.load(f)",
        "import pickle\ndef f(pickle): return pickle.load(x)",
        "import pickle\ndef f():\n    pickle = g()\n    return pickle.load(x)",
        "from joblib import load\ndef load(path): ...\nload(p)",
        "from joblib import load\nx = [load(p) for load in loaders]",
        "from joblib import load\nfor load in loaders:\n    load(p)",
        "from joblib import load\nwith g() as load:\n    load(p)",
        "from joblib import load\nx = lambda load: load(p)",
        "import pickle\npickle.HIGHEST_PROTOCOL",
        "import pickle\ndef f(given: pickle.Unpickler): ...",
        "class A:\n    from pickle import load\n    def m(self): return load(f)",
        "from .pickle import load\nload(f)",
        "from .pickle import *\nload(f)",
        "__import__(1).loads(b)  # no pickle",
        "f()().loads(b)",
        "try:\n  import json\nexcept ImportError:\n  class pickle: ...\npickle.load(f)",
        "import torch\ntorch.load(p, weights_only=True)",
        "import numpy as np\nlist(map(np.load, paths))",
        "import numpy as np\nnp.load(p)",
        "import numpy as np\nnp.load(p, allow_pickle=False)",
        "'import pickle; pickle.load(f)'",
        "# pickle.load(f)",
    ],
)
def test_what_is_no_bare_pickle_is_not_listed(source: str) -> None:
    assert functions(source) == []


def test_a_name_is_what_it_was_where_it_is_used() -> None:
    source = "from joblib import load\na = load(p)\nload = 3\nb = load(p)\n"
    assert [site.line for site in sites(source)] == [2]


def test_a_name_that_nothing_imports_is_a_guess() -> None:
    followed, bare, method = (
        sites(source)[0].guess
        for source in ("import pickle\npickle.load(f)", "pickle.load(f)", "x.to_pickle(p)")
    )
    assert (followed, bare, method) == (False, True, True)


def test_a_site_has_its_line_column_in_characters_kind_and_text() -> None:
    first, second = sites(
        "import pickle\n\né = 'é'; m = pickle.load(\n    f,\n)\npickle.dump(m, g)"
    )
    assert (first.line, first.column, first.kind) == (3, 14, Kind.LOAD)
    assert first.code == "pickle.load(\n    f,\n)"
    assert (second.line, second.column, second.kind) == (6, 1, Kind.DUMP)
    assert first.cell is None


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_are_counted_as_python_counts_them(end: str) -> None:
    source = end.join(["import pickle", "# \x0c \u2028", "", "pickle.load(", "f)"])
    (site,) = sites(source)
    assert (site.line, site.instead) == (4, "pickleseal.signed_load(f)")


def test_the_encoding_is_the_one_that_the_source_names() -> None:
    text = "# coding: latin-1\nimport pickle\né = pickle.load(é)"
    (site,) = in_module(text.encode("latin-1")).sites
    assert (site.code, site.column) == ("pickle.load(é)", 5)
    (site,) = in_module(b"\xef\xbb\xbfimport pickle\npickle.load(f)").sites
    assert site.line == 2


# --- what cannot be parsed -------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"print 'an old one'",
        b"def (",
        b"\xff\xfe",
        b"a\0b",
        b"# coding: nothing-of-the-kind\n",
        b"# coding: rot13\nvzcbeg",
        b"# coding: utf-7\n+2AA-",
        b"(" * 100_000,
        b"-" * 100_000 + b"1",
        b"1" + b"+1" * 100_000,
        b"x = " + b"1" * 10_000,
        b"pickle\n" * 1_000_000,
    ],
)
def test_what_cannot_be_parsed_has_a_reason_and_raises_nothing(data: bytes) -> None:
    found = in_module(data)
    assert found.sites == ()
    (fault,) = found.faults
    assert fault


def test_what_some_pythons_parse_and_some_refuse_raises_nothing() -> None:
    assert in_module(b"a" + b".b" * 100_000).sites == ()


def test_a_deep_tree_is_walked_through() -> None:
    chain = ".f()" * 400
    assert functions(f"import pickle\nx{chain}\npickle.load(f){chain}") == ["pickle.load"]


def test_an_old_escape_in_the_source_is_no_fault() -> None:
    assert instead("import pickle\npickle.load('\\d')") == "pickleseal.signed_load('\\d')"


# --- what should stand there -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "line"),
    [
        ("pickle.load(f)", "signed_load(f)"),
        ('pickle.load(open("m.pkl","rb"))', 'signed_load("m.pkl")'),
        ('pickle.load(file=open(mode="rb", file=a / "m.pkl"))', 'signed_load(a / "m.pkl")'),
        ('pickle.load(open(p, "rb", 0))', 'signed_load(open(p, "rb", 0))'),
        ("pickle.load(open(3, 'rb'))", "signed_load(open(3, 'rb'))"),
        ("pickle.load(gzip.open(p))", "signed_load(p)"),
        ('pickle.load(f, encoding="latin1")', 'signed_load(f, encoding="latin1")'),
        ("pickle.load(f, buffers=b)", "signed_load(f, buffers=b)"),
        ("pickle.load(*a, **k)", "signed_load(*a, **k)"),
        ("pickle.loads(d := g())", "signed_loads((d := g()))"),
        ("pickle.dump(m, f, 4)", "signed_dump(m, f, protocol=4)"),
        ("pickle.dump(m, open(p, 'wb'), protocol=-1)", "signed_dump(m, p, protocol=-1)"),
        ("pickle.dump(m, open(p, 'ab'))", "signed_dump(m, open(p, 'ab'))"),
        ("pickle.dump(m, open(p, 'xb'))", "signed_dump(m, open(p, 'xb'))"),
        ("pickle.dump(file=f, obj=m)", "signed_dump(m, f)"),
        ("pickle.dump(  # the model\n  m, (f)\n)", "signed_dump(m, f)"),
        ("pickle.dump((yield), f)", "signed_dump((yield), f)"),
        ("pickle.dumps(x)", "signed_dumps(x)"),
        ("pickle.dumps((1, 2), buffer_callback=c)", "signed_dumps((1, 2), buffer_callback=c)"),
        ("pickle.dumps(x for x in y)", "signed_dumps((x for x in y))"),
        ("cloudpickle.dump(m, f)", 'signed_dump(m, f, pickler="cloudpickle")'),
        ("cloudpickle.dumps(*a, **k)", 'signed_dumps(*a, **k, pickler="cloudpickle")'),
        ("cloudpickle.load(f)", "signed_load(f)"),
        ('joblib.load(path, mmap_mode="r")', "signed_load(path)"),
        ("joblib.dump(m, path, compress=3)", "signed_dump(m, path, compress=3)"),
        ("joblib.dump(m, path, 3, 4)", "signed_dump(m, path, compress=3, protocol=4)"),
        ("joblib.dump(m, path, compress=('xz', 6))", "signed_dump(m, path, compress=6)"),
        ("joblib.dump(m, path, compress='gzip')", 'signed_dump(m, path, compress="zstd")'),
        ("joblib.dump(m, 'm.joblib.GZ')", "signed_dump(m, 'm.joblib.GZ', compress=\"zstd\")"),
        ("joblib.dump(m, 'm.gz', compress=0)", "signed_dump(m, 'm.gz', compress=0)"),
        ("joblib.load('m.gz')", "signed_load('m.gz')"),
        ("pickle.dump(m, open('m.gz', 'wb'))", "signed_dump(m, 'm.gz')"),
        ("df.to_pickle('df.xz')", "signed_dump(df, 'df.xz', compress=\"zstd\")"),
        ("f().to_pickle(p)", "signed_dump(f(), p)"),
        ("pickle.load(open(*a))", "signed_load(open(*a))"),
        ("pickle.load(open(p, **k))", "signed_load(open(p, **k))"),
        ("pickle.load(open(mode='rb'))", "signed_load(open(mode='rb'))"),
        ("pickle.load(open(p, 'rb', opener=o))", "signed_load(open(p, 'rb', opener=o))"),
        ("pickle.load(open(p, mode))", "signed_load(open(p, mode))"),
        ("pickle.load(open(p, 1))", "signed_load(open(p, 1))"),
        ("joblib.load(3)", "signed_load(3)"),
        ("joblib.dump(m, 3)", "signed_dump(m, 3)"),
        ("pandas.read_pickle(p)", "signed_load(p)"),
        ("df[a].to_pickle(p)", "signed_dump(df[a], p)"),
        ("(a or b).to_pickle(p, protocol=4)", "signed_dump(a or b, p, protocol=4)"),
    ],
)
def test_the_line_instead_keeps_the_arguments_as_they_are_written(call: str, line: str) -> None:
    source = f"import pickle, joblib, pandas, cloudpickle, gzip\n\ndef f():\n  {call}\n"
    assert instead(source) == f"pickleseal.{line}"


def test_what_is_loaded_from_its_own_dump_has_both_in_one_line() -> None:
    outer, inner = sites("import pickle\npickle.loads(pickle.dumps(x))")
    assert outer.instead == "pickleseal.signed_loads(pickleseal.signed_dumps(x))"
    assert inner.instead == "pickleseal.signed_dumps(x)"


@pytest.mark.parametrize("end", ["", "\\\n"])
def test_what_is_written_where_it_was_loaded_comes_after_it(end: str) -> None:
    inner, outer = sites(f"import pickle\npickle.load(f){end}.to_pickle(p)")
    assert (inner.function, outer.function) == ("pickle.load", "to_pickle")
    assert outer.instead is not None
    assert "pickleseal.signed_load(f)" in outer.instead


@pytest.mark.parametrize("call", ["()", ".x()"])
def test_a_long_chain_of_calls_is_walked_through(call: str) -> None:
    assert functions(f"import pickle\nf{call * 800}.loads(b)\npickle.load(f)") == ["pickle.load"]


def test_a_source_of_exactly_the_bound_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import pickle\npickle.load(f)"
    monkeypatch.setattr(text, "MOST_SOURCE", len(source))
    assert functions(source) == ["pickle.load"]
    monkeypatch.setattr(text, "MOST_SOURCE", len(source) - 1)
    with pytest.raises(ValueError, match="more than"):
        text.parsed(source)


def test_an_open_that_is_not_pythons_stays() -> None:
    source = "import pickle\nfrom zipfile import Path as open\npickle.load(open(p, 'rb'))"
    assert instead(source) == "pickleseal.signed_load(open(p, 'rb'))"


@pytest.mark.parametrize(
    "call",
    [
        'joblib.load(path, mmap_mode="r")',
        "joblib.dump(m, p, cache_size=3)",
        "joblib.dump(m, p, compress='zlib')",
        "joblib.dump(m, p, compress=level)",
        "joblib.dump(m, p, compress=('xz',))",
        "joblib.dump(m, p, cache_size='infer')",
        'pandas.to_pickle(f, p, compression="gzip")',
        "pandas.to_pickle(f, p, storage_options=o)",
        "pickle.load(f, unheard_of=1)",
    ],
)
def test_what_is_lost_has_a_remark(call: str) -> None:
    (site,) = sites(f"import joblib, pandas, pickle\n{call}")
    assert site.instead is not None
    assert len(site.remarks) == 1


@pytest.mark.parametrize(
    ("call", "instead"),
    [
        ("joblib.load(p, mmap_mode=None)", "pickleseal.signed_load(p)"),
        ('pandas.to_pickle(f, p, compression="infer")', "pickleseal.signed_dump(f, p)"),
    ],
)
def test_an_argument_that_says_nothing_goes_without_a_remark(call: str, instead: str) -> None:
    (site,) = sites(f"import joblib, pandas\n{call}")
    assert (site.instead, site.remarks) == (instead, ())


@pytest.mark.parametrize(
    ("source", "remarks"),
    [
        ("import pandas as pd\npd.read_pickle(p)", 1),
        ("from pandas import read_pickle\nlist(map(read_pickle, paths))", 2),
        ('import pandas\npandas.read_pickle(p, compression="infer")', 1),
        ('import pandas\npandas.read_pickle(p, compression="gzip")', 2),
        ("import pandas\npandas.read_pickle(p, storage_options=o)", 2),
        ("import pandas\npandas.read_pickle(*a)", 2),
    ],
)
def test_reading_with_pandas_has_a_remark_on_frames_of_older_versions(
    source: str, remarks: int
) -> None:
    (site,) = [site for site in sites(source) if site.kind is Kind.LOAD]
    assert len(site.remarks) == remarks
    assert "older pandas" in site.remarks[-1]


@pytest.mark.parametrize(
    "call",
    [
        "torch.load(p)",
        "dill.loads(b)",
        "dill.dump(x, f)",
        "shelve.open(p)",
        "numpy.load(p, allow_pickle=True)",
        "pickle.Unpickler(f)",
        "pickle.Pickler(f)",
        "joblib.load(*a)",
        "joblib.dump(m, **k)",
        "pickle.load()",
        "pickle.dump(m)",
        "pickle.loads(1, 2, 3)",
        "pandas.read_pickle('https://example.org/m.pkl')",
        "super().to_pickle(p)",
        "x.to_pickle()",
        "map(cloudpickle.dumps, x)",
    ],
)
def test_a_call_without_a_single_replacement_gets_advice(call: str) -> None:
    source = f"import torch, dill, shelve, numpy, pickle, joblib, pandas, cloudpickle\n{call}"
    (site,) = sites(source)
    assert site.instead is None
    assert site.remarks


# --- the lines work --------------------------------------------------------------------------

PROGRAM = """\
import pickle
import joblib
import cloudpickle
import pandas as pd
from pickle import load as read

model = {"weights": [1.5, 2.5], "name": "é"}
pickle.dump(model, open("a.pkl", "wb"), 4)
with open("b.pkl", "wb") as file:
    pickle.dump(obj=model, file=file, protocol=pickle.HIGHEST_PROTOCOL)
    pickle.dump(
        [model],  # a second one
        file,
    )
joblib.dump(model, "c.joblib", compress=("zlib", 3))
joblib.dump(value=model, filename="d.joblib")
frame = pd.DataFrame({"a": [1, 2]})
frame[["a"]].to_pickle("e.pkl", protocol=4)
cloudpickle.dump(lambda: model, open("f.pkl", mode="wb"))
buffers = []
blob = pickle.dumps(bytearray(b"x" * 9), 5, buffer_callback=buffers.append)

found = [pickle.load(open("a.pkl", "rb"))]
with open("b.pkl", "rb") as file:
    found += [read(file, encoding="latin1"), read(file)]
found += [joblib.load("c.joblib"), joblib.load("d.joblib", mmap_mode=None)]
found.append(pd.read_pickle("e.pkl", compression=None).to_dict())
found.append(cloudpickle.load(open("f.pkl", "rb"))())
found.append(bytes(pickle.loads(blob, buffers=buffers)))
found += map(pickle.loads, [pickle.dumps(number) for number in range(3)])
found.append(f"{pickle.loads(pickle.dumps((number := 3)))} of {number}")
"""


def mended(source: str) -> str:
    """Return source with each call site replaced."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    done = len(source)
    for site in sorted(sites(source), key=lambda one: (one.line, one.column), reverse=True):
        start = starts[site.line - 1] + site.column - 1
        assert source.startswith(site.code, start)
        assert site.instead is not None
        covers = [
            other
            for other in sites(source)
            if (other.line, other.column) < (site.line, site.column)
            and starts[other.line - 1] + other.column - 1 + len(other.code) > start
        ]
        if not covers:
            assert start + len(site.code) <= done
            source = source[:start] + site.instead + source[start + len(site.code) :]
            done = start
    return f"import pickleseal\n{source}"


def run(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    folder.mkdir()
    monkeypatch.chdir(folder)
    namespace: dict[str, Any] = {}
    exec(compile(source, "program", "exec"), namespace)
    found: list[Any] = namespace["found"]
    return found


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_a_program_with_the_replacements_works_and_seals_its_files(
    tmp_path: Path, ring_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PICKLESEAL_KEYRING", str(ring_directory))
    program = mended(PROGRAM)
    assert sites(program) == ()
    new = run(program, tmp_path / "new", monkeypatch)
    assert new == run(PROGRAM, tmp_path / "old", monkeypatch)
    assert len(new) == 12
    ring = open_keyring(ring_directory)
    for name in ("a.pkl", "c.joblib", "d.joblib", "e.pkl", "f.pkl"):
        assert inspect(tmp_path / "new" / name).key_id == ring.primary


def test_the_words_on_torch_work_for_any_bytes(tmp_path: Path, ring: Keyring) -> None:
    data = b"PK\x03\x04 as a file of torch's begins"
    signed_dump(data, tmp_path / "m.pt", keyring=ring)
    assert signed_load(tmp_path / "m.pt", keyring=ring) == data


# --- notebooks -------------------------------------------------------------------------------


def test_the_cells_of_a_notebook_see_each_others_imports() -> None:
    found = notebook(
        cell("# pickle.load(f)", "markdown"),
        cell(["import pickle as p\n", "x = 1"]),
        cell("\nx\n  \nm = p.load(f)"),
    )
    assert found.faults == ()
    (site,) = found.sites
    assert (site.cell, site.line, site.column) == (3, 4, 5)
    assert site.instead == "pickleseal.signed_load(f)"


@pytest.mark.parametrize(
    ("code", "places"),
    [
        ("%matplotlib inline\n!pip install \\\n  x\npickle.load(f)", [(4, 1)]),
        ("if x:\n    !ls\n    pickle.load(f)", [(3, 5)]),
        ("?pickle\npickle.load?\nfiles = !ls\npickle.load(f)", [(4, 1)]),
        ("%time x = pickle.load(f)", [(1, 11)]),
        ("%timeit -n 10 -r 2 pickle.load(f)", [(1, 20)]),
        ("x = %time pickle.load(f)", [(1, 11)]),
        ("%%time\npickle.load(f)", [(2, 1)]),
        ("\n%%capture out\npickle.load(f)", [(3, 1)]),
        ("%%bash\npickle.load(f)", []),
        ("%%writefile x.py\npickle.load(f)", []),
        ("await pickle.load(f)", [(1, 7)]),
        ("!ls\nx = \\\n  pickle.load(f)", [(3, 3)]),
        ("x = 7\nx \\\n%time\npickle.load(f)", [(4, 1)]),
    ],
)
def test_lines_for_ipython_are_passed_over_and_move_nothing(
    code: str, places: list[tuple[int, int]]
) -> None:
    found = notebook(cell("import pickle"), cell(code))
    assert found.faults == ()
    assert [(site.line, site.column) for site in found.sites] == places


def test_a_cell_that_cannot_be_parsed_is_told_and_the_others_are_read() -> None:
    found = notebook(cell("import pickle"), cell("def ("), cell("pickle.load(f)"))
    assert [site.cell for site in found.sites] == [3]
    assert len(found.faults) == 1


def test_a_notebook_of_an_old_format_is_read() -> None:
    sheet = {"cells": [{"cell_type": "code", "input": ["import pickle\n", "pickle.load(f)"]}]}
    found = in_notebook(json.dumps({"worksheets": [sheet], "nbformat": 3}).encode())
    assert [(site.cell, site.line) for site in found.sites] == [(1, 2)]


def test_a_notebook_in_another_language_has_no_call_sites() -> None:
    found = notebook(cell("x <- pickle.load(f)"), language_info={"name": "R"})
    assert found == Reading()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"import pickle",
        b"[]",
        b"3",
        b"{}",
        b'{"cells": 3}',
        b'{"cells": [3]}',
        b'{"cells": {"a": 1}}',
        b'{"cells": [{"cell_type": "code"}]}',
        b'{"cells": [{"cell_type": "code", "source": [1]}]}',
        b'{"cells": [], "metadata": [1]}',
        b'{"worksheets": []}',
        b'{"cells": [{"cell_type": "code", "source": "\\ud800"}]}',
        b"[" * 100_000,
        b"\xff\xff",
    ],
)
def test_what_is_no_notebook_has_a_reason_and_raises_nothing(data: bytes) -> None:
    found = in_notebook(data)
    assert found.sites == ()
    assert len(found.faults) == 1
