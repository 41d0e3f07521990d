"""Download what a model directory is made of.

A checkpoint, the VAE, the attention LoRA and the transparent decoder:
`python -m model_build.download --checkpoint sdxl-base --to DIR`. Each file is pinned in `sources.json` by
size and sha256. What is there and right is kept; what broke off goes on. Exit codes: 0 done, 2 wrong
arguments or table, 3 network or server, 4 content other than pinned, 5 disk.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from model_build.sources import (
    DEFAULT_BASE_URL,
    DEFAULT_TABLE,
    Source,
    SourcesError,
    choose,
    read_sources,
)
from model_build.transfer import Transfer, TransferError

EXIT_USAGE: Final = 2
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


def read_token(path: Path | None, base_url: str) -> str | None:
    """Return the hub token in a file, as a BuildKit secret mount gives it.

    None without the file or when it is empty.

    Raises:
        SourcesError: the token has characters that no token has, or would travel unencrypted.

    """
    if path is None or not path.is_file():
        return None
    token = path.read_text(encoding="utf-8").strip()
    if not token:
        return None
    if not token.isascii() or not token.isprintable() or " " in token:
        raise SourcesError(f"{path}: this is not a token: expected one word")
    address = urlsplit(base_url)
    if address.scheme != "https" and address.hostname not in LOOPBACK:
        raise SourcesError(f"{base_url}: a token is only sent over https")
    return token


def download_all(sources: Sequence[Source], directory: Path, transfer: Transfer) -> None:
    """Fetch each source into the directory, telling its licence first.

    Raises:
        TransferError: the first failure; what has arrived by then stays.

    """
    for source in sources:
        print(source.describe_licence(), flush=True)
        started_s = time.monotonic()
        fetched = transfer.fetch(source, directory)
        elapsed_s = time.monotonic() - started_s
        print(f"  {'fetched' if fetched else 'kept'}: {source.bytes:,} bytes, {elapsed_s:.1f} s", flush=True)


def main(arguments: Sequence[str] | None = None, *, sleep: Callable[[float], None] = time.sleep) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="model_build.download", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--checkpoint", metavar="NAME", help="a checkpoint's name in the table; its default if not given"
    )
    parser.add_argument("--to", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--base-url", default=DEFAULT_BASE_URL, metavar="URL", help=f"default: {DEFAULT_BASE_URL}"
    )
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="a file with a hub token; without the file, none is sent",
    )
    parser.add_argument("--sources", type=Path, default=DEFAULT_TABLE, metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        sources = read_sources(options.sources)
        name = options.checkpoint or next(source.name for source in sources if source.is_default)
        chosen = choose(sources, name)
        token = read_token(options.token_file, options.base_url)
        download_all(chosen, options.to, Transfer(options.base_url, token, sleep))
    except SourcesError as error:
        print(f"download: {error}", file=sys.stderr)
        return EXIT_USAGE
    except TransferError as error:
        print(f"download: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
