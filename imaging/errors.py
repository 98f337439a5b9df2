"""Every error Wetread raises, by who must act.

::

    WetreadError
    |-- InputError              the sender: what arrived cannot be understood
    |   |-- NotDicom
    |   |-- MalformedInstance
    |   |-- InstanceMismatch
    |   |-- SopClassMismatch
    |   |-- SopClassNotSupported
    |   |-- OtherPatient
    |   |-- PixelsUnreadable
    |   `-- TooLarge
    |-- SetupError              the operator: settings, ports, peers, disk
    |   `-- StorageFull
    |-- ModelError              the model's owner
    |   |-- PackageInvalid
    |   `-- InferenceFailed
    |-- RequestError            whoever asked: unknown name, wrong state
    |   |-- NotFound
    |   |-- NotAuthorized
    |   `-- Conflict
    `-- ObjectInvalid           us: a result object that breaks the standard

Expected refusals (a localizer, a gap between slices, a series no model reads) are values,
``imaging.reasons.Reason``, not errors.
"""

import re


class WetreadError(Exception):
    """Something went wrong in Wetread."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())

    @property
    def code(self) -> str:
        """The kind of error as the code of a reason: ``OtherPatient`` gives ``OTHER_PATIENT``."""
        return re.sub(r"(?<=.)(?=[A-Z])", "_", type(self).__name__).upper()


class InputError(WetreadError):
    """The input cannot be understood."""


class NotDicom(InputError):
    """The file is not a DICOM file."""


class MalformedInstance(InputError):
    """The instance is damaged or incomplete."""


class InstanceMismatch(InputError):
    """The SOP Instance UID is not valid or differs between command and data set."""


class SopClassMismatch(InputError):
    """The data set is of another SOP class than the command says."""


class SopClassNotSupported(InputError):
    """The SOP class is not that of the presentation context."""


class OtherPatient(InputError):
    """The study is known under another patient ID."""


class PixelsUnreadable(InputError):
    """The pixel data cannot be decoded."""


class TooLarge(InputError):
    """The series needs more memory than one study may take."""


class SetupError(WetreadError):
    """Wetread is not set up correctly."""


class StorageFull(SetupError):
    """There is not enough free space in the data folder."""


class ModelError(WetreadError):
    """The model cannot be used."""


class PackageInvalid(ModelError):
    """The model package is not valid."""


class InferenceFailed(ModelError):
    """The model could not be run on this input."""


class RequestError(WetreadError):
    """The request cannot be carried out."""


class NotFound(RequestError):
    """There is no such thing."""


class NotAuthorized(RequestError):
    """Whoever asks may not do it."""


class Conflict(RequestError):
    """The request does not fit the present state."""


class ObjectInvalid(WetreadError):
    """The result object does not conform to the standard."""
