"""DICOMweb services that we talk to (PS3.18), beside the application entities of `peers`."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from dicom_node.peers import OUTPUTS, Output
from imaging.errors import SetupError


@dataclass(frozen=True, slots=True, kw_only=True)
class WebPeer:
    """A configured DICOMweb service; `url` is what comes before ``/studies``.

    The secret is a bearer token, or with a `user` its password. It is read from `secret_file` each
    time, so that it may be changed while we run, or taken from the variable `secret_variable` when
    the settings are read, which then is `secret`. `headers` go with every request. `ca_file` holds
    the certificates that sign the server's, instead of the usual ones. `query`: it answers QIDO-RS.
    `deliver`, `outputs`, `instead`, `withdraw`: as with a `Peer`.
    """

    name: str
    url: str
    user: str = ""
    secret: str = field(default="", repr=False)
    secret_file: Path | None = None
    secret_variable: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: Path | None = None
    query: bool = True
    deliver: bool = False
    outputs: tuple[Output, ...] = OUTPUTS
    instead: tuple[Literal["key_image", "text"], ...] = ("key_image", "text")
    withdraw: bool = False

    @property
    def commitment(self) -> bool:
        """Whether storage commitment is its proof; a query always is (PS3.18 13 is not used)."""
        return False

    def authorized(self) -> dict[str, str]:
        """Return the headers of a request, credentials included.

        Raises
        ------
        SetupError
            The file with the secret cannot be read.
        """
        secret = self._secret()
        if not secret:
            return dict(self.headers)
        if self.user:
            pair = base64.b64encode(f"{self.user}:{secret}".encode()).decode()
            return {**self.headers, "Authorization": f"Basic {pair}"}
        return {**self.headers, "Authorization": f"Bearer {secret}"}

    def has_secret(self) -> bool:
        """Whether requests carry what nobody else may read."""
        return bool(self.secret or self.secret_file or self.secret_variable or self.headers)

    def _secret(self) -> str:
        if self.secret_file is None:
            return self.secret
        try:
            return self.secret_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            msg = f"the secret of {self.name} cannot be read: {error}"
            raise SetupError(msg) from error
