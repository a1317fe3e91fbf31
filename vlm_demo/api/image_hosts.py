"""Image hosts: a picture's address → its bytes, from hosts that the operator allowed and from no other.

What an address leads to is decided by whoever asks, so nothing is followed and nothing is believed: no other port, no
user name, no redirect, and no more than a picture's bytes.
"""

from __future__ import annotations

import time
from collections.abc import Collection

import httpx2

from vlm_demo.errors import BadImage

MOST_BYTES = 32 * 2**20
PATIENCE = 20.0  # seconds, for the whole of it
NOT_ALLOWED = "Pictures are taken from data URIs (data:image/png;base64,...)"


class ImageHosts:
    """The hosts that pictures may come from: ``example.org`` at the usual ports, ``example.org:8080`` at this one."""

    def __init__(self, allowed: Collection[str] = ()) -> None:
        self._allowed = frozenset(host.lower() for host in allowed)

    def fetch(self, address: str) -> bytes:
        """The file at an http(s) address; whether it is a picture is for others to say.

        Raises:
            BadImage: its host is not allowed, or gives no file of a bearable size in time.
        """
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
            url = httpx2.URL(address)
        except (httpx2.InvalidURL, ValueError) as error:
            raise BadImage("The picture's address is damaged: send the picture as a data URI.") from error
        named = url.host.lower() if url.port is None else f"{url.host.lower()}:{url.port}"
        if url.scheme not in ("http", "https") or not url.host or url.userinfo or named not in self._allowed:
            others = f", or from {', '.join(sorted(self._allowed))}" if self._allowed else ""
            raise BadImage(f"{NOT_ALLOWED}{others}, and from no other address: download the picture, and send it so.")
        return url
