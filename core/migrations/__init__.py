"""The one ordered list of schema changes. A revision is a small Python file; its SQL stands beside it by its number."""

from importlib import resources

from alembic import op


def run(file: str, **parts: str) -> None:
    """Execute `versions/{file}` as it stands, with `{name}` placeholders filled from `parts`.

    It goes to the driver unparsed: SQLAlchemy would take `:name` in SQL text for a parameter.
    """
    sql = (resources.files(__name__) / "versions" / file).read_text(encoding="utf-8")
    for name, value in parts.items():
        sql = sql.replace("{" + name + "}", value)
    driver = op.get_bind().connection.driver_connection
    assert driver is not None
    driver.execute(sql)
