"""Check of an S3 bucket: access rights, and bucket rules that would delete bodies.

A rule that loses mail is refused, at start and by `config check`.  A rule that only wastes space,
or that cannot be read, is a doubt.
"""

from dataclasses import dataclass, field

from ..assembly.s3 import place_of
from ..settings.model import Settings, SettingsError


@dataclass(slots=True)
class BucketFindings:
    """Findings, one line each.  `losses`: `serve` does not start; `doubts`: it does."""

    settings: Settings
    losses: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def loses(self, problem: str) -> None:
        """Add a finding that loses mail."""
        self.losses.append(f"{self.settings.origin}: storage.s3: {problem}")

    def doubt(self, problem: str) -> None:
        """Add a finding that may be a mistake."""
        self.doubts.append(f"{self.settings.origin}: storage.s3: {problem}")


def check(settings: Settings) -> list[str]:
    """Doubts about the bucket; none without a bucket.  Raises SettingsError if mail would be lost.

    Blocks.
    """
    look = check_bucket(settings)
    for problem in look.losses:
        raise SettingsError(problem)
    return look.doubts


def check_bucket(settings: Settings) -> BucketFindings:
    """Check the bucket; no findings without a bucket.  Blocks.  Raises SettingsError."""
    look = BucketFindings(settings)
    if settings.storage.s3.bucket:
        place = place_of(settings)
        from .bucket_trials import try_bucket  # noqa: PLC0415 - start-up time; obstore is optional

        try_bucket(place, look)
    return look
