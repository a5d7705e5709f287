"""Your attacks: `pytest lessons/03 --hunt` tells how many wrong solutions they catch.

A good one passes on every right solution, and fails on wrong ones. This is an example. Its fixtures
are in `lessons/conftest.py`. While you write: `pytest lessons/03/hunt.py --solutions`, `--naive`.
"""

from lessons.harness.client import Client


def test_nobody_hears_who_has_an_account(client: Client) -> None:
    """Mallory asks with names from a list, and compares the answers."""
    right = client.post("/token", data={"username": "johndoe", "password": "secret"})
    assert right.status_code == 200, "The right password was refused."
    known = client.post("/token", data={"username": "johndoe", "password": "wrong"})
    unknown = client.post("/token", data={"username": "nobody", "password": "wrong"})
    assert known.status_code == unknown.status_code == 401, "A wrong password is a 401."
    assert known.content == unknown.content, f"{known.text} is not {unknown.text}"
