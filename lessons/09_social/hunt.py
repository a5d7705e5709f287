"""Your attacks: `pytest lessons/09 --hunt` tells how many wrong solutions they catch.

A good one passes on every right solution, and fails on wrong ones. This is an example. Its fixtures
are in `lessons/conftest.py`. `pytest lessons/09/hunt.py --naive` shows it at work.
"""

from typing import Any

import pytest

from lessons.harness.abroad import ERIN, abroad, begin, come_back
from lessons.harness.client import Client
from lessons.harness.visitors import Visitor


@pytest.mark.attack
def test_nobody_comes_in_with_mallorys_answer(client: Client, users: Any) -> None:
    """Mallory stops her login half way, and sends the rest of it to erin as a link."""
    with abroad() as there:
        erin, mallory = Visitor(client), Visitor(client)
        begin(erin)
        answer = there.oidc.answer(begin(mallory), ERIN)
        in_erins = come_back(erin, answer).status_code
        assert in_erins == 400, f"In erin's browser it gets {in_erins}, not 400."
        own = come_back(mallory, answer).status_code
        assert own == 303, f"In the browser that asked it gets {own}, not 303."
