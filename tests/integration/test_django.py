# SPDX-License-Identifier: Apache-2.0
"""Django's MySQL backend through the proxy: a migrated model and ordinary ORM traffic.

Django keeps its settings in the process, so each run is a process of its own: this file is
also the program that runs there.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from decimal import Decimal
from typing import Any

from tests.integration.route import Route

TIMEOUT_S = 90
SETTINGS = "HPROXY_TEST_DJANGO"


def test_migrations_and_models(route: Route, database: str) -> None:
    options = route.options()
    settings = {
        "ENGINE": "django.db.backends.mysql",
        "NAME": database,
        "HOST": options["host"],
        "PORT": options["port"],
        "USER": options["user"],
        "PASSWORD": options["password"],
        "OPTIONS": {"charset": "utf8mb4"},
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.test_django"],
        env=os.environ | {SETTINGS: json.dumps(settings)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("all went well")


def program() -> None:
    """What runs in the process of its own."""
    import django  # noqa: PLC0415 - settings come first
    from django.conf import settings  # noqa: PLC0415

    settings.configure(
        DATABASES={"default": json.loads(os.environ[SETTINGS])},
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
    )
    django.setup()
    from django.contrib.auth.models import Group, User  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import IntegrityError, connection, models, transaction  # noqa: PLC0415

    call_command("migrate", verbosity=0)

    fields: dict[str, Any] = {
        "__module__": __name__,
        "Meta": type("Meta", (), {"app_label": "auth"}),
        "name": models.CharField(max_length=100, unique=True),
        "price": models.DecimalField(max_digits=12, decimal_places=3),
        "data": models.BinaryField(null=True),
        "made": models.DateTimeField(),
        "facts": models.JSONField(default=dict),
    }
    thing: Any = type("Thing", (models.Model,), fields)
    with connection.schema_editor() as editor:
        editor.create_model(thing)

    made = datetime.datetime(2024, 2, 29, 12, 30, 15, 123456, tzinfo=datetime.UTC)
    thing.objects.bulk_create(
        thing(
            name=f"thing {i} 🐘", price=Decimal(i) / 8, data=bytes([i]), made=made, facts={"i": i}
        )
        for i in range(100)
    )
    first = thing.objects.get(name="thing 1 🐘")
    assert (first.price, bytes(first.data), first.made) == (Decimal("0.125"), b"\x01", made)
    assert first.facts == {"i": 1}
    assert thing.objects.filter(price__gt=5).aggregate(models.Count("id"))["id__count"] == 59
    try:
        with transaction.atomic():
            thing.objects.create(name="once", price=1, made=made)
            thing.objects.create(name="once", price=1, made=made)
    except IntegrityError as error:
        assert error.args[0] == 1062  # noqa: PT017 - no pytest in this process
    assert not thing.objects.filter(name="once").exists()
    assert sum(1 for _ in thing.objects.iterator(chunk_size=7)) == 100
    thing.objects.filter(price__lt=3).update(price=models.F("price") + 1)
    thing.objects.all().delete()

    user = User.objects.create_user("grüße", password="secret")
    user.groups.add(Group.objects.create(name="people"))
    assert User.objects.select_related().prefetch_related("groups").get().check_password("secret")
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s, NULL", ["x"])
        assert cursor.fetchall() == (("x", None),)
    connection.close()
    sys.stdout.write("all went well\n")


if __name__ == "__main__":
    program()
