"""People, refresh tokens and API keys: lessons 01 to 07."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables. Plain types: a migration must not change when the models do."""
    op.create_table(
        "users",
        sa.Column("username", sa.Text, primary_key=True),
        sa.Column("email", sa.Text),
        sa.Column("full_name", sa.Text),
        sa.Column("disabled", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("security_stamp", sa.Text, nullable=False),
        sa.Column("hashed_password", sa.Text, nullable=False),
        sa.CheckConstraint("username = lower(username)"),
        sa.CheckConstraint("disabled IN (0, 1)"),
    )
    op.create_table(
        "refresh_tokens",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("family", sa.Text, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("stamp", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("spent", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.CheckConstraint("spent IN (0, 1)"),
    )
    op.create_index("refresh_tokens_by_end", "refresh_tokens", ["expires_at"])
    op.create_table(
        "revoked_families",
        sa.Column("family", sa.Text, primary_key=True),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_index("revoked_families_by_end", "revoked_families", ["expires_at"])
    op.create_table(
        "api_keys",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("stamp", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_index("api_keys_by_owner", "api_keys", ["owner", "number"])
    op.create_index("api_keys_by_end", "api_keys", ["expires_at"])


def downgrade() -> None:
    """Drop them, with all that is in them."""
    for table in ("api_keys", "revoked_families", "refresh_tokens", "users"):
        op.drop_table(table)
