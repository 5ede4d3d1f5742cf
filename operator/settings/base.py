"""Base class of the tables of the configuration file, and their types of numbers."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Hours = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]
Amount = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """Table of the file: strict types, frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
