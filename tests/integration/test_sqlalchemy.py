# SPDX-License-Identifier: Apache-2.0
"""SQLAlchemy through the proxy, over each driver it knows that we test with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import URL, Engine, ForeignKey, LargeBinary, String, create_engine, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from tests.integration.route import Route

DIALECTS = ("pymysql", "mysqldb", "mysqlconnector")


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    picture: Mapped[bytes | None] = mapped_column(LargeBinary)
    books: Mapped[list[Book]] = relationship(back_populates="author", cascade="all, delete-orphan")


class Book(Base):
    __tablename__ = "book"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(200))
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    author: Mapped[Author] = relationship(back_populates="books")


@pytest.fixture(params=DIALECTS)
def engine(request: pytest.FixtureRequest, route: Route, database: str) -> Iterator[Engine]:
    engine = connected(route, request.param, database)
    yield engine
    engine.dispose()


def connected(route: Route, dialect: str, database: str) -> Engine:
    """An engine with a pool; dispose of it."""
    url = URL.create(
        f"mysql+{dialect}",
        username=route.server.user,
        password=route.server.password,
        host=route.host,
        port=route.port,
        database=database,
        query={"charset": "utf8mb4"},
    )
    options = {"collation": "utf8mb4_general_ci"} if dialect == "mysqlconnector" else {}
    return create_engine(url, pool_size=3, pool_pre_ping=True, connect_args=options)


def test_objects_and_transactions(engine: Engine) -> None:
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        author = Author(name="Grüße 🐘", picture=bytes(range(256)))
        author.books = [Book(title=f"book {i}") for i in range(200)]
        session.add(author)
        session.commit()
    with Session(engine) as session:
        found = session.scalars(select(Author)).one()
        assert (found.name, found.picture) == ("Grüße 🐘", bytes(range(256)))
        assert [book.title for book in found.books] == [f"book {i}" for i in range(200)]
        found.books.pop()
        session.flush()
        session.rollback()
        session.add(Author(name="Grüße 🐘"))
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        with session.begin_nested():
            session.delete(session.scalars(select(Author)).one())
        session.commit()
        assert session.scalars(select(Book)).all() == []


def test_pool_hands_out_clean_connections(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE t (id INT PRIMARY KEY)"))
        connection.execute(text("INSERT INTO t VALUES (1)"))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT COUNT(*) FROM t")).scalar() == 0
        streamed = connection.execution_options(stream_results=True).execute(
            text("SELECT column_name FROM information_schema.columns LIMIT 500")
        )
        assert sum(1 for _ in streamed) == 500
