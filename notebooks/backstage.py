"""Runs uvicorn for a notebook, and ends when the notebook is gone: the pipe between them closes."""

import os
import sys
import threading

import uvicorn


def _end_with_the_notebook() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_notebook, daemon=True).start()
    uvicorn.main()
