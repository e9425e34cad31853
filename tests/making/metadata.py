"""Vectors whose metadata break a rule, properly tagged."""

from collections.abc import Iterator

from making.parts import Vector, with_metadata

METADATA = {
    "duplicate-name": b'{"content":"pickle","content":"pickle"}',
    "space": b'{"content": "pickle"}',
    "space-behind": b'{"content":"pickle"} ',
    "unsorted": b'{"created":1,"content":"pickle"}',
    "escape": b'{"class":"\\u0061","content":"pickle"}',
    "escaped-slash": b'{"class":"a\\/b","content":"pickle"}',
    "control": b'{"class":"\\n","content":"pickle"}',
    "delete": b'{"class":"\x7f","content":"pickle"}',
    "c1": '{"class":"\u009b","content":"pickle"}'.encode(),
    "surrogate": b'{"class":"\\ud800","content":"pickle"}',
    "raw-surrogate": b'{"class":"\xed\xa0\x80","content":"pickle"}',
    "not-utf-8": b'{"class":"\xff","content":"pickle"}',
    "byte-order-mark": b'\xef\xbb\xbf{"content":"pickle"}',
    "null": b'{"content":"pickle","context":null}',
    "nan": b'{"content":"pickle","info":{"a":NaN}}',
    "infinity": b'{"content":"pickle","info":{"a":Infinity}}',
    "float-spelling": b'{"content":"pickle","info":{"a":1.50}}',
    "float-exponent": b'{"content":"pickle","info":{"a":1E5}}',
    "float-exponent-short": b'{"content":"pickle","info":{"a":1e-5}}',
    "float-exponent-unsigned": b'{"content":"pickle","info":{"a":1e16}}',
    "float-exponent-left-out": b'{"content":"pickle","info":{"a":10000000000000000.0}}',
    "float-exponent-not-needed": b'{"content":"pickle","info":{"a":1e-04}}',
    "float-exponent-with-point": b'{"content":"pickle","info":{"a":1.0e-05}}',
    "float-not-the-shortest": b'{"content":"pickle","info":{"a":0.10000000000000001}}',
    "float-too-large": b'{"content":"pickle","info":{"a":1e+309}}',
    "minus-zero": b'{"content":"pickle","serial":-0}',
    "leading-zero": b'{"content":"pickle","serial":01}',
    "five-thousand-digits": b'{"content":"pickle","serial":' + b"9" * 5000 + b"}",
    "info-too-small": b'{"content":"pickle","info":{"a":-9007199254740993}}',
    "info-a-list": b'{"content":"pickle","info":[]}',
    "too-deep": b'{"content":"pickle","info":{"a":{"b":{}}}}'.replace(b"{}", b'{"c":{}}'),
    "too-deep-by-a-list": b'{"content":"pickle","info":{"a":[[[]]]}}',
    "info-too-large": b'{"content":"pickle","info":{"a":9007199254740992}}',
    "info-text-delete": b'{"content":"pickle","info":{"a":"\x7f"}}',
    "versions-name": b'{"content":"pickle","versions":{"a b":"1"}}',
    "versions-text-delete": b'{"content":"pickle","versions":{"a":"\x7f"}}',
    "versions-a-list": b'{"content":"pickle","versions":[]}',
    "thousands-deep": b'{"content":"pickle","info":{"a":' + b"[" * 20000 + b"]" * 20000 + b"}}",
    "name-with-space": b'{"content":"pickle","info":{"a b":1}}',
    "name-empty": b'{"content":"pickle","info":{"":1}}',
    "name-too-long": b'{"content":"pickle","info":{"' + b"x" * 65 + b'":1}}',
    "name-not-ascii": '{"content":"pickle","info":{"\u00e9":1}}'.encode(),
    "class-a-number": b'{"class":1,"content":"pickle"}',
    "comma-behind": b'{"content":"pickle",}',
    "two-objects": b'{"content":"pickle"}{"content":"pickle"}',
    "true-as-field": b'{"content":true}',
    "unsorted-in-info": b'{"content":"pickle","info":{"b":1,"a":1}}',
    "duplicate-in-info": b'{"content":"pickle","info":{"a":1,"a":1}}',
    "null-in-info": b'{"content":"pickle","info":{"a":null}}',
    "context-control": '{"content":"pickle","context":"a\u0085b"}'.encode(),
    "unknown-field": b'{"content":"pickle","trusted":"yes"}',
    "control-raw": b'{"class":"a\nb","content":"pickle"}',
    "c1-last": '{"class":"\u009f","content":"pickle"}'.encode(),
    "c0-last": b'{"class":"\x1f","content":"pickle"}',
    "name-with-colon": b'{"content":"pickle","info":{"a:b":1}}',
    "name-with-line-end": b'{"content":"pickle","info":{"a\\n":1}}',
    "versions-name-empty": b'{"content":"pickle","versions":{"":"1"}}',
    "context-of-few-characters": (
        b'{"content":"pickle","context":"' + "\u00e9".encode() * 128 + b'"}'
    ),
    "context-a-number": b'{"content":"pickle","context":1}',
    "content-a-list": b'{"content":["pickle"]}',
    "source-a-number": b'{"content":"pickle","source":1}',
    "info-a-text": b'{"content":"pickle","info":"a"}',
    "imports-a-text": b'{"content":"pickle","imports":["ab"]}',
    "imports-of-one": b'{"content":"pickle","imports":[["a"]]}',
    "imports-with-control": '{"content":"pickle","imports":[["a","\u0080"]]}'.encode(),
    "imports-unsorted-by-name": b'{"content":"pickle","imports":[["a","b"],["a","a"]]}',
    "external-a-number": b'{"content":"pickle","external":1}',
    "external-a-list": b'{"content":"pickle","external":[]}',
    "external-digest-a-number": b'{"content":"pickle","external":{"bytes":0,"count":1,"digest":1}}',
    "external-digest-short": b'{"content":"pickle","external":{"bytes":0,"count":1,"digest":"'
    + b"0" * 63
    + b'"}}',
    "no-content": b"{}",
    "other-content": b'{"content":"yaml"}',
    "other-source": b'{"content":"pickle","source":"found"}',
    "a-list": b"[]",
    "a-number": b"12",
    "context-empty": b'{"content":"pickle","context":""}',
    "context-too-long": b'{"content":"pickle","context":"' + b"x" * 256 + b'"}',
    "context-nfd": '{"content":"pickle","context":"e\u0301"}'.encode(),
    "imports-unsorted": b'{"content":"pickle","imports":[["b","a"],["a","b"]]}',
    "imports-twice": b'{"content":"pickle","imports":[["a","b"],["a","b"]]}',
    "imports-by-utf-16": (
        '{"content":"pickle","imports":[["\U0001f600","a"],["\uff5e","a"]]}'.encode()
    ),
    "imports-of-numbers": b'{"content":"pickle","imports":[["a",1]]}',
    "imports-an-object": b'{"content":"pickle","imports":{}}',
    "imports-of-three": b'{"content":"pickle","imports":[["a","b","c"]]}',
    "imports-and-a-count": b'{"content":"pickle","imports":[],"imports_omitted":0}',
    "joblib-without-a-size": b'{"content":"joblib"}',
    "raw-size-of-a-pickle": b'{"content":"pickle","raw_size":4}',
    "versions-a-number": b'{"content":"pickle","versions":{"python":3}}',
    "external-none": b'{"content":"pickle","external":{"bytes":0,"count":0,"digest":"'
    + b"0" * 64
    + b'"}}',
    "external-upper-case": b'{"content":"pickle","external":{"bytes":0,"count":1,"digest":"'
    + b"A" * 64
    + b'"}}',
    "external-and-more": b'{"content":"pickle","external":{"bytes":0,"count":1,"digest":"'
    + b"0" * 64
    + b'","x":0}}',
    "external-short": b'{"content":"pickle","external":{"bytes":0,"count":1}}',
}


