"""`expected.txt`: what comes of each attack on each app."""

from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent
TABLE = FOLDER / "expected.txt"
NOT_TRIED = "not tried"


@cache
def expected() -> dict[str, dict[str, str]]:
    """Return the table: for each app, what comes of each attack."""
    lines = TABLE.read_text().splitlines()
    names = lines[3].split()
    rows = [line.split() for line in lines[4:]]
    full = [(row[0], [NOT_TRIED if cell == "-" else cell for cell in row[1:]]) for row in rows]
    return {
        name: {attack: cells[column] for attack, cells in full} for column, name in enumerate(names)
    }
