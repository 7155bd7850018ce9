"""The gateway's database: schema, migrations, one writer, and what others may read."""
