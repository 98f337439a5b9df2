"""The section of the settings that says what a promotion must show."""

from collections.abc import Mapping

from pydantic import Field

from models.evidence import Gate, Margins


class PromotionSettings(Margins):
    """Margins, and which test set alone counts for a model."""

    locked: Mapping[str, str] = Field(
        {}, description="by model, the version of the data set that alone counts"
    )

    def gate(self, model: str) -> Gate:
        """Return what a promotion of this model must show."""
        margins = Margins(**self.model_dump(exclude={"locked"}))
        return Gate(margins=margins, dataset_version=self.locked.get(model, ""))
