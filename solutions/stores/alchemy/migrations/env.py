"""What Alembic runs first. The work is in `migrating.py`: put your package's name here."""

from alembic import context

from solutions.stores.alchemy.migrating import run

run(context)
