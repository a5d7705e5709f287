"""The stores in a database once more, on SQLAlchemy 2: for those who have it already.

The tables are those of `../sql`, and either code works on tables that the other has made. `models`
are the tables, `engine` the two databases, `versions/` the migrations for Alembic, and `app` an app
that works on it. Each other module has a store of the module of the same name above.
"""
