"""Image hosts: how programs send a picture → its bytes. A data URI, or an address at a host that the operator allowed.

A path is no picture: no file of this machine is opened.
"""

from __future__ import annotations

from vlm_demo.chat_messages import DATA_URI, decoded
from vlm_demo.errors import BadImage
from vlm_demo.images.remote_pictures import NOTHING, RemotePictures, is_address


class ImageHosts:
    """Which pictures may be fetched from the web for programs; see ``images.remote``."""

    def __init__(self, remote: RemotePictures = NOTHING) -> None:
        self.remote = remote

    def picture(self, given: str) -> bytes:
        """The file behind a base64 data URI or an http(s) address; whether it is a picture is for others to say.

        Raises:
            BadImage: it is neither, or damaged; or its host is not allowed, or gives no file within the
                limits of size and time.
        """
        head = DATA_URI.match(given)
        if head:
            return decoded(given[head.end() :])
        if is_address(given):
            return self.remote.fetch(given)
        raise BadImage("Pictures are taken from data URIs (data:image/png;base64,...) and from no file: send it so.")
