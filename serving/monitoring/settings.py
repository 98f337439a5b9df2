"""`[monitoring]`: when what models read and say counts as changed."""

from pydantic import Field

from serving.sections import Section


class MonitoringSettings(Section):
    """Windows and limits, for each model, scanner and protocol."""

    recent: int = Field(100, ge=20, description="the newest readings, that are judged")
    reference: int = Field(
        500, ge=20, description="the readings before, that they are held against"
    )
    drift: float = Field(0.25, gt=0, description="largest population stability index")
    silent: float = Field(
        0.2, gt=0, le=1, description="largest share of recent readings without a full answer"
    )
    agreement: float = Field(
        0.7, ge=0, lt=1, description="least share of assessed findings that readers accept"
    )