COUNTS = ("created", "expires", "serial", "imports_omitted")
WRONG_COUNTS = {
    "a-text": b'"1"',
    "a-float": b"1.0",
    "true": b"true",
    "negative": b"-1",
    "too-large": b"9007199254740992",
    "a-list": b"[1]",
}
EXTERNAL = b'{"content":"pickle","external":{"bytes":%b,"count":%b,"digest":"' + b"0" * 64 + b'"}}'


def wrong_counts() -> Iterator[tuple[str, bytes]]:
    """Yield metadata with a value that is no integer in range, for each integer that there is."""
    for kind, value in WRONG_COUNTS.items():
        for field in COUNTS:
            pair = b'"%b":%b' % (field.encode(), value)
            yield f"{field.replace('_', '-')}-{kind}", b'{"content":"pickle",%b}' % pair
        yield f"raw-size-{kind}", b'{"content":"joblib","raw_size":%b}' % value
        yield f"external-bytes-{kind}", EXTERNAL % (value, b"1")
        yield f"external-count-{kind}", EXTERNAL % (b"0", value)


def bad_metadata() -> Iterator[Vector]:
    for name, metadata in (METADATA | dict(wrong_counts())).items():
        yield Vector(f"bad-json-{name}", "malformed", with_metadata(metadata), "properly tagged")
