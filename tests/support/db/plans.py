"""Plans of queries, as the database explains them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, event


@contextmanager
def explained(conn: Connection) -> Iterator[list[str]]:
    """Collect the plans of the block's SELECTs, a text each, once the block has ended."""
    seen: list[tuple[str, Any]] = []
    plans: list[str] = []

    def note(_c: object, _cursor: object, statement: str, values: Any, *_rest: object) -> None:
        if statement.startswith("SELECT"):
            seen.append((statement, values))

    event.listen(conn, "before_cursor_execute", note)
    try:
        yield plans
    finally:
        event.remove(conn, "before_cursor_execute", note)
    verb = "EXPLAIN QUERY PLAN" if conn.dialect.name == "sqlite" else "EXPLAIN"
    for statement, values in seen:
        rows = conn.exec_driver_sql(f"{verb} {statement}", values)
        plans.append("\n".join(str(row[-1]) for row in rows))
