"""Fetch one pinned file over HTTP.

It is resumed where it broke off, checked while it comes, and put in place when it is right.

Standard library only, so that the build stage needs nothing but Python.
"""

import hashlib
import http.client
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

from model_build.sources import Source

USER_AGENT: Final = "layerdiffuse-worker-build"
BLOCK_BYTES: Final = 1 << 20
ATTEMPTS: Final = 8
FIRST_DELAY_S: Final = 1.0
MAX_DELAY_S: Final = 60.0
READ_TIMEOUT_S: Final = 60.0
RETRIED_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
MAX_HEADER_BYTES: Final = 100_000_000
"""The safetensors format's bound on its header; eight letters read as a length are far beyond it."""

EXIT_NETWORK: Final = 3
EXIT_CONTENT: Final = 4
EXIT_DISK: Final = 5


class TransferError(Exception):
    """A file could not be had, in one line; `exit_code` is the command's."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class _InterruptedTransfer(Exception):  # noqa: N818 - no failure yet: the next attempt goes on
    """The file is not whole; another attempt may go on where this one ended."""


class SameHostAuthorization(urllib.request.HTTPRedirectHandler):
    """Follows redirects; the token is for the first host alone, as the hub redirects to a storage network."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return the next request, with the token when it goes to the same scheme, host and port."""
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if old.scheme == "https" and new.scheme != "https":
            raise TransferError(f"{old.path}: refused a redirect from https to {new.scheme}", EXIT_NETWORK)
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        token = req.unredirected_hdrs.get("Authorization")
        if request is not None and token is not None and (old.scheme, old.netloc) == (new.scheme, new.netloc):
            request.add_unredirected_header("Authorization", token)
        return request


@dataclass(frozen=True, slots=True)
class Transfer:
    """How files are fetched.

    Args:
        base_url: of the hub or a mirror.
        token: sent to that host alone, or None.
        sleep: waits between attempts; replaced in tests.
        attempts: how often one file is tried.

    """

    base_url: str
    token: str | None = None
    sleep: Callable[[float], None] = time.sleep
    attempts: int = ATTEMPTS

    def fetch(self, source: Source, directory: Path) -> bool:
        """Have the file in the directory, whole and right; return False when it was there already.

        What has arrived stays in `<file>.part` between attempts and between runs.

        Raises:
            TransferError: the server refuses, sends something else, or keeps failing; or the disk is full.

        """
        target = directory / source.file
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if _matches(target, source):
                return False
            self._fetch(source, _Partial(target))
        except OSError as error:
            # The network's errors end in `_attempt`: what comes this far is the disk's.
            raise TransferError(f"{target}: {error.strerror}", EXIT_DISK) from error
        return True

    def _fetch(self, source: Source, partial: "_Partial") -> None:
        reason = ""
        for attempt in range(self.attempts):
            if attempt:
                self.sleep(min(MAX_DELAY_S, FIRST_DELAY_S * 2 ** (attempt - 1)))
            resumed = partial.size() > 0
            try:
                self._attempt(source, partial)
            except _InterruptedTransfer as interrupted:
                reason = str(interrupted)
                continue
            found = partial.sha256()
            if found == source.sha256:
                partial.finish()
                return
            partial.discard()
            reason = f"expected the sha256 {source.sha256}, found {found}"
            if not resumed:
                # The whole answer of one server: asking again would bring the same bytes.
                raise TransferError(f"{_path(source.url())}: {reason}", EXIT_CONTENT)
        raise TransferError(f"{_path(source.url())}: {reason}, after {self.attempts} attempts", EXIT_NETWORK)

    def _attempt(self, source: Source, partial: "_Partial") -> None:
        """Bring the partial file to its full size, or raise `_InterruptedTransfer`."""
        if partial.size() > source.bytes:
            partial.discard()
        if partial.size() == source.bytes:
            return
        url = source.url(self.base_url)
        try:
            with self._open(url, partial) as response:
                _check_answer(url, response, source, partial)
                _copy(url, response, source, partial)
        except urllib.error.HTTPError as error:
            with error:
                raise _refusal(url, error, partial) from error
        except (
            urllib.error.URLError,
            http.client.HTTPException,
            TimeoutError,
            ConnectionError,
            ssl.SSLError,
        ) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise _InterruptedTransfer(f"{type(error).__name__}: {reason}") from error
        if partial.size() < source.bytes:
            raise _InterruptedTransfer(f"expected {source.bytes:,} bytes, got {partial.size():,}")

    def _open(self, url: str, partial: "_Partial") -> http.client.HTTPResponse:
        # The builder chooses the base address, so its scheme is theirs to choose, too.
        request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT})  # noqa: S310
        request.add_header("Accept-Encoding", "identity")
        if partial.size() > 0:
            request.add_header("Range", f"bytes={partial.size()}-")
            if tag := partial.tag():
                request.add_header("If-Range", tag)
        if self.token is not None:
            request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        opener = urllib.request.build_opener(SameHostAuthorization)
        response: http.client.HTTPResponse = opener.open(request, timeout=READ_TIMEOUT_S)
        return response


