"""What Alembic runs first. The work is in `migrating.py` of the package that alembic.ini names."""

from importlib import import_module

from alembic import context

package = context.config.get_main_option("package")
import_module(f"{package}.migrating").run(context)
