"""The address of an ssh device: ``ssh://user@host[:port][/folder][?python=PATH]``."""

import shlex
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from toolkit.errors import RecipeError

_FORM = "ssh://user@host[:port][/folder][?python=PATH]"
_FOLDER = "~/.cache/toolkit"


@dataclass(frozen=True)
class Address:
    """Where a device is and what to use there.

    Attributes:
        host: A name, also one of ~/.ssh/config, or an IP address.
        port: None leaves it to ~/.ssh/config, else 22.
        user: None leaves it to ~/.ssh/config, else the name of the user here.
        folder: What travels is kept there; "~/" is the home of the user there.
        python: The interpreter, or None for ``python3``.
    """

    host: str
    port: int | None
    user: str | None
    folder: str
    python: str | None

    def shown(self) -> str:
        """Return user and host as `ssh` takes them."""
        return f"{self.user}@{self.host}" if self.user else self.host

    def quoted_folder(self) -> str:
        """Return the folder as a word of a POSIX shell there."""
        if self.folder.startswith("~/"):
            return f'"$HOME"/{shlex.quote(self.folder[2:])}'
        return shlex.quote(self.folder)


def parse(spec: str) -> Address:
    """Read an address.

    "/~/folder" is a folder in the home there, "/folder" an absolute one.

    Raises:
        RecipeError: It has another form, or a password in it, which other users of this machine
            could read in the list of processes.
    """
    try:
        parts = urlsplit(spec)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise RecipeError(f"The address is not of the form {_FORM}: {error}.") from error
    if parts.password is not None:
        raise RecipeError(
            f"The address of '{host}' holds a password, which others can read on this machine. "
            "Leave it out and log in with a key: ssh-copy-id " + (host or "")
        )
    if not host or host.startswith("-") or parts.fragment or not parts.netloc:
        raise RecipeError(f"'{spec}' is not of the form {_FORM}.")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    python = query.pop("python", None)
    if query or python == "":
        raise RecipeError(f"'{spec}': only ?python=PATH may stand behind the folder.")
    folder = unquote(parts.path).rstrip("/") or f"/{_FOLDER}"
    if folder.startswith("/~/"):
        folder = folder[1:]
    user = unquote(parts.username) if parts.username else None
    return Address(host, port, user, folder, python)
