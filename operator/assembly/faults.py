"""Errors of the parts that settings describe, as errors of a key of the configuration."""

from ..errors import OperatorError, Outage
from ..settings.model import Settings, SettingsError
from .outside_errors import is_outside


def settings_fault(settings: Settings, key: str, error: Exception) -> OperatorError:
    """Outage for an outside error, else SettingsError; with file and key."""
    kind = Outage if is_outside(error) else SettingsError
    return kind(f"{settings.origin}: {key}: {error}")
