"""The notebooks run, leave nothing behind, and are kept as they run."""

import base64
import io
import json
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from PIL import Image

from lessons.harness.catalogue import ROOT, find_lessons
from tests.everyday import IS_EVERYDAY
from tests.judge import ENVIRONMENT
from tests.notebooks import (
    AT_ONCE,
    FOLDER,
    MARK,
    PICTURE,
    execute,
    find_notebooks,
    kinds,
    picture,
    read,
)
from tests.slides import BEFORE_MALLORY, HEIGHT, LINES, WIDTH, WORDS, is_folded, size_of

MAX_BYTES = 400_000
MAX_SECONDS = 120
ADDRESS = re.compile(r"(http://(?:localhost|127\.0\.0\.1):\d+)/lab")
NOTEBOOKS = find_notebooks()
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
RUN = NOTEBOOKS[::3] if IS_EVERYDAY else NOTEBOOKS


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_of(notebook: NotebookNode) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


@pytest.fixture(scope="module")
def fresh(request: pytest.FixtureRequest) -> Iterator[dict[Path, Future[NotebookNode]]]:
    """The notebooks that are asked for, executed at the same time."""
    wanted = [
        item.callspec.params["path"]
        for item in request.session.items
        if getattr(item, "originalname", "") == "test_it_runs"
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {path: pool.submit(execute, path, mark=path.stem) for path in wanted}
        pool.shutdown(cancel_futures=True)


def test_there_is_one_a_lesson_and_an_overview() -> None:
    names = ["00_overview", *(lesson.folder.name for lesson in find_lessons())]
    assert [path.stem for path in NOTEBOOKS] == names


@pytest.mark.parametrize("path", RUN, ids=lambda path: path.stem)
def test_it_runs(path: Path, fresh: dict[Path, Future[NotebookNode]]) -> None:
    ran = fresh[path].result()
    assert kinds(read(path)) == kinds(ran), "Stored outputs differ: python -m tests.notebooks"
    left = [each for each in psutil.process_iter() if _mark_of(each) == path.stem]
    assert all(map(ends, left)), f"It left running: {left}"


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except psutil.Error:  # it has ended, or is somebody else's
        return None


def ends(process: psutil.Process) -> bool:
    """Wait a little for a process to end. One that nobody has buried yet has ended."""
    deadline = time.monotonic() + MAX_SECONDS
    try:
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
    except psutil.NoSuchProcess:
        pass
    return True


@each_notebook
def test_it_is_kept_as_run_all_leaves_it(path: Path) -> None:
    cells = code_cells(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type in ("stream", "display_data", "execute_result"), output
            assert output.get("name") != "stderr", output.text


@each_notebook
def test_it_is_small_and_names_no_machine(path: Path) -> None:
    assert path.stat().st_size <= MAX_BYTES
    text = path.read_text("utf-8")
    assert str(ROOT) not in text
    assert not re.search(r"/(home|Users|root|tmp|var)/|[A-Z]:\\\\|site-packages", text)
    for cell in read(path).cells:
        assert cell.source.isascii()


@each_notebook
def test_it_has_the_shape_of_a_demo(path: Path) -> None:
    notebook = read(path)
    text = text_of(notebook)
    assert re.match(rf"# {path.stem[:2]} \w[\w ]*: .*\?\n", text), "The title is the question."
    assert code_cells(notebook)[0].source.startswith("from stage import "), (
        "The first cell asks for the stage alone: it says what is missing."
    )
    code = "\n".join(cell.source for cell in code_cells(notebook))
    assert code.index("mallory_gets_in(") < code.index("mallory_is_refused(")
    questions = text[text.index("## Two questions for the class") :]
    assert questions.count("<summary>Answer</summary>") == 2
    number = path.stem[:2] if path.stem[:2] != "00" else "01"
    assert f"pytest lessons/{number}" in questions
    pictures = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in pictures)


@each_notebook
def test_it_fits_into_ten_minutes_and_on_its_slides(path: Path) -> None:
    size = size_of(read(path))
    print(f"{path.stem}: {size}")
    assert size.words <= WORDS
    assert size.lines <= LINES
    assert size.before_mallory <= BEFORE_MALLORY
    assert size.longest <= WIDTH
    assert max(size.slides) <= HEIGHT, size.slides


@each_notebook
def test_its_imports_are_folded_and_on_no_slide(path: Path) -> None:
    for cell in code_cells(read(path)):
        imports = re.search(r"^(from|import) ", cell.source, re.M)
        assert bool(imports) == is_folded(cell), cell.source
        assert not is_folded(cell) or cell.metadata.slideshow.slide_type == "skip"


def test_what_does_not_fit_is_seen() -> None:
    notebook = read(FOLDER / "03_login.ipynb")
    was = size_of(notebook)
    for cell in notebook.cells:
        if "mallory_gets_in(" in cell.source:
            cell.source = "pass\n" * 40 + cell.source
    notebook.cells[0].source += "\n\n" + "word " * 100
    now = size_of(notebook)
    assert now.words == was.words + 100
    assert now.lines == was.lines + 40
    assert now.before_mallory == was.before_mallory + 40
    assert max(now.slides) > HEIGHT >= max(was.slides)


def test_alice_is_never_in_mallory_s_colour() -> None:
    """In the picture of demo 05 by its lines and marks, in that of 04 by its pixels."""
    printed = in_the_folder(
        "import json\n"
        "from props.refresh import Event, draw\n"
        "week = [\n"
        "    Event(0.0, 'phone', 'logs in', 200, '', 'a', {'a'}),\n"
        "    Event(0.1, 'laptop', 'logs in', 200, '', 'b', {'a', 'b'}),\n"
        "    Event(1.0, 'mallory', 'refreshes', 200, 'b', 'c', {'a', 'c'}),\n"
        "    Event(2.0, 'laptop', 'refreshes', 400, 'b', '', {'a'}),\n"
        "    Event(3.0, 'phone', 'logs out', 200, 'a', '', set()),\n"
        "]\n"
        "lines = draw(week, 'A week').axes[0].lines\n"
        "looks = [(x.get_gid(), x.get_color(), x.get_mec(), x.get_mfc()) for x in lines]\n"
        "print(json.dumps([look for look in looks if look[0]]))"
    )
    looks: dict[str, set[str]] = {}
    for who, *colours in json.loads(printed.splitlines()[-1]):
        looks.setdefault(who, set()).update(colours)
    assert set(looks) == {"phone", "laptop", "mallory"}
    assert MALLORY in looks["mallory"]
    assert MALLORY not in looks["phone"] | looks["laptop"]
    pictures = {
        cell.source.split('"')[1].partition(":")[0]: _has_colour(cell, MALLORY)
        for cell in code_cells(read(FOLDER / "04_oauth2.ipynb"))
        if cell.source.startswith("draw(")
    }
    assert pictures == {"Alice": False, "Mallory": True}


MALLORY = "#D55E00"


def _has_colour(cell: NotebookNode, colour: str) -> bool:
    """Tell whether a picture has a colour, or one so near that 64 colours make them one."""
    wanted = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    [data] = [
        each.data["image/png"] for each in cell.outputs if "image/png" in each.get("data", {})
    ]
    image = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    colours = image.getcolors(image.width * image.height) or []
    return any(
        max(abs(a - b) for a, b in zip(each, wanted, strict=True)) < 40 for _, each in colours
    )


@each_notebook
def test_the_speaker_has_notes_for_ten_minutes(path: Path) -> None:
    notes = [cell for cell in read(path).cells if "minutes" in cell.metadata]
    assert 9 <= sum(cell.metadata.minutes for cell in notes) <= 11
    for cell in notes:
        assert cell.source.startswith("<details><summary>Speaker, ")
        assert cell.metadata.slideshow.slide_type == "notes"


def test_the_picture_in_the_readme_is_the_overview_s() -> None:
    assert PICTURE.read_bytes() == picture(read(FOLDER / "00_overview.ipynb"))


def test_the_notes_are_for_the_speaker_s_view(tmp_path: Path) -> None:
    command = ["-m", "nbconvert", "--to", "slides", "--output-dir", str(tmp_path)]
    notebook = FOLDER / "03_login.ipynb"
    subprocess.run([sys.executable, *command, notebook], check=True, capture_output=True)
    slides = (tmp_path / "03_login.slides.html").read_text("utf-8")
    count = len([cell for cell in read(notebook).cells if "minutes" in cell.metadata])
    assert slides.count('<aside class="notes">') == count


@pytest.mark.parametrize(
    ("root", "path"), [(ROOT, "notebooks/"), (FOLDER, "")], ids=["root", "here"]
)
def test_jupyter_starts_kernels_where_the_stage_is(root: Path, path: str, tmp_path: Path) -> None:
    token = secrets.token_hex()
    own = {name: str(tmp_path) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR")}
    options = ("--no-browser", "--allow-root", f"--IdentityProvider.token={token}")
    log = tmp_path / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyter", "lab", *options],
            cwd=root,
            env=ENVIRONMENT | own,
            stderr=output,
        )
    try:
        address = _address(log)
        with httpx.Client(headers={"Authorization": f"token {token}"}, trust_env=False) as client:
            wanted = {"path": f"{path}03_login.ipynb", "type": "notebook", "name": ""}
            answer = client.post(
                f"{address}/api/sessions",
                json=wanted | {"kernel": {"name": "python3"}},
                timeout=MAX_SECONDS,
            )
            assert answer.status_code == 201, answer.text
        children = psutil.Process(server.pid).children()
        assert [where for each in children if (where := _folder_of_kernel(each))] == [FOLDER]
    finally:
        server.terminate()
        server.wait(30)


def _folder_of_kernel(process: psutil.Process) -> Path | None:
    """Return where a kernel runs; None for what is no kernel, or has ended meanwhile."""
    with suppress(psutil.NoSuchProcess):
        return Path(process.cwd()) if "ipykernel_launcher" in process.cmdline() else None
    return None


def _address(log: Path) -> str:
    deadline = time.monotonic() + MAX_SECONDS
    while time.monotonic() < deadline:
        if found := ADDRESS.search(log.read_text("utf-8", "replace")):
            return found[1]
        time.sleep(0.1)
    raise AssertionError(f"Jupyter did not start:\n{log.read_text()}")


def test_an_error_fails(tmp_path: Path) -> None:
    path = tmp_path / "wrong.ipynb"
    path.write_text(NOTEBOOKS[0].read_text("utf-8").replace("from stage import", "from st import"))
    with pytest.raises(CellExecutionError, match="No module named 'st'"):
        execute(path)


# --- the attacks of the overview ------------------------------------------------------------


def in_the_folder(code: str) -> str:
    """Run Python as a kernel would, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=FOLDER,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=MAX_SECONDS,
        check=False,
    )
    return done.stdout + done.stderr


def test_each_attack_of_the_overview_is_one_of_a_lesson() -> None:
    printed = in_the_folder(
        "from attacks import ATTACKS\nfor each in ATTACKS: print(each.lesson, each.test)"
    )
    attacks = printed.splitlines()
    lessons = {lesson.number: lesson for lesson in find_lessons()}
    assert len(attacks) >= 12
    for number, test in map(str.split, attacks):
        text = lessons[number].tests.read_text("utf-8")
        assert re.search(rf"@attack\n(@.*\n)*def {test}\(", text), f"{number} has no {test}"


def test_each_attack_can_succeed_and_is_refused_by_the_workbook() -> None:
    printed = in_the_folder(
        "import json, attacks\n"
        "print(json.dumps([list(row.values()) for row in attacks.matrix().values()]))"
    )
    rows = json.loads(printed.splitlines()[-1])
    succeeded = [[each not in (None, "nothing there") for each in row] for row in rows]
    assert all(any(row) for row in succeeded)
    assert [row[-1] for row in rows] == [None] * len(rows)
    own, *others, _ = [sum(column) for column in zip(*succeeded, strict=True)]
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    assert f"{own} succeed against FastAPI's own tutorial" in readme
    assert f"{min(others)} to {max(others)} succeed against each of four others" in readme


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (
            "import socket, stage\n"
            "with socket.create_server(('127.0.0.1', 0)) as taken:\n"
            "    stage.Server('solutions.main:app', port=taken.getsockname()[1])",
            "is taken. Leave `port` out, and a free one is found.",
        ),
        (
            "import sys\nsys.modules['matplotlib'] = None\nimport stage",
            "The kernel of this notebook has no matplotlib. In the workbook's folder type",
        ),
        ("import stage; stage.Server('nothing:app')", "nothing:app did not start. It said:"),
        ("import stage; stage.mallory_gets_in(False, 'x')", "Mallory should have succeeded: x"),
        (
            "import stage; stage.mallory_is_refused(False, 'x')",
            "Mallory should have been refused: x",
        ),
    ],
    ids=["a port in use", "no extra", "no app", "no success", "no refusal"],
)
def test_what_goes_wrong_is_said_in_a_sentence(code: str, sentence: str) -> None:
    run = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        f"InteractiveShell.instance().run_cell({code!r})"
    )
    printed = in_the_folder(run)
    assert sentence in printed
    if "Mallory" not in sentence:
        assert "Traceback" not in printed


def test_a_server_ends_with_its_notebook() -> None:
    """Also when the notebook is killed, and cannot clean up."""
    printed = in_the_folder(
        "import os, stage\n"
        "os.environ['WEB_CONCURRENCY'] = '2'\n"
        "server = stage.Server('solutions.main:app')\n"
        "print('server', server._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    number = int(re.search(r"server (\d+)", printed)[1])
    assert not psutil.pid_exists(number) or ends(psutil.Process(number))
