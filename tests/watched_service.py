"""The second service, with a look at what it connects to: a line for each in the file WATCHED."""

import os
import sys
from pathlib import Path
from typing import Any

from lessons.harness.second_service import app as service

watched = Path(os.environ["WATCHED"])


def note(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        with watched.open("a") as file:
            file.write(f"{args[1]}\n")
    elif event == "socket.getaddrinfo":
        with watched.open("a") as file:
            file.write(f"{args[:2]}\n")


sys.addaudithook(note)
app = service
