"""The maintenance process: watches the white list for the gauges and answers the admin HTTP."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from relay.listener import bind

from . import admin, runtime
from .monitor import Monitor
from .settings import Settings, SettingsError, split_endpoint

# Older than any message may take to arrive, so that no living draft is touched.
ABANDONED: Final = timedelta(days=1)


async def run_maintenance(
    settings: Settings, _listen: tuple[str, ...], stop: asyncio.Event, ready: Callable[[], None]
) -> None:
    """Serve until `stop`.  Raises SettingsError or OSError if it cannot start."""
    store = runtime.open_store(settings)
    perimeter = runtime.open_perimeter(settings, runtime.open_trust(settings))
    try:
        bound = bind(*split_endpoint(settings.admin.listen), share=False)
        bound.listen()  # whoever is told that the daemon is ready may ask at once
    except OSError as error:
        raise SettingsError(
            f"{settings.origin}: admin.listen: cannot listen on {settings.admin.listen}: "
            f"{error.strerror}; stop what uses it or choose another"
        ) from error
    store.blobs.sweep(runtime.clock() - ABANDONED)
    watch = asyncio.create_task(perimeter.watch(settings.whitelist.check_seconds))
    ready()
    await admin.serve(Monitor(settings, perimeter, store.database), bound, stop)
    watch.cancel()
    store.close()
