"""Show URLs without what may be secret in them: user, password, query and fragment."""

import re
from collections.abc import Iterable, Mapping

NOT_SHOWN = "a URL that is not shown, because a part of it may be secret"
MAX_SHOWN = 300  # characters
# Scheme, user and password, host and port, path, and the rest. If an @ further behind, which may be that of a password,
# makes it unclear what the host is, nothing matches.
URL = re.compile(
    r"([a-z][a-z0-9+.-]*://)(?:[^/?#\\]*@)?((?:[\w.-]*|\[[0-9a-f:.]+\])(?::\d{0,5})?)(/[^?#;\\@]*)?(?:[?#;][^@]*)?",
    re.IGNORECASE,
)
ENCODED_MARK = re.compile(r"%(25)*(3[bf]|23)", re.IGNORECASE)  # ; ? or # in a path
ENCODED_AT = re.compile(r"%(25)*40")
URL_START = re.compile(r"\s*[a-z][a-z0-9+.-]+:[/\\]", re.IGNORECASE)  # C:\ is a drive of Windows
# A password may contain spaces and quotes. The limits keep the time short in any text.
URL_IN_TEXT = re.compile(r"""[a-z][a-z0-9+.-]{1,20}:[/\\](.{0,500}@)?[^\s'"]*""", re.IGNORECASE | re.DOTALL)


def public_url(url: str) -> str:
    """Return scheme, host, port and path of a URL for messages and files; NOT_SHOWN if it is not clear which is which.

    Example:
        >>> public_url("http://user:SE@CRET@host:80/a/x.zip?token=1#2")
        'http://host:80/a/x.zip'
        >>> public_url("user:password@host/x.zip") == public_url("http://user:12/34@host/x.zip") == NOT_SHOWN
        True
    """
    match = URL.fullmatch(url.strip())
    if not match or ENCODED_AT.search(match[3] or ""):
        return NOT_SHOWN
    scheme, host, path = match.groups(default="")
    shown = f"{scheme}{host}{ENCODED_MARK.split(path, maxsplit=1)[0]}"
    return shown if shown.isprintable() and len(shown) <= MAX_SHOWN else NOT_SHOWN


def is_public(url: str) -> bool:
    """Return whether `public_url` shows the whole URL."""
    return public_url(url) == url


def is_url(text: str) -> bool:
    """Return whether a text, which should be a path, is a URL, perhaps with one slash or backslashes."""
    return bool(URL_START.match(text))


def hide_secrets(text: str) -> str:
    """Return a text with the public parts of the URLs in it.

    Example:
        >>> hide_secrets("'http://user:SE CRET@host/x?token=1' is wrong")
        "'http://host/x' is wrong"
    """
    return URL_IN_TEXT.sub(lambda match: public_url(match[0]), text)


def replace_secrets(urls: Iterable[str], secrets: dict[str, str] | None) -> list[str]:
    """Return the public parts of URLs; or, if `secrets` is given, names instead of the URLs that have other parts.

    Args:
        urls: The URLs.
        secrets: Name -> URL, to which such URLs are added.
    """
    if secrets is None:
        return [public_url(url) for url in urls]
    replaced = []
    for url in urls:
        name = next((name for name, known in secrets.items() if known == url), f"LKCA_SOURCE_{len(secrets)}")
        replaced.append(url if is_public(url) else name)
        if not is_public(url):
            secrets[name] = url
    return replaced


def restore_secrets(urls: Iterable[str], secrets: Mapping[str, str]) -> list[str]:
    """Return the URLs of which some were replaced by the names of `secrets`."""
    return [secrets.get(url, url) for url in urls]