class _Partial:
    """The file while it grows, hashed as it grows, with the entity tag of the answer that it began with."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self.path = target.with_name(f"{target.name}.part")
        self._tag_path = target.with_name(f"{target.name}.part.etag")
        self._digest = hashlib.sha256()
        self._size = 0
        if self.path.exists():
            with self.path.open("rb") as file:
                while block := file.read(BLOCK_BYTES):
                    self._count(block)

    def size(self) -> int:
        return self._size

    def sha256(self) -> str:
        return self._digest.hexdigest()

    def tag(self) -> str | None:
        return self._tag_path.read_text(encoding="ascii") if self._tag_path.exists() else None

    def begin(self, tag: str | None) -> None:
        """Forget what there is: the answer starts at the first byte."""
        self.discard()
        # Only a strong tag promises equal bytes (RFC 9110, section 13.1.5).
        if tag is not None and tag.isascii() and tag.startswith('"'):
            self._tag_path.write_text(tag, encoding="ascii")

    def append(self, file: IO[bytes], block: bytes) -> None:
        file.write(block)
        self._count(block)

    def finish(self) -> None:
        self._tag_path.unlink(missing_ok=True)
        self.path.replace(self._target)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._tag_path.unlink(missing_ok=True)
        self._digest = hashlib.sha256()
        self._size = 0

    def _count(self, block: bytes) -> None:
        self._digest.update(block)
        self._size += len(block)


def _check_answer(url: str, response: http.client.HTTPResponse, source: Source, partial: _Partial) -> None:
    """Refuse pages of text and other sizes.

    An answer may continue the partial file or start anew.
    """
    content_type = response.headers.get_content_type() if "Content-Type" in response.headers else ""
    if content_type.startswith("text/") or content_type.endswith(("json", "xml")):
        raise _not_weights(url, f"{content_type} that begins", response.read(200))
    if response.status == http.HTTPStatus.PARTIAL_CONTENT:
        content_range = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", content_range)
        whole = str(source.bytes)
        if not match or int(match[1]) != partial.size() or match[3] not in (whole, "*"):
            asked = partial.size()
            partial.discard()
            raise _InterruptedTransfer(
                f"asked for the bytes from {asked:,} of {whole}, got {content_range!r}"
            )
        return
    partial.begin(response.headers.get("ETag"))
    length = response.headers.get("Content-Length")
    if length is not None and length.isdigit() and int(length) != source.bytes:
        raise TransferError(
            f"{_path(url)}: expected {source.bytes:,} bytes, the server has {int(length):,}", EXIT_CONTENT
        )


def _copy(url: str, response: http.client.HTTPResponse, source: Source, partial: _Partial) -> None:
    with partial.path.open("ab") as file:
        while block := response.read(BLOCK_BYTES):
            if partial.size() == 0:
                _check_first_bytes(url, block)
            partial.append(file, block)
            if partial.size() > source.bytes:
                partial.discard()
                raise TransferError(
                    f"{_path(url)}: expected {source.bytes:,} bytes, the server sends more", EXIT_CONTENT
                )
        file.flush()
        os.fsync(file.fileno())


def _check_first_bytes(url: str, block: bytes) -> None:
    start = block[:8]
    if int.from_bytes(start, "little") > MAX_HEADER_BYTES and start.isascii():
        raise _not_weights(url, "text that begins", block[:200])


def _not_weights(url: str, kind: str, start: bytes) -> TransferError:
    words = " ".join(start.decode("utf-8", "replace").split()[:8])
    return TransferError(
        f"{_path(url)}: expected safetensors weights, got {kind} {words[:100]!r}", EXIT_CONTENT
    )


def _refusal(url: str, error: urllib.error.HTTPError, partial: _Partial) -> Exception:
    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        partial.discard()
        return _InterruptedTransfer("the server does not have the range that is missing")
    if error.code in RETRIED_STATUSES:
        return _InterruptedTransfer(f"status {error.code}")
    advice = ""
    if error.code in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN):
        advice = "; the repository may want a token (--token-file) whose owner has accepted its terms"
    return TransferError(f"{_path(url)}: status {error.code} {error.reason}{advice}", EXIT_NETWORK)


def _path(url: str) -> str:
    """Return what may be shown of an address: storage networks sign theirs in the query."""
    return urlsplit(url).path


def _matches(path: Path, source: Source) -> bool:
    if not path.is_file() or path.stat().st_size != source.bytes:
        return False
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest() == source.sha256
