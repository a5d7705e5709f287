"""Tenants, and what belongs to them: lesson 13. In PostgreSQL with a wall of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TABLES = ("tenants", "memberships", "items", "invitations", "tenant_keys")


def upgrade() -> None:
    """Make the tables. Every row says whose it is, also in its key."""
    op.create_table(
        "tenants",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.CheckConstraint("tenant <> ''"),
    )
    op.create_table(
        "memberships",
        sa.Column("tenant", sa.Text, sa.ForeignKey("tenants.tenant"), primary_key=True),
        sa.Column("account_id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.CheckConstraint("account_id <> ''"),
    )
    op.create_index("memberships_by_account", "memberships", ["account_id"])
    op.create_table(
        "items",
        sa.Column("tenant", sa.Text, sa.ForeignKey("tenants.tenant"), primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("done", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("made_by", sa.Text, nullable=False),
        sa.CheckConstraint("done IN (0, 1)"),
    )
    op.create_index("items_by_number", "items", ["tenant", "number", "id"])
    op.create_table(
        "invitations",
        sa.Column("tenant", sa.Text, sa.ForeignKey("tenants.tenant"), primary_key=True),
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("invited_by", sa.Text, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "tenant_keys",
        sa.Column("tenant", sa.Text, sa.ForeignKey("tenants.tenant"), primary_key=True),
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("stamp", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        build_the_wall()


def build_the_wall() -> None:
    """Let a transaction see and write rows of the tenant only that it has named.

    Neither SQLAlchemy nor Alembic has a word for it, and `alembic check` does not miss it: a table
    of a later migration needs these lines as well.
    """
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY of_the_tenant ON {table}"
            " USING (tenant = current_setting('app.tenant', true))"
        )
    op.execute(
        "CREATE POLICY of_the_person ON memberships FOR SELECT"
        " USING (account_id = current_setting('app.account', true))"
    )
    op.execute(
        "CREATE POLICY of_the_person ON tenants FOR SELECT"
        " USING (tenant IN (SELECT memberships.tenant FROM memberships"
        " WHERE memberships.account_id = current_setting('app.account', true)))"
    )


def downgrade() -> None:
    """Drop them, with all that is in them."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP POLICY of_the_person ON tenants")  # it looks into another table
    for table in reversed(TABLES):
        op.drop_table(table)
