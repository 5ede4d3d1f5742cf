"""The database as the configuration describes it: schema, migrations, fitness."""
