"""The stores in a database: the same plain SQL for SQLite and for PostgreSQL.

`database` is what both have in common, `sqlite` and `postgres` are the two, `migrations/` the
tables, and `migrate` the command that makes them. Each other module has a store of the module of
the same name above. What has to be one step, and is easily written as two, is in `database.py`
of the workbook's lesson 12.
"""
