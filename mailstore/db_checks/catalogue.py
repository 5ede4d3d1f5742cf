"""Queries of PostgreSQL's catalogue: session, tables and columns by name."""

from sqlalchemy import bindparam, text
from sqlalchemy.dialects import postgresql

SESSION = text("""
SELECT current_user AS role, current_database() AS database, current_schema() AS schema,
       current_setting('search_path') AS path, current_setting('server_encoding') AS encoding,
       current_setting('transaction_read_only')::bool AS reads_only,
       coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS creates
""")

TABLES = text("""
SELECT c.relname AS name, n.nspname AS schema, pg_table_is_visible(c.oid) AS visible,
       has_schema_privilege(n.oid, 'USAGE') AS usage,
       c.relpersistence = 'u' AS unlogged, row_security_active(c.oid) AS filtered,
       pg_has_role(c.relowner, 'MEMBER') AS owned, pg_get_userbyid(c.relowner) AS owner,
       has_table_privilege(c.oid, 'SELECT') AS "SELECT",
       has_table_privilege(c.oid, 'INSERT') AS "INSERT",
       has_table_privilege(c.oid, 'UPDATE') AS "UPDATE",
       has_table_privilege(c.oid, 'DELETE') AS "DELETE"
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relname IN :names AND n.nspname !~ '^pg_'
ORDER BY c.relname, n.nspname
""").bindparams(bindparam("names", expanding=True))

COLUMNS = text("""
SELECT c.relname AS "table", a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type,
       a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AS demanded
FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
WHERE c.relkind IN ('r', 'p') AND c.relname IN :names AND pg_table_is_visible(c.oid)
  AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY c.relname, a.attnum
""").bindparams(bindparam("names", expanding=True))


def quoted(name: str) -> str:
    """Quote a name for SQL."""
    return postgresql.dialect().identifier_preparer.quote(name)  # type: ignore[no-untyped-call]  # SQLAlchemy's
