"""A real uvicorn in the notebook's own process, for an app that stands in a cell.

`stage.Server` runs another process. A cell can neither hand its app to that, nor look into its
tables. Here both work, and the log is what uvicorn prints by default.
"""

import atexit
import copy
import io
import threading
import time

import httpx2
import uvicorn
from fastapi import FastAPI
from uvicorn.config import LOGGING_CONFIG

from stage import PATIENCE, Unavailable, Visitor


class ServerHere:
    """Serves an app on a free port of this machine, in a thread. One at a time: they share loggers.

    It ends with `stop()`, and with the notebook. `visitor` and `log()` are as stage.Server's.
    """

    def __init__(self, app: FastAPI) -> None:
        self._printed = io.StringIO()
        self._server = uvicorn.Server(
            uvicorn.Config(app, port=0, log_config=_logging_to(self._printed))
        )
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        end = time.monotonic() + PATIENCE
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > end:
                raise Unavailable(f"The server did not start. It said:\n{self.log()[-1000:]}")
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self.visitor = Visitor(
            httpx2.Client(base_url=self.address, trust_env=False, timeout=PATIENCE)
        )
        atexit.register(self.stop)

    def log(self) -> str:
        """Return what the server printed so far."""
        return self._printed.getvalue()

    def stop(self) -> None:
        """End the server."""
        self.visitor.http.close()
        self._server.should_exit = True
        self._thread.join(PATIENCE)


def _logging_to(stream: io.StringIO) -> dict[str, object]:
    """Return uvicorn's own logging, into a text of ours and without colours."""
    config = copy.deepcopy(LOGGING_CONFIG)
    for handler in config["handlers"].values():
        handler["stream"] = stream
    for formatter in config["formatters"].values():
        formatter["use_colors"] = False
    return config
