"""What tests of the journal share."""

from __future__ import annotations

import re

import pytest

from postgres_server import PostgresServer


@pytest.fixture(scope="session")
def server():
    """Return a PostgreSQL server that runs for the whole session."""
    made = PostgresServer()
    yield made
    made.close()


@pytest.fixture(scope="session")
def shared(server):
    """Return the URL of a database that tests leave to each other."""
    return server.fresh("shared")


@pytest.fixture
def postgres(server, request):
    """Return the URL of an empty database on the session's server."""
    name = re.sub(r"\W+", "_", request.node.name).lower()[:50]
    yield server.fresh(name)
    server.sql(f'DROP DATABASE "{name}" WITH (FORCE)', database="postgres")
