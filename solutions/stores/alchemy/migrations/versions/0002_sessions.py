"""Browsers: sessions, logins at providers, and who somebody is there: lessons 08 and 09."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables. New columns have defaults, so that code which does not know them goes on."""
    op.add_column(
        "users", sa.Column("account_id", sa.Text, nullable=False, server_default=sa.text("''"))
    )
    op.add_column(
        "users",
        sa.Column("has_password", sa.BigInteger, nullable=False, server_default=sa.text("1")),
    )
    op.create_table(
        "sessions",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("csrf_token", sa.Text, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("stamp", sa.Text, nullable=False),
        sa.Column("user_agent", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("last_seen", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_index("sessions_by_owner", "sessions", ["username", "number"])
    op.create_index("sessions_by_end", "sessions", ["expires_at"])
    op.create_table(
        "flows",
        sa.Column("session", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("nonce", sa.Text, nullable=False),
        sa.Column("verifier", sa.Text, nullable=False),
        sa.Column("next", sa.Text, nullable=False),
        sa.Column("link_to", sa.Text, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_index("flows_by_number", "flows", ["number"])
    op.create_index("flows_by_end", "flows", ["expires_at"])
    op.create_table(
        "identities",
        sa.Column("issuer", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("linked_at", sa.BigInteger, nullable=False),
    )
    op.create_index("identities_by_account", "identities", ["account_id", "number"])


def downgrade() -> None:
    """Drop them, with all that is in them."""
    for table in ("identities", "flows", "sessions"):
        op.drop_table(table)
    op.drop_column("users", "has_password")
    op.drop_column("users", "account_id")
