"""Makes and changes the tables: `python -m solutions.stores.sql.migrate`, once, before the start.

Not at the start itself: four workers would all do it at once. The app only looks whether the
tables are as new as its code, and refuses to start on older ones.
"""

import argparse
import asyncio
import re
import sys
from pathlib import Path

from ...support.settings import UnsafeSettings, get_settings
from .database import A_DAY, Database, StoreDown
from .locks import alone_migrating
from .opening import DEVELOPMENT_DATABASE, open_database

NOTES = "CREATE TABLE IF NOT EXISTS migrations (number bigint NOT NULL PRIMARY KEY)"
HOW_TO_MIGRATE = f"python -m {__package__}.migrate"
CANNOT_BE_ASKED = (
    "The database cannot be asked. Is it running, is DATABASE_URL right, "
    "and does somebody hold a table that is to be changed?"
)
FOLDER = Path(__file__).parent / "migrations"
NAME = re.compile(r"(\d{4})_\w+\.up\.sql")


def versions() -> dict[int, Path]:
    """Return the migrations by number: the file that goes up; `.down.sql` beside it goes back.

    Raises ValueError where two have one number: only one of them would be run.
    """
    files: dict[int, Path] = {}
    for file in sorted(FOLDER.iterdir()):
        if match := NAME.fullmatch(file.name):
            other = files.setdefault(int(match[1]), file)
            if other != file:
                raise ValueError(f"{other.name} and {file.name} have one number. Rename one.")
    return files


async def version_of(database: Database) -> int:
    """Return the number of the newest migration that a database has; 0 for an empty one."""
    table = "sqlite_master" if database.dialect == "sqlite" else "pg_tables"
    column = "name" if database.dialect == "sqlite" else "tablename"
    statement = f"SELECT 1 FROM {table} WHERE {column} = 'migrations'"  # noqa: S608
    if not await database.run(statement):
        return 0
    return await newest_in(database)


async def newest_in(database: Database) -> int:
    """Return the same of a database that has had a migration. One statement, so it ends soon."""
    rows = await database.run("SELECT coalesce(max(number), 0) AS newest FROM migrations")
    return int(rows[0]["newest"])


async def migrate(database: Database, target: int | None = None) -> list[str]:
    """Bring a database to a version, by default to the newest; return the files that were run.

    Each migration is one step, and of two that are started at once the second finds it done.
    Raises ValueError for a version that there is not, and for a database that newer code has
    changed: only that code knows the way back.
    """
    files = versions()
    target = max(files) if target is None else target
    if target not in {0, *files}:
        raise ValueError(f"There is no version {target}. There are 0 to {max(files)}.")
    done = []
    while name := await _one_step(database, files, target):
        done.append(name)
    return done


async def _one_step(database: Database, files: dict[int, Path], target: int) -> str:
    """Run one migration towards a version, and return its file's name; empty when it is there."""
    async with database.transaction(*alone_migrating(database.dialect)):
        await database.run(NOTES)
        version = await version_of(database)
        if version > max(files):
            raise ValueError(f"The database has version {version}. This code knows {max(files)}.")
        if version == target:
            return ""
        if version < target:
            number = min(each for each in files if each > version)
            file, note = files[number], "INSERT INTO migrations (number) VALUES (:number)"
        else:
            number = version
            file = files[number].with_name(files[number].name.replace(".up.", ".down."))
            note = "DELETE FROM migrations WHERE number = :number"
            if not file.exists():
                raise ValueError(f"There is no {file.name}, and so no way back.")
        # What only one of the databases has lies beside, in `.up.postgresql.sql`, and goes first.
        own = file.with_suffix(f".{database.dialect}.sql")
        for each in (file, own) if version < target else (own, file):
            for statement in _statements(each.read_text("utf-8") if each.exists() else ""):
                await database.run(statement)
        await database.run(note, number=number)
        return file.name


def _statements(text: str) -> list[str]:
    lines = (line for line in text.splitlines() if not line.startswith("--"))
    return [each.strip() for each in "\n".join(lines).split(";") if each.strip()]


async def _main(target: int | None) -> None:
    settings = get_settings()
    url = settings.database_url.get_secret_value()
    if not url and settings.environment == "development":
        url = DEVELOPMENT_DATABASE
    if not url:
        raise ValueError("DATABASE_URL is not set. It names the database.")
    async with open_database(url, 1, A_DAY) as database:
        done = await migrate(database, target)
        print("\n".join(done) or "Nothing to do.")
        print(f"The database has version {await version_of(database)}.")


def main() -> None:
    """Read the command line. Ends with one sentence for what cannot be done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--to", type=int, metavar="NUMBER", help="up or back to this version")
    try:
        asyncio.run(_main(parser.parse_args().to))
    except StoreDown:
        sys.exit(CANNOT_BE_ASKED)
    except (UnsafeSettings, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
