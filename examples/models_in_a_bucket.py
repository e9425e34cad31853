"""Models in a bucket: save, load, notice an older version, and audit.

Run it with: python examples/models_in_a_bucket.py

It needs s3fs, and moto[server] for an S3 server on this machine. With your own bucket, leave out
the server. Prints:

    loaded version 2 from s3://models/iris.pkl
    the old version was put back: its serial is 1, ...
    s3://models/from-somebody.pkl: unsealed, data only
    s3://models/iris.pkl: sealed
"""

import os
import pickle

import fsspec
from moto.server import ThreadedMotoServer

from pickleseal import Key, Keyring, RollbackError, audit, signed_dump, signed_load

URL = "s3://models/iris.pkl"


def main() -> None:
    """Use a bucket of a server on this machine."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    try:
        use(Keyring(Key.generate()))
    finally:
        server.stop()


def use(keyring: Keyring) -> None:
    """Save two versions of a model, and let somebody put the first one back."""
    store = fsspec.filesystem("s3")
    store.mkdir("models")
    signed_dump({"version": 1}, URL, context="iris", serial=1, keyring=keyring)
    first = store.cat_file(URL)
    signed_dump({"version": 2}, URL, context="iris", serial=2, keyring=keyring)
    model = signed_load(URL, context="iris", min_serial=2, keyring=keyring)
    print(f"loaded version {model['version']} from {URL}")

    store.pipe_file(URL, first)  # anyone who can write to the bucket can do this
    try:
        signed_load(URL, context="iris", min_serial=2, keyring=keyring)
    except RollbackError as error:
        print("the old version was put back:", error.args[0])

    store.pipe_file("s3://models/from-somebody.pkl", pickle.dumps([1, 2]))
    for finding in audit("s3://models", keyring=keyring):
        print(f"{finding.path}: {finding.kind}")


if __name__ == "__main__":
    main()
