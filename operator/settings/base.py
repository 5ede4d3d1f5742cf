"""What the tables of the configuration file have in common, and the numbers in them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Hours = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]
Amount = Annotated[int, Field(ge=0)]


class Section(BaseModel):
    """A table of the file: strict, frozen, closed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
