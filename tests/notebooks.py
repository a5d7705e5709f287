"""Runs the notebooks and keeps them with their outputs: `python -m tests.notebooks [01 ...]`.

Then look at them: outputs are what the web shows.
"""

import asyncio
import base64
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from lessons.harness.catalogue import ROOT
from tests.judge import ENVIRONMENT

FOLDER = ROOT / "notebooks"
PICTURE = FOLDER / "overview.png"  # for README.md
AT_ONCE = 2
LIMIT = 120  # seconds for a cell; a quiet machine takes five
# What a notebook leaves running can be told by this variable.
MARK = "WORKBOOK_NOTEBOOK"


def find_notebooks() -> list[Path]:
    """Return the notebooks in the order of the course."""
    return sorted(FOLDER.glob("*.ipynb"))


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, as_version=4)


def execute(path: Path, mark: str = "1") -> NotebookNode:
    """Return the notebook as Restart-and-run-all leaves it. Raises CellExecutionError."""
    notebook = read(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    # Jupyter starts a notebook's kernel in its folder, wherever it was started itself.
    client = NotebookClient(
        notebook,
        timeout=LIMIT,
        coalesce_streams=True,
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--log-level=ERROR"],  # it warns that loopback is not encrypted
    )
    asyncio.run(client.async_execute(env=ENVIRONMENT | {MARK: mark}))
    notebook.metadata["language_info"] = {"name": "python"}  # versions change, and nobody reads it
    return notebook


def kinds(notebook: NotebookNode) -> list[list[str]]:
    """Return of which kind the outputs are, a list for each cell: streams, and media types."""
    return [
        [
            each.name if each.output_type == "stream" else f"{each.output_type} {sorted(each.data)}"
            for each in cell.outputs
        ]
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def picture(notebook: NotebookNode) -> bytes:
    """Return the last picture in a notebook, a PNG."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    images = [
        output.data["image/png"] for output in outputs if "image/png" in output.get("data", ())
    ]
    return base64.b64decode(images[-1])


def store(path: Path) -> str | CellExecutionError:
    """Execute a notebook and keep it; return a line about it, or what went wrong."""
    try:
        notebook = execute(path)
    except CellExecutionError as error:
        return error
    nbformat.write(notebook, path)
    if path.stem == "00_overview":
        PICTURE.write_bytes(picture(notebook))
    return f"{path.stat().st_size / 1000:.0f} KB"


def main(numbers: list[str]) -> int:
    """Execute and keep the chosen notebooks, or all. Return how many failed."""
    chosen = [each for each in find_notebooks() if not numbers or each.name[:2] in numbers]
    if unknown := set(numbers) - {each.name[:2] for each in chosen}:
        print(f"There is no notebook {min(unknown)}. Write two digits: 03.")
        return 1
    failed = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for path, outcome in zip(chosen, pool.map(store, chosen), strict=True):
            if isinstance(outcome, str):
                print(f"{path.name}  {outcome}", flush=True)
            else:
                failed += 1
                print(f"{path.name}  stays as it was: {outcome}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
