"""${message}"""

import sqlalchemy as sa
from alembic import op

revision = "${up_revision}"  # four digits: --rev-id 0003
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Go up. Only what code from before does not notice: it runs beside the new."""
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Go back."""
    ${downgrades if downgrades else "pass"}
