"""Image hosts: how programs send a picture → its bytes. A data URI, or an address at a host that the operator allowed.

What an address leads to is decided by whoever asks, so nothing is followed and nothing is believed: no other port, no
user name, no redirect, and no more than a picture's bytes. A path is no picture: no file of this machine is opened.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Collection

import httpx2

from vlm_demo.chat_messages import ADDRESS, DATA_URI
from vlm_demo.errors import BadImage

MOST_BYTES = 32 * 2**20
PATIENCE = 20.0  # seconds, for the whole of it
NOT_ALLOWED = "Pictures are taken from data URIs (data:image/png;base64,...)"


class ImageHosts:
    """The hosts that pictures may come from: ``example.org`` at the usual ports, ``example.org:8080`` at this one."""

    def __init__(self, allowed: Collection[str] = ()) -> None:
        self._allowed = frozenset(host.lower() for host in allowed)

    def picture(self, given: str) -> bytes:
        """The file behind a base64 data URI or an http(s) address; whether it is a picture is for others to say.

        Raises:
            BadImage: it is neither, or damaged; or its host is not allowed, or gives no file of a bearable size in
                time.
        """
        head = DATA_URI.match(given)
        if not head:
            return self._fetched(given)
        try:
            return base64.b64decode("".join(given[head.end() :].split()), validate=True)
        except (binascii.Error, ValueError) as error:  # the latter where it is not even ASCII
            raise BadImage("The base64 text of a picture is damaged: encode it again.") from error

    def _fetched(self, address: str) -> bytes:
        url = self._checked(address)
        deadline = time.monotonic() + PATIENCE
        found = bytearray()
        try:
            # As it is stored: what would have to be unpacked could grow without end.
            plain = {"Accept-Encoding": "identity"}
            with httpx2.stream("GET", url, headers=plain, timeout=PATIENCE / 2, follow_redirects=False) as answer:
                if answer.status_code != 200:
                    raise BadImage(
                        f"{url.host} answered {answer.status_code} in place of a picture: send it as a data URI."
                    )
                for part in answer.iter_raw():
                    found += part
                    if len(found) > MOST_BYTES:
                        raise BadImage(f"The picture from {url.host} is larger than {MOST_BYTES >> 20} MiB: shrink it.")
                    if time.monotonic() > deadline:
                        raise BadImage(f"{url.host} was too slow: send the picture as a data URI.")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            raise BadImage(f"The picture from {url.host} can't be fetched: send it as a data URI.") from error
        return bytes(found)

    def _checked(self, address: str) -> httpx2.URL:
        try:
            url = httpx2.URL(address if ADDRESS.match(address) else "")
        except (httpx2.InvalidURL, ValueError) as error:
            raise BadImage("The picture's address is damaged: send the picture as a data URI.") from error
        named = url.host.lower() if url.port is None else f"{url.host.lower()}:{url.port}"
        if url.scheme not in ("http", "https") or not url.host or url.userinfo or named not in self._allowed:
            others = f", or from {', '.join(sorted(self._allowed))}" if self._allowed else ""
            raise BadImage(f"{NOT_ALLOWED}{others}, and from no other address: download the picture, and send it so.")
        return url
