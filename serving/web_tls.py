"""HTTPS: the certificate of the web, taken anew when its files change."""

import ssl
from collections.abc import Callable
from typing import Any

from dicom_node.tls import Reloading, TlsFiles
from serving.sections import WebSettings

ContextFactory = Callable[[Any, Any], ssl.SSLContext]


def context_factory(web: WebSettings) -> ContextFactory | None:
    """Return what makes the server's context, ``None`` where it is to speak plain HTTP.

    Raises
    ------
    SetupError
        The files cannot be used.
    """
    if not web.certificate:
        return None
    files = TlsFiles(certificate=web.certificate, key=web.key)
    current = Reloading(files, require_client=False)
    context = current()

    def renew(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Give a new connection the newest certificate; OpenSSL asks at each client hello."""
        connection.context = current()

    context.sni_callback = renew
    return lambda _config, _default: context
